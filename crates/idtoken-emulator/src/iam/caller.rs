//! Who calls the IAM Credentials API.

use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};

use crate::access::CLOUD_PLATFORM;
use crate::answer::ApiError;
use crate::jose::Unverified;
use crate::world::World;

/// The e-mail address or federated principal behind the bearer token of a request.
pub(super) fn authenticate(
    world: &World,
    now: u64,
    headers: &HeaderMap,
) -> Result<String, ApiError> {
    let token = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .ok_or_else(unauthenticated)?;
    let (bearer, scopes) = access_token(world, now, token)
        .or_else(|| self_signed(world, now, token))
        .ok_or_else(unauthenticated)?;
    let scoped = scopes
        .split(' ')
        .any(|scope| scope == CLOUD_PLATFORM || scope == IAM);
    if !scoped {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "PERMISSION_DENIED",
            "Request had insufficient authentication scopes.",
        ));
    }
    Ok(bearer)
}

fn access_token(world: &World, now: u64, token: &str) -> Option<(String, String)> {
    let token = world.access_tokens.of(token, now)?;
    Some((token.bearer.clone(), token.scopes.clone()))
}

/// A JWT that a service account signed for itself, in place of an access token.
fn self_signed(world: &World, now: u64, token: &str) -> Option<(String, String)> {
    let jwt = Unverified::parse(token)?;
    let issuer = jwt
        .claim_text("iss")
        .filter(|issuer| jwt.claim_text("sub") == Some(issuer))?;
    let signed = world
        .keys_of(world.account(issuer)?.email())
        .any(|key| key.verifies(jwt.signed.as_bytes(), &jwt.signature));
    if !(signed && jwt.is_timely(now)) {
        return None;
    }
    let scopes = match (jwt.claim_text("scope"), jwt.claim_text("aud")) {
        (Some(scopes), _) => scopes,
        // An audience stands for all of that API's scopes.
        (None, Some("https://iamcredentials.googleapis.com/")) => IAM,
        _ => return None,
    };
    Some((issuer.to_owned(), scopes.to_owned()))
}

fn unauthenticated() -> ApiError {
    ApiError::new(
        StatusCode::UNAUTHORIZED,
        "UNAUTHENTICATED",
        "Request had invalid authentication credentials. Expected OAuth 2 access token, login \
         cookie or other valid authentication credential.",
    )
}

const IAM: &str = "https://www.googleapis.com/auth/iam";
