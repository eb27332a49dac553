//! Keys and tokens that are the same each time. The private key was thrown away.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{
    KeyPair as _, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

pub const AUDIENCE: &str = "https://hello-abc.a.run.app";
pub const EMAIL: &str = "caller@shop.iam.gserviceaccount.com";
pub const NOW: u64 = 1_700_000_000;

pub struct Fixture {
    pub jwks: String,
    /// Different tokens, all good.
    pub new: Vec<String>,
    /// As good, and ending later than any of those.
    pub lasting: Vec<String>,
}

impl Fixture {
    pub fn read() -> Self {
        let all: Value = serde_json::from_str(include_str!("fixture.json")).expect("JSON");
        let tokens = |name: &str| -> Vec<String> {
            let tokens = all[name].as_array().expect("tokens").iter();
            tokens
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect()
        };
        Self {
            jwks: all["jwks"].to_string(),
            new: tokens("new"),
            lasting: tokens("lasting"),
        }
    }

    pub fn key(&self) -> ParsedPublicKey {
        let jwks: Value = serde_json::from_str(&self.jwks).expect("JSON");
        let part = |name: &str| decode(jwks["keys"][0][name].as_str().expect("a part"));
        let components = PublicKeyComponents {
            n: part("n"),
            e: part("e"),
        };
        let key = components.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256);
        key.expect("a public key")
    }
}

/// What is signed, and the signature.
pub fn split(token: &str) -> (&str, Vec<u8>) {
    let (message, signature) = token.rsplit_once('.').expect("a token");
    (message, decode(signature))
}

/// A new fixture, with a new key.
pub fn make() -> String {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
    let public = pair.public_key();
    let n = URL_SAFE_NO_PAD.encode(public.modulus().big_endian_without_leading_zero());
    let jwk =
        json!({"kty": "RSA", "alg": "RS256", "use": "sig", "kid": KEY_ID, "n": n, "e": "AQAB"});
    let tokens =
        |ages: std::ops::Range<u64>| -> Vec<String> { ages.map(|age| sign(&pair, age)).collect() };
    let fixture = json!({
        "jwks": {"keys": [jwk]}, "new": tokens(60..76), "lasting": tokens(0..8),
    });
    format!("{fixture:#}")
}

fn sign(pair: &RsaKeyPair, age: u64) -> String {
    let header = json!({"alg": "RS256", "kid": KEY_ID, "typ": "JWT"});
    let claims = json!({
        "aud": AUDIENCE, "azp": SUB, "email": EMAIL, "email_verified": true,
        "exp": NOW - age + 3_600, "iat": NOW - age, "iss": "https://accounts.google.com", "sub": SUB,
    });
    let encode = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", encode(header), encode(claims));
    let mut signature = vec![0; pair.public_modulus_len()];
    let random = SystemRandom::new();
    pair.sign(
        &RSA_PKCS1_SHA256,
        &random,
        message.as_bytes(),
        &mut signature,
    )
    .expect("a signature");
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).expect("base64url")
}

const KEY_ID: &str = "6c86a1c0a5b9d1c2c2d1f1a0a5b9d1c2c2d1f1a0";
const SUB: &str = "110169484474386276334";
