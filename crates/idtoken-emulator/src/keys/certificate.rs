//! X.509 certificates around signing keys, for clients that read keys in no other form.

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose,
    PKCS_RSA_SHA256, PublicKeyData, SerialNumber, SignatureAlgorithm, SigningKey,
};
use time::OffsetDateTime;

use super::signing::RsaKey;
use crate::encode::pem;

/// A certificate as Google makes them for its signing keys: same name, same life, no authority.
pub(super) fn self_signed(key: &RsaKey, made_at: u64) -> String {
    let mut name = DistinguishedName::new();
    name.push(
        DnType::CommonName,
        "federated-signon.system.gserviceaccount.com",
    );
    let mut params = CertificateParams::default();
    params.distinguished_name = name;
    params.serial_number = Some(SerialNumber::from_slice(&key.id().as_bytes()[..8]));
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.not_before = moment(made_at.saturating_sub(BACKDATED_S));
    params.not_after = moment(made_at.saturating_sub(BACKDATED_S).saturating_add(LIFE_S));
    let certificate = params
        .self_signed(key)
        .expect("the key signs, and every field is our own");
    pem("CERTIFICATE", certificate.der())
}

impl PublicKeyData for RsaKey {
    fn der_bytes(&self) -> &[u8] {
        use aws_lc_rs::signature::KeyPair as _;

        self.pair().public_key().as_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_RSA_SHA256
    }
}

impl SigningKey for RsaKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(Self::sign(self, "RS256", message))
    }
}

pub(crate) fn moment(unix_seconds: u64) -> OffsetDateTime {
    i64::try_from(unix_seconds)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// Google's certificates live 16 days, 12 hours and 15 minutes.
const LIFE_S: u64 = 16 * 86_400 + 12 * 3_600 + 15 * 60;
/// A key is published before it signs, so its certificate is older than its first token.
const BACKDATED_S: u64 = 86_400;
