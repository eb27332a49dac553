//! Fetching for a slot: one attempt from source to slot, and who may start it.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use http::HeaderValue;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::Instrument;

use super::meter::Meter;
use super::schedule::{Freshness, Schedule, Stale};
use super::slot::{Held, Slot};
use crate::audience::Audience;
use crate::clock::{Clock, unix_millis};
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
    pub(super) limits: Limits,
    pub(super) meter: Meter,
}

/// How much may go on at once. Refreshes have turns of their own, so that strangers who queue for
/// their first token do not let the tokens of others run out.
pub(super) struct Limits {
    waiting: Semaphore,
    first_fetches: Semaphore,
    refreshes: Semaphore,
}

impl Limits {
    pub(super) fn new(fetches: usize, waiting: usize) -> Self {
        let semaphore = |permits: usize| Semaphore::new(permits.clamp(1, Semaphore::MAX_PERMITS));
        Self {
            waiting: semaphore(waiting),
            first_fetches: semaphore(fetches),
            refreshes: semaphore(fetches),
        }
    }
}

/// What a fetch is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Purpose {
    /// A caller waits for it.
    First,
    /// The old token is still good.
    Refresh,
}

impl Engine {
    /// Reads the slot, and starts the refresh that is due. The hot path: no lock, no allocation.
    pub(super) fn read(self: &Arc<Self>, slot: &Arc<Slot>) -> Option<HeaderValue> {
        let now_ms = self.clock.unix_millis();
        match slot.held().as_ref() {
            Some(held) if held.is_believed(now_ms) => {
                self.meter.hit(now_ms, held.plan.received_at);
                Some(held.bearer.clone())
            }
            _ => self.read_anew(slot),
        }
    }

    /// Reads a slot whose token has to be looked at first.
    #[cold]
    fn read_anew(self: &Arc<Self>, slot: &Arc<Slot>) -> Option<HeaderValue> {
        let now = self.clock.now();
        let (held, freshness) = slot.read(now)?;
        self.meter.hit(unix_millis(now), held.plan.received_at);
        if freshness == Freshness::Due {
            self.refresh(slot, now);
        }
        Some(held.bearer.clone())
    }

    /// Starts the refresh that is due, unless somebody has within the pause.
    #[cold]
    fn refresh(self: &Arc<Self>, slot: &Arc<Slot>, now: SystemTime) {
        // Outside a runtime nothing can be started: the claim is left to a caller inside one.
        if within_runtime().is_ok() && slot.refresh.take(now, self.schedule.pause) {
            // A refresh may have landed since the caller looked, or the source have asked to be left
            // alone for longer than the pause.
            let known = |now| {
                let fresh = slot.fresh(now).map(Ok);
                fresh.or_else(|| slot.recent_failure(now).map(Err))
            };
            let _ = slot.flight.enter(
                || known(self.clock.now()),
                || self.attempt(slot, Purpose::Refresh),
            );
        }
    }

    /// Starts a fetch for a slot that has no usable token, and does not wait for it.
    pub(super) fn start(self: &Arc<Self>, slot: &Arc<Slot>) {
        // Outside a runtime nothing can be started; who then waits for the token is told so.
        let _ = slot.flight.enter(
            || slot.known(self.clock.now()),
            || self.attempt(slot, Purpose::First),
        );
    }

    /// Waits for a token: joins the flight for this slot, or starts it.
    pub(super) async fn acquire(
        self: Arc<Self>,
        slot: Arc<Slot>,
    ) -> Result<HeaderValue, TokenError> {
        within_runtime()?;
        self.meter.miss();
        // The flight keeps to the timeout itself; the grace is for one whose runtime nobody drives
        // any more.
        let deadline = Instant::now() + self.fetch_timeout + GRACE;
        // Twice: a flight that was lost with a runtime other than ours is no fault of ours.
        for _ in 0..2 {
            let boarding = slot.flight.enter(
                || slot.known(self.clock.now()),
                || self.attempt(&slot, Purpose::First),
            );
            let waiter = match boarding {
                Ok(Boarding::Landed(outcome)) => return outcome.map(|held| held.bearer.clone()),
                Ok(Boarding::Wait(waiter)) => waiter,
                Err(error) => return Err(flight_error(error)),
            };
            match timeout_at(deadline, waiter.wait()).await {
                Ok(Ok(outcome)) => return outcome.map(|held| held.bearer.clone()),
                Ok(Err(FlightError::Lost)) => {}
                Ok(Err(error)) => return Err(flight_error(error)),
                Err(_) => return Err(self.timed_out()),
            }
        }
        Err(flight_error(FlightError::Lost))
    }

    /// One attempt, from source to slot. It holds the slot weakly: when nobody is left who could
    /// use the token, the flight is dropped with the slot and takes this future with it.
    fn attempt(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        purpose: Purpose,
    ) -> impl Future<Output = Result<Arc<Held>, TokenError>> + Send + use<> {
        let engine = Arc::clone(self);
        let audience = slot.audience.clone();
        let guard = PanicGuard {
            engine: Arc::clone(self),
            slot: Arc::downgrade(slot),
            purpose,
            started: Instant::now(),
        };
        let span = tracing::debug_span!("fetch_id_token", %audience, ?purpose);
        let attempt = async move {
            let fetched = timeout(engine.fetch_timeout, engine.fetch(&audience, purpose)).await;
            let now = engine.clock.now();
            let outcome = match fetched {
                Ok(Ok(token)) => engine.admit(&token, &audience, now),
                Ok(Err(error)) => Err(error),
                Err(_) => Err(engine.timed_out()),
            };
            engine.report(&outcome, purpose, guard.started.elapsed());
            settle(outcome, &guard.slot, now)
        };
        attempt.instrument(span)
    }

    /// Asks the source, when it is this fetch's turn.
    async fn fetch(&self, audience: &Audience, purpose: Purpose) -> Result<IdToken, TokenError> {
        let _place = match purpose {
            Purpose::First => Some(self.limits.waiting.try_acquire().map_err(|_| {
                TokenError::new(
                    TokenErrorKind::TooManyAudiences,
                    "too many audiences wait for their first token; see `max_audiences` and \
                     `max_fetches`",
                )
            })?),
            Purpose::Refresh => None,
        };
        let turns = match purpose {
            Purpose::First => &self.limits.first_fetches,
            Purpose::Refresh => &self.limits.refreshes,
        };
        // It fails only when closed, which these never are; then there is no bound to keep.
        let _turn = turns.acquire().await.ok();
        let fetched = self.source.fetch_boxed(audience).await;
        fetched.map_err(TokenError::from_source)
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

    /// Tells operators how a fetch ended.
    fn report(&self, outcome: &Result<Arc<Held>, TokenError>, purpose: Purpose, took: Duration) {
        self.meter
            .fetched(purpose, took, outcome.as_ref().err().map(TokenError::kind));
        match outcome {
            Ok(_) => tracing::debug!(took_ms = took.as_millis() as u64, "a new ID token came"),
            Err(error) => {
                let cause = error.source_error().map(SourceError::to_string);
                tracing::warn!(%error, cause, "no new ID token");
            }
        }
    }

    fn timed_out(&self) -> TokenError {
        Self::timed_out_after(self.fetch_timeout)
    }

    pub(super) fn timed_out_after(limit: Duration) -> TokenError {
        let limit_s = limit.as_secs_f64();
        TokenError::new(
            TokenErrorKind::Timeout,
            format!("no ID token came within {limit_s:.1} s"),
        )
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

/// Writes the outcome into the slot. A failure while the old token is still good is not one for the
/// callers.
fn settle(
    outcome: Result<Arc<Held>, TokenError>,
    slot: &Weak<Slot>,
    now: SystemTime,
) -> Result<Arc<Held>, TokenError> {
    let Some(slot) = slot.upgrade() else {
        return outcome;
    };
    match outcome {
        Ok(held) => {
            slot.store(Arc::clone(&held));
            Ok(held)
        }
        // The source was never asked: no reason to back off from it.
        Err(error) if error.kind() == TokenErrorKind::TooManyAudiences => Err(error),
        Err(error) => slot.fail(error, now),
    }
}

/// A source that panics is a failure like any other: told, noted, and not tried again at once.
struct PanicGuard {
    engine: Arc<Engine>,
    slot: Weak<Slot>,
    purpose: Purpose,
    started: Instant,
}

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let error = TokenError::new(TokenErrorKind::Interrupted, "the token source panicked");
            let took = self.started.elapsed();
            // Nobody waits for this answer: the flight is lost, and its waiters look again.
            let _ = settle(Err(error.clone()), &self.slot, self.engine.clock.now());
            // Recorder and subscriber are somebody else's code, and a second panic on the way out
            // of the first would end the process.
            let report = || self.engine.report(&Err(error), self.purpose, took);
            let _ = catch_unwind(AssertUnwindSafe(report));
        }
    }
}

/// Waiting takes a runtime as much as fetching does.
pub(super) fn within_runtime() -> Result<(), TokenError> {
    let found = Handle::try_current().map(drop);
    found.map_err(|_| flight_error(FlightError::NoRuntime))
}

fn flight_error(error: FlightError) -> TokenError {
    match error {
        FlightError::Lost => TokenError::new(
            TokenErrorKind::Interrupted,
            "the token fetch was interrupted: its source panicked, or its runtime ended",
        ),
        FlightError::NoRuntime => TokenError::new(
            TokenErrorKind::NoRuntime,
            "a token fetch is needed, which takes a tokio runtime",
        ),
    }
}

/// How much longer than its timeout a fetch is waited for, and may hold its place.
pub(super) const GRACE: Duration = Duration::from_millis(100);

/// As long as anybody waits: a year, for an `Instant` has an end.
pub(super) const FOREVER: Duration = Duration::from_secs(365 * 86_400);
