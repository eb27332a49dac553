//! Any bytes for a key set, in both forms: nothing may panic, and what is read is bounded and
//! distinct.
#![no_main]

use std::collections::HashSet;

use idtoken::KeySet;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|json: &[u8]| {
    let Ok(keys) = KeySet::from_json(json) else {
        return;
    };
    let count = keys.key_ids().count();
    assert!((1..=256).contains(&count));
    let distinct: HashSet<&str> = keys.key_ids().collect();
    // One id may stand for two keys only when their algorithms differ.
    assert!(distinct.len() * 2 >= count);
});
