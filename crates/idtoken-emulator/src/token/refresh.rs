//! The refresh-token grant, for people who signed in (RFC 6749 §6).

use serde_json::{Value, json};

use super::Form;
use crate::access::LIFETIME_S;
use crate::answer::OAuthError;
use crate::claims::Shape;
use crate::encode::{base64url, sha256};
use crate::mint;
use crate::world::{Call, World};

pub(super) fn refresh(world: &mut World, call: Call<'_>, form: &Form) -> Result<Value, OAuthError> {
    let refresh_token = form.required("refresh_token")?;
    let client_id = form.required("client_id")?;
    let client_secret = form.get("client_secret").unwrap_or_default();
    if !world.logins.knows_client(client_id, client_secret) {
        let description = "The OAuth client was not found.";
        return Err(OAuthError::unauthorized("invalid_client", description));
    }
    let login = world
        .logins
        .find(refresh_token)
        .filter(|login| login.user.client_id() == client_id)
        .ok_or_else(|| {
            OAuthError::bad_request("invalid_grant", "Token has been expired or revoked.")
        })?;
    if let Some(reauth) = login.reauth {
        let error = OAuthError::bad_request("invalid_grant", "reauth related error");
        return Err(error.with_subtype(reauth.name()));
    }
    let user = login.user.clone();
    let expires_at = call.now.saturating_add(LIFETIME_S);
    let token = world
        .access_tokens
        .issue(user.email(), user.granted(), expires_at);
    let mut body = token.answer(call.now);
    body["scope"] = user.granted().into();
    if user.granted_openid() {
        let access_token = token.secret().to_owned();
        let account = world.account_or_new(user.email());
        let mut claims = mint::claims_for(call, Shape::User, &account, user.client_id());
        claims.insert(
            "at_hash".to_owned(),
            access_token_hash(&access_token).into(),
        );
        if !user.granted_email() {
            claims.remove("email");
            claims.remove("email_verified");
        }
        body["id_token"] = json!(mint::sign_claims(world, claims));
    }
    Ok(body)
}

/// OpenID Connect Core §3.1.3.6: the left half of the hash.
fn access_token_hash(access_token: &str) -> String {
    base64url(&sha256(access_token)[..16])
}
