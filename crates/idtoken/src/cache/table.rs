//! The audiences held: read without a lock, bounded, and hard to flood.
//!
//! Eviction follows S3-FIFO: a newcomer enters a small queue on probation, and only one that is
//! asked for again moves to the main queue. A flood of hosts that are each asked for once therefore
//! passes through a tenth of the table and never touches the audiences in use.

use std::collections::VecDeque;
use std::hash::RandomState;
use std::sync::{Arc, Mutex, PoisonError};

use super::slot::Slot;
use crate::audience::Audience;

/// Slots by audience.
pub(crate) struct Table {
    slots: papaya::HashMap<Audience, Arc<Slot>, RandomState>,
    queues: Mutex<Queues>,
    capacity: usize,
}

impl Table {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            slots: papaya::HashMap::builder()
                .hasher(RandomState::new())
                .build(),
            queues: Mutex::default(),
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
    /// When every slot held is in use at this moment, the new one is not held: it works, but the
    /// next caller for the same audience gets one of its own.
    pub(crate) fn get_or_insert(
        &self,
        audience: &Audience,
        make: impl FnOnce() -> Slot,
    ) -> Arc<Slot> {
        if let Some(slot) = self.get(audience.as_str()) {
            return slot;
        }
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = self.get(audience.as_str()) {
            return slot;
        }
        let slot = Arc::new(make());
        if queues.len() >= self.capacity {
            match queues.evict(self.capacity) {
                Some(evicted) => {
                    self.slots.pin().remove(&evicted.audience);
                }
                None => return slot,
            }
        }
        queues.probation.push_back(Arc::clone(&slot));
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
}

impl Queues {
    fn len(&self) -> usize {
        self.probation.len() + self.main.len()
    }

    /// Takes out the slot that will be missed least; `None` when all are in use.
    fn evict(&mut self, capacity: usize) -> Option<Arc<Slot>> {
        // Each slot is looked at no more than twice: once to lose its mark, once to go.
        for _ in 0..2 * self.len() {
            let on_probation = self.probation.len() > capacity / 10 || self.main.is_empty();
            let queue = if on_probation {
                &mut self.probation
            } else {
                &mut self.main
            };
            let slot = queue.pop_front()?;
            if slot.take_touch() {
                self.main.push_back(slot);
            } else if in_use(&slot) {
                queue.push_back(slot);
            } else {
                return Some(slot);
            }
        }
        None
    }
}

/// Held by a handle or a waiting caller, beyond the table's own two references, or being fetched.
fn in_use(slot: &Arc<Slot>) -> bool {
    Arc::strong_count(slot) > 2 || slot.flight.is_under_way()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn audience(name: &str) -> Audience {
        Audience::new(format!("https://{name}.example.com")).unwrap()
    }

    fn insert(table: &Table, name: &str) -> Arc<Slot> {
        let audience = audience(name);
        table.get_or_insert(&audience, || Slot::new(audience.clone(), Duration::ZERO))
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
}
