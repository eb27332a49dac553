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
    subtype: Option<&'static str>,
}

impl OAuthError {
    pub(crate) fn bad_request(
        error: &'static str,
        description: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error, description.into())
    }

    pub(crate) fn unauthorized(
        error: &'static str,
        description: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, error, description.into())
    }

    /// With Google's own addition, which says more than the error's name may.
    pub(crate) fn with_subtype(mut self, subtype: &'static str) -> Self {
        self.subtype = Some(subtype);
        self
    }

    fn new(status: StatusCode, error: &'static str, description: Cow<'static, str>) -> Self {
        Self {
            status,
            error,
            description,
            subtype: None,
        }
    }

    pub(crate) fn into_answer(self) -> Answer {
        let mut body = json!({ "error": self.error, "error_description": self.description });
        if let Some(subtype) = self.subtype {
            body["error_subtype"] = subtype.into();
        }
        json(self.status, &body)
    }
}

/// An error as Google's APIs word it.
#[derive(Debug)]
pub(crate) struct ApiError {
    code: StatusCode,
    status: &'static str,
    message: Cow<'static, str>,
    details: Vec<Value>,
}

impl ApiError {
    pub(crate) fn new(
        code: StatusCode,
        status: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            code,
            status,
            message: message.into(),
            details: Vec::new(),
        }
    }

    pub(crate) fn with_detail(mut self, detail: Value) -> Self {
        self.details.push(detail);
        self
    }

    pub(crate) fn into_answer(self) -> Answer {
        let mut error = json!({
            "code": self.code.as_u16(),
            "message": self.message,
            "status": self.status,
        });
        if !self.details.is_empty() {
            error["details"] = self.details.into();
        }
        json(self.code, &json!({ "error": error }))
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
