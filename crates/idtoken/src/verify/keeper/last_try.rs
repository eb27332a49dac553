//! PURE: how the last fetch went, and what that means for the next.

use std::time::{Duration, SystemTime};

use super::freshness::elapsed;
use super::{FetchOutcome, KeysUnavailable};

/// The last fetch, which holds back the next.
#[derive(Clone, Default)]
pub(super) struct LastTry {
    pub(super) at: Option<SystemTime>,
    pub(super) pause: Duration,
    pub(super) failures: u32,
    /// `None` while it is under way, and for good when it was lost.
    pub(super) outcome: Option<FetchOutcome>,
    /// The last failure with no success since, and for how long the endpoint counts as down.
    pub(super) failed: Option<(SystemTime, Duration)>,
}

impl LastTry {
    /// The outcome to make do with, while it is too early for another fetch.
    pub(super) fn holds_back(&self, now: SystemTime) -> Option<FetchOutcome> {
        let is_recent = elapsed(self.at?, now)? < self.pause;
        let outcome = || self.outcome.clone();
        is_recent.then(|| outcome().unwrap_or_else(|| Err(KeysUnavailable::interrupted())))
    }

    /// The failure to make do with. Where there are no keys, nothing else is a reason to wait.
    pub(super) fn failure(&self, now: SystemTime) -> Option<KeysUnavailable> {
        self.outcome.as_ref()?.as_ref().err()?;
        self.holds_back(now)?.err()
    }

    pub(super) fn has_failed_lately(&self, now: SystemTime) -> bool {
        self.failed
            .is_some_and(|(at, span)| elapsed(at, now).is_some_and(|elapsed| elapsed < span))
    }
}
