//! HTTPS under an authority of the emulator's own.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use idtoken::clock::{Clock as _, SystemClock};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, ServerConfig};

use crate::encode::pem;
use crate::keys::certificate::moment;
use crate::world::unix_seconds;

/// A certificate authority that vouches for every host, since the emulator plays them all.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    leaves: Mutex<HashMap<String, Arc<CertifiedKey>>>,
}

impl Authority {
    pub(crate) fn new() -> Result<Self, rcgen::Error> {
        let mut params = params(Vec::new())?;
        params
            .distinguished_name
            .push(DnType::CommonName, "Emulator's own authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.der().clone();
        let issuer = Issuer::new(params, key);
        Ok(Self {
            issuer,
            certificate,
            leaves: Mutex::default(),
        })
    }

    /// The authority's certificate, for clients to trust.
    pub(crate) fn pem(&self) -> String {
        pem("CERTIFICATE", &self.certificate)
    }

    /// A server's side of TLS, which shows each client a certificate for the host it wants.
    pub(crate) fn server_config(self: &Arc<Self>) -> Result<ServerConfig, rustls::Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as _);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    fn leaf(&self, hosts: Vec<String>) -> Option<CertifiedKey> {
        let key = KeyPair::generate().ok()?;
        let mut params = params(hosts).ok()?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer).ok()?.der().clone();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let key = aws_lc_rs::sign::any_supported_type(&key).ok()?;
        Some(CertifiedKey::new(
            vec![certificate, self.certificate.clone()],
            key,
        ))
    }
}

impl ResolvesServerCert for Authority {
    fn resolve(&self, client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // A client that names no host has dialled an address: ours.
        let host = client_hello.server_name().unwrap_or_default().to_owned();
        let mut leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(leaf) = leaves.get(&host) {
            return Some(Arc::clone(leaf));
        }
        let hosts = match host.as_str() {
            "" => LOOPBACK.map(str::to_owned).to_vec(),
            _ => vec![host.clone()],
        };
        let leaf = Arc::new(self.leaf(hosts)?);
        if leaves.len() < MOST_LEAVES {
            leaves.insert(host, Arc::clone(&leaf));
        }
        Some(leaf)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

/// By the system's clock and not by the emulator's, which need not be that of TLS clients.
fn params(hosts: Vec<String>) -> Result<CertificateParams, rcgen::Error> {
    let now = unix_seconds(SystemClock.now());
    let mut params = CertificateParams::new(hosts)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.not_before = moment(now.saturating_sub(DAY_S));
    params.not_after = moment(now.saturating_add(90 * DAY_S));
    Ok(params)
}

const DAY_S: u64 = 86_400;
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// Certificates for more hosts than this are made anew each time.
const MOST_LEAVES: usize = 256;
