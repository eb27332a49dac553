//! Keys as Google publishes them for older clients: a JSON object from key id to PEM text, of
//! X.509 certificates or of bare public keys.
//!
//! From a certificate only the public key is taken. Who may sign is settled by where the set was
//! fetched from, so neither its dates nor its own signature say anything here.

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer};

use super::Key;

/// The key in `pem`, when it can be used.
pub(super) fn key(id: &str, pem: &str) -> Option<Key> {
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes());
    if let Ok(certificate) = certificate {
        return from_public_key_info(id, public_key_info_of(&certificate)?);
    }
    let info = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).ok()?;
    from_public_key_info(id, &info)
}

/// The `SubjectPublicKeyInfo` of an X.509 certificate (RFC 5280 §4.1).
fn public_key_info_of(certificate: &[u8]) -> Option<&[u8]> {
    let (certificate, _) = expect(certificate, SEQUENCE)?;
    let (mut fields, _) = expect(certificate, SEQUENCE)?;
    if let Some((_, rest)) = expect(fields, VERSION) {
        fields = rest;
    }
    // Serial number, signature algorithm, issuer, validity, subject.
    for tag in [INTEGER, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE] {
        fields = expect(fields, tag)?.1;
    }
    let (_, after) = expect(fields, SEQUENCE)?;
    fields.get(..fields.len() - after.len())
}

fn from_public_key_info(id: &str, info: &[u8]) -> Option<Key> {
    let (info, _) = expect(info, SEQUENCE)?;
    let (algorithm, rest) = expect(info, SEQUENCE)?;
    let (bits, _) = expect(rest, BIT_STRING)?;
    // The first byte counts the unused bits of the last.
    let key = bits.strip_prefix(&[0])?;
    match algorithm {
        RSA_ENCRYPTION => {
            let (numbers, _) = expect(key, SEQUENCE)?;
            let (n, rest) = expect(numbers, INTEGER)?;
            let (e, _) = expect(rest, INTEGER)?;
            Key::rsa(id, n, e)
        }
        EC_P256 => Key::p256(id, key),
        _ => None,
    }
}

/// The content of the element that `input` starts with, if it has this `tag`, and what follows it.
fn expect(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let [found, first, rest @ ..] = input else {
        return None;
    };
    if *found != tag {
        return None;
    }
    let (len, rest) = match *first {
        short @ 0..=0x7f => (usize::from(short), rest),
        long => {
            let (bytes, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            if bytes.is_empty() || bytes.len() > 3 {
                return None;
            }
            (
                bytes
                    .iter()
                    .fold(0, |len, byte| len << 8 | usize::from(*byte)),
                rest,
            )
        }
    };
    rest.split_at_checked(len)
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// `rsaEncryption` and its `NULL` (RFC 3279 §2.3.1).
const RSA_ENCRYPTION: &[u8] = &[
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];

/// `id-ecPublicKey` on `secp256r1` (RFC 5480 §2.1.1).
const EC_P256: &[u8] = &[
    0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, //
    0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07,
];
