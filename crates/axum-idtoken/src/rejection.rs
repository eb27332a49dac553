//! What a caller who is turned away gets to see.

use std::error::Error;
use std::fmt;

use axum_core::response::{IntoResponse, Response};
use http::StatusCode;
use idtoken::inbound::Rejection;

/// Why a handler's [`Caller`](crate::Caller) could not be had.
#[derive(Clone, Debug)]
pub struct CallerRejection(Rejection);

impl CallerRejection {
    /// The status of the response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status()
    }

    /// The text of the response; it names no detail.
    #[must_use]
    pub fn body_text(&self) -> String {
        self.0.body().to_owned()
    }

    /// What was wrong: with the token, with its header, or with the claims as the handler wants
    /// them.
    #[must_use]
    pub fn rejection(&self) -> &Rejection {
        &self.0
    }
}

impl From<Rejection> for CallerRejection {
    fn from(rejection: Rejection) -> Self {
        Self(rejection)
    }
}

impl IntoResponse for CallerRejection {
    fn into_response(self) -> Response {
        self.0.log();
        let mut response = (self.0.status(), self.0.body()).into_response();
        self.0.write_headers(response.headers_mut());
        response
    }
}

impl fmt::Display for CallerRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for CallerRejection {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}
