//! What the keeper and the task that fetches both see: the set held, and how fetches went.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwap, ArcSwapOption};
use http::Uri;

use super::fetch::fetch;
use super::freshness::Freshness;
use super::last_try::LastTry;
use super::unknown::UnknownIds;
use super::{FETCH_LIMIT, FetchOutcome, KeeperSettings, KeysUnavailable};
use crate::chain::Chain;
use crate::clock::Clock;
use crate::jitter::Jitter;
use crate::transport::SharedTransport;
use crate::verify::jws::Algorithm;
use crate::verify::keys::{Key, KeySet};

/// What the keeper shares with the task that fetches.
pub(super) struct Shared {
    pub(super) url: Uri,
    pub(super) transport: SharedTransport,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) settings: KeeperSettings,
    pub(super) jitter: Jitter,
    pub(super) held: ArcSwapOption<Held>,
    pub(super) last_try: ArcSwap<LastTry>,
    pub(super) unknown: UnknownIds,
}

impl Shared {
    pub(super) fn look<R>(
        &self,
        id: &str,
        algorithm: Algorithm,
        now: SystemTime,
        read: impl FnOnce(&Key) -> R,
    ) -> Look<R> {
        let held = self.held.load();
        match held.as_deref() {
            Some(held) if held.freshness.is_usable(now) => match held.keys.find(id, algorithm) {
                Some(key) => Look::Found(read(key)),
                None => Look::NoSuchKey,
            },
            _ => Look::NoKeys,
        }
    }

    pub(super) fn can_serve(&self, now: SystemTime) -> bool {
        self.held
            .load()
            .as_deref()
            .is_some_and(|held| held.freshness.is_usable(now))
    }

    /// What is to be done about a usable set. Past its cache time it serves on only while the
    /// endpoint is known to be down.
    pub(super) fn renewal(&self, held: &Held, now: SystemTime) -> Renewal {
        if !held.freshness.is_due(now) {
            Renewal::NotDue
        } else if held.freshness.is_expired(now) && !self.last_try.load().has_failed_lately(now) {
            Renewal::First
        } else {
            Renewal::Beside
        }
    }

    /// Notes that a fetch starts, before its task does. The flight keeps all others on the ground;
    /// the pause counts only if it is lost, with a runtime that ends or a transport that panics.
    pub(super) fn note_start(&self, now: SystemTime) {
        let last = self.last_try.load();
        // An endpoint that is down counts as down while it is asked once more.
        let failed = last.failed.filter(|_| last.has_failed_lately(now));
        self.last_try.store(Arc::new(LastTry {
            at: Some(now),
            pause: self.settings.refetch_pause.min(ROTATION_PAUSE),
            failures: last.failures,
            outcome: None,
            failed: failed.map(|(at, span)| (at, span.saturating_add(FETCH_LIMIT))),
        }));
    }

    pub(super) async fn fetch(&self) -> FetchOutcome {
        let fetched = fetch(&self.transport, &self.url, &self.jitter).await;
        let now = self.clock.now();
        match fetched {
            Ok((keys, lifetime)) => {
                tracing::debug!(url = %self.url, ?keys, ?lifetime, "fetched keys");
                let freshness =
                    Freshness::new(now, lifetime, self.settings.stale_for, &self.jitter);
                let pause = self.pause_after_success(&keys);
                self.held.store(Some(Arc::new(Held { keys, freshness })));
                self.note_end(now, 0, pause, Ok(()));
                Ok(())
            }
            Err(error) => {
                tracing::warn!(url = %self.url, error = %Chain(&error), "could not fetch keys");
                let failures = self.last_try.load().failures.saturating_add(1);
                let unavailable = KeysUnavailable {
                    source: Arc::new(error),
                    retry_after: self.pause_after_failure(failures, now),
                };
                let pause = unavailable.retry_after;
                self.note_end(now, failures, pause, Err(unavailable.clone()));
                Err(unavailable)
            }
        }
    }

    fn note_end(&self, now: SystemTime, failures: u32, pause: Duration, outcome: FetchOutcome) {
        let serves_until_retried = pause.saturating_add(FETCH_LIMIT);
        self.last_try.store(Arc::new(LastTry {
            at: Some(now),
            pause,
            failures,
            failed: outcome.is_err().then_some((now, serves_until_retried)),
            outcome: Some(outcome),
        }));
    }

    /// The pause is there for strangers who make up key ids. Nobody can make the issuer publish a
    /// key, so a set that brought one is a rotation, and the next may follow at once.
    fn pause_after_success(&self, keys: &KeySet) -> Duration {
        let held = self.held.load();
        match held.as_deref() {
            Some(held) if held.keys.covers(keys) => self.settings.refetch_pause,
            _ => self.settings.refetch_pause.min(ROTATION_PAUSE),
        }
    }

    /// With keys in hand there is time; without, everyone is waiting.
    fn pause_after_failure(&self, failures: u32, now: SystemTime) -> Duration {
        let (first, most) = if self.can_serve(now) {
            (
                self.settings.refetch_pause,
                self.settings.refetch_pause.max(WARM_PAUSE_MAX),
            )
        } else {
            (COLD_PAUSE, COLD_PAUSE_MAX)
        };
        let doublings = failures.saturating_sub(1).min(16);
        first.saturating_mul(1 << doublings).min(most)
    }
}

/// A key set and how long it may serve.
pub(super) struct Held {
    pub(super) keys: KeySet,
    pub(super) freshness: Freshness,
}

/// What one look at the keys held gave.
pub(crate) enum Look<R> {
    Found(R),
    NoKeys,
    NoSuchKey,
}

/// Whether the set held wants to be replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Renewal {
    /// Soon: a fetch runs beside those who use the set.
    Beside,
    /// Before it is used again: a key that the issuer withdrew may still be in it.
    First,
    NotDue,
}

/// Short enough for keys that change each second, and still a bound.
const ROTATION_PAUSE: Duration = Duration::from_millis(100);
pub(super) const COLD_PAUSE: Duration = Duration::from_secs(1);
const COLD_PAUSE_MAX: Duration = Duration::from_secs(10);
const WARM_PAUSE_MAX: Duration = Duration::from_secs(300);
