//! Answers that are not what they should be: what came in their place, and who may have sent it.

use bytes::Bytes;
use http::Response;
use http::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;

use crate::error::{SourceError, SourceErrorKind};
use crate::exchange::{is_transient_status, status_error};

/// The JSON in a successful answer.
pub(crate) fn json<T: DeserializeOwned>(
    source_name: &'static str,
    response: &Response<Bytes>,
) -> Result<T, SourceError> {
    serde_json::from_slice(response.body())
        .map_err(|error| not_json(source_name, response).with_cause(shape(&error)))
}

/// The error for an answer, good or bad by its status, that is not the JSON expected.
pub(crate) fn not_json(source_name: &'static str, response: &Response<Bytes>) -> SourceError {
    let status = response.status();
    let fail = |message| {
        if status.is_success() {
            SourceError::new(SourceErrorKind::InvalidAnswer, source_name, message)
                .with_status(status)
        } else {
            status_error(source_name, response, message)
        }
    };
    if response.body().trim_ascii().is_empty() {
        fail("the answer is empty")
    } else if is_page(response) {
        let error = fail("the answer is a page for people");
        // Google's own front end sends pages too, when it is too busy for anything else.
        if is_transient_status(status) {
            error
        } else {
            error.with_advice(ADVICE_ON_PAGE)
        }
    } else {
        fail("the answer is not the JSON expected")
    }
}

/// Whether it is HTML, by what it says or by how it begins.
pub(crate) fn is_page(response: &Response<Bytes>) -> bool {
    let kind = response.headers().get(CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
        || response.body().trim_ascii_start().starts_with(b"<")
}

/// Where JSON went wrong, without quoting what stood there.
pub(crate) fn shape(error: &serde_json::Error) -> String {
    format!(
        "{:?} error at line {} column {}",
        error.classify(),
        error.line(),
        error.column()
    )
}

const ADVICE_ON_PAGE: &str =
    "a proxy or portal answers in its place: check HTTPS_PROXY and this machine's egress";

#[cfg(test)]
mod tests {
    use super::*;

    fn error(status: u16, kind: &str, body: &'static str) -> SourceError {
        let response = Response::builder().status(status);
        let response = response.header(CONTENT_TYPE, kind);
        not_json(
            "test",
            &response.body(Bytes::from_static(body.as_bytes())).unwrap(),
        )
    }

    #[test]
    fn what_came_instead_is_said_with_advice_where_something_else_has_answered() {
        use SourceErrorKind::{InvalidAnswer, Refused, Transient};
        for (status, content_type, body, kind, words, advised) in [
            (200, "text/html", "<html>", InvalidAnswer, "a page", true),
            (200, "", "\n <!DOCTYPE html>", InvalidAnswer, "a page", true),
            (
                200,
                "text/html; charset=utf-8",
                "hi",
                InvalidAnswer,
                "a page",
                true,
            ),
            (302, "text/html", "<html>", Refused, "a page", true),
            (403, "text/html", "<html>", Refused, "a page", true),
            (502, "text/html", "<html>", Transient, "a page", false),
            (
                200,
                "application/json",
                " \n",
                InvalidAnswer,
                "empty",
                false,
            ),
            (403, "text/html", "", Refused, "empty", false),
            (
                200,
                "application/json",
                "[]",
                InvalidAnswer,
                "not the JSON",
                false,
            ),
            (503, "text/plain", "busy", Transient, "not the JSON", false),
        ] {
            let error = error(status, content_type, body);
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(words), "{error}");
            assert_eq!(error.status().unwrap().as_u16(), status);
            assert_eq!(error.advice().is_some(), advised, "{error}");
        }
    }
}
