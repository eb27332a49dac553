//! Floods of tokens made up by strangers, and the memory that they leave behind: none.
//!
//! `IDTOKEN_FLOOD` says how many of each kind; a round number of millions wants `--release`.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test")]

use std::fmt::Write as _;
use std::time::SystemTime;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Request, Response};
use idtoken::clock::SystemClock;
use idtoken::transport::{Transport, TransportError};
use idtoken::verify::Algorithm;
use idtoken::{Clock as _, Issuer, Principal, Verifier, VerifyErrorKind};
use serde_json::json;

const ISSUER: &str = "https://issuer.test";
const ANOTHER: &str = "https://another.test";
const AUDIENCE: &str = "https://f.a.run.app";
const EMAIL: &str = "caller@p.iam.gserviceaccount.com";

/// Publishes one key, always the same.
struct Publisher(Bytes);

impl Transport for Publisher {
    async fn send(&self, _: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        Ok(Response::new(self.0.clone()))
    }
}

struct World {
    pair: EcdsaKeyPair,
    verifier: Verifier,
    now: u64,
}

impl World {
    fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let point = pair.public_key().as_ref();
        let (x, y) = (
            URL_SAFE_NO_PAD.encode(&point[1..33]),
            URL_SAFE_NO_PAD.encode(&point[33..]),
        );
        let keys = json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": "k", "x": x, "y": y}]});
        let verifier = Verifier::builder()
            .issuer(Issuer::new(ISSUER, "http://127.0.0.1:1/").with_algorithm(Algorithm::Es256))
            .issuer(Issuer::new(ANOTHER, "http://127.0.0.1:2/").with_algorithm(Algorithm::Es256))
            .audience(AUDIENCE)
            .allow(Principal::service_account(EMAIL))
            .transport(Publisher(keys.to_string().into()))
            .build()
            .unwrap();
        let now = SystemClock.now().duration_since(SystemTime::UNIX_EPOCH);
        Self {
            pair,
            verifier,
            now: now.unwrap().as_secs(),
        }
    }

    fn claims(&self, iss: &str, id: u64) -> String {
        json!({
            "iss": iss, "aud": AUDIENCE, "sub": "1", "jti": id.to_string(),
            "iat": self.now, "exp": self.now + 3600, "email": EMAIL, "email_verified": true,
        })
        .to_string()
    }

    /// A token that is signed by nobody.
    fn forged(&self, kid: &str, iss: &str, id: u64) -> String {
        let mut jwt = unsigned(kid, &self.claims(iss, id));
        write!(jwt, ".{}", "A".repeat(86)).unwrap();
        jwt
    }

    fn good(&self) -> String {
        let mut jwt = unsigned("k", &self.claims(ISSUER, 0));
        let signature = self
            .pair
            .sign(&SystemRandom::new(), jwt.as_bytes())
            .unwrap();
        write!(jwt, ".{}", URL_SAFE_NO_PAD.encode(signature.as_ref())).unwrap();
        jwt
    }

    async fn verdict(&self, jwt: &str) -> Result<(), VerifyErrorKind> {
        let verdict = self.verifier.verify(jwt).await;
        verdict.map(drop).map_err(|error| error.kind())
    }
}

fn unsigned(kid: &str, claims: &str) -> String {
    let header = json!({"alg": "ES256", "kid": kid}).to_string();
    format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims)
    )
}

#[tokio::test]
async fn bad_tokens_unknown_key_ids_and_unknown_issuers_leave_memory_flat() {
    let world = World::new();
    let good = world.good();
    let rounds = rounds();
    for what in ["tokens", "key ids", "issuers"] {
        let flood = async |from: u64, to: u64| {
            for id in from..to {
                let (jwt, expected) = match what {
                    "key ids" => (
                        world.forged(&id.to_string(), ISSUER, id),
                        VerifyErrorKind::UnknownKey,
                    ),
                    "issuers" => (
                        world.forged("k", &format!("https://{id}.test"), id),
                        VerifyErrorKind::WrongIssuer,
                    ),
                    // Of either issuer, whose keys are fetched for each.
                    _ => (
                        world.forged("k", if id % 2 == 0 { ISSUER } else { ANOTHER }, id),
                        VerifyErrorKind::BadSignature,
                    ),
                };
                assert_eq!(world.verdict(&jwt).await, Err(expected), "{jwt}");
            }
        };
        // What is bounded fills up first.
        flood(0, rounds / 10).await;
        let before = resident_kib();
        flood(rounds / 10, rounds).await;
        let grown = resident_kib().saturating_sub(before);
        println!("{rounds} {what}: {grown} KiB more than after a tenth of them");
        // Half of what a mere hash of each would come to, and flat however many they are.
        let most = (16 * (rounds - rounds / 10) / 1024).min(1024);
        assert!(grown < most, "{grown} KiB for {what}");
        assert_eq!(world.verdict(&good).await, Ok(()));
    }
}

#[allow(clippy::disallowed_methods, reason = "says how hard to try")]
fn rounds() -> u64 {
    let told = std::env::var("IDTOKEN_FLOOD").ok();
    told.map_or(40_000, |told| told.parse().unwrap())
}

/// What this process holds of the machine's memory.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.unwrap().split_whitespace().nth(1);
    number.unwrap().parse().unwrap()
}
