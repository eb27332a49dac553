//! When a token is fresh, due for refresh, or dead. Pure: times in, verdicts out.

use std::time::{Duration, SystemTime};

/// The rules of freshness.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    /// With less than this left, a token is due for refresh.
    pub(crate) margin: Duration,
    /// The shortest time between two tries for one audience while a valid token is held.
    pub(crate) pause: Duration,
}

impl Schedule {
    /// Plans the life of a token that arrived at `now`.
    ///
    /// `spread` delays the refresh a little, so that instances do not march in step; it never
    /// brings it forward, since the metadata server hands out the same token until four minutes
    /// before its end.
    ///
    /// A token issued in the future shows that this machine's clock is behind by at least that
    /// much, so its end is brought forward by the same.
    pub(crate) fn plan(
        &self,
        now: SystemTime,
        issued_at: Option<SystemTime>,
        expires_at: SystemTime,
        spread: Duration,
    ) -> Result<Plan, Stale> {
        let behind = issued_at.and_then(|issued| issued.duration_since(now).ok());
        let behind = behind.unwrap_or_default();
        let left = match expires_at.duration_since(now) {
            Ok(left) => left.saturating_sub(behind),
            Err(past) => {
                return Err(Stale {
                    by: past.duration(),
                });
            }
        };
        if left.is_zero() {
            return Err(Stale { by: Duration::ZERO });
        }
        let last_call = LAST_CALL.min(left / 10);
        let lasts = left - last_call;
        let until_due = left.saturating_sub(self.margin).saturating_add(spread);
        Ok(Plan {
            received_at: now,
            due_after: until_due.min(lasts).min(LONGEST_UNSEEN),
            lasts,
            clock_behind_by: behind,
        })
    }

    /// How long to wait after the `failures`-th failure in a row while no token is held: one
    /// second, doubling to thirty.
    pub(crate) fn back_off(failures: u32) -> Duration {
        FIRST_BACK_OFF
            .saturating_mul(1 << failures.saturating_sub(1).min(5))
            .min(LONGEST_BACK_OFF)
    }
}

/// The life of one token in the cache.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Plan {
    pub(crate) received_at: SystemTime,
    /// From arrival to when a refresh should start.
    pub(crate) due_after: Duration,
    /// From arrival to when it is sent no more.
    pub(crate) lasts: Duration,
    pub(crate) clock_behind_by: Duration,
}

impl Plan {
    /// Where the token stands when it came this long ago.
    pub(crate) fn freshness(&self, age: Duration) -> Freshness {
        if age >= self.lasts {
            Freshness::Dead
        } else if age >= self.due_after {
            Freshness::Due
        } else {
            Freshness::Fresh
        }
    }
}

/// Where a token stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Freshness {
    Dead,
    Due,
    Fresh,
}

/// The token had expired when it arrived.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Stale {
    pub(crate) by: Duration,
}

/// Google's own libraries refresh with less than 3 min 45 s left: after the metadata server, which
/// rolls over four to five minutes before the end, has a new token to give.
pub(crate) const DEFAULT_MARGIN: Duration = Duration::from_secs(225);

pub(crate) const DEFAULT_PAUSE: Duration = Duration::from_secs(10);

/// A token is not sent in its last seconds: it must still be valid when it is checked.
const LAST_CALL: Duration = Duration::from_secs(10);

/// Google's tokens last an hour. One that says it lasts for years is renewed once a day all the
/// same: nothing is cached for ever.
const LONGEST_UNSEEN: Duration = Duration::from_secs(86_400);

const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
pub(crate) const LONGEST_BACK_OFF: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEDULE: Schedule = Schedule {
        margin: DEFAULT_MARGIN,
        pause: DEFAULT_PAUSE,
    };

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    fn age(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn plan(issued: u64, expires: u64, now: u64) -> Plan {
        SCHEDULE
            .plan(at(now), Some(at(issued)), at(expires), Duration::ZERO)
            .unwrap()
    }

    #[test]
    fn an_hour_long_token_is_due_at_225_seconds_left_and_dead_at_10() {
        let plan = plan(0, 3600, 0);
        for (now, state) in [
            (0, Freshness::Fresh),
            (3374, Freshness::Fresh),
            (3375, Freshness::Due),
            (3589, Freshness::Due),
            (3590, Freshness::Dead),
            (9999, Freshness::Dead),
        ] {
            assert_eq!(plan.freshness(age(now)), state, "{now}");
        }
    }

    #[test]
    fn a_token_with_6_minutes_left_counts_from_its_exp_and_not_from_its_arrival() {
        let plan = plan(0, 3600, 3240);
        assert_eq!(plan.freshness(age(134)), Freshness::Fresh);
        assert_eq!(plan.freshness(age(135)), Freshness::Due);
    }

    #[test]
    fn a_token_shorter_than_the_margin_is_due_at_once_and_lives_nine_tenths() {
        let plan = plan(0, 50, 0);
        assert_eq!(plan.freshness(age(0)), Freshness::Due);
        assert_eq!(plan.freshness(age(44)), Freshness::Due);
        assert_eq!(plan.freshness(age(45)), Freshness::Dead);
    }

    #[test]
    fn a_token_that_arrives_expired_is_stale_by_that_much() {
        let stale = SCHEDULE.plan(at(4000), Some(at(0)), at(3600), Duration::ZERO);
        assert_eq!(
            stale,
            Err(Stale {
                by: Duration::from_secs(400)
            })
        );
        let edge = SCHEDULE.plan(at(3600), Some(at(0)), at(3600), Duration::ZERO);
        assert_eq!(edge, Err(Stale { by: Duration::ZERO }));
    }

    #[test]
    fn a_token_from_the_future_ends_sooner_by_as_much_as_our_clock_is_behind() {
        // Our clock says 0, Google's at least 600.
        let plan = plan(600, 4200, 0);
        assert_eq!(plan.clock_behind_by, Duration::from_secs(600));
        assert_eq!(plan.freshness(age(3374)), Freshness::Fresh);
        assert_eq!(plan.freshness(age(3375)), Freshness::Due);
        assert_eq!(plan.freshness(age(3590)), Freshness::Dead);
    }

    #[test]
    fn jitter_only_delays_and_never_past_the_end() {
        let late = SCHEDULE
            .plan(at(0), Some(at(0)), at(3600), Duration::from_secs(60))
            .unwrap();
        assert_eq!(late.freshness(age(3434)), Freshness::Fresh);
        assert_eq!(late.freshness(age(3435)), Freshness::Due);
        let absurd = SCHEDULE
            .plan(at(0), Some(at(0)), at(3600), Duration::MAX)
            .unwrap();
        assert_eq!(absurd.due_after, absurd.lasts);
    }

    #[test]
    fn a_token_that_says_it_lasts_for_years_is_renewed_daily() {
        let plan = plan(0, 10 * 365 * 86_400, 0);
        assert_eq!(plan.freshness(age(86_399)), Freshness::Fresh);
        assert_eq!(plan.freshness(age(86_400)), Freshness::Due);
    }

    #[test]
    fn back_off_doubles_from_one_second_to_thirty() {
        let seconds: Vec<_> = (1..9).map(|n| Schedule::back_off(n).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(Schedule::back_off(u32::MAX), LONGEST_BACK_OFF);
    }
}
