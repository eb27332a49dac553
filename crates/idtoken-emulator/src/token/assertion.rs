//! Judges the assertion that a service account signed with its own key.

use crate::account::Account;
use crate::answer::OAuthError;
use crate::jose::Unverified;
use crate::world::World;

/// What a good assertion entitles its sender to.
pub(super) struct Grant {
    pub(super) account: Account,
    pub(super) wanted: Wanted,
}

pub(super) enum Wanted {
    AccessToken { scope: String },
    IdToken { audience: String },
}

/// Checks in the endpoint's order: form, account, signature, audience, time, wish.
pub(super) fn judge(world: &World, now: u64, assertion: &str) -> Result<Grant, OAuthError> {
    let jwt = Unverified::parse(assertion)
        .filter(|jwt| jwt.header_text("alg") == Some("RS256"))
        .ok_or_else(|| invalid_grant("Invalid JWT: not a JSON Web Token signed with RS256."))?;
    let account = jwt
        .claim_text("iss")
        .and_then(|issuer| world.account(issuer))
        .ok_or_else(|| invalid_grant("Invalid grant: account not found"))?;
    check_signature(world, account, &jwt)?;
    if !jwt
        .claim_text("aud")
        .is_some_and(|audience| is_ours(world, audience))
    {
        return Err(invalid_grant("Invalid JWT: Failed audience check."));
    }
    check_time(now, &jwt)?;
    // Another subject is domain-wide delegation, which nobody has been granted here.
    // Some clients write a null where they have none.
    if jwt
        .claims
        .get("sub")
        .is_some_and(|subject| !subject.is_null() && subject != account.email())
    {
        return Err(OAuthError::unauthorized(
            "unauthorized_client",
            "Client is unauthorized to retrieve access tokens using this method, or \
             client not authorized for any of the scopes requested.",
        ));
    }
    Ok(Grant {
        account: account.clone(),
        wanted: wanted(&jwt)?,
    })
}

fn check_signature(
    world: &World,
    account: &Account,
    jwt: &Unverified<'_>,
) -> Result<(), OAuthError> {
    let id = jwt.header_text("kid");
    let good = world
        .keys_of(account.email())
        .filter(|key| id.is_none_or(|id| key.id() == id))
        .any(|key| key.verifies(jwt.signed.as_bytes(), &jwt.signature));
    good.then_some(())
        .ok_or_else(|| invalid_grant("Invalid JWT Signature."))
}

/// Its own addresses, and the constants that clients send wherever the endpoint is.
fn is_ours(world: &World, audience: &str) -> bool {
    let own = audience
        .strip_prefix("http://")
        .or_else(|| audience.strip_prefix("https://"))
        .and_then(|rest| rest.strip_prefix(world.host.as_str()));
    matches!(own, Some("/token" | "/oauth2/v4/token" | "/o/oauth2/token"))
        || GOOGLES_ADDRESSES.contains(&audience)
}

fn check_time(now: u64, jwt: &Unverified<'_>) -> Result<(), OAuthError> {
    jwt.is_timely(now).then_some(()).ok_or_else(|| {
        invalid_grant(
            "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable \
         timeframe. Check your iat and exp values in the JWT claim.",
        )
    })
}

fn wanted(jwt: &Unverified<'_>) -> Result<Wanted, OAuthError> {
    let text = |name| {
        jwt.claim_text(name)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    match (text("target_audience"), text("scope")) {
        (Some(audience), None) => Ok(Wanted::IdToken { audience }),
        (None, Some(scope)) => Ok(Wanted::AccessToken { scope }),
        _ => Err(OAuthError::bad_request(
            "invalid_request",
            "Exactly one of scope and target_audience is required.",
        )),
    }
}

fn invalid_grant(description: &'static str) -> OAuthError {
    OAuthError::bad_request("invalid_grant", description)
}

const GOOGLES_ADDRESSES: [&str; 3] = [
    "https://accounts.google.com/o/oauth2/token",
    "https://oauth2.googleapis.com/token",
    "https://www.googleapis.com/oauth2/v4/token",
];
