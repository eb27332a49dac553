//! Why keys are not to be had.

use std::sync::Arc;
use std::time::Duration;

use super::fetch::FetchError;
use super::shared::COLD_PAUSE;
use crate::flight::FlightError;
use crate::verify::error::VerifyError;

/// Why keys are not to be had, shared by all who asked.
#[derive(Clone, Debug)]
pub(crate) struct KeysUnavailable {
    pub(super) source: Arc<dyn std::error::Error + Send + Sync>,
    pub(super) retry_after: Duration,
}

impl KeysUnavailable {
    pub(crate) fn interrupted() -> Self {
        FetchError::Interrupted.into()
    }
}

impl From<FlightError> for KeysUnavailable {
    fn from(error: FlightError) -> Self {
        match error {
            FlightError::Lost => FetchError::Interrupted.into(),
            FlightError::NoRuntime => FetchError::NoRuntime.into(),
        }
    }
}

impl From<FetchError> for KeysUnavailable {
    fn from(error: FetchError) -> Self {
        Self {
            source: Arc::new(error),
            retry_after: COLD_PAUSE,
        }
    }
}

impl From<KeysUnavailable> for VerifyError {
    fn from(error: KeysUnavailable) -> Self {
        Self::keys_unavailable(error.source, error.retry_after)
    }
}
