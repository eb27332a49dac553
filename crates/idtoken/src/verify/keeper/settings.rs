//! How keys are kept.

use std::time::Duration;

/// How keys are kept; see the builder's methods for what each means.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeeperSettings {
    pub(crate) refetch_pause: Duration,
    pub(crate) stale_for: Duration,
}

impl Default for KeeperSettings {
    fn default() -> Self {
        Self {
            refetch_pause: Duration::from_secs(10),
            stale_for: Duration::from_secs(12 * 3600),
        }
    }
}
