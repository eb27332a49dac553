//! One fetch of a key set: three tries, each with a time limit.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::ACCEPT;
use http::{Request, Response, StatusCode, Uri};
use tokio::time::{sleep, timeout};

use super::freshness;
use crate::jitter::Jitter;
use crate::transport::{SharedTransport, TransportError, TransportErrorKind};
use crate::verify::keys::{KeySet, KeySetError};

/// The keys at `url`, and for how long they may be kept.
pub(super) async fn fetch(
    transport: &SharedTransport,
    url: &Uri,
    jitter: &Jitter,
) -> Result<(KeySet, Duration), FetchError> {
    let mut pause = FIRST_PAUSE;
    let mut tries = 1;
    loop {
        match fetch_once(transport, url).await {
            Err(error) if error.is_transient() && tries < MAX_TRIES => {
                tracing::debug!(%url, %error, "key fetch failed, will be tried again");
            }
            outcome => return outcome,
        }
        sleep(jitter.about(pause)).await;
        pause *= 2;
        tries += 1;
    }
}

async fn fetch_once(
    transport: &SharedTransport,
    url: &Uri,
) -> Result<(KeySet, Duration), FetchError> {
    let mut request = Request::new(Bytes::new());
    *request.uri_mut() = url.clone();
    request
        .headers_mut()
        .insert(ACCEPT, http::HeaderValue::from_static("application/json"));
    let response = timeout(TRY_LIMIT, transport.send(request))
        .await
        .map_err(|_| FetchError::Timeout)?
        .map_err(FetchError::Transport)?;
    read(&response)
}

/// PURE: what the endpoint's answer means.
fn read(response: &Response<Bytes>) -> Result<(KeySet, Duration), FetchError> {
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status()));
    }
    let keys = KeySet::from_json(response.body()).map_err(FetchError::Keys)?;
    Ok((keys, freshness::lifetime(response.headers())))
}

/// Why there are no new keys.
#[derive(Debug)]
pub(super) enum FetchError {
    /// The task that fetched was ended.
    Interrupted,
    /// The answer was no usable key set.
    Keys(KeySetError),
    /// The caller is not inside a tokio runtime.
    NoRuntime,
    /// The endpoint answered with another status than 200.
    Status(StatusCode),
    /// No answer in time.
    Timeout,
    /// No complete answer.
    Transport(TransportError),
}

impl FetchError {
    fn is_transient(&self) -> bool {
        match self {
            Self::Interrupted | Self::Timeout => true,
            Self::Keys(_) | Self::NoRuntime => false,
            Self::Status(status) => {
                status.is_server_error()
                    || *status == StatusCode::TOO_MANY_REQUESTS
                    || *status == StatusCode::REQUEST_TIMEOUT
            }
            Self::Transport(error) => {
                matches!(
                    error.kind(),
                    TransportErrorKind::Connect | TransportErrorKind::Exchange
                )
            }
        }
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interrupted => f.write_str("the key fetch was interrupted"),
            Self::Keys(_) => f.write_str("the key endpoint's answer is unusable"),
            Self::NoRuntime => f.write_str("keys can only be fetched inside a tokio runtime"),
            Self::Status(status) => write!(f, "the key endpoint answered {}", status.as_u16()),
            Self::Timeout => f.write_str("the key endpoint did not answer in time"),
            Self::Transport(_) => f.write_str("the key endpoint could not be reached"),
        }
    }
}

impl Error for FetchError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Keys(error) => Some(error),
            Self::Transport(error) => Some(error),
            Self::Interrupted | Self::NoRuntime | Self::Status(_) | Self::Timeout => None,
        }
    }
}

const MAX_TRIES: u32 = 3;
const TRY_LIMIT: Duration = Duration::from_secs(3);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
