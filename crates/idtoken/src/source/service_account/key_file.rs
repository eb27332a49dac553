//! The JSON key file, checked when it is read.

use std::path::Path;

use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::RsaKeyPair;
use http::Uri;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::misconfigured;
use crate::error::SourceError;
use crate::source::endpoint::https_or_local;
use crate::source::file::read_text;
use crate::source::impersonated::DEFAULT_UNIVERSE;
use crate::source::oauth::shape;

/// What of a key file is needed to sign for its account.
pub(crate) struct KeyFile {
    pub(super) email: String,
    pub(super) key_id: String,
    pub(super) key: RsaKeyPair,
    pub(super) token_uri: Uri,
    pub(super) universe: String,
}

impl KeyFile {
    pub(super) fn read(path: &Path) -> Result<Self, SourceError> {
        let name = format!("key file {}", path.display());
        let text = read_text(path).map_err(|(problem, cause)| {
            let error = misconfigured(format!("{name} {problem}"));
            match cause {
                Some(cause) => error.with_cause(cause),
                None => error,
            }
        })?;
        Self::parse(&text, &name)
    }

    /// Checks the text of a key file; `name` says in errors which one.
    pub(crate) fn parse(json: &str, name: &str) -> Result<Self, SourceError> {
        let fail = |problem: &str| misconfigured(format!("{name} {problem}"));
        let fields: Fields = serde_json::from_str(json).map_err(|error| {
            fail("is not the JSON of a service account key").with_cause(shape(&error))
        })?;
        match fields.kind.as_deref() {
            Some("service_account") => {}
            Some(other) => {
                return Err(fail(&format!(
                    "has type \"{other}\", not \"service_account\""
                )));
            }
            None => return Err(fail("has no field \"type\"")),
        }
        let universe = fields
            .universe_domain
            .unwrap_or_else(|| DEFAULT_UNIVERSE.to_owned());
        let missing = |field: &str| fail(&format!("has no field \"{field}\""));
        let email = fields.client_email.ok_or_else(|| missing("client_email"))?;
        let key_id = fields
            .private_key_id
            .ok_or_else(|| missing("private_key_id"))?;
        let pem = fields.private_key.ok_or_else(|| missing("private_key"))?;
        let key = rsa_key(pem.as_bytes())
            .map_err(|problem| fail(&format!("has a field \"private_key\" {problem}")))?;
        let token_uri = fields.token_uri.as_deref().unwrap_or(DEFAULT_TOKEN_URI);
        let token_uri = https_or_local(token_uri).ok_or_else(|| {
            fail("has a field \"token_uri\" that is no https URL (http only on this machine)")
        })?;
        Ok(Self {
            email,
            key_id,
            key,
            token_uri,
            universe,
        })
    }
}

/// The key in `pem`, or what is wrong with it.
fn rsa_key(pem: &[u8]) -> Result<RsaKeyPair, &'static str> {
    let der = PrivateKeyDer::from_pem_slice(pem).map_err(|_| "that is not a PEM private key")?;
    let key = match &der {
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
        _ => return Err("that is not an RSA key"),
    }
    .map_err(|_| "that is not a usable RSA key")?;
    if key.public_modulus_len() < KeySize::Rsa2048.len() {
        return Err("with fewer than 2048 bits");
    }
    Ok(key)
}

/// The secret is wiped when these fields are dropped.
#[derive(Deserialize)]
struct Fields {
    #[serde(rename = "type")]
    kind: Option<String>,
    client_email: Option<String>,
    private_key_id: Option<String>,
    private_key: Option<Zeroizing<String>>,
    token_uri: Option<String>,
    universe_domain: Option<String>,
}

const DEFAULT_TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
