//! Setting up a cache.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::TokenCache;
use super::engine::{Engine, FOREVER, Limits};
use super::meter::Meter;
use super::schedule::{DEFAULT_MARGIN, DEFAULT_PAUSE, Schedule};
use super::table::Table;
use crate::clock::{Clock, SystemClock};
use crate::jitter::Jitter;
use crate::source::TokenSource;

/// Sets up a [`TokenCache`].
///
/// ```
/// use std::time::Duration;
/// # use idtoken::{Audience, IdToken, SourceError, TokenCache, TokenSource};
/// # struct Source;
/// # impl TokenSource for Source {
/// #     async fn fetch(&self, _: &Audience) -> Result<IdToken, SourceError> { unimplemented!() }
/// # }
///
/// let tokens = TokenCache::builder(Source)
///     .fetch_timeout(Duration::from_secs(5))
///     .max_audiences(100)
///     .build();
/// ```
#[must_use]
pub struct TokenCacheBuilder<S> {
    source: S,
    clock: Arc<dyn Clock>,
    jitter: Option<u64>,
    refresh_margin: Duration,
    refresh_jitter: Duration,
    retry_pause: Duration,
    fetch_timeout: Duration,
    max_audiences: usize,
    max_fetches: usize,
}

impl<S> TokenCacheBuilder<S> {
    pub(super) fn new(source: S) -> Self {
        Self {
            source,
            clock: Arc::new(SystemClock),
            jitter: None,
            refresh_margin: DEFAULT_MARGIN,
            refresh_jitter: DEFAULT_REFRESH_JITTER,
            retry_pause: DEFAULT_PAUSE,
            fetch_timeout: DEFAULT_FETCH_TIMEOUT,
            max_audiences: DEFAULT_MAX_AUDIENCES,
            max_fetches: DEFAULT_MAX_FETCHES,
        }
    }
}

impl<S: TokenSource> TokenCacheBuilder<S> {
    /// Compares expiry with this clock instead of the system's.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// How long before its end a token is due for refresh; 225 s by default.
    ///
    /// A larger margin gains nothing with the metadata server, which hands out the same token until
    /// four to five minutes before its end.
    pub fn refresh_margin(mut self, margin: Duration) -> Self {
        self.refresh_margin = margin;
        self
    }

    /// By how much at the most a refresh is delayed at random, so that instances which started
    /// together do not refresh together; 60 s by default.
    ///
    /// That suits the metadata server, which each instance has to itself. A large fleet that asks
    /// one token endpoint does better with most of the hour to spread over: a margin of 1,800 s and
    /// a jitter of 1,600 s lower the peak from 54 times the mean to twice the mean, for a third more
    /// requests (`cargo run --release -p idtoken --example fleet`).
    pub fn refresh_jitter(mut self, most: Duration) -> Self {
        self.refresh_jitter = most;
        self
    }

    /// Makes the jitter repeatable.
    pub fn jitter_seed(mut self, seed: u64) -> Self {
        self.jitter = Some(seed);
        self
    }

    /// The shortest time between two tries for one audience while its old token is still good, and
    /// the age below which a token cannot be [distrusted](super::TokenHandle::distrust); 10 s by
    /// default.
    pub fn retry_pause(mut self, pause: Duration) -> Self {
        self.retry_pause = pause;
        self
    }

    /// How long one fetch may take, and so the longest that a request waits for it; 10 s by
    /// default, a year at the most.
    pub fn fetch_timeout(mut self, timeout: Duration) -> Self {
        self.fetch_timeout = timeout.min(FOREVER);
        self
    }

    /// How many audiences are held; 1,024 by default, at least 1. See the
    /// [module's docs](super) for what happens at the bound.
    pub fn max_audiences(mut self, most: usize) -> Self {
        self.max_audiences = most;
        self
    }

    /// How many first tokens are fetched at once, and how many refreshed beside them; 64 each by
    /// default, at least 1.
    ///
    /// Further audiences wait their turn, within the fetch timeout. When as many wait as there may
    /// be audiences, the next fail at once with
    /// [`TooManyAudiences`](crate::TokenErrorKind::TooManyAudiences).
    pub fn max_fetches(mut self, most: usize) -> Self {
        self.max_fetches = most;
        self
    }

    /// The cache. Needs no runtime.
    #[must_use]
    pub fn build(self) -> TokenCache {
        TokenCache {
            table: Arc::new(Table::new(self.max_audiences)),
            engine: Arc::new(Engine {
                source: Arc::new(self.source),
                clock: self.clock,
                schedule: Schedule {
                    margin: self.refresh_margin,
                    pause: self.retry_pause,
                },
                jitter: self
                    .jitter
                    .map_or_else(Jitter::from_entropy, Jitter::seeded),
                refresh_jitter: self.refresh_jitter,
                fetch_timeout: self.fetch_timeout,
                limits: Limits::new(self.max_fetches, self.max_audiences),
                meter: Meter::new(),
            }),
        }
    }
}

impl<S> fmt::Debug for TokenCacheBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCacheBuilder")
            .field("refresh_margin", &self.refresh_margin)
            .field("retry_pause", &self.retry_pause)
            .field("fetch_timeout", &self.fetch_timeout)
            .field("max_audiences", &self.max_audiences)
            .field("max_fetches", &self.max_fetches)
            .finish_non_exhaustive()
    }
}

const DEFAULT_FETCH_TIMEOUT: Duration = Duration::from_secs(10);
const DEFAULT_MAX_AUDIENCES: usize = 1024;
const DEFAULT_MAX_FETCHES: usize = 64;
const DEFAULT_REFRESH_JITTER: Duration = Duration::from_secs(60);
