//! Answers of OAuth token endpoints (RFC 6749 §5): Google's own and its token exchange.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::answer;
use crate::error::{SourceError, SourceErrorKind};
use crate::exchange::status_error;

/// A successful answer: which fields are there depends on what was asked.
#[derive(Deserialize)]
pub(crate) struct Answer {
    pub(crate) access_token: Option<Zeroizing<String>>,
    pub(crate) expires_in: Option<u64>,
    pub(crate) id_token: Option<Zeroizing<String>>,
}

impl Answer {
    pub(crate) fn read(
        source_name: &'static str,
        response: &Response<Bytes>,
    ) -> Result<Self, SourceError> {
        if !response.status().is_success() {
            return Err(refusal(source_name, response));
        }
        answer::json(source_name, response)
    }

    pub(crate) fn lifetime(&self) -> Duration {
        Duration::from_secs(self.expires_in.unwrap_or(0))
    }
}

/// An OAuth error carries a code and a text; some codes mean "later" whatever the status.
fn refusal(source_name: &'static str, response: &Response<Bytes>) -> SourceError {
    let Ok(refusal) = serde_json::from_slice::<Refusal>(response.body()) else {
        return answer::not_json(source_name, response);
    };
    let message = refusal
        .error_description
        .as_deref()
        .unwrap_or("the token endpoint said no");
    let code = refusal.error.as_str();
    let later = [code, message]
        .iter()
        .any(|text| TRANSIENT_CODES.contains(text));
    let error = if later {
        SourceError::new(SourceErrorKind::Transient, source_name, message)
            .with_status(response.status())
    } else {
        status_error(source_name, response, message)
    };
    let error = error.with_code(match &refusal.error_subtype {
        Some(subtype) => format!("{code}/{subtype}"),
        None => code.to_owned(),
    });
    match (code, refusal.error_subtype.as_deref()) {
        (_, Some("invalid_rapt" | "rapt_required")) => error.with_advice(
            "the organisation wants the user to log in again: \
             gcloud auth application-default login",
        ),
        ("invalid_grant", _) if message.contains("iat and exp") => error
            .with_advice("this machine's clock is probably wrong: check it against a time server"),
        ("invalid_grant", _) => error.with_advice(
            "the credential was probably revoked or deleted, or its account disabled: make a new one",
        ),
        _ => error,
    }
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
    error_description: Option<String>,
    error_subtype: Option<String>,
}

const TRANSIENT_CODES: [&str; 3] = [
    "internal_failure",
    "server_error",
    "temporarily_unavailable",
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(status: u16, body: &str) -> SourceError {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let response = Response::builder().status(status).body(body).unwrap();
        Answer::read("test", &response).err().unwrap()
    }

    #[test]
    fn googles_refusals_keep_their_code_and_text() {
        let error = refused(
            400,
            r#"{"error":"invalid_grant","error_description":"Invalid JWT Signature."}"#,
        );
        assert_eq!(error.kind(), SourceErrorKind::Refused);
        assert_eq!(error.code(), Some("invalid_grant"));
        assert!(
            error.to_string().contains("Invalid JWT Signature."),
            "{error}"
        );
    }

    #[test]
    fn a_clock_that_is_off_and_a_login_that_is_due_are_named() {
        let clock = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a \
                     reasonable timeframe. Check your iat and exp values in the JWT claim.";
        let error = refused(
            400,
            &json!({"error": "invalid_grant", "error_description": clock}).to_string(),
        );
        assert!(error.advice().unwrap().contains("clock"), "{error}");
        for subtype in ["invalid_rapt", "rapt_required"] {
            let body = json!({"error": "invalid_grant", "error_subtype": subtype}).to_string();
            let error = refused(400, &body);
            assert_eq!(error.kind(), SourceErrorKind::Refused);
            assert!(error.advice().unwrap().contains("log in again"), "{error}");
            assert!(error.code().unwrap().contains(subtype), "{error}");
        }
    }

    #[test]
    fn a_transient_code_is_transient_whatever_the_status() {
        for code in TRANSIENT_CODES {
            for body in [
                json!({"error": code}),
                json!({"error": "x", "error_description": code}),
            ] {
                let error = refused(400, &body.to_string());
                assert_eq!(error.kind(), SourceErrorKind::Transient, "{body}");
            }
        }
        for status in [408, 429, 500, 503, 504] {
            assert_eq!(
                refused(status, "<html>").kind(),
                SourceErrorKind::Transient,
                "{status}"
            );
        }
    }

    #[test]
    fn json_of_another_shape_is_invalid_and_not_quoted() {
        for body in [
            "",
            "<html>",
            "[]",
            r#"{"access_token":7}"#,
            r#"{"id_token":["SECRET"]}"#,
        ] {
            let error = refused(200, body);
            assert_eq!(error.kind(), SourceErrorKind::InvalidAnswer, "{body}");
            assert!(!format!("{error:?}").contains("SECRET"), "{error:?}");
        }
    }
}
