//! One token per audience, fetched once, shared by all, refreshed before it expires.
//!
//! A [`TokenCache`] sits on a [`TokenSource`]; a [`TokenHandle`] is the cache's view of one
//! audience. Reading a cached token takes no lock and allocates nothing.
//!
//! * **Refresh-ahead.** With less than 225 s left a token is *due*: the call that notices starts a
//!   refresh beside itself and goes on with the token it has. An outage of the source inside that
//!   window goes unseen.
//! * **Driven by requests, not timers.** A serverless instance has no CPU between requests, and an
//!   audience that nobody calls must not be refreshed for ever.
//! * **Single flight.** Callers that find no usable token share one fetch, its token or its error.
//!   The fetch runs in a task of its own; dropping a waiting call leaves it to the others.
//! * **Bounded.** 1,024 audiences by default. At the bound the one missed least goes: an audience
//!   asked for only once or twice goes before one that is in use, and one that a [`TokenHandle`]
//!   holds does not go at all. When everything held is in use, a further handle works but shares
//!   with none.
//! * **Recovery.** After a failure the next demand tries again, after a pause of 1 s that doubles
//!   to 30 s; until then callers get the same error at once. No failure is for good.
//!
//! ```
//! use idtoken::{Audience, IdToken, SourceError, TokenCache, TokenSource};
//!
//! # struct Source;
//! # impl TokenSource for Source {
//! #     async fn fetch(&self, _: &Audience) -> Result<IdToken, SourceError> { unimplemented!() }
//! # }
//! # async fn run(source: Source) -> Result<(), Box<dyn std::error::Error>> {
//! let tokens = TokenCache::new(source);
//! let hello = tokens.handle(&Audience::new("https://hello-abc.a.run.app")?);
//! let header = hello.bearer().await?;
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::HeaderValue;
use tokio::time::{Instant, sleep, timeout_at};

pub use self::builder::TokenCacheBuilder;
use self::engine::{Engine, FOREVER};
use self::slot::Slot;
use self::table::Table;
use crate::audience::Audience;
use crate::error::TokenError;
use crate::source::TokenSource;

mod builder;
mod claim;
mod engine;
mod meter;
mod schedule;
mod slot;
mod table;
#[cfg(test)]
mod tests;

/// ID tokens for any number of audiences, from one source. Cloning shares the cache.
#[derive(Clone)]
pub struct TokenCache {
    table: Arc<Table>,
    engine: Arc<Engine>,
}

impl TokenCache {
    /// A cache over `source`, with the defaults of [`TokenCache::builder`]. Needs no runtime.
    pub fn new(source: impl TokenSource) -> Self {
        Self::builder(source).build()
    }

    /// Sets clock, margins, limits.
    pub fn builder<S: TokenSource>(source: S) -> TokenCacheBuilder<S> {
        TokenCacheBuilder::new(source)
    }

    /// The cache's view of one audience, to be kept and cloned. Nothing is fetched yet.
    #[must_use]
    pub fn handle(&self, audience: &Audience) -> TokenHandle {
        let slot = self.table.get_or_insert(audience, || {
            Slot::new(audience.clone(), Arc::clone(&self.engine))
        });
        self.engine.meter.audiences(self.table.len());
        TokenHandle { slot }
    }

    /// The handle of an audience that is held already, without allocating or locking.
    #[must_use]
    pub fn get(&self, audience: &str) -> Option<TokenHandle> {
        let slot = self.table.get(audience)?;
        Some(TokenHandle { slot })
    }

    /// How many audiences are held.
    #[must_use]
    pub fn audiences(&self) -> usize {
        self.table.len()
    }

    /// Fetches the tokens of `audiences` side by side, so that the first requests find them.
    ///
    /// Dropping the future leaves the fetches under way.
    ///
    /// # Errors
    ///
    /// The first [`TokenError`] met; the other fetches go on regardless, and later calls try again.
    pub async fn warm(
        &self,
        audiences: impl IntoIterator<Item = &Audience>,
    ) -> Result<(), TokenError> {
        for handle in &self.start_all(audiences) {
            handle.bearer().await?;
        }
        Ok(())
    }

    /// Like [`warm`](Self::warm), but tries again after transient failures, for as long as
    /// `patience` lasts.
    ///
    /// The answer is a readiness signal. A service that would rather start late than without its
    /// tokens fails on the error; one that would rather start anyway logs it, since every later
    /// call tries again. [`TokenHandle::is_ready`] answers a readiness probe afterwards.
    ///
    /// ```
    /// use std::time::Duration;
    /// use idtoken::{Audience, TokenCache};
    ///
    /// # async fn run(tokens: TokenCache, hello: Audience) {
    /// if let Err(error) = tokens.warm_within([&hello], Duration::from_secs(5)).await {
    ///     eprintln!("starting without an ID token: {error}");
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The [`TokenError`] of an audience that has no token yet: one that waiting will not mend, or
    /// the last when patience ran out.
    ///
    /// # Panics
    ///
    /// When polled in a tokio runtime that was built without its timer.
    pub async fn warm_within(
        &self,
        audiences: impl IntoIterator<Item = &Audience>,
        patience: Duration,
    ) -> Result<(), TokenError> {
        engine::within_runtime()?;
        let deadline = Instant::now() + patience.min(FOREVER);
        for handle in &self.start_all(audiences) {
            let mut last = Engine::timed_out_after(patience);
            loop {
                match timeout_at(deadline, handle.bearer()).await {
                    Ok(Ok(_)) => break,
                    Ok(Err(error)) if error.is_transient() => last = error,
                    Ok(Err(error)) => return Err(error),
                    Err(_) => return Err(last),
                }
                if timeout_at(deadline, sleep(WARM_PAUSE)).await.is_err() {
                    return Err(last);
                }
            }
        }
        Ok(())
    }

    /// Starts the fetches that are needed, and waits for none.
    fn start_all<'a>(&self, audiences: impl IntoIterator<Item = &'a Audience>) -> Vec<TokenHandle> {
        let handles: Vec<_> = audiences
            .into_iter()
            .map(|audience| self.handle(audience))
            .collect();
        for handle in &handles {
            self.engine.start(&handle.slot);
        }
        handles
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache")
            .field("audiences", &self.audiences())
            .field("engine", &self.engine)
            .finish()
    }
}

/// The cache's view of one audience: cheap to clone, cheap to ask.
#[derive(Clone)]
pub struct TokenHandle {
    slot: Arc<Slot>,
}

impl TokenHandle {
    /// The audience whose tokens this hands out.
    #[must_use]
    pub fn audience(&self) -> &Audience {
        &self.slot.audience
    }

    /// The `Bearer …` header value, if a token is at hand. Never waits, locks or allocates.
    ///
    /// When the token is due for refresh, and this is called inside a tokio runtime, a refresh is
    /// started beside it. The value is marked sensitive.
    #[must_use]
    pub fn try_bearer(&self) -> Option<HeaderValue> {
        self.slot.engine.read(&self.slot)
    }

    /// Whether a token is at hand. Starts nothing.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.slot.usable(self.slot.engine.clock.now()).is_some()
    }

    /// The `Bearer …` header value, fetched if need be.
    ///
    /// # Errors
    ///
    /// The future resolves to a [`TokenError`] when there is no token and none can be had within
    /// the fetch timeout, or when it is polled outside a tokio runtime.
    ///
    /// # Panics
    ///
    /// The future does when it has to wait in a tokio runtime that was built without its timer.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future takes nothing from others who wait for the same token.
    pub fn bearer(&self) -> Acquire {
        match self.try_bearer() {
            Some(bearer) => Acquire {
                outcome: Some(Ok(bearer)),
                waiting: None,
            },
            None => {
                let waiting = Arc::clone(&self.slot.engine).acquire(Arc::clone(&self.slot));
                Acquire {
                    outcome: None,
                    waiting: Some(Box::pin(waiting)),
                }
            }
        }
    }

    /// Says that an upstream refused this value with 401.
    ///
    /// The next call fetches anew, and falls back to this token only if that fails. A token that
    /// arrived within the retry pause stays: an upstream that refuses everything must not turn each
    /// of its answers into a fetch.
    ///
    /// Returns whether asking again may give another token than `bearer`.
    pub fn distrust(&self, bearer: &HeaderValue) -> bool {
        let engine = &self.slot.engine;
        self.slot
            .distrust(bearer, engine.clock.now(), engine.schedule.pause)
    }
}

impl fmt::Debug for TokenHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenHandle")
            .field("audience", self.audience())
            .finish_non_exhaustive()
    }
}

/// The future of [`TokenHandle::bearer`]. Allocates only when a fetch is needed.
#[must_use = "futures do nothing unless polled"]
pub struct Acquire {
    outcome: Option<Result<HeaderValue, TokenError>>,
    waiting: Option<Waiting>,
}

type Waiting = Pin<Box<dyn Future<Output = Result<HeaderValue, TokenError>> + Send>>;

impl Future for Acquire {
    type Output = Result<HeaderValue, TokenError>;

    /// # Panics
    ///
    /// When polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(outcome) = self.outcome.take() {
            return Poll::Ready(outcome);
        }
        let waiting = self.waiting.as_mut().expect("polled after it was ready");
        let outcome = std::task::ready!(waiting.as_mut().poll(cx));
        self.waiting = None;
        Poll::Ready(outcome)
    }
}

impl fmt::Debug for Acquire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquire")
            .field("waiting", &self.waiting.is_some())
            .finish()
    }
}

/// Between two looks of [`TokenCache::warm_within`] at a failure, most of which are answered from
/// the back-off.
const WARM_PAUSE: Duration = Duration::from_millis(100);
