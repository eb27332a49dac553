//! Why a request was turned away, for its caller and for the log.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode};

use super::HeaderFault;
use crate::chain::Chain;
use crate::verify::{ClaimError, VerifyError};

/// Why a request was turned away, and how to say so over HTTP.
///
/// | what | status | `WWW-Authenticate` (RFC 6750 §3) |
/// |---|---|---|
/// | no token, or another scheme | 401 | `Bearer` |
/// | malformed header | 400 | `Bearer error="invalid_request"` |
/// | token not accepted | 401 | `Bearer error="invalid_token"` |
/// | authentic but not allowed, or lacking a claim | 403 | `Bearer error="insufficient_scope"` |
/// | keys unavailable | 503 | none, but `Retry-After` |
///
/// The answer names no detail, so that it teaches an attacker nothing. `Display` and
/// [`source`](Error::source) do, for logs; neither ever holds the token.
#[derive(Clone, Debug)]
pub struct Rejection {
    reason: Reason,
}

#[derive(Clone, Debug)]
enum Reason {
    /// The token is good but lacks what the handler wants of it: authentic, not entitled.
    Claims(ClaimError),
    Header(HeaderFault),
    Missing,
    Verify(VerifyError),
}

impl Rejection {
    /// There was no token.
    #[must_use]
    pub fn missing() -> Self {
        Self {
            reason: Reason::Missing,
        }
    }

    /// Whether the request carried no token at all.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self.reason, Reason::Missing)
    }

    /// What was wrong with the token, when there was one.
    #[must_use]
    pub fn verify_error(&self) -> Option<&VerifyError> {
        match &self.reason {
            Reason::Verify(error) => Some(error),
            Reason::Claims(_) | Reason::Header(_) | Reason::Missing => None,
        }
    }

    /// What was wrong with the header, when it was the header.
    #[must_use]
    pub fn header_fault(&self) -> Option<HeaderFault> {
        match &self.reason {
            Reason::Header(fault) => Some(*fault),
            Reason::Claims(_) | Reason::Missing | Reason::Verify(_) => None,
        }
    }

    /// What the handler wants of the claims and did not find, when the token was good.
    #[must_use]
    pub fn claim_error(&self) -> Option<&ClaimError> {
        match &self.reason {
            Reason::Claims(error) => Some(error),
            Reason::Header(_) | Reason::Missing | Reason::Verify(_) => None,
        }
    }

    /// The status to answer with.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match &self.reason {
            Reason::Claims(_) => StatusCode::FORBIDDEN,
            Reason::Header(HeaderFault::WrongScheme) | Reason::Missing => StatusCode::UNAUTHORIZED,
            Reason::Header(_) => StatusCode::BAD_REQUEST,
            Reason::Verify(error) => error.status(),
        }
    }

    /// The value of `WWW-Authenticate`, where the answer needs one.
    #[must_use]
    pub fn challenge(&self) -> Option<HeaderValue> {
        let challenge = match (&self.reason, self.status()) {
            (Reason::Verify(_), StatusCode::UNAUTHORIZED) => r#"Bearer error="invalid_token""#,
            (_, StatusCode::UNAUTHORIZED) => "Bearer",
            (_, StatusCode::BAD_REQUEST) => r#"Bearer error="invalid_request""#,
            (_, StatusCode::FORBIDDEN) => r#"Bearer error="insufficient_scope""#,
            _ => return None,
        };
        Some(HeaderValue::from_static(challenge))
    }

    /// How long the client should wait before it tries again, where that helps.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.verify_error().and_then(VerifyError::retry_after)
    }

    /// The text to answer with.
    #[must_use]
    pub fn body(&self) -> &'static str {
        match self.status() {
            StatusCode::BAD_REQUEST => "malformed credentials",
            StatusCode::FORBIDDEN => "not allowed",
            StatusCode::SERVICE_UNAVAILABLE => "cannot verify credentials at present",
            _ => "valid credentials are required",
        }
    }

    /// Tells whoever runs the server why, at debug level: the reason with its causes, and
    /// [`advice`](VerifyError::advice) where there is any. Never the token.
    pub fn log(&self) {
        tracing::debug!(
            status = self.status().as_u16(),
            reason = %Chain(self),
            advice = self.verify_error().and_then(VerifyError::advice),
            "turned a caller away"
        );
    }

    /// Writes the answer's headers.
    pub fn write_headers(&self, headers: &mut HeaderMap) {
        if let Some(challenge) = self.challenge() {
            headers.insert(http::header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(wait) = self.retry_after() {
            // Rounded up: a client that comes back early comes back in vain.
            let seconds = wait
                .as_secs()
                .saturating_add(u64::from(wait.subsec_nanos() > 0));
            headers.insert(http::header::RETRY_AFTER, seconds.into());
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.reason {
            Reason::Claims(_) => "the token's claims are not as the handler wants them",
            Reason::Header(_) => "the request's token header is malformed",
            Reason::Missing => "the request carries no token",
            Reason::Verify(_) => "the request's token was not accepted",
        })
    }
}

impl Error for Rejection {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.reason {
            Reason::Claims(error) => Some(error),
            Reason::Header(fault) => Some(fault),
            Reason::Missing => None,
            Reason::Verify(error) => Some(error),
        }
    }
}

impl From<ClaimError> for Rejection {
    fn from(error: ClaimError) -> Self {
        Self {
            reason: Reason::Claims(error),
        }
    }
}

impl From<HeaderFault> for Rejection {
    fn from(fault: HeaderFault) -> Self {
        Self {
            reason: Reason::Header(fault),
        }
    }
}

impl From<VerifyError> for Rejection {
    fn from(error: VerifyError) -> Self {
        Self {
            reason: Reason::Verify(error),
        }
    }
}
