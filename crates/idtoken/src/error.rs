//! What can go wrong on the way to a token, and what to do about it.
//!
//! [`SourceError`] is what one source says of one try. [`TokenError`] is what a caller of the cache
//! gets: cheap to clone, since one failure is shared with all who waited for it. Neither ever holds
//! a token or a secret. Branch on [`TokenError::kind`] or [`SourceError::kind`]; texts may change.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::StatusCode;

use crate::scrub;
use crate::transport::BoxError;

/// Why the cache has no token to give.
///
/// The request that wanted the token must not be sent without it.
#[derive(Clone)]
pub struct TokenError(Arc<Inner>);

impl TokenError {
    pub(crate) fn new(kind: TokenErrorKind, message: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            kind,
            message: message.into(),
            source: None,
        }))
    }

    pub(crate) fn from_source(error: SourceError) -> Self {
        Self(Arc::new(Inner {
            kind: TokenErrorKind::Source(error.kind()),
            message: "no ID token could be had".to_owned(),
            source: Some(error),
        }))
    }

    /// What went wrong, to branch on.
    #[must_use]
    pub fn kind(&self) -> TokenErrorKind {
        self.0.kind
    }

    /// Whether the same call may succeed a little later with nothing changed by anyone.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self.kind() {
            TokenErrorKind::Interrupted
            | TokenErrorKind::Timeout
            | TokenErrorKind::TooManyAudiences => true,
            TokenErrorKind::Source(kind) => kind == SourceErrorKind::Transient,
            TokenErrorKind::Clock | TokenErrorKind::NoRuntime | TokenErrorKind::WrongAudience => {
                false
            }
        }
    }

    /// The source's own account, when a source failed.
    #[must_use]
    pub fn source_error(&self) -> Option<&SourceError> {
        self.0.source.as_ref()
    }
}

impl fmt::Debug for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenError")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("source", &self.0.source)
            .finish()
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl Error for TokenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_ref().map(|source| source as _)
    }
}

struct Inner {
    kind: TokenErrorKind,
    message: String,
    source: Option<SourceError>,
}

/// Why the cache has no token to give, to branch on.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum TokenErrorKind {
    /// The token that came had expired on arrival: this machine's clock and Google's disagree.
    Clock,
    /// The fetch was lost: the source panicked, or the runtime it ran on was shut down.
    Interrupted,
    /// Called outside a tokio runtime while a fetch was needed.
    NoRuntime,
    /// The source failed, in this way.
    Source(SourceErrorKind),
    /// The source gave no answer within the cache's fetch timeout.
    Timeout,
    /// As many audiences as the cache may hold are being fetched at this moment.
    TooManyAudiences,
    /// The source gave a token for another audience than the one asked for.
    WrongAudience,
}

/// Why a source gave no token.
///
/// Sources written outside this crate make theirs with [`SourceError::new`] and the `with_`
/// methods:
///
/// ```
/// use idtoken::{SourceError, SourceErrorKind};
///
/// let error = SourceError::new(SourceErrorKind::Misconfigured, "vault", "no role is configured")
///     .with_advice("set VAULT_ROLE to the role that may mint ID tokens");
/// assert_eq!(
///     error.to_string(),
///     "vault: no role is configured; set VAULT_ROLE to the role that may mint ID tokens",
/// );
/// ```
#[derive(Clone)]
pub struct SourceError(Box<Details>);

impl SourceError {
    /// An error of `kind` from the source called `source_name`.
    ///
    /// Anything in `message` that looks like a token is taken out, and it is cut at 500 characters.
    pub fn new(
        kind: SourceErrorKind,
        source_name: impl Into<String>,
        message: impl AsRef<str>,
    ) -> Self {
        Self(Box::new(Details {
            kind,
            source_name: source_name.into(),
            message: scrub::excerpt(message.as_ref()),
            endpoint: None,
            status: None,
            code: None,
            tries: 1,
            retry_after: None,
            clock_skew: None,
            advice: None,
            cause: None,
        }))
    }

    /// Adds what a person can do about it.
    #[must_use]
    pub fn with_advice(mut self, advice: impl Into<String>) -> Self {
        self.0.advice = Some(advice.into());
        self
    }

    /// Adds the error that caused this one. Its text must hold no secret.
    #[must_use]
    pub fn with_cause(mut self, cause: impl Into<BoxError>) -> Self {
        self.0.cause = Some(Arc::from(cause.into()));
        self
    }

    /// Adds the machine-readable code of the answer, such as `invalid_grant` or
    /// `PERMISSION_DENIED`.
    #[must_use]
    pub fn with_code(mut self, code: impl AsRef<str>) -> Self {
        self.0.code = Some(scrub::excerpt(code.as_ref()));
        self
    }

    /// Adds the host, and port if any, that was asked.
    #[must_use]
    pub fn with_endpoint(mut self, host: impl Into<String>) -> Self {
        self.0.endpoint = Some(host.into());
        self
    }

    /// Adds the status of the answer.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.0.status = Some(status);
        self
    }

    pub(crate) fn with_retry_after(mut self, wait: Option<Duration>) -> Self {
        self.0.retry_after = wait;
        self
    }

    pub(crate) fn with_clock_skew(mut self, skew: Option<ClockSkew>) -> Self {
        self.0.clock_skew = skew;
        self
    }

    pub(crate) fn with_tries(mut self, tries: u32) -> Self {
        self.0.tries = tries;
        self
    }

    /// What went wrong, to branch on.
    #[must_use]
    pub fn kind(&self) -> SourceErrorKind {
        self.0.kind
    }

    /// The name of the source that failed, such as `metadata server`.
    #[must_use]
    pub fn source_name(&self) -> &str {
        &self.0.source_name
    }

    /// The host, and port if any, that was asked.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        self.0.endpoint.as_deref()
    }

    /// The status of the last answer, when there was one.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.0.status
    }

    /// The machine-readable code of the last answer, when it had one.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.0.code.as_deref()
    }

    /// How often the exchange was tried.
    #[must_use]
    pub fn tries(&self) -> u32 {
        self.0.tries
    }

    /// How long the server asked us to wait (`Retry-After`, RFC 9110 §10.2.3).
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// How far this machine's clock was from the server's, when it was more than 30 s.
    #[must_use]
    pub fn clock_skew(&self) -> Option<ClockSkew> {
        self.0.clock_skew
    }

    /// What a person can do about it.
    #[must_use]
    pub fn advice(&self) -> Option<&str> {
        self.0.advice.as_deref()
    }
}

impl fmt::Debug for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceError")
            .field("kind", &self.0.kind)
            .field("message", &format_args!("{self}"))
            .field("cause", &self.0.cause)
            .finish()
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let details = &*self.0;
        write!(f, "{}: {}", details.source_name, details.message)?;
        let mut context = Vec::new();
        if let Some(endpoint) = &details.endpoint {
            context.push(format!("host {endpoint}"));
        }
        if let Some(status) = details.status {
            context.push(format!("status {}", status.as_u16()));
        }
        if let Some(code) = &details.code {
            context.push(code.clone());
        }
        if details.tries > 1 {
            context.push(format!("after {} tries", details.tries));
        }
        if let Some(skew) = details.clock_skew {
            context.push(skew.to_string());
        }
        if !context.is_empty() {
            write!(f, " ({})", context.join(", "))?;
        }
        if let Some(advice) = &details.advice {
            write!(f, "; {advice}")?;
        }
        Ok(())
    }
}

impl Error for SourceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.cause.as_ref().map(|cause| &**cause as _)
    }
}

/// Why a source gave no token, to branch on.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum SourceErrorKind {
    /// The peer answered, but not with what it should: not JSON, no token in it, not Google.
    InvalidAnswer,
    /// Something on this machine is wrong: a file, a variable, an address.
    Misconfigured,
    /// The peer understood and said no. It may say yes later, once a grant is made.
    Refused,
    /// Nobody home, or busy: likely to pass.
    Transient,
}

/// How far this machine's clock is from a server's.
///
/// ```
/// # fn example(error: idtoken::SourceError) {
/// if let Some(skew) = error.clock_skew() {
///     println!("synchronise this machine's clock: the {skew}");
/// }
/// # }
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ClockSkew {
    by: Duration,
    ahead: bool,
}

impl ClockSkew {
    /// The skew between two clocks, if it is more than 30 s.
    pub(crate) fn between(ours: SystemTime, theirs: SystemTime) -> Option<Self> {
        let (by, ahead) = match ours.duration_since(theirs) {
            Ok(by) => (by, true),
            Err(error) => (error.duration(), false),
        };
        (by > TOLERATED_SKEW).then_some(Self { by, ahead })
    }

    /// By how much.
    #[must_use]
    pub fn by(&self) -> Duration {
        self.by
    }

    /// Whether this machine's clock is ahead, rather than behind.
    #[must_use]
    pub fn is_ahead(&self) -> bool {
        self.ahead
    }
}

impl fmt::Display for ClockSkew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = if self.ahead { "ahead of" } else { "behind" };
        write!(
            f,
            "clock is {} s {direction} the server's",
            self.by.as_secs()
        )
    }
}

#[derive(Clone)]
struct Details {
    kind: SourceErrorKind,
    source_name: String,
    message: String,
    endpoint: Option<String>,
    status: Option<StatusCode>,
    code: Option<String>,
    tries: u32,
    retry_after: Option<Duration>,
    clock_skew: Option<ClockSkew>,
    advice: Option<String>,
    cause: Option<Arc<dyn Error + Send + Sync>>,
}

const TOLERATED_SKEW: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_who_where_what_and_what_to_do() {
        let error = SourceError::new(
            SourceErrorKind::Refused,
            "token endpoint",
            "account not found",
        )
        .with_endpoint("oauth2.googleapis.com")
        .with_status(StatusCode::BAD_REQUEST)
        .with_code("invalid_grant")
        .with_tries(3)
        .with_advice("check client_email");
        assert_eq!(
            error.to_string(),
            "token endpoint: account not found (host oauth2.googleapis.com, status 400, \
             invalid_grant, after 3 tries); check client_email",
        );
    }

    #[test]
    fn a_cause_is_in_the_chain_and_not_in_the_text() {
        let cause = std::io::Error::other("disk on fire");
        let error = SourceError::new(SourceErrorKind::Misconfigured, "key file", "cannot be read")
            .with_cause(cause);
        assert!(!error.to_string().contains("fire"));
        assert_eq!(error.source().unwrap().to_string(), "disk on fire");
        let shared = TokenError::from_source(error);
        assert!(!shared.to_string().contains("disk"));
        assert_eq!(
            shared.source().unwrap().source().unwrap().to_string(),
            "disk on fire"
        );
    }

    #[test]
    fn a_token_in_a_message_does_not_stay_there() {
        let jwt = "eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJhIn0.c2lnbmF0dXJl";
        let error = SourceError::new(
            SourceErrorKind::InvalidAnswer,
            "metadata server",
            format!("got {jwt} instead"),
        );
        assert!(!format!("{error} {error:?}").contains("eyJ"), "{error}");
    }
}
