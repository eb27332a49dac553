//! PURE: how long a key set may serve, and when to fetch the next.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{AGE, CACHE_CONTROL};

use crate::jitter::Jitter;

/// The times of one key set.
///
/// All are wall-clock times, since a suspended machine's monotonic clock stands still.
#[derive(Clone, Copy, Debug)]
pub(super) struct Freshness {
    fetched_at: SystemTime,
    due_at: SystemTime,
    expires_at: SystemTime,
    usable_until: SystemTime,
    /// How far the clock may step back before the set's age cannot be told.
    longest: Duration,
}

impl Freshness {
    /// For a set fetched at `now` whose answer allowed `lifetime`, and which may serve `stale_for`
    /// longer through an outage.
    pub(super) fn new(
        now: SystemTime,
        lifetime: Duration,
        stale_for: Duration,
        jitter: &Jitter,
    ) -> Self {
        // Somewhere in the last fifth but not at its end, so that instances do not march in step.
        let ahead = lifetime / 10 + jitter.up_to(lifetime / 10);
        let longest = lifetime.saturating_add(stale_for);
        Self {
            fetched_at: now,
            due_at: now + lifetime.saturating_sub(ahead),
            expires_at: now + lifetime,
            usable_until: now + longest,
            longest,
        }
    }

    /// Whether it is time for a newer set. A clock that stepped back makes it time: how old this
    /// set is can no longer be told.
    pub(super) fn is_due(&self, now: SystemTime) -> bool {
        now >= self.due_at || self.has_stepped_back(now)
    }

    /// Whether the set is past its cache time, as far as can be told.
    pub(super) fn is_expired(&self, now: SystemTime) -> bool {
        now >= self.expires_at || self.has_stepped_back(now)
    }

    /// Whether the set may still be used.
    ///
    /// After a step back it may, unless the step is longer than the set could have lived: then a
    /// removed key would be believed for as long as the clock needs to catch up.
    pub(super) fn is_usable(&self, now: SystemTime) -> bool {
        let stepped_back = self.fetched_at.duration_since(now).unwrap_or_default();
        now < self.usable_until && stepped_back < self.longest
    }

    fn has_stepped_back(&self, now: SystemTime) -> bool {
        elapsed(self.fetched_at, now).is_none()
    }
}

/// The time from `at` to `now`; `None` when it cannot be told, for the clock stepped back between.
///
/// One who read the clock just before another noted `at` comes out at nothing.
pub(super) fn elapsed(at: SystemTime, now: SystemTime) -> Option<Duration> {
    match now.duration_since(at) {
        Ok(elapsed) => Some(elapsed),
        Err(ahead) => (ahead.duration() <= TOLERANCE).then_some(Duration::ZERO),
    }
}

/// For how long an answer with these headers may be kept (RFC 9111 §4.2): `max-age` minus `Age`,
/// but no less than five minutes, so that no header makes us ask all the time, and no more than a
/// day, so that a key which is withdrawn goes. An hour when nothing is said.
pub(super) fn lifetime(headers: &HeaderMap) -> Duration {
    let mut max_age = None;
    let mut is_uncacheable = false;
    let values = headers
        .get_all(CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok());
    for directive in values.flat_map(|value| value.split(',')) {
        let (name, argument) = directive.split_once('=').unwrap_or((directive, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "max-age" => max_age = seconds(argument.trim().trim_matches('"')).or(max_age),
            "no-store" | "no-cache" => is_uncacheable = true,
            _ => {}
        }
    }
    let age = headers
        .get(AGE)
        .and_then(|age| seconds(age.to_str().ok()?.trim()));
    let allowed = match max_age {
        _ if is_uncacheable => Duration::ZERO,
        Some(max_age) => max_age.saturating_sub(age.unwrap_or_default()),
        None => UNSAID,
    };
    allowed.clamp(SHORTEST, LONGEST)
}

fn seconds(text: &str) -> Option<Duration> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // A number beyond all bounds is long, not nonsense (RFC 9111 §1.2.2).
    Some(Duration::from_secs(
        text.parse().unwrap_or(BEYOND_ALL_BOUNDS),
    ))
}

const TOLERANCE: Duration = Duration::from_secs(1);
const BEYOND_ALL_BOUNDS: u64 = 1 << 31;
const SHORTEST: Duration = Duration::from_secs(300);
const LONGEST: Duration = Duration::from_secs(24 * 3600);
const UNSAID: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(headers: &[(&'static str, &'static str)]) -> u64 {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        lifetime(&map).as_secs()
    }

    #[test]
    fn max_age_less_age_within_floor_and_ceiling() {
        let google = "public, max-age=21155, must-revalidate, no-transform";
        assert_eq!(of(&[("cache-control", google)]), 21_155);
        assert_eq!(of(&[("cache-control", google), ("age", "155")]), 21_000);
        assert_eq!(of(&[("cache-control", "MAX-AGE=\"3600\"")]), 3_600);
        assert_eq!(
            of(&[
                ("cache-control", "public"),
                ("cache-control", "max-age=7200")
            ]),
            7_200
        );
        assert_eq!(of(&[("cache-control", google), ("age", "999999")]), 300);
        assert_eq!(of(&[("cache-control", "max-age=0")]), 300);
        assert_eq!(of(&[("cache-control", "max-age=299")]), 300);
        assert_eq!(of(&[("cache-control", "max-age=86401")]), 86_400);
        assert_eq!(
            of(&[("cache-control", "max-age=99999999999999999999999")]),
            86_400
        );
    }

    #[test]
    fn no_store_is_the_floor_and_silence_an_hour() {
        assert_eq!(of(&[("cache-control", "no-store")]), 300);
        assert_eq!(of(&[("cache-control", "no-cache, max-age=9999")]), 300);
        assert_eq!(of(&[]), 3_600);
        assert_eq!(of(&[("age", "12")]), 3_600);
        for nonsense in [
            "max-age",
            "max-age=",
            "max-age=-1",
            "max-age=x",
            "max-age=1.5",
            "=",
            "",
        ] {
            assert_eq!(of(&[("cache-control", nonsense)]), 3_600, "{nonsense}");
        }
        assert_eq!(of(&[("cache-control", "max-age=600"), ("age", "x")]), 600);
    }

    #[test]
    fn due_in_the_last_fifth_and_usable_through_the_outage() {
        let (hour, start) = (
            Duration::from_secs(3600),
            SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30),
        );
        for seed in 0..100 {
            let freshness = Freshness::new(start, hour, 2 * hour, &Jitter::seeded(seed));
            assert!(!freshness.is_due(start + hour * 8 / 10 - Duration::from_secs(1)));
            assert!(freshness.is_due(start + hour * 9 / 10));
            assert!(!freshness.is_expired(start + hour - Duration::from_secs(1)));
            assert!(freshness.is_expired(start + hour));
            assert!(freshness.is_usable(start + 3 * hour - Duration::from_secs(1)));
            assert!(!freshness.is_usable(start + 3 * hour));
        }
    }

    #[test]
    fn a_clock_that_steps_back_makes_a_set_due_and_in_the_end_useless() {
        let (hour, start) = (
            Duration::from_secs(3600),
            SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30),
        );
        let freshness = Freshness::new(start, hour, hour, &Jitter::seeded(1));
        // Another thread's reading of the clock is no step.
        assert!(!freshness.is_due(start - Duration::from_secs(1)));
        assert!(freshness.is_due(start - Duration::from_millis(1001)));
        assert!(freshness.is_expired(start - Duration::from_millis(1001)));
        assert!(freshness.is_usable(start - hour));
        assert!(!freshness.is_usable(start - 2 * hour));
    }
}
