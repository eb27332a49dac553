//! One audience: its token, read without a lock, and what is known of its failures.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use http::HeaderValue;

use super::schedule::{Freshness, Plan, Schedule};
use crate::audience::Audience;
use crate::error::TokenError;
use crate::flight::Flight;

/// All that the cache holds for one audience.
pub(crate) struct Slot {
    pub(crate) audience: Audience,
    pub(crate) flight: Flight<Result<Arc<Held>, TokenError>>,
    held: ArcSwapOption<Held>,
    /// Milliseconds since 1970 before which no refresh is claimed.
    next_try: AtomicU64,
    failure: Mutex<Option<Failure>>,
    /// Asked for again since the eviction hand last passed.
    touched: AtomicBool,
}

/// A token ready to be sent.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) bearer: HeaderValue,
    pub(crate) plan: Plan,
    /// Refused by an upstream: not to be handed out again while a newer one can be had.
    distrusted: AtomicBool,
}

/// What a look at the slot found.
pub(crate) enum Reading {
    /// A token to send, with a refresh to start beside it.
    Due(HeaderValue),
    /// Nothing that may be sent.
    Empty,
    /// A token to send.
    Fresh(HeaderValue),
}

impl Held {
    pub(crate) fn new(bearer: HeaderValue, plan: Plan) -> Self {
        Self {
            bearer,
            plan,
            distrusted: AtomicBool::new(false),
        }
    }
}

impl Slot {
    pub(crate) fn new(audience: Audience, flight_limit: Duration) -> Self {
        Self {
            audience,
            flight: Flight::new(flight_limit),
            held: ArcSwapOption::empty(),
            next_try: AtomicU64::new(0),
            failure: Mutex::new(None),
            touched: AtomicBool::new(false),
        }
    }

    /// The hot path: no lock, no allocation.
    pub(crate) fn read(&self, now: SystemTime) -> Reading {
        let held = self.held.load();
        let Some(held) = held.as_ref() else {
            return Reading::Empty;
        };
        match held.plan.freshness(now) {
            _ if held.distrusted.load(Ordering::Relaxed) => Reading::Empty,
            Freshness::Dead => Reading::Empty,
            Freshness::Due => Reading::Due(held.bearer.clone()),
            Freshness::Fresh => Reading::Fresh(held.bearer.clone()),
        }
    }

    /// The token held, if it may be sent at `now`.
    pub(crate) fn usable(&self, now: SystemTime) -> Option<Arc<Held>> {
        let held = self.held.load_full()?;
        let trusted = !held.distrusted.load(Ordering::Relaxed);
        (trusted && held.plan.freshness(now) != Freshness::Dead).then_some(held)
    }

    /// Whether the caller may start the refresh that is due: true for one in each pause.
    pub(crate) fn claim_refresh(&self, now: SystemTime, pause: Duration) -> bool {
        let (now, pause) = (millis(now), millis_of(pause));
        let next = self.next_try.load(Ordering::Relaxed);
        // Further ahead than a pause can be: the clock stepped back since, so it binds nobody.
        if next > now && next - now <= pause {
            return false;
        }
        self.next_try
            .compare_exchange(next, now + pause, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    pub(crate) fn store(&self, held: Arc<Held>) {
        self.held.store(Some(held));
        *self.failures() = None;
    }

    /// Notes a failure. The old token, if one may still be sent, is trusted again: it is better
    /// than none.
    pub(crate) fn fail(&self, error: TokenError, now: SystemTime) -> Result<Arc<Held>, TokenError> {
        let mut failures = self.failures();
        let in_a_row = failures
            .as_ref()
            .map_or(1, |failure| failure.in_a_row.saturating_add(1));
        *failures = Some(Failure {
            error: error.clone(),
            in_a_row,
            at: now,
            until: now + Schedule::back_off(in_a_row),
        });
        drop(failures);
        if let Some(held) = self.held.load_full() {
            held.distrusted.store(false, Ordering::Relaxed);
            if held.plan.freshness(now) != Freshness::Dead {
                return Ok(held);
            }
        }
        Err(error)
    }

    /// The last failure, while it is too soon to try again.
    pub(crate) fn recent_failure(&self, now: SystemTime) -> Option<TokenError> {
        let failures = self.failures();
        let failure = failures.as_ref()?;
        (failure.at <= now && now < failure.until).then(|| failure.error.clone())
    }

    /// Stops handing out `bearer`, unless it came within the last `pause`: an upstream that refuses
    /// everything must not turn each of its answers into a fetch.
    pub(crate) fn distrust(&self, bearer: &HeaderValue, now: SystemTime, pause: Duration) {
        let held = self.held.load();
        let Some(held) = held.as_ref() else { return };
        let age = now
            .duration_since(held.plan.received_at)
            .unwrap_or(Duration::MAX);
        if held.bearer == *bearer && age >= pause {
            held.distrusted.store(true, Ordering::Relaxed);
        }
    }

    /// Notes a use, for eviction. Written only when it changes, to keep the cache line shared.
    pub(crate) fn touch(&self) {
        if !self.touched.load(Ordering::Relaxed) {
            self.touched.store(true, Ordering::Relaxed);
        }
    }

    /// Whether it was used since this was last asked.
    pub(crate) fn take_touch(&self) -> bool {
        self.touched.swap(false, Ordering::Relaxed)
    }

    fn failures(&self) -> MutexGuard<'_, Option<Failure>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Failure {
    error: TokenError,
    in_a_row: u32,
    at: SystemTime,
    until: SystemTime,
}

fn millis(time: SystemTime) -> u64 {
    millis_of(
        time.duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default(),
    )
}

fn millis_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 2)
}
