//! Subject tokens, and whether they are believed.

use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::Proof;
use super::imds::{self, SESSION_TOKEN};
use super::sigv4::{self, Signed};

/// A subject token, of one of the types that can be exchanged.
pub(super) enum Subject<'a> {
    Aws(Box<Signed>),
    Token(&'a str),
}

impl<'a> Subject<'a> {
    pub(super) fn parse(token_type: &str, token: &'a str) -> Option<Self> {
        match token_type {
            AWS4_REQUEST => parse_aws(token).map(|signed| Self::Aws(Box::new(signed))),
            ID_TOKEN | JWT | SAML2 => Some(Self::Token(token)),
            _ => None,
        }
    }

    /// The name of the subject, if `proof` vouches for this token.
    pub(super) fn believed(&self, proof: &Proof, audience: &str, now: u64) -> Option<String> {
        match (self, proof) {
            (Self::Aws(signed), Proof::Aws) => {
                is_caller_identity(signed, audience, now).then(|| imds::ROLE_ARN.to_owned())
            }
            (Self::Token(shown), Proof::Token { token, subject }) => {
                (shown == token).then(|| subject.clone())
            }
            _ => None,
        }
    }
}

/// A request in JSON, percent-encoded: `url`, `method`, and `headers` as pairs of key and value.
fn parse_aws(token: &str) -> Option<Signed> {
    let text = percent_decode_str(token).decode_utf8().ok()?;
    let request: Value = serde_json::from_str(&text).ok()?;
    let headers = request.get("headers")?.as_array()?.iter().map(|header| {
        let (key, value) = (header.get("key")?.as_str()?, header.get("value")?.as_str()?);
        Some((key.to_ascii_lowercase(), value.trim().to_owned()))
    });
    Some(Signed {
        method: request.get("method")?.as_str()?.to_owned(),
        url: request.get("url")?.as_str()?.parse().ok()?,
        headers: headers.collect::<Option<_>>()?,
    })
}

/// Whether the request asks AWS who the caller is, is meant for this audience, and was signed by
/// the role that the emulated AWS hands out.
fn is_caller_identity(request: &Signed, audience: &str, now: u64) -> bool {
    let url = &request.url;
    let host = url.host().unwrap_or_default();
    let aws = host == "sts.amazonaws.com"
        || host
            .strip_prefix("sts.")
            .is_some_and(|rest| rest.ends_with(".amazonaws.com"));
    aws && url.scheme_str() == Some("https")
        && url.query() == Some("Action=GetCallerIdentity&Version=2011-06-15")
        && request.method == "POST"
        && request.header("host") == Some(host)
        && request.header("x-amz-security-token") == Some(SESSION_TOKEN)
        // Google's own client for Python adds this one after it has signed the others.
        && request.header("x-goog-cloud-target-resource") == Some(audience)
        && sigv4::is_good(request, imds::ACCESS_KEY_ID, imds::SECRET_ACCESS_KEY, now)
}

const AWS4_REQUEST: &str = "urn:ietf:params:aws:token-type:aws4_request";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const SAML2: &str = "urn:ietf:params:oauth:token-type:saml2";
