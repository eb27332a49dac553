//! JWTs signed by the key itself: assertions to exchange (RFC 7523 §3), and tokens to call IAM with.

use std::time::{Duration, SystemTime};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::key_file::KeyFile;
use super::misconfigured;
use crate::clock::unix_seconds;
use crate::error::SourceError;

/// What a self-signed JWT is for.
#[derive(Clone, Copy)]
pub(super) enum Purpose<'a> {
    /// To call IAM Credentials.
    CallIam,
    /// To be exchanged for an ID token.
    Exchange { target_audience: &'a str },
}

/// The claims of a self-signed JWT.
///
/// `target_audience` takes the place of `scope`; sending both is an error at the token endpoint.
#[derive(Serialize)]
pub(super) struct Assertion<'a> {
    iss: &'a str,
    sub: &'a str,
    iat: u64,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_audience: Option<&'a str>,
    #[serde(flatten)]
    extra: &'a Map<String, Value>,
}

impl<'a> Assertion<'a> {
    pub(super) fn new(
        key: &'a KeyFile,
        purpose: Purpose<'a>,
        now: SystemTime,
        extra: &'a Map<String, Value>,
    ) -> Self {
        let iat = unix_seconds(now).saturating_sub(BACK_DATED.as_secs());
        let (aud, scope, target_audience) = match purpose {
            Purpose::CallIam => (None, Some(IAM_SCOPE), None),
            Purpose::Exchange { target_audience } => {
                (Some(key.token_uri.to_string()), None, Some(target_audience))
            }
        };
        Self {
            iss: &key.email,
            sub: &key.email,
            iat,
            exp: iat + LIFETIME.as_secs(),
            aud,
            scope,
            target_audience,
            extra,
        }
    }

    pub(super) fn sign(&self, key: &KeyFile) -> Result<Zeroizing<String>, SourceError> {
        let header = Header {
            alg: "RS256",
            typ: "JWT",
            kid: &key.key_id,
        };
        let mut jwt = Zeroizing::new(format!("{}.{}", part(&header)?, part(self)?));
        let mut signature = vec![0; key.key.public_modulus_len()];
        key.key
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                jwt.as_bytes(),
                &mut signature,
            )
            .map_err(|_| misconfigured("the key refuses to sign"))?;
        jwt.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut jwt);
        Ok(jwt)
    }
}

fn part(value: &impl Serialize) -> Result<String, SourceError> {
    serde_json::to_vec(value)
        .map(|json| URL_SAFE_NO_PAD.encode(json))
        .map_err(|error| misconfigured("the assertion cannot be written").with_cause(error))
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'static str,
    typ: &'static str,
    kid: &'a str,
}

/// The claims that nobody else may set.
pub(super) const RESERVED: [&str; 7] = [
    "aud",
    "exp",
    "iat",
    "iss",
    "scope",
    "sub",
    "target_audience",
];

/// The longest that Google accepts.
pub(super) const LIFETIME: Duration = Duration::from_secs(3600);

/// So that a clock a little ahead of Google's does not make an assertion from the future.
const BACK_DATED: Duration = Duration::from_secs(10);

const IAM_SCOPE: &str = "https://www.googleapis.com/auth/iam";
