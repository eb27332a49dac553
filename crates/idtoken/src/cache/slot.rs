//! One audience: its token, read without a lock, and what is known of its failures.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwapOption, Guard};
use http::HeaderValue;
use tokio::time::Instant;

use super::claim::Claim;
use super::engine::{Engine, GRACE};
use super::schedule::{Freshness, LONGEST_BACK_OFF, Plan, Schedule};
use crate::audience::Audience;
use crate::clock::unix_millis;
use crate::error::{SourceError, TokenError};
use crate::flight::Flight;

/// All that the cache holds for one audience.
pub(crate) struct Slot {
    pub(crate) audience: Audience,
    /// What fetches for it; here, so that a handle is one reference count.
    pub(super) engine: Arc<Engine>,
    pub(crate) flight: Flight<Result<Arc<Held>, TokenError>>,
    held: ArcSwapOption<Held>,
    pub(crate) refresh: Claim,
    failure: Mutex<Option<Failure>>,
    /// How often it was asked for again, less the times that the eviction hand has passed.
    touches: AtomicU8,
}

/// A token ready to be sent.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) bearer: HeaderValue,
    pub(crate) plan: Plan,
    /// By the monotonic clock, which does not step back.
    arrived: Instant,
    /// When both clocks were last asked, in milliseconds since 1970, with [`NOT_BELIEVED`] unless
    /// they said that the token is fresh.
    looked_at: AtomicU64,
    /// The wall clock was seen to step back. It stays suspect when it has caught up with itself.
    clock_stepped: AtomicBool,
    /// Refused by an upstream: not to be handed out again while a newer one can be had.
    distrusted: AtomicBool,
}

impl Held {
    pub(crate) fn new(bearer: HeaderValue, plan: Plan) -> Self {
        let stays_fresh = plan.freshness(BELIEVED) == Freshness::Fresh;
        let looked_at = look_at(unix_millis(plan.received_at), stays_fresh);
        Self {
            bearer,
            plan,
            arrived: Instant::now(),
            looked_at: AtomicU64::new(looked_at),
            clock_stepped: AtomicBool::new(false),
            distrusted: AtomicBool::new(false),
        }
    }

    /// Whether the token may be sent at `now_ms`, in milliseconds since 1970, without a closer look.
    ///
    /// Two clocks are asked: the wall clock may step back, and the monotonic one stands still while
    /// the machine is suspended. Once they have said that the token is fresh, the wall clock is
    /// believed alone for the next moment, so that a busy handle seldom pays for both.
    pub(crate) fn is_believed(&self, now_ms: u64) -> bool {
        let looked_at = self.looked_at.load(Ordering::Relaxed);
        now_ms.wrapping_sub(looked_at) < BELIEVED_MS && !self.distrusted.load(Ordering::Relaxed)
    }

    /// Where the token stands at `now`.
    fn freshness(&self, now: SystemTime) -> Freshness {
        let now_ms = unix_millis(now);
        let looked_at = self.looked_at.load(Ordering::Relaxed);
        if now_ms.wrapping_sub(looked_at) < BELIEVED_MS {
            return Freshness::Fresh;
        }
        if now_ms.saturating_add(STEP_BACK_MS) < looked_at & !NOT_BELIEVED {
            self.clock_stepped.store(true, Ordering::Relaxed);
        }
        let age = self.age(now);
        let freshness = match self.plan.freshness(age) {
            // A machine that slept as long as its clock steps back fools both clocks: the token
            // goes on being served while a new one settles the matter.
            Freshness::Fresh if self.clock_stepped.load(Ordering::Relaxed) => Freshness::Due,
            freshness => freshness,
        };
        let stays_fresh = freshness == Freshness::Fresh
            && self.plan.freshness(age.saturating_add(BELIEVED)) == Freshness::Fresh;
        // Else a clock that has stepped back would be believed once more when it gets there again.
        let look = look_at(now_ms, stays_fresh);
        if look != looked_at {
            self.looked_at.store(look, Ordering::Relaxed);
        }
        freshness
    }

    /// How long ago the token came, by the clock that says more.
    fn age(&self, now: SystemTime) -> Duration {
        let by_wall_clock = now.duration_since(self.plan.received_at);
        by_wall_clock
            .unwrap_or_default()
            .max(self.arrived.elapsed())
    }
}

impl Slot {
    pub(super) fn new(audience: Audience, engine: Arc<Engine>) -> Self {
        // A flight that outlives its own timeout by this much has lost its runtime.
        let flight = Flight::new(engine.fetch_timeout + GRACE);
        Self {
            audience,
            engine,
            flight,
            held: ArcSwapOption::empty(),
            refresh: Claim::new(),
            failure: Mutex::new(None),
            touches: AtomicU8::new(0),
        }
    }

    /// What was fetched last, good or not.
    pub(crate) fn held(&self) -> Guard<Option<Arc<Held>>> {
        self.held.load()
    }

    /// The token held, if it may be sent at `now`, and whether a refresh is due beside it.
    pub(crate) fn read(&self, now: SystemTime) -> Option<(Arc<Held>, Freshness)> {
        let held = self.usable(now)?;
        let freshness = held.freshness(now);
        (freshness != Freshness::Dead).then_some((held, freshness))
    }

    /// The token held, if it may be sent at `now`.
    pub(crate) fn usable(&self, now: SystemTime) -> Option<Arc<Held>> {
        self.alive(now)
            .filter(|held| !held.distrusted.load(Ordering::Relaxed))
    }

    /// The token held, if it may be sent at `now` and is not due for refresh.
    pub(crate) fn fresh(&self, now: SystemTime) -> Option<Arc<Held>> {
        self.usable(now)
            .filter(|held| held.freshness(now) == Freshness::Fresh)
    }

    /// The token held, if it has not ended at `now`, distrusted or not.
    fn alive(&self, now: SystemTime) -> Option<Arc<Held>> {
        self.held
            .load_full()
            .filter(|held| held.freshness(now) != Freshness::Dead)
    }

    /// What can be said at `now` without a fetch: a token, or a failure too recent to try again.
    pub(crate) fn known(&self, now: SystemTime) -> Option<Result<Arc<Held>, TokenError>> {
        if let Some(held) = self.usable(now) {
            return Some(Ok(held));
        }
        let error = self.recent_failure(now)?;
        // A distrusted token is better than none.
        Some(self.alive(now).ok_or(error))
    }

    pub(crate) fn store(&self, held: Arc<Held>) {
        self.held.store(Some(held));
        *self.failures() = None;
    }

    /// Notes a failure. The old token, if one may still be sent, is trusted again: it is better
    /// than none.
    pub(crate) fn fail(&self, error: TokenError, now: SystemTime) -> Result<Arc<Held>, TokenError> {
        let alive = self.alive(now);
        let mut failures = self.failures();
        // The back-off grows only while callers go without. A long outage behind a good token must
        // not make them wait once that has ended.
        let in_a_row = match &*failures {
            Some(failure) if alive.is_none() => failure.in_a_row.saturating_add(1),
            _ => 1,
        };
        let asked_for = error.source_error().and_then(SourceError::retry_after);
        let pause = Schedule::back_off(in_a_row).max(asked_for.unwrap_or_default());
        *failures = Some(Failure {
            error: error.clone(),
            in_a_row,
            at: now,
            noted: Instant::now(),
            pause: pause.min(LONGEST_BACK_OFF),
        });
        drop(failures);
        let Some(held) = alive else {
            return Err(error);
        };
        held.distrusted.store(false, Ordering::Relaxed);
        Ok(held)
    }

    /// The last failure, while it is too soon to try again.
    pub(crate) fn recent_failure(&self, now: SystemTime) -> Option<TokenError> {
        let failures = self.failures();
        let failure = failures.as_ref()?;
        // Recent by both clocks: one that steps back must not make it recent once more.
        let age = now.duration_since(failure.at).ok()?;
        (age.max(failure.noted.elapsed()) < failure.pause).then(|| failure.error.clone())
    }

    /// Stops handing out `bearer`, unless it came within the last `pause`: an upstream that refuses
    /// everything must not turn each of its answers into a fetch.
    ///
    /// Returns whether asking again may give another token.
    pub(crate) fn distrust(&self, bearer: &HeaderValue, now: SystemTime, pause: Duration) -> bool {
        let held = self.held.load();
        let Some(held) = held.as_ref() else {
            return true;
        };
        if held.bearer != *bearer {
            return true;
        }
        let may_change = held.age(now) >= pause;
        if may_change {
            held.distrusted.store(true, Ordering::Relaxed);
        }
        may_change
    }

    /// Notes a use, for eviction. Written only when it changes, to keep the cache line shared; that
    /// one of two at once may get lost does no harm.
    pub(crate) fn touch(&self) {
        let touches = self.touches.load(Ordering::Relaxed);
        if touches < MOST_TOUCHES {
            self.touches.store(touches + 1, Ordering::Relaxed);
        }
    }

    /// Whether it was used since the eviction hand passed often enough, which it does hereby.
    pub(crate) fn take_touch(&self) -> bool {
        let touches = self.touches.load(Ordering::Relaxed);
        self.touches
            .store(touches.saturating_sub(1), Ordering::Relaxed);
        touches > 0
    }

    /// Whether it was asked for at least twice after it came. The count starts anew, with one to its
    /// credit.
    pub(crate) fn is_regular(&self) -> bool {
        self.touches.swap(1, Ordering::Relaxed) > 1
    }

    fn failures(&self) -> MutexGuard<'_, Option<Failure>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Failure {
    error: TokenError,
    in_a_row: u32,
    at: SystemTime,
    noted: Instant,
    pause: Duration,
}

/// For how long after a look at both clocks the wall clock is believed alone. A token is served past
/// its end only by a step back to within this very moment, and for no longer than it.
const BELIEVED: Duration = Duration::from_millis(BELIEVED_MS);
const BELIEVED_MS: u64 = 100;

/// With this bit a look is longer ago than any clock can tell.
const NOT_BELIEVED: u64 = 1 << 63;

fn look_at(now_ms: u64, is_believed: bool) -> u64 {
    if is_believed {
        now_ms
    } else {
        now_ms | NOT_BELIEVED
    }
}

/// A clock corrected by less than this is not worth a fetch.
const STEP_BACK_MS: u64 = 60_000;

/// As in S3-FIFO: what is in use outlives a few rounds of the eviction hand, and no more.
const MOST_TOUCHES: u8 = 3;
