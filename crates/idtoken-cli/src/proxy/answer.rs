//! What the proxy says itself.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use tower_idtoken::error::BoxError;
use tower_idtoken::token_error;

use super::guard::Trespass;
use crate::exit::{Exit, Failure};

/// The upstream's answer, or one of ours.
pub(super) type Answer = Response<Either<Incoming, Full<Bytes>>>;

pub(super) fn turned_away(trespass: Trespass, grpc: bool) -> Answer {
    let status = match trespass {
        Trespass::CrossSite => StatusCode::FORBIDDEN,
        Trespass::ForeignHost => StatusCode::MISDIRECTED_REQUEST,
        Trespass::Tunnel => StatusCode::NOT_IMPLEMENTED,
    };
    ours(status, trespass.message(), grpc)
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

    pub(super) fn status(&self) -> StatusCode {
        if self.no_token {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::BAD_GATEWAY
        }
    }

    pub(super) fn answer(&self, grpc: bool) -> Answer {
        ours(self.status(), &self.line(), grpc)
    }
}

/// Whether whoever sent a request with these headers reads answers as gRPC does.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.starts_with("application/grpc"))
}

fn ours(status: StatusCode, text: &str, grpc: bool) -> Answer {
    let text = format!("idtoken proxy: {text}");
    if grpc {
        return trailers_only(status, &text);
    }
    let mut answer = Response::new(Either::Right(Full::from(format!("{text}\n"))));
    *answer.status_mut() = status;
    answer.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    answer
}

/// gRPC's own form of an error, since its clients take any body for messages.
fn trailers_only(status: StatusCode, text: &str) -> Answer {
    let code = if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED {
        UNAVAILABLE
    } else {
        PERMISSION_DENIED
    };
    let mut answer = Response::new(Either::Right(Full::default()));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from_static(code));
    if let Ok(message) = HeaderValue::try_from(percent_encoded(text)) {
        headers.insert("grpc-message", message);
    }
    answer
}

fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

const PERMISSION_DENIED: &str = "7";
const UNAVAILABLE: &str = "14";
