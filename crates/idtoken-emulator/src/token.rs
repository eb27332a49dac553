//! The OAuth 2.0 token endpoint.

mod assertion;
mod refresh;

use std::collections::BTreeMap;

use http::header::CONTENT_TYPE;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use self::assertion::{Grant, Wanted};
use crate::access::LIFETIME_S;
use crate::answer::{self, Answer, OAuthError};
use crate::claims::Shape;
use crate::mint;
use crate::world::{Call, World};

/// Answers the token endpoint.
pub(crate) fn respond(world: &mut World, call: Call<'_>) -> Answer {
    if call.request.method() != Method::POST {
        return answer::html(StatusCode::NOT_FOUND, "The requested URL was not found.");
    }
    match grant(world, call) {
        Ok(body) => answer::json(StatusCode::OK, &body),
        Err(refusal) => refusal.into_answer(),
    }
}

fn grant(world: &mut World, call: Call<'_>) -> Result<Value, OAuthError> {
    let form = Form::parse(call.request)?;
    match form.get("grant_type") {
        Some(JWT_BEARER) => jwt_bearer(world, call, &form),
        Some("refresh_token") => refresh::refresh(world, call, &form),
        other => Err(unsupported_grant_type(other.unwrap_or_default())),
    }
}

/// RFC 7523 §2.1, with Google's `target_audience`.
fn jwt_bearer(world: &mut World, call: Call<'_>, form: &Form) -> Result<Value, OAuthError> {
    let assertion = form.required("assertion")?;
    let Grant { account, wanted } = assertion::judge(world, call.now, assertion)?;
    match wanted {
        Wanted::AccessToken { scope } => {
            let expires_at = call.now.saturating_add(LIFETIME_S);
            let token = world
                .access_tokens
                .issue(account.email(), &scope, expires_at);
            Ok(token.answer(call.now))
        }
        Wanted::IdToken { audience } => {
            let claims = mint::claims_for(call, Shape::ServiceAccountKey, &account, &audience);
            Ok(json!({ "id_token": mint::sign_claims(world, claims) }))
        }
    }
}

fn unsupported_grant_type(given: &str) -> OAuthError {
    OAuthError::bad_request(
        "unsupported_grant_type",
        format!("Invalid grant_type: {given}"),
    )
}

/// The fields of a form, none of them twice.
pub(crate) struct Form {
    fields: Vec<(String, String)>,
}

impl Form {
    /// Of a form, or of the JSON object that some clients send in its place and Google takes.
    pub(crate) fn parse(request: &Request<impl AsRef<[u8]>>) -> Result<Self, OAuthError> {
        let content_type = request
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|v| v.to_str().ok());
        let essence = content_type
            .and_then(|text| text.split(';').next())
            .unwrap_or_default();
        let body = request.body().as_ref();
        match essence.trim().to_ascii_lowercase().as_str() {
            "application/x-www-form-urlencoded" => Self::from_urlencoded(body),
            "application/json" => Self::from_json(body),
            _ => Err(unsupported_grant_type("")),
        }
    }

    fn from_urlencoded(body: &[u8]) -> Result<Self, OAuthError> {
        let mut fields: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(body) {
            if fields.iter().any(|(known, _)| *known == name) {
                // RFC 6749 §3.2: parameters must not be included more than once.
                let description =
                    format!("OAuth 2 parameters can only have a single value: {name}");
                return Err(OAuthError::bad_request("invalid_request", description));
            }
            fields.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self { fields })
    }

    fn from_json(body: &[u8]) -> Result<Self, OAuthError> {
        let fields: BTreeMap<String, Option<String>> = serde_json::from_slice(body)
            .map_err(|_| OAuthError::bad_request("invalid_request", "Invalid JSON payload."))?;
        let given = |(name, value): (String, Option<String>)| Some((name, value?));
        Ok(Self {
            fields: fields.into_iter().filter_map(given).collect(),
        })
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// A field that must be there and must not be empty.
    pub(crate) fn required(&self, name: &str) -> Result<&str, OAuthError> {
        self.get(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| {
                OAuthError::bad_request(
                    "invalid_request",
                    format!("Missing required parameter: {name}"),
                )
            })
    }
}

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
