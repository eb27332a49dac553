//! What Google tells about itself and, for debugging, about a token.

use http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::answer::{self, Answer, OAuthError};
use crate::claims::ISSUER;
use crate::jose::Unverified;
use crate::world::{Call, World};

/// OpenID Connect discovery: Google's issuer, our addresses.
pub(crate) fn discovery(world: &World) -> Answer {
    let url = world.url();
    let body = json!({
        "id_token_signing_alg_values_supported": ["RS256"],
        "issuer": ISSUER,
        "jwks_uri": format!("{url}/oauth2/v3/certs"),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "token_endpoint": format!("{url}/token"),
    });
    answer::json(StatusCode::OK, &body)
}

/// The claims of a token, all of them as text, if it is good.
pub(crate) fn token_info(world: &World, call: Call<'_>) -> Answer {
    let token = parameter(call.request, "id_token").unwrap_or_default();
    let jwt = Unverified::parse(&token).filter(|jwt| is_good(world, call.now, jwt));
    let Some(jwt) = jwt else {
        return OAuthError::bad_request("invalid_token", "Invalid Value").into_answer();
    };
    let as_text = |value: &Value| match value {
        Value::Bool(_) | Value::Number(_) => value.to_string().into(),
        other => other.clone(),
    };
    let parts = jwt.header.iter().chain(&jwt.claims);
    let body = parts
        .map(|(name, value)| (name.clone(), as_text(value)))
        .collect();
    answer::json(StatusCode::OK, &Value::Object(body))
}

fn is_good(world: &World, now: u64, jwt: &Unverified<'_>) -> bool {
    let id = jwt.header_text("kid");
    let signed = world
        .keys
        .published()
        .filter(|key| Some(key.id()) == id)
        .any(|key| key.verifies(jwt.signed.as_bytes(), &jwt.signature));
    signed
        && jwt
            .claim_seconds("exp")
            .is_some_and(|expires_at| now < expires_at)
}

fn parameter(request: &Request<impl AsRef<[u8]>>, name: &str) -> Option<String> {
    let query = request.uri().query().unwrap_or_default().as_bytes();
    form_urlencoded::parse(query)
        .chain(form_urlencoded::parse(request.body().as_ref()))
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}
