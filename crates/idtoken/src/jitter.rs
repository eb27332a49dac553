//! The one home of randomness: spreads retries and refreshes so that instances do not march in step.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A seeded stream of random numbers, shared by reference.
///
/// Only cold paths draw from it, so a mutex is enough.
pub(crate) struct Jitter(Mutex<fastrand::Rng>);

impl Jitter {
    /// A stream that differs in each process.
    #[allow(clippy::disallowed_methods, reason = "the one home of randomness")]
    pub(crate) fn from_entropy() -> Self {
        Self(Mutex::new(fastrand::Rng::new()))
    }

    /// A stream that can be replayed.
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(Mutex::new(fastrand::Rng::with_seed(seed)))
    }

    /// A duration evenly spread over `0..=most`.
    pub(crate) fn up_to(&self, most: Duration) -> Duration {
        most.mul_f64(self.0.lock().unwrap_or_else(PoisonError::into_inner).f64())
    }

    /// `around`, give or take half of it.
    pub(crate) fn about(&self, around: Duration) -> Duration {
        around / 2 + self.up_to(around)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_replays_and_stays_in_range() {
        let second = Duration::from_secs(1);
        let draw = |seed| {
            let jitter = Jitter::seeded(seed);
            (0..100).map(|_| jitter.about(second)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert!(
            draw(7)
                .iter()
                .all(|d| (second / 2..=second * 3 / 2).contains(d))
        );
    }
}
