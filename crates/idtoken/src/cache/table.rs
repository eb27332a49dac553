//! The audiences held: read without a lock, bounded, and hard to flood.
//!
//! Eviction follows S3-FIFO: a newcomer enters a small queue on probation, and only one that is
//! asked for twice more moves to the main queue. A flood of hosts that are each asked for once, or
//! once more after a 401, therefore passes through a tenth of the table and never touches the
//! audiences in use. One that comes back soon after the flood washed it out is remembered by its
//! ghost, and goes to the main queue.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use super::slot::Slot;
use crate::audience::Audience;

/// Slots by audience.
pub(crate) struct Table {
    slots: papaya::HashMap<Audience, Arc<Slot>, RandomState>,
    queues: Mutex<Queues>,
    hasher: RandomState,
    capacity: usize,
}

impl Table {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            slots: papaya::HashMap::builder()
                .hasher(RandomState::new())
                .build(),
            queues: Mutex::default(),
            hasher: RandomState::new(),
            capacity: capacity.max(1),
        }
    }

    /// The slot of `audience`, if it is held.
    pub(crate) fn get(&self, audience: &str) -> Option<Arc<Slot>> {
        let slots = self.slots.pin();
        let slot = slots.get(audience)?;
        slot.touch();
        Some(Arc::clone(slot))
    }

    /// The slot of `audience`, made with `make` if it is not held.
    ///
    /// When no slot held can go at this moment, the new one is not held: it works, but the next
    /// caller for the same audience gets one of its own. The same may happen to a slot that is
    /// evicted in the instant in which it is asked for.
    pub(crate) fn get_or_insert(
        &self,
        audience: &Audience,
        make: impl FnOnce() -> Slot,
    ) -> Arc<Slot> {
        if let Some(slot) = self.get(audience.as_str()) {
            return slot;
        }
        let hash = |audience: &Audience| self.hasher.hash_one(audience);
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = self.get(audience.as_str()) {
            return slot;
        }
        let slot = Arc::new(make());
        if queues.len() >= self.capacity {
            match queues.evict(self.capacity) {
                Some(evicted) => {
                    self.slots.pin().remove(&evicted.audience);
                    queues.ghosts.add(hash(&evicted.audience), self.capacity);
                }
                None => return slot,
            }
        }
        if queues.ghosts.take(hash(audience)) {
            queues.main.push_back(Arc::clone(&slot));
        } else {
            queues.probation.push_back(Arc::clone(&slot));
        }
        self.slots.pin().insert(audience.clone(), Arc::clone(&slot));
        slot
    }

    /// How many audiences are held.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }
}

#[derive(Default)]
struct Queues {
    probation: VecDeque<Arc<Slot>>,
    main: VecDeque<Arc<Slot>>,
    ghosts: Ghosts,
}

impl Queues {
    fn len(&self) -> usize {
        self.probation.len() + self.main.len()
    }

    /// Takes out the slot that will be missed least; `None` when none was found in a bounded time.
    fn evict(&mut self, capacity: usize) -> Option<Arc<Slot>> {
        // While strangers fill their share of the table, they make room for one another.
        let from_main = self.probation.len() < (capacity / 10).max(1);
        if from_main {
            self.evict_from_main()
                .or_else(|| self.evict_from_probation())
        } else {
            // All of them may be regulars by now, or wait for their first token.
            self.evict_from_probation()
                .or_else(|| self.evict_from_main())
        }
    }

    fn evict_from_probation(&mut self) -> Option<Arc<Slot>> {
        for _ in 0..MAX_STEPS {
            let slot = self.probation.pop_front()?;
            if slot.flight.is_under_way() {
                self.probation.push_back(slot);
            } else if slot.is_regular() || is_held(&slot) {
                self.main.push_back(slot);
            } else {
                return Some(slot);
            }
        }
        None
    }

    fn evict_from_main(&mut self) -> Option<Arc<Slot>> {
        for _ in 0..MAX_STEPS {
            let slot = self.main.pop_front()?;
            if slot.take_touch() || is_held(&slot) || slot.flight.is_under_way() {
                self.main.push_back(slot);
            } else {
                return Some(slot);
            }
        }
        None
    }
}

/// Whether a handle or a waiting caller holds it, beyond the table's own two references.
///
/// The map frees its entries late, but those are of slots that have left the queues.
fn is_held(slot: &Arc<Slot>) -> bool {
    Arc::strong_count(slot) > 2
}

/// Hashes of the audiences evicted last. Two audiences with one hash do no harm: one is taken for
/// a returning regular.
#[derive(Default)]
struct Ghosts {
    order: VecDeque<u64>,
    known: HashSet<u64>,
}

impl Ghosts {
    fn add(&mut self, hash: u64, capacity: usize) {
        if self.known.insert(hash) {
            self.order.push_back(hash);
        }
        if self.order.len() > capacity
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    /// Whether it was there; its place in the order is kept until its time is over.
    fn take(&mut self, hash: u64) -> bool {
        self.known.remove(&hash)
    }
}

/// How many slots are looked at to make room for one: a full table must not make each stranger
/// cost a walk through all of it.
const MAX_STEPS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::TokenCache;
    use crate::source::from_fn;

    fn audience(name: &str) -> Audience {
        Audience::new(format!("https://{name}.example.com")).unwrap()
    }

    fn insert(table: &Table, name: &str) -> Arc<Slot> {
        let audience = audience(name);
        let source = from_fn(async |_| unreachable!("nothing is fetched"));
        table.get_or_insert(&audience, || {
            Slot::new(audience.clone(), TokenCache::new(source).engine)
        })
    }

    #[test]
    fn one_audience_has_one_slot() {
        let table = Table::new(8);
        assert!(Arc::ptr_eq(&insert(&table, "a"), &insert(&table, "a")));
        assert!(!Arc::ptr_eq(&insert(&table, "a"), &insert(&table, "b")));
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn a_flood_of_strangers_evicts_no_audience_in_use() {
        let table = Table::new(100);
        let regulars: Vec<_> = (0..80).map(|n| format!("regular{n}")).collect();
        for name in regulars.iter().chain(&regulars) {
            insert(&table, name);
        }
        let kept: Vec<_> = regulars
            .iter()
            .map(|name| Arc::downgrade(&insert(&table, name)))
            .collect();
        for n in 0..100_000 {
            insert(&table, &format!("stranger{n}"));
            if n % 7 == 0 {
                insert(&table, &regulars[n % regulars.len()]);
            }
        }
        assert!(table.len() <= 100);
        assert!(
            kept.iter().all(|slot| slot.upgrade().is_some()),
            "a regular was evicted"
        );
    }

    #[test]
    fn strangers_that_come_twice_evict_no_audience_in_use() {
        let table = Table::new(100);
        let regulars: Vec<_> = (0..80).map(|n| format!("regular{n}")).collect();
        for _ in 0..3 {
            for name in &regulars {
                insert(&table, name);
            }
        }
        let kept: Vec<_> = regulars
            .iter()
            .map(|name| Arc::downgrade(&insert(&table, name)))
            .collect();
        for n in 0..20_000 {
            for _ in 0..2 {
                insert(&table, &format!("stranger{n}"));
            }
            if n % 7 == 0 {
                insert(&table, &regulars[n % regulars.len()]);
            }
        }
        assert!(
            kept.iter().all(|slot| slot.upgrade().is_some()),
            "a regular was evicted"
        );
    }

    #[tokio::test]
    async fn a_newcomer_finds_room_while_strangers_wait_for_their_tokens() {
        let table = Table::new(100);
        for _ in 0..3 {
            for n in 0..90 {
                insert(&table, &format!("idle{n}"));
            }
        }
        for n in 0..200 {
            insert(&table, &format!("passing{n}"));
        }
        for n in 0..10 {
            let slot = insert(&table, &format!("waiting{n}"));
            let boarding = slot.flight.enter(|| None, std::future::pending);
            assert!(boarding.is_ok());
        }
        let held = |n| {
            insert(&table, &format!("newcomer{n}"));
            let audience = audience(&format!("newcomer{n}"));
            table.get(audience.as_str()).is_some()
        };
        // The idle ones are let pass once, 64 at a time.
        assert!((0..3).any(held));
        assert!((3..10).all(held));
    }

    #[test]
    fn what_a_handle_holds_is_not_evicted_and_a_full_table_still_serves() {
        let table = Table::new(4);
        let held: Vec<_> = (0..4).map(|n| insert(&table, &n.to_string())).collect();
        let extra = insert(&table, "extra");
        assert_eq!(table.len(), 4);
        assert!(table.get(extra.audience.as_str()).is_none());
        for (n, slot) in held.iter().enumerate() {
            assert!(Arc::ptr_eq(slot, &insert(&table, &n.to_string())));
        }
    }

    #[test]
    fn a_regular_that_comes_less_often_than_the_flood_turns_over_is_kept_by_its_ghost() {
        let table = Table::new(100);
        let mut strangers = 0..;
        let mut flood = |table: &Table, many: usize| {
            for n in strangers.by_ref().take(many) {
                insert(table, &format!("stranger{n}"));
            }
        };
        flood(&table, 200);
        let first = Arc::downgrade(&insert(&table, "regular"));
        flood(&table, 150);
        assert!(
            table.get(audience("regular").as_str()).is_none(),
            "washed out"
        );
        drop(first);
        insert(&table, "regular");
        flood(&table, 100_000);
        assert!(table.get(audience("regular").as_str()).is_some());
    }

    #[test]
    fn many_handles_do_not_make_strangers_expensive_or_unheld() {
        let table = Table::new(1000);
        let _handles: Vec<_> = (0..900)
            .map(|n| insert(&table, &format!("handle{n}")))
            .collect();
        for n in 0..1000 {
            let name = format!("stranger{n}");
            insert(&table, &name);
            assert!(table.len() <= 1000);
        }
        let held = (0..900).all(|n| {
            let audience = audience(&format!("handle{n}"));
            table.get(audience.as_str()).is_some()
        });
        assert!(held);
        insert(&table, "late");
        assert!(table.get(audience("late").as_str()).is_some());
    }

    #[test]
    fn memory_stays_at_the_bound_under_a_million_hostile_hosts() {
        let table = Table::new(256);
        let regulars: Vec<_> = (0..100).map(|n| format!("regular{n}")).collect();
        for name in regulars.iter().chain(&regulars) {
            insert(&table, name);
        }
        let alive: Vec<_> = regulars
            .iter()
            .map(|name| Arc::downgrade(&insert(&table, name)))
            .collect();
        let mut last = Vec::new();
        for n in 0..1_000_000 {
            let slot = insert(&table, &n.to_string());
            if n % 1000 == 0 {
                insert(&table, &regulars[n / 1000 % regulars.len()]);
                last.push(Arc::downgrade(&slot));
            }
        }
        assert_eq!(table.len(), 256);
        let queues = table.queues.lock().unwrap();
        assert!(queues.ghosts.order.len() <= 256 && queues.ghosts.known.len() <= 256);
        let lingering = last.iter().filter(|slot| slot.strong_count() > 0).count();
        assert!(lingering < 64, "{lingering} of 1,000 evicted slots linger");
        assert!(alive.iter().all(|slot| slot.strong_count() > 0));
    }
}
