//! One HTTP exchange done properly: tries, time limits, back-off, and errors that say who and where.

use std::time::Duration;

use bytes::Bytes;
use http::header::{DATE, RETRY_AFTER};
use http::{Request, Response, StatusCode};
use tokio::time::{Instant, sleep, timeout};

use crate::clock::Clock;
use crate::error::{ClockSkew, SourceError, SourceErrorKind};
use crate::jitter::Jitter;
use crate::transport::{SharedTransport, TransportError, TransportErrorKind};

/// How hard an exchange is tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The most tries.
    pub(crate) tries: u32,
    /// How long one try may take, from connecting to the last byte.
    pub(crate) per_try: Duration,
    /// How long all tries and the pauses between them may take.
    pub(crate) total: Duration,
}

impl Default for Limits {
    /// Five tries within nine seconds: just inside the cache's fetch timeout of ten, so that the
    /// error which names the endpoint is the one that people see.
    fn default() -> Self {
        Self {
            tries: 5,
            per_try: Duration::from_secs(3),
            total: Duration::from_secs(9),
        }
    }
}

impl Limits {
    /// When all must be over that begins now.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.total.min(LONGEST_TOTAL)
    }
}

/// Who asks, through what, how hard.
pub(crate) struct Exchange<'a> {
    pub(crate) source_name: &'static str,
    pub(crate) transport: &'a SharedTransport,
    pub(crate) limits: Limits,
    pub(crate) clock: &'a dyn Clock,
    /// When the errand that this exchange is a part of must be over.
    pub(crate) deadline: Option<Instant>,
}

impl Exchange<'_> {
    /// Sends `request` until `read` makes something of the answer.
    ///
    /// Only [`SourceErrorKind::Transient`] errors are tried again. The first pause is about a tenth
    /// of a second, so one refused connection at start-up costs little; each next one doubles, and
    /// a server's `Retry-After` is honoured when it fits into the time left.
    pub(crate) async fn run<T>(
        &self,
        request: impl Fn() -> Result<Request<Bytes>, SourceError>,
        read: impl Fn(&Response<Bytes>) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        let deadline = self.limits.deadline();
        let deadline = self.deadline.map_or(deadline, |whole| whole.min(deadline));
        let mut pause = FIRST_PAUSE;
        let mut tries = 1;
        loop {
            let request = request()?;
            let host = host_of(&request);
            let left = deadline.saturating_duration_since(Instant::now());
            let error = match self
                .try_once(request, left.min(self.limits.per_try), &read)
                .await
            {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let error = match error.endpoint() {
                Some(_) => error,
                None => error.with_endpoint(host),
            };
            let error = error.with_tries(tries);
            // A server that asks for no pause at all gets one all the same.
            let wait = Jitter::from_entropy()
                .about(pause)
                .max(error.retry_after().unwrap_or_default());
            let too_late = wait >= deadline.saturating_duration_since(Instant::now());
            if error.kind() != SourceErrorKind::Transient || tries >= self.limits.tries || too_late
            {
                return Err(error);
            }
            tracing::debug!(error = %error, ?wait, "exchange failed, will be tried again");
            sleep(wait).await;
            pause *= 2;
            tries += 1;
        }
    }

    async fn try_once<T>(
        &self,
        request: Request<Bytes>,
        limit: Duration,
        read: &impl Fn(&Response<Bytes>) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        match timeout(limit, self.transport.send(request)).await {
            Ok(Ok(response)) => {
                let skew = self.clock_skew(&response);
                read(&response).map_err(|error| {
                    error
                        .with_retry_after(retry_after(&response))
                        .with_clock_skew(skew)
                })
            }
            Ok(Err(error)) => Err(self.transport_error(error)),
            Err(_) => {
                let error = |message: String| {
                    SourceError::new(SourceErrorKind::Transient, self.source_name, message)
                };
                Err(if limit.is_zero() {
                    error("what came before it left no time to ask".to_owned())
                } else {
                    error(format!("no answer within {:.1} s", limit.as_secs_f64()))
                        .with_advice(UNREACHABLE)
                })
            }
        }
    }

    /// How far this machine's clock is from the server's, when that is far; found for free in the
    /// answer's `Date` (RFC 9110 §6.6.1).
    fn clock_skew(&self, response: &Response<Bytes>) -> Option<ClockSkew> {
        let date = response.headers().get(DATE)?.to_str().ok()?;
        let skew = ClockSkew::between(self.clock.now(), httpdate::parse_http_date(date).ok()?)?;
        tracing::warn!(source_name = self.source_name, %skew, "a clock is off");
        Some(skew)
    }

    fn transport_error(&self, error: TransportError) -> SourceError {
        let kind = match error.kind() {
            TransportErrorKind::Connect | TransportErrorKind::Exchange => {
                SourceErrorKind::Transient
            }
            TransportErrorKind::TooLarge => SourceErrorKind::InvalidAnswer,
            TransportErrorKind::Unusable => SourceErrorKind::Misconfigured,
        };
        let unreachable = error.kind() == TransportErrorKind::Connect;
        let error =
            SourceError::new(kind, self.source_name, "the exchange failed").with_cause(error);
        if unreachable {
            error.with_advice(UNREACHABLE)
        } else {
            error
        }
    }
}

/// Whether a status is worth another try: the lists of Google's own libraries together.
pub(crate) fn is_transient_status(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 499 | 500 | 502 | 503 | 504)
}

/// The error for an answer whose status is not success, with its text for people.
pub(crate) fn status_error(
    source_name: &'static str,
    response: &Response<Bytes>,
    message: &str,
) -> SourceError {
    let status = response.status();
    let kind = if is_transient_status(status) {
        SourceErrorKind::Transient
    } else {
        SourceErrorKind::Refused
    };
    SourceError::new(kind, source_name, message).with_status(status)
}

/// Host and port of a request's URI, for error texts.
fn host_of(request: &Request<Bytes>) -> String {
    let uri = request.uri();
    match (uri.host(), uri.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => "none".to_owned(),
    }
}

/// The seconds form only: the date form would need the peer's clock to agree with ours.
fn retry_after(response: &Response<Bytes>) -> Option<Duration> {
    let seconds = response
        .headers()
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds))
}

const UNREACHABLE: &str =
    "can this host be reached from here? look at network, DNS, firewall and proxy variables";

/// A limit without measure is cut to this, so that a deadline can be reckoned with.
const LONGEST_TOTAL: Duration = Duration::from_secs(24 * 3_600);

const FIRST_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
