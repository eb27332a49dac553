//! When the source was asked for one audience, and whether that was too often.

use std::time::Duration;

use tokio::time::Instant;

/// All fetches for one audience, in order.
#[derive(Default)]
pub(crate) struct Ledger {
    fetches: Vec<Fetch>,
    living_until: Option<Instant>,
}

struct Fetch {
    started: Instant,
    /// Whether the cache surely held a living token when it started.
    is_refresh: bool,
    ended: Instant,
    /// How long the cache sends the token that came; None after a failure.
    lasts: Option<Duration>,
}

impl Ledger {
    pub(crate) fn start(&mut self) {
        let now = Instant::now();
        self.fetches.push(Fetch {
            started: now,
            is_refresh: self.living_until.is_some_and(|end| now + CLOSE < end),
            ended: now,
            lasts: None,
        });
    }

    /// The fetch that started last has ended: with a token that has so much left, or without one.
    pub(crate) fn end(&mut self, left: Option<Duration>) {
        let now = Instant::now();
        let lasts = left.map(|left| left - LAST_CALL.min(left / 10));
        if let Some(fetch) = self.fetches.last_mut() {
            fetch.ended = now;
            fetch.lasts = lasts;
        }
        if let Some(lasts) = lasts {
            self.living_until = Some(now + lasts);
        }
    }

    /// `turns_for_all` says that no fetch had to wait for its turn.
    pub(crate) fn check(&self, turns_for_all: bool) {
        for pair in self.fetches.windows(2) {
            let (last, next) = (&pair[0], &pair[1]);
            let pause = next.started - last.ended;
            match last.lasts {
                None => assert!(pause + CLOSE >= BACK_OFF, "{pause:?} after a failure"),
                Some(lasts) => {
                    let due_after = (lasts + LAST_CALL).saturating_sub(MARGIN);
                    let lived = pause + Duration::from_secs(3);
                    assert!(lived >= due_after, "after {pause:?} of {lasts:?}");
                }
            }
        }
        let refreshes = self.fetches.iter().filter(|fetch| fetch.is_refresh);
        let starts: Vec<_> = refreshes.map(|fetch| fetch.started).collect();
        for pair in starts.windows(2) {
            let pause = pair[1] - pair[0];
            assert!(
                !turns_for_all || pause + CLOSE >= PAUSE,
                "{pause:?} between two refreshes"
            );
        }
    }
}

/// What the cache promises, said once more.
const BACK_OFF: Duration = Duration::from_secs(1);
const LAST_CALL: Duration = Duration::from_secs(10);
const MARGIN: Duration = Duration::from_secs(225);
const PAUSE: Duration = Duration::from_secs(10);

/// By how much a drifting clock may be off in one of these.
const CLOSE: Duration = Duration::from_millis(30);
