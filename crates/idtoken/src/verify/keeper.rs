//! Keeps an issuer's keys: fetches them once for all who wait, ahead of their end, and no more
//! often than is decent.
//!
//! Everything is driven by requests, never by timers. A token whose key is held waits for nothing
//! within the set's cache time: reading the set takes no lock, and a refresh runs beside it. Past
//! that time the set is used again only once a fetch has failed.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwap, ArcSwapOption};
use http::Uri;
use tokio::runtime::Handle;
use tokio::time::timeout;

use self::last_try::LastTry;
pub(crate) use self::settings::KeeperSettings;
pub(crate) use self::shared::Look;
use self::shared::{Renewal, Shared};
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
mod last_try;
mod settings;
mod shared;
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
    /// With [`Patience::Spent`] the answer is never [`Lookup::Wait`].
    pub(crate) fn with_key<R>(
        &self,
        id: &str,
        algorithm: Algorithm,
        now: SystemTime,
        patience: Patience<'_>,
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

    /// As [`with_key`](Self::with_key) by the keys held, and nothing is fetched for it.
    pub(crate) fn peek<R>(
        &self,
        id: &str,
        algorithm: Algorithm,
        now: SystemTime,
        read: impl FnOnce(&Key) -> R,
    ) -> Look<R> {
        match self {
            Self::Fixed(keys) => keys
                .find(id, algorithm)
                .map(read)
                .map_or(Look::NoSuchKey, Look::Found),
            Self::Remote(remote) => remote.shared.look(id, algorithm, now, read),
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

/// Whether a caller can still wait for a fetch, or has waited for one that ended so.
#[derive(Clone, Copy)]
pub(crate) enum Patience<'o> {
    Fresh,
    Spent(&'o FetchOutcome),
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

/// Waits for a fetch, but not for a runtime that nobody drives any more.
pub(crate) async fn landed(waiter: Waiter<FetchOutcome>) -> Result<FetchOutcome, FlightError> {
    if Handle::try_current().is_err() {
        return waiter.wait().await;
    }
    let landed = timeout(FETCH_LIMIT + GRACE, waiter.wait()).await;
    landed.unwrap_or(Err(FlightError::Lost))
}

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
        patience: Patience<'_>,
        mut read: impl FnMut(&Key) -> R,
    ) -> Lookup<R> {
        if let Patience::Fresh = patience
            && let Some(waiter) = self.renew(now)
        {
            return Lookup::Wait(waiter);
        }
        let mut look = || self.shared.look(id, algorithm, now, &mut read);
        let boarding = match (look(), patience) {
            (Look::Found(found), _) => return Lookup::Found(found),
            (Look::NoSuchKey, Patience::Spent(Ok(()))) => {
                self.shared.unknown.add(id, now);
                return Lookup::Unknown;
            }
            (Look::NoKeys, Patience::Spent(Ok(()))) => {
                return Lookup::Unavailable(KeysUnavailable::interrupted());
            }
            (_, Patience::Spent(Err(error))) => return Lookup::Unavailable(error.clone()),
            (Look::NoSuchKey, Patience::Fresh) => self.refetch_for(id, now),
            (Look::NoKeys, Patience::Fresh) => self.fetch_for_want_of_keys(now),
        };
        match boarding {
            Ok(Boarding::Wait(waiter)) => Lookup::Wait(waiter),
            // Another's fetch landed since the first look: look again, and for the last time.
            Ok(Boarding::Landed(Ok(()))) => match look() {
                Look::Found(found) => Lookup::Found(found),
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
        match self.shared.renewal(held, now) {
            Renewal::First => return false,
            Renewal::Beside => self.refresh_ahead(now),
            Renewal::NotDue => {}
        }
        held.keys.contains(fingerprint)
    }

    /// Sees to it that the set held is renewed; the fetch to wait for, when it may no longer be
    /// used as it is.
    fn renew(&self, now: SystemTime) -> Option<Waiter<FetchOutcome>> {
        let renewal = || {
            let held = self.shared.held.load();
            let held = held.as_deref().filter(|held| held.freshness.is_usable(now));
            held.map_or(Renewal::NotDue, |held| self.shared.renewal(held, now))
        };
        match renewal() {
            Renewal::NotDue => None,
            Renewal::Beside => {
                self.refresh_ahead(now);
                None
            }
            Renewal::First => {
                let recheck = || (renewal() != Renewal::First).then_some(Ok(()));
                match self.board(now, recheck) {
                    Ok(Boarding::Wait(waiter)) => Some(waiter),
                    // Outside of a runtime nothing can be started; the keys held still serve.
                    Ok(Boarding::Landed(_)) | Err(_) => None,
                }
            }
        }
    }

    /// Nobody can be served: all wait for one fetch.
    fn fetch_for_want_of_keys(
        &self,
        now: SystemTime,
    ) -> Result<Boarding<FetchOutcome>, FlightError> {
        self.board(now, || {
            let can_serve = self.shared.can_serve(now).then_some(Ok(()));
            can_serve.or_else(|| self.shared.last_try.load().failure(now).map(Err))
        })
    }

    /// The key may be newer than the set: one fetch may tell, now and then.
    fn refetch_for(
        &self,
        id: &str,
        now: SystemTime,
    ) -> Result<Boarding<FetchOutcome>, FlightError> {
        // A fetch under way is joined. The rest is asked when there is none, and then the outcome
        // of one that has just landed is noted already.
        self.board(now, || {
            let held_back = self.shared.last_try.load().holds_back(now);
            held_back.or_else(|| self.shared.unknown.holds(id, now).then_some(Ok(())))
        })
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
/// After this a flight that went nowhere has been given up by all.
const GRACE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
