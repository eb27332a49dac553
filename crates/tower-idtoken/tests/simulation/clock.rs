//! A wall clock that goes wrong, beside the true time that Google and the upstream know.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use fastrand::Rng;
use idtoken::Clock;
use tokio::time::{Instant, sleep};

#[derive(Clone)]
pub(crate) struct SimClock {
    start: Instant,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Time that went by while the machine, and its monotonic clock, slept.
    suspended_ms: AtomicI64,
    /// By how much the machine's clock is ahead of true time.
    ahead_ms: AtomicI64,
}

impl SimClock {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            state: Arc::default(),
        }
    }

    /// Seconds since 1970 in truth.
    pub(crate) fn true_seconds(&self) -> u64 {
        let slept = self.state.suspended_ms.load(Ordering::Relaxed) as u64;
        START_S + (self.start.elapsed() + Duration::from_millis(slept)).as_secs()
    }

    /// By how much the machine's clock is behind true time.
    pub(crate) fn behind(&self) -> Duration {
        let ahead = self.state.ahead_ms.load(Ordering::Relaxed);
        Duration::from_millis(u64::try_from(-ahead).unwrap_or_default())
    }

    fn suspend(&self, seconds: u64) {
        let ms = i64::try_from(seconds * 1000).unwrap();
        self.state.suspended_ms.fetch_add(ms, Ordering::Relaxed);
    }

    fn step(&self, ms: i64) {
        self.state.ahead_ms.fetch_add(ms, Ordering::Relaxed);
    }

    pub(crate) fn correct(&self) {
        self.state.ahead_ms.store(0, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn now(&self) -> SystemTime {
        let slept = self.state.suspended_ms.load(Ordering::Relaxed);
        let ahead = self.state.ahead_ms.load(Ordering::Relaxed);
        let elapsed = i64::try_from(self.start.elapsed().as_millis()).unwrap();
        let ms = START_S as i64 * 1000 + elapsed + slept + ahead;
        SystemTime::UNIX_EPOCH + Duration::from_millis(ms.try_into().unwrap())
    }
}

/// How the clock goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Shape {
    Drifting {
        ms_per_minute: i64,
    },
    Steady,
    /// Steps of up to this much, back as well as forward.
    Stepping {
        most_s: u64,
    },
    Suspended {
        most_s: u64,
    },
}

impl Shape {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        match rng.u32(0..5) {
            0 => Self::Drifting {
                ms_per_minute: rng.i64(-20..=20),
            },
            1 => Self::Steady,
            2 => Self::Stepping { most_s: 100 },
            3 => Self::Stepping { most_s: 10_000 },
            _ => Self::Suspended { most_s: 10_000 },
        }
    }

    /// Whether time passes as it does for the tests, so that they can tell how much went by.
    pub(crate) fn goes_by_itself(&self) -> bool {
        matches!(self, Self::Drifting { .. } | Self::Steady)
    }

    pub(crate) async fn blow(self, clock: SimClock, mut rng: Rng) {
        loop {
            match self {
                Self::Drifting { ms_per_minute } => {
                    sleep(Duration::from_secs(60)).await;
                    clock.step(ms_per_minute);
                }
                Self::Steady => std::future::pending().await,
                Self::Stepping { most_s } => {
                    sleep(Duration::from_secs(rng.u64(1..4000))).await;
                    let most_ms = i64::try_from(most_s * 1000).unwrap();
                    clock.step(rng.i64(-most_ms..=most_ms));
                }
                Self::Suspended { most_s } => {
                    sleep(Duration::from_secs(rng.u64(1..4000))).await;
                    clock.suspend(rng.u64(1..=most_s));
                }
            }
        }
    }
}

const START_S: u64 = 1_700_000_000;
