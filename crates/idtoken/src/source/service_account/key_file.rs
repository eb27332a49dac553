//! The JSON key file, checked when it is read.

use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::RsaKeyPair;
use http::Uri;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::error::SourceError;
use crate::source::endpoint::{self, AllowedHosts};
use crate::source::file::{CredentialsFile, required};
use crate::source::universe::Universe;

/// What of a key file is needed to sign for its account.
pub(crate) struct KeyFile {
    pub(super) email: String,
    pub(super) key_id: String,
    pub(super) key: RsaKeyPair,
    pub(super) token_uri: Uri,
    pub(super) universe: Universe,
}

impl KeyFile {
    /// Checks the fields of a key file; its URLs may lead where `allowed` says, beside Google.
    pub(super) fn read(
        file: &CredentialsFile,
        allowed: &AllowedHosts,
    ) -> Result<Self, SourceError> {
        let fields: Fields = file.fields("service_account")?;
        let email = required(file, "client_email", fields.client_email)?;
        let key_id = required(file, "private_key_id", fields.private_key_id)?;
        let pem = required(file, "private_key", fields.private_key)?;
        let key = rsa_key(pem.as_bytes())
            .map_err(|problem| file.fail(&format!("has a field \"private_key\" {problem}")))?;
        let token_uri = fields.token_uri.as_deref().unwrap_or(DEFAULT_TOKEN_URI);
        Ok(Self {
            email,
            key_id,
            key,
            token_uri: endpoint::checked(file, "token_uri", token_uri, allowed)?,
            universe: Universe::in_file(file, fields.universe_domain, allowed)?,
        })
    }
}

/// The key in `pem`, or what is wrong with it.
fn rsa_key(pem: &[u8]) -> Result<RsaKeyPair, &'static str> {
    let der = PrivateKeyDer::from_pem_slice(pem).map_err(|_| "that is not a PEM private key")?;
    let der = Zeroizing::new(der);
    let key = match &*der {
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
    client_email: Option<String>,
    private_key_id: Option<String>,
    private_key: Option<Zeroizing<String>>,
    token_uri: Option<String>,
    universe_domain: Option<String>,
}

const DEFAULT_TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
