//! Answers, and the forms that Google gives to its errors.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use serde_json::{Value, json};

/// What an endpoint says to a request: whole, and small.
pub(crate) type Answer = Response<Bytes>;

pub(crate) fn json(status: StatusCode, body: &Value) -> Answer {
    with_type(status, "application/json; charset=UTF-8", body.to_string())
}

pub(crate) fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    with_type(status, "application/text", body)
}

/// A page for people, which is how Google's front ends and its metadata server refuse.
pub(crate) fn html(status: StatusCode, message: &str) -> Answer {
    let reason = status.canonical_reason().unwrap_or("Error");
    let code = status.as_u16();
    let page = format!(
        "<!DOCTYPE html>\n<html lang=en>\n<title>Error {code} ({reason})</title>\n<p><b>{code}.</b> <ins>{message}</ins>\n</html>\n"
    );
    with_type(status, "text/html; charset=UTF-8", page)
}

/// An error in the form of RFC 6749 §5.2, which the token endpoints use.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct OAuthError {
    status: StatusCode,
    error: &'static str,
    description: Cow<'static, str>,
}

impl OAuthError {
    pub(crate) fn bad_request(
        error: &'static str,
        description: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            error,
            description: description.into(),
        }
    }

    pub(crate) fn unauthorized(
        error: &'static str,
        description: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            error,
            description: description.into(),
        }
    }

    pub(crate) fn into_answer(self) -> Answer {
        json(
            self.status,
            &json!({ "error": self.error, "error_description": self.description }),
        )
    }
}

pub(crate) fn with_type(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Answer {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// The answer with one header more. A value that no header can hold is left out.
pub(crate) fn with_header(mut answer: Answer, name: HeaderName, value: &str) -> Answer {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
    answer
}

pub(crate) const METADATA_FLAVOR: HeaderName = HeaderName::from_static("metadata-flavor");
