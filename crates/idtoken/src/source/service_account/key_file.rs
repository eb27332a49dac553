//! The JSON key file, checked when it is read.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::RsaKeyPair;
use http::Uri;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{checked_endpoint, misconfigured, shape};
use crate::error::SourceError;

/// What of a key file is needed to sign for its account.
pub(super) struct KeyFile {
    pub(super) email: String,
    pub(super) key_id: String,
    pub(super) key: RsaKeyPair,
    pub(super) token_uri: Uri,
}

impl KeyFile {
    pub(super) fn read(path: &Path) -> Result<Self, SourceError> {
        let name = format!("key file {}", path.display());
        let fail = |problem: &str| misconfigured(format!("{name} {problem}"));
        let mut text = Zeroizing::new(String::new());
        File::open(path)
            .and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text))
            .map_err(|error| fail("cannot be read").with_cause(error))?;
        if text.len() as u64 > MAX_BYTES {
            return Err(fail("is longer than 64 KiB"));
        }
        Self::parse(&text, &name)
    }

    /// Checks the text of a key file; `name` says in errors which one.
    pub(super) fn parse(json: &str, name: &str) -> Result<Self, SourceError> {
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
            .as_deref()
            .unwrap_or(DEFAULT_UNIVERSE);
        if universe != DEFAULT_UNIVERSE {
            return Err(fail(&format!(
                "has universe_domain \"{universe}\", where no token endpoint exists"
            )));
        }
        let missing = |field: &str| fail(&format!("has no field \"{field}\""));
        let email = fields.client_email.ok_or_else(|| missing("client_email"))?;
        let key_id = fields
            .private_key_id
            .ok_or_else(|| missing("private_key_id"))?;
        let pem = fields.private_key.ok_or_else(|| missing("private_key"))?;
        let key = rsa_key(pem.as_bytes())
            .map_err(|problem| fail(&format!("has a field \"private_key\" {problem}")))?;
        let token_uri = fields.token_uri.as_deref().unwrap_or(DEFAULT_TOKEN_URI);
        let token_uri = checked_endpoint(token_uri).ok_or_else(|| {
            fail("has a field \"token_uri\" that is no https URL (http only on this machine)")
        })?;
        Ok(Self {
            email,
            key_id,
            key,
            token_uri,
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
const DEFAULT_UNIVERSE: &str = "googleapis.com";

/// Real key files have about 2,300 bytes.
const MAX_BYTES: u64 = 64 * 1024;
