//! The signed assertion that is exchanged for a token (RFC 7523 §3).

use std::time::{Duration, SystemTime};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use super::key_file::KeyFile;
use super::misconfigured;
use crate::audience::Audience;
use crate::clock::unix_seconds;
use crate::error::SourceError;

/// The claims that Google's token endpoint wants for an ID token.
///
/// `target_audience` takes the place of `scope`; sending both is an error there.
#[derive(Serialize)]
pub(super) struct Assertion<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: String,
    iat: u64,
    exp: u64,
    target_audience: &'a str,
}

impl<'a> Assertion<'a> {
    pub(super) fn new(key: &'a KeyFile, audience: &'a Audience, now: SystemTime) -> Self {
        let iat = unix_seconds(now).saturating_sub(BACK_DATED.as_secs());
        Self {
            iss: &key.email,
            sub: &key.email,
            aud: key.token_uri.to_string(),
            iat,
            exp: iat + LIFETIME.as_secs(),
            target_audience: audience.as_str(),
        }
    }

    pub(super) fn sign(&self, key: &KeyFile) -> Result<String, SourceError> {
        let header = Header {
            alg: "RS256",
            typ: "JWT",
            kid: &key.key_id,
        };
        let mut jwt = format!("{}.{}", part(&header)?, part(self)?);
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

/// The longest that Google accepts.
const LIFETIME: Duration = Duration::from_secs(3600);

/// So that a clock a little ahead of Google's does not make an assertion from the future.
const BACK_DATED: Duration = Duration::from_secs(10);
