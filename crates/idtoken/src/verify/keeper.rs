//! Keeps an issuer's keys: fetches them once for all who wait, ahead of their end, and no more
//! often than is decent.
//!
//! Everything is driven by requests, never by timers. A token whose key is held waits for nothing:
//! reading the set takes no lock, and a refresh runs beside it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwap, ArcSwapOption};
use http::Uri;

use self::fetch::fetch;
use self::freshness::Freshness;
pub(crate) use self::settings::KeeperSettings;
use self::unavailable::Chain;
pub(crate) use self::unavailable::KeysUnavailable;
use self::unknown::UnknownIds;
use super::jws::Algorithm;
use super::keys::{Key, KeySet};
use crate::clock::Clock;
use crate::flight::{Boarding, Flight, FlightError, Waiter};
use crate::jitter::Jitter;
use crate::transport::SharedTransport;

mod fetch;
mod freshness;
mod settings;
mod unavailable;
mod unknown;

/// The keys of one issuer.
pub(crate) enum Keeper {
    /// Given once, for good.
    Fixed(KeySet),
    /// Published at a URL.
    Remote(Remote),
}

impl Keeper {
    /// Hands the key `id` to `read`, or says what the lack of it means.
    ///
    /// With `Patience::Spent` the answer is never [`Lookup::Wait`].
    pub(crate) fn with_key<R>(
        &self,
        id: &str,
        algorithm: Algorithm,
        now: SystemTime,
        patience: Patience,
        read: impl FnMut(&Key) -> R,
    ) -> Lookup<R> {
        match self {
            Self::Fixed(keys) => keys
                .find(id, algorithm)
                .map(read)
                .map_or(Lookup::Unknown, Lookup::Found),
            Self::Remote(remote) => remote.with_key(id, algorithm, now, patience, read),
        }
    }

    /// Whether the key with this fingerprint is held, for a token that was verified with it before.
    pub(crate) fn holds(&self, fingerprint: &[u8; 32], now: SystemTime) -> bool {
        match self {
            Self::Fixed(keys) => keys.contains(fingerprint),
            Self::Remote(remote) => remote.holds(fingerprint, now),
        }
    }
}

/// Whether a caller can still wait for a fetch, or has waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    Fresh,
    Spent,
}

/// What became of the search for a key.
pub(crate) enum Lookup<R> {
    /// The key is held; this was made of it.
    Found(R),
    /// It cannot be told: the keys are not to be had.
    Unavailable(KeysUnavailable),
    /// The issuer has no such key, as far as anyone may ask again.
    Unknown,
    /// A fetch is under way that will tell.
    Wait(Waiter<FetchOutcome>),
}

/// How a fetch ended. The keys themselves went to their place.
pub(crate) type FetchOutcome = Result<(), KeysUnavailable>;

/// Keys that are published at a URL.
pub(crate) struct Remote {
    shared: Arc<Shared>,
    /// Outside of `shared`, which the flight's task holds: dropping the keeper ends the flight.
    flight: Flight<FetchOutcome>,
}

impl Remote {
    pub(crate) fn new(
        url: Uri,
        transport: SharedTransport,
        clock: Arc<dyn Clock>,
        settings: KeeperSettings,
    ) -> Self {
        let shared = Shared {
            url,
            transport,
            clock,
            settings,
            jitter: Jitter::from_entropy(),
            held: ArcSwapOption::empty(),
            last_try: ArcSwap::from_pointee(LastTry::default()),
            unknown: UnknownIds::default(),
        };
        Self {
            shared: Arc::new(shared),
            flight: Flight::new(FETCH_LIMIT),
        }
    }

    fn with_key<R>(
        &self,
        id: &str,
        algorithm: Algorithm,
        now: SystemTime,
        patience: Patience,
        mut read: impl FnMut(&Key) -> R,
    ) -> Lookup<R> {
        let mut look = || self.shared.look(id, algorithm, now, &mut read);
        let boarding = match look() {
            Look::Found(found, freshness) => {
                if freshness.is_due(now) {
                    self.refresh_ahead(now);
                }
                return Lookup::Found(found);
            }
            Look::NoSuchKey if patience == Patience::Spent => {
                self.shared.unknown.add(id, now);
                return Lookup::Unknown;
            }
            Look::NoSuchKey => self.refetch_for(id, now),
            Look::NoKeys => self.fetch_for_want_of_keys(now),
        };
        match boarding {
            Ok(Boarding::Wait(waiter)) if patience == Patience::Fresh => Lookup::Wait(waiter),
            Ok(Boarding::Wait(_)) => Lookup::Unavailable(KeysUnavailable::interrupted()),
            // Another's fetch landed since the first look: look again, and for the last time.
            Ok(Boarding::Landed(Ok(()))) => match look() {
                Look::Found(found, _) => Lookup::Found(found),
                Look::NoSuchKey => Lookup::Unknown,
                Look::NoKeys => Lookup::Unavailable(KeysUnavailable::interrupted()),
            },
            Ok(Boarding::Landed(Err(error))) => Lookup::Unavailable(error),
            Err(error) => Lookup::Unavailable(error.into()),
        }
    }

    fn holds(&self, fingerprint: &[u8; 32], now: SystemTime) -> bool {
        let held = self.shared.held.load();
        let Some(held) = held.as_deref().filter(|held| held.freshness.is_usable(now)) else {
            return false;
        };
        if held.freshness.is_due(now) {
            self.refresh_ahead(now);
        }
        held.keys.contains(fingerprint)
    }

    /// Nobody can be served: all wait for one fetch.
    fn fetch_for_want_of_keys(
        &self,
        now: SystemTime,
    ) -> Result<Boarding<FetchOutcome>, FlightError> {
        self.board(now, || {
            let can_serve = self.shared.can_serve(now).then_some(Ok(()));
            can_serve.or_else(|| self.shared.last_try.load().holds_back(now))
        })
    }

    /// The key may be newer than the set: one fetch may tell, now and then.
    fn refetch_for(
        &self,
        id: &str,
        now: SystemTime,
    ) -> Result<Boarding<FetchOutcome>, FlightError> {
        // In this order: a fetch that holds us back is either under way, and then will tell, or
        // has landed, and then is seen by the next look.
        let held_back = self.shared.last_try.load().holds_back(now);
        if let Some(outcome) = held_back {
            if !self.flight.is_under_way() {
                return Ok(Boarding::Landed(outcome));
            }
        } else if self.shared.unknown.holds(id, now) {
            return Ok(Boarding::Landed(Ok(())));
        }
        self.board(now, || self.shared.last_try.load().holds_back(now))
    }

    /// Starts a refresh that nobody waits for, unless one was tried a moment ago.
    fn refresh_ahead(&self, now: SystemTime) {
        if self.shared.last_try.load().holds_back(now).is_none() {
            // Outside of a runtime nothing can be started; the keys held still serve.
            let _ = self.board(now, || self.shared.last_try.load().holds_back(now));
        }
    }

    fn board(
        &self,
        now: SystemTime,
        recheck: impl FnOnce() -> Option<FetchOutcome>,
    ) -> Result<Boarding<FetchOutcome>, FlightError> {
        self.flight.enter(recheck, || {
            let shared = Arc::clone(&self.shared);
            shared.note_start(now);
            async move { shared.fetch().await }
        })
    }
}

/// What one look at the keys held gave.
enum Look<R> {
    Found(R, Freshness),
    NoKeys,
    NoSuchKey,
}

/// What the keeper shares with the task that fetches.
struct Shared {
    url: Uri,
    transport: SharedTransport,
    clock: Arc<dyn Clock>,
    settings: KeeperSettings,
    jitter: Jitter,
    held: ArcSwapOption<Held>,
    last_try: ArcSwap<LastTry>,
    unknown: UnknownIds,
}

impl Shared {
    fn look<R>(
        &self,
        id: &str,
        algorithm: Algorithm,
        now: SystemTime,
        read: impl FnOnce(&Key) -> R,
    ) -> Look<R> {
        let held = self.held.load();
        match held.as_deref() {
            Some(held) if held.freshness.is_usable(now) => match held.keys.find(id, algorithm) {
                Some(key) => Look::Found(read(key), held.freshness),
                None => Look::NoSuchKey,
            },
            _ => Look::NoKeys,
        }
    }

    fn can_serve(&self, now: SystemTime) -> bool {
        self.held
            .load()
            .as_deref()
            .is_some_and(|held| held.freshness.is_usable(now))
    }

    /// Notes, under the flight's lock, that a fetch starts: it holds back the next one.
    fn note_start(&self, now: SystemTime) {
        let failures = self.last_try.load().failures;
        self.last_try.store(Arc::new(LastTry {
            at: Some(now),
            pause: self.settings.refetch_pause,
            failures,
            outcome: Ok(()),
        }));
    }

    async fn fetch(&self) -> FetchOutcome {
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
        self.last_try.store(Arc::new(LastTry {
            at: Some(now),
            pause,
            failures,
            outcome,
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
struct Held {
    keys: KeySet,
    freshness: Freshness,
}

/// The last fetch, which holds back the next.
struct LastTry {
    at: Option<SystemTime>,
    pause: Duration,
    failures: u32,
    outcome: FetchOutcome,
}

impl LastTry {
    /// The outcome to make do with, while it is too early for another fetch.
    ///
    /// A clock that stepped back ends the pause: how long ago the fetch was cannot be told.
    fn holds_back(&self, now: SystemTime) -> Option<FetchOutcome> {
        let elapsed = now.duration_since(self.at?).ok()?;
        (elapsed < self.pause).then(|| self.outcome.clone())
    }
}

impl Default for LastTry {
    fn default() -> Self {
        Self {
            at: None,
            pause: Duration::ZERO,
            failures: 0,
            outcome: Ok(()),
        }
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(keys) => f.debug_tuple("Fixed").field(keys).finish(),
            Self::Remote(remote) => f
                .debug_struct("Remote")
                .field("url", &remote.shared.url)
                .field(
                    "keys",
                    &remote.shared.held.load().as_deref().map(|held| &held.keys),
                )
                .finish_non_exhaustive(),
        }
    }
}

/// All tries of one fetch and the pauses between them end before this.
const FETCH_LIMIT: Duration = Duration::from_secs(12);
/// Short enough for keys that change each second, and still a bound.
const ROTATION_PAUSE: Duration = Duration::from_millis(100);
const COLD_PAUSE: Duration = Duration::from_secs(1);
const COLD_PAUSE_MAX: Duration = Duration::from_secs(10);
const WARM_PAUSE_MAX: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests;
