//! Key ids that were asked for in vain: a bounded memory, so that one misled caller does not make
//! us ask the issuer over and over.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::freshness::elapsed;

/// Remembers at most [`MAX_IDS`] ids for [`REMEMBERED_FOR`], as keyed hashes.
///
/// A flood of distinct ids pushes old ones out; what bounds the fetches then is the pause between
/// them. Only tokens whose key is not held ever come here.
#[derive(Default)]
pub(super) struct UnknownIds {
    hasher: RandomState,
    ids: Mutex<VecDeque<(u64, SystemTime)>>,
}

impl UnknownIds {
    /// Whether `id` was asked for in vain not long ago.
    pub(super) fn holds(&self, id: &str, now: SystemTime) -> bool {
        let hash = self.hasher.hash_one(id);
        self.lock().iter().any(|(other, at)| {
            let is_recent = elapsed(*at, now).is_some_and(|age| age < REMEMBERED_FOR);
            *other == hash && is_recent
        })
    }

    /// Notes that `id` is being asked for.
    pub(super) fn add(&self, id: &str, now: SystemTime) {
        let hash = self.hasher.hash_one(id);
        let mut ids = self.lock();
        ids.retain(|(other, _)| *other != hash);
        if ids.len() == MAX_IDS {
            ids.pop_front();
        }
        ids.push_back((hash, now));
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(u64, SystemTime)>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const MAX_IDS: usize = 64;
const REMEMBERED_FOR: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_for_a_while_and_never_more_than_its_bound() {
        let ids = UnknownIds::default();
        let start = SystemTime::UNIX_EPOCH + REMEMBERED_FOR;
        ids.add("a", start);
        assert!(ids.holds("a", start + REMEMBERED_FOR - Duration::from_secs(1)));
        assert!(!ids.holds("a", start + REMEMBERED_FOR));
        assert!(
            !ids.holds("a", start - Duration::from_secs(2)),
            "the clock stepped back"
        );
        assert!(!ids.holds("b", start));
        for i in 0..10_000 {
            ids.add(&format!("k{i}"), start);
            assert!(ids.lock().len() <= MAX_IDS);
        }
        assert!(!ids.holds("a", start));
        assert!(ids.holds("k9999", start));
    }
}
