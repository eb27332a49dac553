//! What a caller who is turned away gets to see.

use std::error::Error;
use std::fmt;

use axum_core::response::{IntoResponse, Response};
use http::StatusCode;
use idtoken::inbound::Rejection;
use idtoken::verify::{ClaimError, VerifyErrorKind};

/// Why a handler's [`Caller`](crate::Caller) could not be had.
#[derive(Clone, Debug)]
pub struct CallerRejection {
    rejection: Rejection,
    claims: Option<ClaimError>,
}

impl CallerRejection {
    pub(crate) fn token(rejection: Rejection) -> Self {
        Self {
            rejection,
            claims: None,
        }
    }

    /// The token is good, but lacks what the handler wants of it: authentic, not entitled.
    pub(crate) fn claims(error: ClaimError) -> Self {
        let not_allowed = idtoken::VerifyError::from(VerifyErrorKind::NotAllowed);
        Self {
            rejection: not_allowed.into(),
            claims: Some(error),
        }
    }

    /// The status of the response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.rejection.status()
    }

    /// The text of the response; it names no detail.
    #[must_use]
    pub fn body_text(&self) -> String {
        self.rejection.body().to_owned()
    }

    /// Why the request was turned away. Not for the caller's eyes.
    #[must_use]
    pub fn rejection(&self) -> &Rejection {
        &self.rejection
    }
}

impl IntoResponse for CallerRejection {
    fn into_response(self) -> Response {
        tracing::debug!(
            status = self.status().as_u16(),
            reason = %Causes(&self),
            "turned a caller away"
        );
        let mut response = (self.status(), self.rejection.body()).into_response();
        self.rejection.write_headers(response.headers_mut());
        response
    }
}

impl fmt::Display for CallerRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.claims {
            Some(_) => f.write_str("the token's claims are not as the handler wants them"),
            None => self.rejection.fmt(f),
        }
    }
}

impl Error for CallerRejection {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.claims {
            Some(error) => Some(error),
            None => self.rejection.source(),
        }
    }
}

/// An error and its causes on one line.
struct Causes<'e>(&'e dyn Error);

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
