//! Tokens that were verified not long ago, so that the next request with one costs a hash.
//!
//! A caller sends one token for most of an hour. What is kept is the SHA-256 of each token and its
//! claims, never the token: memory that leaks holds nothing that opens a door. An entry answers
//! only while its key is still in the issuer's set, the policy is the one it was judged by, and its
//! times are right by the clock.
//!
//! The table has a fixed number of places, so no number of tokens makes it grow, and reading it
//! takes no lock. Only tokens that were accepted ever get in.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwapOption, Guard};
use aws_lc_rs::digest;

use super::claims::Claims;

/// A bounded table of verified tokens.
pub(crate) struct Seen {
    /// Each token has one group of places that it may lie in.
    groups: Box<[Group]>,
}

/// Eight places, and a cache line that says what is in them.
///
/// A label is a hint. Whoever writes two at once may leave one that is wrong, and then a token is
/// judged once more; what an entry is for, only its whole hash decides.
#[derive(Default)]
#[repr(align(64))]
struct Group {
    labels: [AtomicU64; PLACES],
    places: [ArcSwapOption<Entry>; PLACES],
}

impl Seen {
    /// Room for `capacity` tokens; for none when it is zero.
    ///
    /// There are half as many places more, and then up to the next power of two: with no more places
    /// than tokens, a fifth of the groups would get more than they hold, and tokens that take turns
    /// in such a group would push each other out each time.
    pub(crate) fn new(capacity: usize) -> Self {
        let places = capacity.min(MAX_CAPACITY) * 3 / 2;
        let groups = match capacity {
            0 => 0,
            _ => places.div_ceil(PLACES).next_power_of_two(),
        };
        Self {
            groups: (0..groups).map(|_| Default::default()).collect(),
        }
    }

    /// The fingerprint to ask with; `None` when nothing is remembered here, or `token` is too long
    /// to have been accepted.
    pub(crate) fn hash(&self, token: &[u8]) -> Option<TokenHash> {
        if self.groups.is_empty() || token.len() > super::jws::MAX_TOKEN_BYTES {
            return None;
        }
        digest::digest(&digest::SHA256, token)
            .as_ref()
            .try_into()
            .ok()
            .map(TokenHash)
    }

    /// The entry of the token with this hash.
    pub(crate) fn get(&self, hash: &TokenHash) -> Option<SeenEntry> {
        let group = self.group(hash)?;
        let places = group.labels.iter().zip(&group.places);
        places
            .filter(|(label, _)| is_label_of(label.load(Ordering::Relaxed), hash))
            .map(|(_, place)| place.load())
            .find(|place| place.as_ref().is_some_and(|entry| entry.hash == *hash))
            .map(SeenEntry)
    }

    /// Keeps `entry`, in the place of its own former self, an empty one, or the one that ends first.
    pub(crate) fn put(&self, entry: Entry) {
        let Some(group) = self.group(&entry.hash) else {
            return;
        };
        let worth = |(label, _): &(&AtomicU64, _)| match label.load(Ordering::Relaxed) {
            label if is_label_of(label, &entry.hash) => 0,
            // An empty place ends at once.
            label => 1 + u64::from(label as u32),
        };
        if let Some((label, place)) = group.labels.iter().zip(&group.places).min_by_key(worth) {
            label.store(label_of(&entry.hash, entry.ends_at), Ordering::Relaxed);
            place.store(Some(Arc::new(entry)));
        }
    }

    fn group(&self, hash: &TokenHash) -> Option<&Group> {
        let number = u64::from_le_bytes(*hash.0.first_chunk()?);
        // A power of two, so the mask keeps the number within.
        let mask = self.groups.len().checked_sub(1)?;
        self.groups.get(usize::try_from(number & mask as u64).ok()?)
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seen")
            .field("capacity", &(self.groups.len() * PLACES))
            .finish()
    }
}

/// The SHA-256 of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TokenHash([u8; 32]);

/// A verified token's claims, and by what they were judged.
pub(crate) struct Entry {
    pub(crate) hash: TokenHash,
    pub(crate) claims: Claims,
    /// When the token ends, in seconds since 1970: says which entry to give up first.
    pub(crate) ends_at: u64,
    pub(crate) issuer: usize,
    pub(crate) key: [u8; 32],
    pub(crate) policy_version: u64,
}

/// Some bits of the hash, other than those that choose the group, and when the token ends, in seconds since 1970.
fn label_of(hash: &TokenHash, ends_at: u64) -> u64 {
    let [.., a, b, c, d] = hash.0;
    let ends_at = u32::try_from(ends_at).unwrap_or(u32::MAX);
    u64::from(u32::from_le_bytes([a, b, c, d])) << 32 | u64::from(ends_at)
}

fn is_label_of(label: u64, hash: &TokenHash) -> bool {
    label >> 32 == label_of(hash, 0) >> 32
}

/// An entry as it lies in the table.
pub(crate) struct SeenEntry(Guard<Option<Arc<Entry>>>);

impl SeenEntry {
    pub(crate) fn entry(&self) -> Option<&Entry> {
        self.0.as_deref()
    }
}

const PLACES: usize = 8;

/// A million tokens are about a gigabyte of claims.
const MAX_CAPACITY: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::claims::Payload;

    fn entry(seen: &Seen, token: &str, ends_at: u64) -> Entry {
        let payload = Payload::parse(r#"{"sub":"1"}"#).unwrap();
        Entry {
            hash: seen.hash(token.as_bytes()).unwrap(),
            claims: Claims::accepted(&payload),
            ends_at,
            issuer: 0,
            key: [0; 32],
            policy_version: 0,
        }
    }

    fn held(seen: &Seen) -> usize {
        seen.groups
            .iter()
            .flat_map(|group| &group.places)
            .filter(|place| place.load().is_some())
            .count()
    }

    #[test]
    fn finds_what_was_put_and_nothing_else() {
        let seen = Seen::new(64);
        seen.put(entry(&seen, "a", 1));
        seen.put(entry(&seen, "a", 2));
        assert_eq!(held(&seen), 1);
        let found = seen.get(&seen.hash(b"a").unwrap()).unwrap();
        assert_eq!(found.entry().unwrap().ends_at, 2);
        assert!(seen.get(&seen.hash(b"b").unwrap()).is_none());
    }

    #[test]
    fn a_hundred_thousand_tokens_leave_memory_flat() {
        let seen = Seen::new(64);
        for i in 0..100_000_u32 {
            seen.put(entry(&seen, &i.to_string(), u64::from(i)));
        }
        assert_eq!(held(&seen), 128);
    }

    #[test]
    fn as_many_tokens_as_there_is_room_for_hardly_push_each_other_out() {
        for capacity in [1_000_u32, 4_096] {
            let seen = Seen::new(capacity as usize);
            for i in 0..capacity {
                seen.put(entry(&seen, &i.to_string(), 1));
            }
            let lost = capacity as usize - held(&seen);
            assert!(lost * 50 <= capacity as usize, "{lost} of {capacity}");
        }
    }

    #[test]
    fn the_one_that_ends_first_makes_room() {
        let seen = Seen::new(1);
        for i in [5, 1, 9, 7, 6, 4, 3, 2] {
            seen.put(entry(&seen, &i.to_string(), i));
        }
        seen.put(entry(&seen, "x", 8));
        let is_held = |token: &str| seen.get(&seen.hash(token.as_bytes()).unwrap()).is_some();
        assert!(!is_held("1"));
        assert!(
            ["5", "9", "7", "6", "4", "3", "2", "x"]
                .into_iter()
                .all(is_held)
        );
    }

    #[test]
    fn switched_off_it_holds_nothing() {
        let seen = Seen::new(0);
        assert!(seen.hash(b"a").is_none());
    }
}
