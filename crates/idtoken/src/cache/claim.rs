//! Who may start the refresh that is due: one caller in each pause.

use std::time::{Duration, SystemTime};

use crate::sync::{AtomicU64, Ordering};

/// Hands out one claim in each pause.
pub(crate) struct Claim {
    /// Milliseconds since 1970 before which there is no further claim.
    next: AtomicU64,
}

impl Claim {
    pub(crate) fn new() -> Self {
        Self {
            next: AtomicU64::new(0),
        }
    }

    /// Whether the caller has the claim: true for one in each `pause`.
    pub(crate) fn take(&self, now: SystemTime, pause: Duration) -> bool {
        let since = now.duration_since(SystemTime::UNIX_EPOCH);
        let (now, pause) = (millis(since.unwrap_or_default()), millis(pause));
        let next = self.next.load(Ordering::Relaxed);
        // Further ahead than any claim made around now can be: the clock stepped back since, and
        // what was said under the old time binds nobody. Callers read the clock at slightly
        // different moments, hence the second pause.
        if next > now && next - now <= pause.saturating_mul(2) {
            return false;
        }
        self.next
            .compare_exchange(
                next,
                now.saturating_add(pause),
                Ordering::AcqRel,
                Ordering::Relaxed,
            )
            .is_ok()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
