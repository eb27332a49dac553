//! What a caller who is turned away gets to see.

use std::error::Error;
use std::fmt;

use axum_core::response::{IntoResponse, Response};
use http::StatusCode;
use idtoken::inbound::Rejection;
use idtoken::verify::{ClaimError, VerifyError, VerifyErrorKind};

/// Why a handler's [`Caller`](crate::Caller) could not be had.
#[derive(Clone, Debug)]
pub struct CallerRejection {
    reason: Reason,
}

#[derive(Clone, Debug)]
enum Reason {
    /// The token is good but lacks what the handler wants of it: authentic, not entitled.
    Claims(ClaimError),
    Token(Rejection),
}

impl CallerRejection {
    pub(crate) fn token(rejection: Rejection) -> Self {
        Self {
            reason: Reason::Token(rejection),
        }
    }

    pub(crate) fn claims(error: ClaimError) -> Self {
        Self {
            reason: Reason::Claims(error),
        }
    }

    /// The status of the response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.answer().status()
    }

    /// The text of the response; it names no detail.
    #[must_use]
    pub fn body_text(&self) -> String {
        self.answer().body().to_owned()
    }

    /// What was wrong with the request's token. `None` when nothing was, but its claims are not as
    /// the handler wants them.
    #[must_use]
    pub fn rejection(&self) -> Option<&Rejection> {
        match &self.reason {
            Reason::Claims(_) => None,
            Reason::Token(rejection) => Some(rejection),
        }
    }

    fn answer(&self) -> Rejection {
        match &self.reason {
            Reason::Claims(_) => VerifyError::from(VerifyErrorKind::NotAllowed).into(),
            Reason::Token(rejection) => rejection.clone(),
        }
    }
}

impl IntoResponse for CallerRejection {
    fn into_response(self) -> Response {
        tracing::debug!(
            status = self.status().as_u16(),
            reason = %Causes(&self),
            "turned a caller away"
        );
        let answer = self.answer();
        let mut response = (answer.status(), answer.body()).into_response();
        answer.write_headers(response.headers_mut());
        response
    }
}

impl fmt::Display for CallerRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Reason::Claims(_) => {
                f.write_str("the token's claims are not as the handler wants them")
            }
            Reason::Token(rejection) => rejection.fmt(f),
        }
    }
}

impl Error for CallerRejection {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.reason {
            Reason::Claims(error) => Some(error),
            Reason::Token(rejection) => rejection.source(),
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
