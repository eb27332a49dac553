//! A clock that can be set wrong while it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use idtoken::clock::Clock;

/// Another clock's time, and so many seconds.
pub(crate) struct Shifted {
    base: Arc<dyn Clock>,
    offset_s: AtomicI64,
}

impl Shifted {
    pub(crate) fn new(base: Arc<dyn Clock>) -> Self {
        Self {
            base,
            offset_s: AtomicI64::new(0),
        }
    }

    pub(crate) fn offset_s(&self) -> i64 {
        self.offset_s.load(Ordering::Relaxed)
    }

    /// More than a century either way is taken for a century.
    pub(crate) fn set_offset_s(&self, seconds: i64) {
        let seconds = seconds.clamp(-CENTURY_S, CENTURY_S);
        self.offset_s.store(seconds, Ordering::Relaxed);
    }
}

impl Clock for Shifted {
    fn now(&self) -> SystemTime {
        let offset_s = self.offset_s();
        let by = Duration::from_secs(offset_s.unsigned_abs());
        let base = self.base.now();
        let shifted = if offset_s < 0 {
            base.checked_sub(by)
        } else {
            base.checked_add(by)
        };
        shifted.unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

const CENTURY_S: i64 = 100 * 366 * 86_400;
