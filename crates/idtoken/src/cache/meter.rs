//! What the cache counts, through the `metrics` facade when the feature of that name is on.
//!
//! Nothing is labelled by audience: strangers can make those up without end.

pub(super) use self::imp::Meter;

#[cfg(feature = "metrics")]
mod imp {
    use std::time::{Duration, SystemTime};

    use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

    use crate::cache::engine::Purpose;
    use crate::clock::unix_millis;
    use crate::error::{SourceErrorKind, TokenErrorKind};

    /// Instruments, looked up once so that a hit touches nothing but its own counters.
    pub(crate) struct Meter {
        hits: Counter,
        misses: Counter,
        refreshes: Counter,
        failures: [Counter; KINDS.len()],
        fetch_seconds: Histogram,
        token_age_seconds: Histogram,
        audiences: Gauge,
    }

    impl Meter {
        pub(crate) fn new() -> Self {
            Self {
                hits: counter!("idtoken_hits_total"),
                misses: counter!("idtoken_misses_total"),
                refreshes: counter!("idtoken_refreshes_total"),
                failures: KINDS
                    .map(|kind| counter!("idtoken_fetch_failures_total", "kind" => kind)),
                fetch_seconds: histogram!("idtoken_fetch_seconds"),
                token_age_seconds: histogram!("idtoken_token_age_seconds"),
                audiences: gauge!("idtoken_audiences"),
            }
        }

        pub(crate) fn hit(&self, now_ms: u64, received_at: SystemTime) {
            self.hits.increment(1);
            let age_ms = now_ms.saturating_sub(unix_millis(received_at));
            self.token_age_seconds.record(Duration::from_millis(age_ms));
        }

        pub(crate) fn miss(&self) {
            self.misses.increment(1);
        }

        pub(crate) fn fetched(
            &self,
            purpose: Purpose,
            took: Duration,
            failed: Option<TokenErrorKind>,
        ) {
            self.fetch_seconds.record(took);
            if purpose == Purpose::Refresh {
                self.refreshes.increment(1);
            }
            if let Some(number) = failed.and_then(number)
                && let Some(counter) = self.failures.get(number)
            {
                counter.increment(1);
            }
        }

        pub(crate) fn audiences(&self, held: usize) {
            // Exact up to 2^53 audiences.
            self.audiences.set(held as f64);
        }
    }

    /// `None` for what ends no fetch, since none starts.
    fn number(kind: TokenErrorKind) -> Option<usize> {
        Some(match kind {
            TokenErrorKind::Clock => 0,
            TokenErrorKind::Interrupted => 1,
            TokenErrorKind::Source(SourceErrorKind::InvalidAnswer) => 2,
            TokenErrorKind::Source(SourceErrorKind::Misconfigured) => 3,
            TokenErrorKind::Source(SourceErrorKind::Refused) => 4,
            TokenErrorKind::Source(SourceErrorKind::Transient) => 5,
            TokenErrorKind::Timeout => 6,
            TokenErrorKind::TooManyAudiences => 7,
            TokenErrorKind::WrongAudience => 8,
            TokenErrorKind::NoRuntime => return None,
        })
    }

    /// In the order of [`number`].
    const KINDS: [&str; 9] = [
        "clock",
        "interrupted",
        "invalid_answer",
        "misconfigured",
        "refused",
        "transient",
        "timeout",
        "too_many_audiences",
        "wrong_audience",
    ];
}

#[cfg(not(feature = "metrics"))]
mod imp {
    use std::time::{Duration, SystemTime};

    use crate::cache::engine::Purpose;
    use crate::error::TokenErrorKind;

    /// Counts nothing.
    pub(crate) struct Meter;

    impl Meter {
        pub(crate) fn new() -> Self {
            Self
        }

        pub(crate) fn hit(&self, _: u64, _: SystemTime) {}

        pub(crate) fn miss(&self) {}

        pub(crate) fn fetched(&self, _: Purpose, _: Duration, _: Option<TokenErrorKind>) {}

        pub(crate) fn audiences(&self, _: usize) {}
    }
}
