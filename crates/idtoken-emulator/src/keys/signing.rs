//! Private keys, and the public forms in which they are published.

use std::sync::OnceLock;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
    UnparsedPublicKey,
};
use serde_json::{Value, json};

use super::certificate;
use crate::encode::{base64url, hex, pem, sha256};

/// An RSA key of 2,048 bits, as all of Google's ID tokens are signed with.
#[derive(Debug)]
pub(crate) struct RsaKey {
    pair: RsaKeyPair,
    id: String,
    made_at: u64,
    certificate: OnceLock<String>,
}

impl RsaKey {
    /// A new key. Takes a tenth of a second or so of pure computing.
    pub(crate) fn generate(now: u64) -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect(RANDOMNESS);
        let mut id = hex(&sha256(pair.public_key()));
        id.truncate(40);
        Self {
            pair,
            id,
            made_at: now,
            certificate: OnceLock::new(),
        }
    }

    /// The key id: 40 hexadecimal characters.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn pair(&self) -> &RsaKeyPair {
        &self.pair
    }

    /// Signs as `alg` says (RFC 7518 §3.1), or as RS256 when that is no algorithm for RSA keys.
    pub(crate) fn sign(&self, alg: &str, message: &[u8]) -> Vec<u8> {
        let encoding: &'static dyn RsaEncoding = match alg {
            "PS256" => &RSA_PSS_SHA256,
            "RS384" => &RSA_PKCS1_SHA384,
            "RS512" => &RSA_PKCS1_SHA512,
            _ => &RSA_PKCS1_SHA256,
        };
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(encoding, &SystemRandom::new(), message, &mut signature)
            .expect("a key of 2,048 bits has room for every digest");
        signature
    }

    /// Whether `signature` is this key's RS256 signature of `message`.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, self.pair.public_key())
            .verify(message, signature)
            .is_ok()
    }

    /// The public half as a JSON Web Key, with the members that Google gives.
    pub(crate) fn jwk(&self) -> Value {
        let public = self.pair.public_key();
        json!({
            "alg": "RS256",
            "e": base64url(public.exponent().big_endian_without_leading_zero()),
            "kid": self.id,
            "kty": "RSA",
            "n": base64url(public.modulus().big_endian_without_leading_zero()),
            "use": "sig",
        })
    }

    /// The public half in a certificate that it signed itself, as PEM.
    pub(crate) fn certificate(&self) -> &str {
        self.certificate
            .get_or_init(|| certificate::self_signed(self, self.made_at))
    }

    /// The private key as PKCS #8 PEM, which is what key files hold.
    pub(crate) fn private_pem(&self) -> String {
        let der: Pkcs8V1Der<'_> = self
            .pair
            .as_der()
            .expect("a key made here can be written down");
        pem("PRIVATE KEY", der.as_ref())
    }
}

/// A P-256 key, as Identity-Aware Proxy signs with.
#[derive(Debug)]
pub(crate) struct EcKey {
    pair: EcdsaKeyPair,
    id: String,
}

impl EcKey {
    pub(crate) fn generate() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect(RANDOMNESS);
        let mut id = base64url(sha256(pair.public_key()));
        id.truncate(6);
        Self { pair, id }
    }

    /// The key id: six characters.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Signs as ES256: 64 bytes, `r` and `s` side by side.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature = self
            .pair
            .sign(&SystemRandom::new(), message)
            .expect(RANDOMNESS);
        signature.as_ref().to_vec()
    }

    pub(crate) fn jwk(&self) -> Value {
        // An uncompressed point: one byte that says so, then both coordinates (SEC 1 §2.3.3).
        let point = self.pair.public_key().as_ref();
        let (x, y) = point[1..].split_at(32);
        json!({
            "alg": "ES256",
            "crv": "P-256",
            "kid": self.id,
            "kty": "EC",
            "use": "sig",
            "x": base64url(x),
            "y": base64url(y),
        })
    }

    pub(crate) fn public_pem(&self) -> String {
        let der: PublicKeyX509Der<'_> = self
            .pair
            .public_key()
            .as_der()
            .expect("a key made here can be written down");
        pem("PUBLIC KEY", der.as_ref())
    }
}

const RANDOMNESS: &str = "the operating system gives randomness";
