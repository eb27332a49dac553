//! What the proxy says itself.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use tower_idtoken::error::BoxError;
use tower_idtoken::token_error;

use super::guard::Trespass;
use crate::exit::{Exit, Failure};

/// The upstream's answer, or one of ours.
pub(super) type Answer = Response<Either<Incoming, Full<Bytes>>>;

pub(super) fn turned_away(trespass: Trespass) -> Answer {
    let status = match trespass {
        Trespass::CrossSite => StatusCode::FORBIDDEN,
        Trespass::ForeignHost => StatusCode::MISDIRECTED_REQUEST,
        Trespass::Tunnel => StatusCode::NOT_IMPLEMENTED,
    };
    ours(status, trespass.message())
}

/// Why a request got no answer from upstream.
pub(super) struct Problem {
    no_token: bool,
    failure: Failure,
}

impl Problem {
    pub(super) fn of(error: BoxError) -> Self {
        let no_token = token_error(&*error).is_some();
        let message = if no_token {
            ""
        } else {
            "no answer from the service"
        };
        Self {
            no_token,
            failure: Failure::new(Exit::Unavailable, message).with_source(error),
        }
    }

    pub(super) fn line(&self) -> String {
        self.failure.line()
    }

    /// gRPC clients take both for UNAVAILABLE.
    pub(super) fn answer(&self) -> Answer {
        let status = if self.no_token {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::BAD_GATEWAY
        };
        ours(status, &self.line())
    }
}

fn ours(status: StatusCode, text: &str) -> Answer {
    let mut answer = Response::new(Either::Right(Full::from(format!(
        "idtoken proxy: {text}\n"
    ))));
    *answer.status_mut() = status;
    answer.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    answer
}
