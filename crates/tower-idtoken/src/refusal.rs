//! What Cloud Run means when it says no.

use std::fmt;
use std::time::SystemTime;

use http::{HeaderValue, StatusCode};
use idtoken::UnverifiedClaims;

use crate::policy::{audience_host, same_host};

/// Explains a 401, 403 or 404 that Cloud Run's front end gave to a request, as far as can be told
/// from this side; `None` for other statuses.
///
/// `www_authenticate` is that header of the response, `host` the host the request went to, and
/// `claims` what the token that was sent says of itself, if one was. `now` is this machine's time.
/// Answers by the application behind the front end look the same from here, so this is advice, to
/// be logged for people.
///
/// ```
/// use std::time::SystemTime;
/// use http::StatusCode;
/// use idtoken::UnverifiedClaims;
/// use tower_idtoken::refusal::{RefusalKind, explain_refusal};
///
/// // {"alg":"none"} . {"aud":"https://other.a.run.app"} . sig
/// let jwt = "eyJhbGciOiJub25lIn0.eyJhdWQiOiJodHRwczovL290aGVyLmEucnVuLmFwcCJ9.c2ln";
/// let claims = UnverifiedClaims::read_without_verifying(jwt)?;
/// let refusal = explain_refusal(
///     StatusCode::UNAUTHORIZED,
///     None,
///     "hello.a.run.app",
///     Some(&claims),
///     SystemTime::now(),
/// );
/// assert_eq!(refusal.unwrap().kind(), RefusalKind::WrongAudience);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn explain_refusal(
    status: StatusCode,
    www_authenticate: Option<&HeaderValue>,
    host: &str,
    claims: Option<&UnverifiedClaims>,
    now: SystemTime,
) -> Option<Refusal> {
    let lacks_permission = www_authenticate
        .and_then(|challenge| challenge.to_str().ok())
        .is_some_and(|challenge| challenge.contains("insufficient_scope"));
    let kind = match (status, claims) {
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, None) => RefusalKind::NoToken,
        (StatusCode::FORBIDDEN, Some(_)) => RefusalKind::NotPermitted,
        (StatusCode::UNAUTHORIZED, Some(_)) if lacks_permission => RefusalKind::NotPermitted,
        (StatusCode::UNAUTHORIZED, Some(claims)) => why_not_verified(host, claims, now),
        (StatusCode::NOT_FOUND, Some(claims)) if is_for_oauth_client(claims) => {
            RefusalKind::UserToken
        }
        (StatusCode::NOT_FOUND, _) => RefusalKind::NotReachable,
        _ => return None,
    };
    let audience = claims.and_then(|claims| claims.aud().next());
    Some(Refusal {
        kind,
        host: host.to_owned(),
        audience: audience.map(str::to_owned),
        account: claims
            .and_then(|claims| claims.email().or_else(|| claims.sub()))
            .map(str::to_owned),
    })
}

/// Why Cloud Run refused a request, and what to do about it: the text is in its `Display`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    kind: RefusalKind,
    host: String,
    audience: Option<String>,
    account: Option<String>,
}

impl Refusal {
    /// The most likely reason, to branch on.
    #[must_use]
    pub fn kind(&self) -> RefusalKind {
        self.kind
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = &self.host;
        let audience = self.audience.as_deref().unwrap_or("none");
        let account = self.account.as_deref().unwrap_or("the caller");
        match self.kind {
            RefusalKind::AudienceWithPath => write!(
                f,
                "the token is for {audience:?}, and a service's audience ends with its host; ask \
                 for \"https://{host}\""
            ),
            RefusalKind::Expired => f.write_str(
                "the token has expired by this machine's clock; look for a request that was held \
                 back, or a clock that was set",
            ),
            RefusalKind::NoToken => write!(
                f,
                "{host} wants an ID token and saw none; attach one, and make sure that nothing on \
                 the way removes the header"
            ),
            RefusalKind::NotPermitted => write!(
                f,
                "{account} may not call {host}; grant it roles/run.invoker on the service \
                 (roles/cloudfunctions.invoker for a first-generation function) and allow some \
                 minutes for the grant to take effect"
            ),
            RefusalKind::NotReachable => write!(
                f,
                "{host} has no such path, or its ingress settings shut out callers from where \
                 this one is"
            ),
            RefusalKind::NotVerified => write!(
                f,
                "the front end of {host} could not verify the token for {audience:?}; it must be an \
                 ID token signed by Google and no access token, sent whole, and not expired by a \
                 clock that is right"
            ),
            RefusalKind::UserToken => write!(
                f,
                "the token is a user's own, made for the OAuth client {audience:?}, which Cloud Run \
                 does not accept; impersonate a service account, or log in with \
                 \"gcloud auth login --update-adc\""
            ),
            RefusalKind::WrongAudience => write!(
                f,
                "the token is for {audience:?}, and the request went to {host}; ask for \
                 \"https://{host}\", or add the audience to the service's custom audiences"
            ),
        }
    }
}

/// The most likely reason for a refusal.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum RefusalKind {
    /// The audience is the service's URL with a path or a slash behind it.
    AudienceWithPath,
    /// The token's time is over.
    Expired,
    /// No token arrived.
    NoToken,
    /// The token is good and its account may not call the service.
    NotPermitted,
    /// No such path, or the service's ingress settings forbid the way taken.
    NotReachable,
    /// The token could not be verified, and nothing is wrong with it that can be seen from here.
    NotVerified,
    /// The token is a user's, whose audience cannot be chosen.
    UserToken,
    /// The token is for another service.
    WrongAudience,
}

fn why_not_verified(host: &str, claims: &UnverifiedClaims, now: SystemTime) -> RefusalKind {
    if is_for_oauth_client(claims) {
        return RefusalKind::UserToken;
    }
    if claims.exp().is_some_and(|exp| exp <= now) {
        return RefusalKind::Expired;
    }
    let Some(audience) = claims.aud().next() else {
        return RefusalKind::NotVerified;
    };
    match audience_host(audience) {
        Some(own) if !same_host(own, host) => RefusalKind::WrongAudience,
        // First-generation functions have a path in their audience.
        Some(own) if own.ends_with(".run.app") && has_path(audience) => {
            RefusalKind::AudienceWithPath
        }
        Some(_) => RefusalKind::NotVerified,
        // A word may be a custom audience, or not.
        None => RefusalKind::WrongAudience,
    }
}

/// A user's token is for the OAuth client the user logged in with.
fn is_for_oauth_client(claims: &UnverifiedClaims) -> bool {
    claims
        .aud()
        .any(|audience| audience.ends_with(".apps.googleusercontent.com"))
}

fn has_path(audience: &str) -> bool {
    audience
        .split_once("://")
        .is_some_and(|(_, rest)| rest.contains('/'))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    fn claims(audience: &str) -> UnverifiedClaims {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let json = format!(r#"{{"aud":"{audience}","exp":5000,"email":"a@b.example"}}"#);
        let jwt = format!(
            "{}.{}.{}",
            part(r#"{"alg":"RS256"}"#),
            part(&json),
            part("x")
        );
        UnverifiedClaims::read_without_verifying(&jwt).unwrap()
    }

    #[test]
    #[allow(clippy::too_many_lines, reason = "a table")]
    fn each_refusal_of_cloud_run_is_told_from_the_others() {
        let adc = "764086051850-x.apps.googleusercontent.com";
        let invalid = r#"Bearer error="invalid_token" error_description="The access token could not be verified""#;
        let scope = r#"Bearer error="insufficient_scope""#;
        for (status, challenge, audience, now, kind) in [
            (403, None, None, 0, Some(RefusalKind::NoToken)),
            (401, None, None, 0, Some(RefusalKind::NoToken)),
            (
                403,
                None,
                Some("https://a.run.app"),
                0,
                Some(RefusalKind::NotPermitted),
            ),
            (
                403,
                Some(scope),
                Some("https://a.run.app"),
                0,
                Some(RefusalKind::NotPermitted),
            ),
            (
                401,
                Some(invalid),
                Some("https://b.run.app"),
                0,
                Some(RefusalKind::WrongAudience),
            ),
            (
                401,
                Some(invalid),
                Some("word"),
                0,
                Some(RefusalKind::WrongAudience),
            ),
            (
                401,
                Some(invalid),
                Some("https://a.run.app/x"),
                0,
                Some(RefusalKind::AudienceWithPath),
            ),
            (
                401,
                Some(invalid),
                Some("https://A.run.app"),
                0,
                Some(RefusalKind::NotVerified),
            ),
            (
                401,
                Some(invalid),
                Some("https://a.run.app"),
                5000,
                Some(RefusalKind::Expired),
            ),
            (
                401,
                Some(invalid),
                Some(adc),
                0,
                Some(RefusalKind::UserToken),
            ),
            (404, None, Some(adc), 0, Some(RefusalKind::UserToken)),
            (
                404,
                None,
                Some("https://a.run.app"),
                0,
                Some(RefusalKind::NotReachable),
            ),
            (404, None, None, 0, Some(RefusalKind::NotReachable)),
            (200, None, None, 0, None),
            (503, None, Some("https://a.run.app"), 0, None),
        ] {
            let refusal = explain_refusal(
                StatusCode::from_u16(status).unwrap(),
                challenge.map(HeaderValue::from_static).as_ref(),
                "a.run.app",
                audience.map(claims).as_ref(),
                SystemTime::UNIX_EPOCH + Duration::from_secs(now),
            );
            let case = format!("{status} {challenge:?} {audience:?}");
            assert_eq!(refusal.as_ref().map(Refusal::kind), kind, "{case}");
            if let Some(refusal) = refusal {
                let text = refusal.to_string();
                assert!(!text.contains("eyJ") && !text.ends_with('.'), "{text}");
            }
        }
    }

    #[test]
    fn the_text_names_the_account_and_the_role() {
        let now = SystemTime::UNIX_EPOCH;
        let own = claims("https://a.run.app");
        let refusal =
            explain_refusal(StatusCode::FORBIDDEN, None, "a.run.app", Some(&own), now).unwrap();
        let text = refusal.to_string();
        assert!(
            text.contains("a@b.example") && text.contains("roles/run.invoker"),
            "{text}"
        );
    }
}
