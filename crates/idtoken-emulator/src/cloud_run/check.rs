//! Who calls, and whether they may: a function of the world and a request's headers.

use std::fmt;

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use super::Service;
use crate::claims::ISSUER;
use crate::jose::Unverified;
use crate::world::World;

/// What a front end finds about the caller of a service.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// A good token of somebody who has the role.
    Allowed,
    /// No token at all: 403.
    Anonymous,
    /// A person's token, made for an OAuth client that is not gcloud's: 404.
    ForeignClient,
    /// A good token of somebody who has not the role: 403.
    NotAllowed,
    /// The service lets everybody in, and nothing was checked.
    Public,
    /// It is no ID token, or one that is expired, for somebody else, or not Google's: 401.
    Unverifiable,
}

impl Verdict {
    /// Whether the container gets the request.
    #[must_use]
    pub fn is_let_in(self) -> bool {
        matches!(self, Self::Allowed | Self::Public)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allowed => "allowed",
            Self::Anonymous => "no token",
            Self::ForeignClient => "a person's token for a foreign client",
            Self::NotAllowed => "no invoker role",
            Self::Public => "public, not checked",
            Self::Unverifiable => "token not verifiable",
        })
    }
}

/// What was found, and where.
pub(super) struct Finding {
    pub(super) verdict: Verdict,
    pub(super) caller: Option<String>,
    /// The header that was checked, as the container shall see it.
    pub(super) checked: Option<(HeaderName, HeaderValue)>,
}

impl Finding {
    fn of(verdict: Verdict) -> Self {
        Self {
            verdict,
            caller: None,
            checked: None,
        }
    }
}

pub(super) fn check(world: &World, service: &Service, headers: &HeaderMap, now: u64) -> Finding {
    if service.public {
        return Finding::of(Verdict::Public);
    }
    // Where both are there, only this one counts, and the other is the container's.
    let name = if headers.contains_key(X_SERVERLESS_AUTHORIZATION) {
        X_SERVERLESS_AUTHORIZATION
    } else {
        AUTHORIZATION
    };
    let mut values = headers.get_all(&name).iter();
    let Some(value) = values.next() else {
        return Finding::of(Verdict::Anonymous);
    };
    let jwt = bearer(value).filter(|_| values.next().is_none());
    let Some(jwt) = jwt.and_then(Unverified::parse) else {
        return Finding::of(Verdict::Unverifiable);
    };
    if !is_googles(world, &jwt, now) {
        return Finding::of(Verdict::Unverifiable);
    }
    let audience = jwt.claim_text("aud").unwrap_or_default();
    let by_gcloud = audience == GCLOUD_CLIENT;
    if !by_gcloud && !service.audiences.contains(audience) {
        let is_client = audience.ends_with(".apps.googleusercontent.com");
        let verdict = if is_client {
            Verdict::ForeignClient
        } else {
            Verdict::Unverifiable
        };
        return Finding::of(verdict);
    }
    let caller = caller(world, &jwt);
    let allowed = caller
        .as_ref()
        .is_some_and(|caller| service.invokers.contains(caller));
    Finding {
        verdict: if allowed {
            Verdict::Allowed
        } else {
            Verdict::NotAllowed
        },
        caller,
        checked: stripped(&jwt).map(|value| (name, value)),
    }
}

fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

fn is_googles(world: &World, jwt: &Unverified<'_>, now: u64) -> bool {
    let key = world
        .keys
        .published()
        .find(|key| Some(key.id()) == jwt.header_text("kid"));
    let signed = jwt.header_text("alg") == Some("RS256")
        && key.is_some_and(|key| key.verifies(jwt.signed.as_bytes(), &jwt.signature));
    let issuer = jwt.claim_text("iss");
    signed
        && (issuer == Some(ISSUER) || issuer == Some("accounts.google.com"))
        && jwt.is_timely(now)
}

/// The address in the token if it was verified, else that of the account with the token's id.
fn caller(world: &World, jwt: &Unverified<'_>) -> Option<String> {
    let verified = jwt.claims.get("email_verified") == Some(&true.into());
    let subject = jwt.claim_text("sub")?;
    let email = jwt.claim_text("email").filter(|_| verified);
    let known = || world.account(subject).map(|account| account.email());
    Some(email.or_else(known).unwrap_or(subject).to_owned())
}

/// The token can be read in the container, and used nowhere.
fn stripped(jwt: &Unverified<'_>) -> Option<HeaderValue> {
    let mut value =
        HeaderValue::try_from(format!("Bearer {}.SIGNATURE_REMOVED_BY_GOOGLE", jwt.signed)).ok()?;
    value.set_sensitive(true);
    Some(value)
}

pub(super) const X_SERVERLESS_AUTHORIZATION: HeaderName =
    HeaderName::from_static("x-serverless-authorization");
/// What `gcloud auth print-identity-token` asks for when a person is signed in.
const GCLOUD_CLIENT: &str = "32555940559.apps.googleusercontent.com";
