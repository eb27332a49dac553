//! Wall-clock time, behind a seam.
//!
//! The `exp` of a token is a wall-clock time, and a virtual machine that was suspended has a
//! monotonic clock that lies about how long it slept. So every expiry in this crate is compared
//! with a [`Clock`], and this module is the only place that reads the system's.
//!
//! ```
//! use std::time::{Duration, SystemTime};
//! use idtoken::clock::{Clock, ManualClock};
//!
//! let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
//! let before = clock.now();
//! clock.advance(Duration::from_secs(60));
//! assert_eq!(clock.now(), before + Duration::from_secs(60));
//! ```

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// Tells the wall-clock time.
///
/// A call must be cheap and must not block: one is made for every request that carries a token
/// and for every token verified.
pub trait Clock: Send + Sync + 'static {
    /// The wall-clock time now.
    fn now(&self) -> SystemTime;

    /// The same in milliseconds since 1970: to make a `SystemTime` and take it apart again is a
    /// fifth of what handing out a cached token takes.
    #[doc(hidden)]
    fn unix_millis(&self) -> u64 {
        unix_millis(self.now())
    }
}

/// The system's own clock.
///
/// On Linux it is read as of the last tick, some milliseconds ago at most: for times that count in
/// seconds that is exact enough, and the read, which is the dearest part of handing out a cached
/// token, costs a quarter.
///
/// In gVisor, which runs Cloud Run's first generation of execution environments, that clock is not
/// among those read without a system call, so there it costs more than the exact one would, though
/// little beside a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[cfg(target_os = "linux")]
    fn now(&self) -> SystemTime {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
        let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
        let nanos = u32::try_from(now.tv_nsec).unwrap_or_default();
        SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos)
    }

    #[cfg(target_os = "linux")]
    fn unix_millis(&self) -> u64 {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
        let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
        let nanos = u64::try_from(now.tv_nsec).unwrap_or_default();
        seconds * 1000 + nanos / NANOS_IN_A_MILLI
    }

    #[cfg(not(target_os = "linux"))]
    #[allow(
        clippy::disallowed_methods,
        reason = "the one home of the system's clock"
    )]
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// A clock that moves only when told, for tests.
///
/// Clones share one time: hand one to the cache or verifier under test and keep the other. It can
/// step backwards as well as forwards, as a real wall clock can.
#[derive(Clone)]
pub struct ManualClock {
    nanos_since_epoch: Arc<AtomicU64>,
}

impl ManualClock {
    /// A clock that stands at `now`. Times before 1970 are taken as 1970.
    #[must_use]
    pub fn new(now: SystemTime) -> Self {
        Self {
            nanos_since_epoch: Arc::new(AtomicU64::new(nanos(now))),
        }
    }

    /// A clock that stands at the system's present time.
    #[must_use]
    pub fn starting_now() -> Self {
        Self::new(SystemClock.now())
    }

    /// Moves forward by `by`.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.update(|now| now.saturating_add(by));
    }

    /// Steps backwards by `by`, as when a clock that ran ahead is corrected.
    pub fn step_back(&self, by: Duration) {
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.update(|now| now.saturating_sub(by));
    }

    /// Jumps to `now`.
    pub fn set(&self, now: SystemTime) {
        self.nanos_since_epoch.store(nanos(now), Ordering::SeqCst);
    }

    fn update(&self, change: impl Fn(u64) -> u64) {
        // The closure never declines, so the result says nothing.
        let _ = self
            .nanos_since_epoch
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |now| Some(change(now)));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(self.nanos_since_epoch.load(Ordering::SeqCst))
    }

    fn unix_millis(&self) -> u64 {
        self.nanos_since_epoch.load(Ordering::SeqCst) / NANOS_IN_A_MILLI
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ManualClock").field(&self.now()).finish()
    }
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> SystemTime {
        (**self).now()
    }

    fn unix_millis(&self) -> u64 {
        (**self).unix_millis()
    }
}

/// A clock whose type is forgotten.
#[derive(Clone)]
pub(crate) struct SharedClock(pub(crate) Arc<dyn Clock>);

impl SharedClock {
    pub(crate) fn new(clock: impl Clock) -> Self {
        Self(Arc::new(clock))
    }
}

impl Default for SharedClock {
    fn default() -> Self {
        Self::new(SystemClock)
    }
}

impl fmt::Debug for SharedClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedClock")
    }
}

/// Whole seconds since 1970, the unit of `exp`, `iat` and `nbf` (RFC 7519 §2, NumericDate).
pub(crate) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Whole milliseconds since 1970.
pub(crate) fn unix_millis(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| {
            since.as_secs() * 1000 + u64::from(since.subsec_millis())
        })
}

const NANOS_IN_A_MILLI: u64 = 1_000_000;

fn nanos(time: SystemTime) -> u64 {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods, reason = "what it is compared with")]
    fn the_systems_clock_is_right_within_a_tick() {
        let (before, now, after) = (SystemTime::now(), SystemClock.now(), SystemTime::now());
        assert!(now <= after, "ahead");
        assert!(now + Duration::from_millis(50) >= before, "behind");
    }

    #[test]
    fn steps_back_as_well_as_forward_and_is_shared() {
        let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(100));
        let shared = clock.clone();
        clock.advance(Duration::from_secs(5));
        shared.step_back(Duration::from_secs(10));
        assert_eq!(unix_seconds(clock.now()), 95);
    }

    #[test]
    fn the_milliseconds_are_those_of_the_time() {
        let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_micros(1_700_000_999));
        assert_eq!(clock.unix_millis(), 1_700_000);
        assert_eq!(Arc::new(clock).unix_millis(), 1_700_000);
        let (before, now) = (unix_millis(SystemClock.now()), SystemClock.unix_millis());
        let after = unix_millis(SystemClock.now());
        assert!((before..=after).contains(&now), "{before} {now} {after}");
    }

    #[test]
    fn stops_at_the_epoch() {
        let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1));
        clock.step_back(Duration::from_secs(10));
        assert_eq!(clock.now(), SystemTime::UNIX_EPOCH);
    }
}
