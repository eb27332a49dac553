//! Fetching for a slot: one attempt from source to slot, and who may start it.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use http::HeaderValue;
use tokio::time::timeout;

use super::schedule::{Schedule, Stale};
use super::slot::{Held, Reading, Slot};
use crate::audience::Audience;
use crate::clock::Clock;
use crate::error::{SourceError, TokenError, TokenErrorKind};
use crate::flight::{Boarding, FlightError};
use crate::jitter::Jitter;
use crate::source::DynTokenSource;
use crate::token::IdToken;

/// What fetching needs, apart from the slots themselves: a fetch under way must not keep alive the
/// slot that it is for.
pub(super) struct Engine {
    pub(super) source: Arc<dyn DynTokenSource>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) schedule: Schedule,
    pub(super) jitter: Jitter,
    pub(super) refresh_jitter: Duration,
    pub(super) fetch_timeout: Duration,
}

impl Engine {
    /// Starts the refresh that is due, unless somebody has within the pause.
    #[cold]
    pub(super) fn refresh(self: &Arc<Self>, slot: &Arc<Slot>, now: SystemTime) {
        if slot.claim_refresh(now, self.schedule.pause) {
            // Outside a runtime nothing can be started; a caller inside one will come.
            let _ = slot.flight.enter(|| None, || self.attempt(slot));
        }
    }

    /// Starts a fetch for a slot that has no usable token, and does not wait for it.
    pub(super) fn start(self: &Arc<Self>, slot: &Arc<Slot>) {
        // Outside a runtime nothing can be started; who then waits for the token is told so.
        let _ = slot
            .flight
            .enter(|| self.known(slot), || self.attempt(slot));
    }

    /// Waits for a token: joins the flight for this slot, or starts it.
    pub(super) async fn acquire(
        self: Arc<Self>,
        slot: Arc<Slot>,
    ) -> Result<HeaderValue, TokenError> {
        // Twice: a flight that was lost with a runtime other than ours is no fault of ours.
        for _ in 0..2 {
            let boarding = slot
                .flight
                .enter(|| self.known(&slot), || self.attempt(&slot));
            let waiter = match boarding {
                Ok(Boarding::Landed(outcome)) => return outcome.map(|held| held.bearer.clone()),
                Ok(Boarding::Wait(waiter)) => waiter,
                Err(error) => return Err(flight_error(error)),
            };
            // The flight keeps to the timeout itself; the grace is for one whose runtime nobody
            // drives any more.
            match timeout(self.fetch_timeout + GRACE, waiter.wait()).await {
                Ok(Ok(outcome)) => return outcome.map(|held| held.bearer.clone()),
                Ok(Err(FlightError::Lost)) => {}
                Ok(Err(error)) => return Err(flight_error(error)),
                Err(_) => return Err(self.timed_out()),
            }
        }
        Err(flight_error(FlightError::Lost))
    }

    /// What can be said without a fetch: a usable token, or a failure too recent to try again.
    fn known(&self, slot: &Slot) -> Option<Result<Arc<Held>, TokenError>> {
        let now = self.clock.now();
        slot.usable(now)
            .map(Ok)
            .or_else(|| slot.recent_failure(now).map(Err))
    }

    /// One attempt, from source to slot. It holds the slot weakly: when nobody is left who could
    /// use the token, the flight is dropped with the slot and takes this future with it.
    fn attempt(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
    ) -> impl Future<Output = Result<Arc<Held>, TokenError>> + Send + use<> {
        let engine = Arc::clone(self);
        let audience = slot.audience.clone();
        let guard = PanicGuard {
            engine: Arc::clone(self),
            slot: Arc::downgrade(slot),
        };
        async move {
            let fetch = engine.source.fetch_boxed(&audience);
            let fetched = timeout(engine.fetch_timeout, fetch).await;
            let now = engine.clock.now();
            let outcome = match fetched {
                Ok(Ok(token)) => engine.admit(&token, &audience, now),
                Ok(Err(error)) => Err(TokenError::from_source(error)),
                Err(_) => Err(engine.timed_out()),
            };
            engine.settle(outcome, &guard.slot, &audience, now)
        }
    }

    /// Checks a token that came, and plans its life.
    fn admit(
        &self,
        token: &IdToken,
        audience: &Audience,
        now: SystemTime,
    ) -> Result<Arc<Held>, TokenError> {
        if !token.serves(audience) {
            return Err(TokenError::new(
                TokenErrorKind::WrongAudience,
                format!("the source gave a token for another audience than {audience}"),
            ));
        }
        let spread = self.jitter.up_to(self.refresh_jitter);
        match self
            .schedule
            .plan(now, token.issued_at(), token.expires_at(), spread)
        {
            Ok(plan) => {
                if plan.clock_behind_by > Duration::from_secs(30) {
                    let behind_by_s = plan.clock_behind_by.as_secs();
                    tracing::warn!(behind_by_s, "this machine's clock is behind Google's");
                }
                Ok(Arc::new(Held::new(token.bearer().clone(), plan)))
            }
            Err(Stale { by }) => Err(TokenError::new(
                TokenErrorKind::Clock,
                format!(
                    "the token had expired {} s before it arrived; this machine's clock is \
                     probably ahead by at least that much",
                    by.as_secs()
                ),
            )),
        }
    }

    /// Writes the outcome into the slot. A failure while the old token is still good is not one
    /// for the callers.
    fn settle(
        &self,
        outcome: Result<Arc<Held>, TokenError>,
        slot: &Weak<Slot>,
        audience: &Audience,
        now: SystemTime,
    ) -> Result<Arc<Held>, TokenError> {
        if let Err(error) = &outcome {
            let cause = error.source_error().map(SourceError::to_string);
            tracing::warn!(%audience, %error, cause, "no new ID token");
        }
        let Some(slot) = slot.upgrade() else {
            return outcome;
        };
        match outcome {
            Ok(held) => {
                slot.store(Arc::clone(&held));
                Ok(held)
            }
            Err(error) => slot.fail(error, now),
        }
    }

    fn timed_out(&self) -> TokenError {
        let limit_s = self.fetch_timeout.as_secs_f64();
        TokenError::new(
            TokenErrorKind::Timeout,
            format!("no ID token came within {limit_s:.1} s"),
        )
    }

    /// Reads the slot as of now.
    pub(super) fn read(&self, slot: &Slot) -> (Reading, SystemTime) {
        let now = self.clock.now();
        (slot.read(now), now)
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("schedule", &self.schedule)
            .field("fetch_timeout", &self.fetch_timeout)
            .finish_non_exhaustive()
    }
}

/// A source that panics is a failure like any other: noted, and not tried again at once.
struct PanicGuard {
    engine: Arc<Engine>,
    slot: Weak<Slot>,
}

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(slot) = self.slot.upgrade()
        {
            let error = TokenError::new(TokenErrorKind::Interrupted, "the token source panicked");
            // Nobody waits for this answer: the flight is lost, and its waiters look again.
            let _ = slot.fail(error, self.engine.clock.now());
        }
    }
}

fn flight_error(error: FlightError) -> TokenError {
    match error {
        FlightError::Lost => TokenError::new(
            TokenErrorKind::Interrupted,
            "the token fetch was interrupted",
        ),
        FlightError::NoRuntime => TokenError::new(
            TokenErrorKind::NoRuntime,
            "a token fetch is needed, which takes a tokio runtime",
        ),
    }
}

const GRACE: Duration = Duration::from_millis(100);
