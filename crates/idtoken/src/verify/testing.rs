//! Keys, tokens and transports for this crate's tests.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use bytes::Bytes;
use http::{Request, Response};
use serde_json::{Value, json};

use super::jws::STRICT_BASE64URL;
use super::{KeySet, Principal, VerifierBuilder};
use crate::clock::ManualClock;
use crate::transport::{Transport, TransportError, TransportErrorKind};
use crate::verify::Verifier;

pub(crate) const AUDIENCE: &str = "https://f.a.run.app";
pub(crate) const EMAIL: &str = "caller@p.iam.gserviceaccount.com";
pub(crate) const SUB: &str = "110169484474386276334";
pub(crate) const NOW: u64 = 1_700_000_000;

thread_local! {
    static SIGNATURE_CHECKS: Cell<u32> = const { Cell::new(0) };
}

/// Notes that this thread checked a signature, which is what a token can cost.
pub(crate) fn note_signature_check() {
    SIGNATURE_CHECKS.set(SIGNATURE_CHECKS.get() + 1);
}

/// How many signatures `work` checks on this thread.
pub(crate) fn signature_checks<R>(work: impl FnOnce() -> R) -> (R, u32) {
    let before = SIGNATURE_CHECKS.get();
    let done = work();
    (done, SIGNATURE_CHECKS.get() - before)
}

pub(crate) fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    STRICT_BASE64URL.encode(bytes)
}

pub(crate) fn unb64(text: &str) -> Vec<u8> {
    STRICT_BASE64URL.decode(text).unwrap()
}

/// A signing key. Making an RSA key takes long, so there are a few for the whole test binary.
pub(crate) enum Signer {
    Es256(EcdsaKeyPair),
    Rs256(RsaKeyPair),
}

impl Signer {
    /// The `index`th of three RSA-2048 keys.
    pub(crate) fn rsa(index: usize) -> &'static Self {
        static KEYS: [OnceLock<Signer>; 3] = [const { OnceLock::new() }; 3];
        KEYS[index].get_or_init(|| Self::Rs256(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()))
    }

    pub(crate) fn p256() -> &'static Self {
        static KEY: OnceLock<Signer> = OnceLock::new();
        KEY.get_or_init(|| {
            Self::Es256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
        })
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Es256(pair) => pair
                .sign(&SystemRandom::new(), message)
                .unwrap()
                .as_ref()
                .to_vec(),
            Self::Rs256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(
                    &RSA_PKCS1_SHA256,
                    &SystemRandom::new(),
                    message,
                    &mut signature,
                )
                .unwrap();
                signature
            }
        }
    }

    pub(crate) fn jwk(&self, kid: &str) -> Value {
        match self {
            Self::Es256(pair) => {
                let point = pair.public_key().as_ref();
                json!({
                    "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": kid,
                    "x": b64(&point[1..33]), "y": b64(&point[33..]),
                })
            }
            Self::Rs256(pair) => {
                let public = pair.public_key();
                json!({
                    "kty": "RSA", "alg": "RS256", "use": "sig", "kid": kid,
                    "n": b64(public.modulus().big_endian_without_leading_zero()),
                    "e": b64(public.exponent().big_endian_without_leading_zero()),
                })
            }
        }
    }

    /// A compact JWS over exactly these texts.
    pub(crate) fn compact(&self, header: &str, payload: &str) -> String {
        let input = format!("{}.{}", b64(header), b64(payload));
        let signature = b64(self.sign(input.as_bytes()));
        format!("{input}.{signature}")
    }

    /// A token with these claims in the name of `kid`.
    pub(crate) fn token(&self, kid: &str, claims: &Value) -> String {
        let alg = match self {
            Self::Es256(_) => "ES256",
            Self::Rs256(_) => "RS256",
        };
        let header = json!({"alg": alg, "kid": kid, "typ": "JWT"});
        self.compact(&header.to_string(), &claims.to_string())
    }
}

pub(crate) fn jwks(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

pub(crate) fn key_set(keys: &[Value]) -> KeySet {
    KeySet::from_json(jwks(keys).as_bytes()).unwrap()
}

/// The claims of a token that everybody accepts at [`NOW`].
pub(crate) fn good_claims() -> Value {
    json!({
        "iss": "https://accounts.google.com", "aud": AUDIENCE, "azp": "1029", "sub": SUB,
        "email": EMAIL, "email_verified": true, "iat": NOW - 60, "exp": NOW + 3540,
    })
}

/// [`good_claims`] with `changes` on top; a `null` takes the claim away.
pub(crate) fn claims_with(changes: &Value) -> Value {
    let mut claims = good_claims();
    let object = claims.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            object.remove(name);
        } else {
            object.insert(name.clone(), value.clone());
        }
    }
    claims
}

/// A builder for [`AUDIENCE`] and [`EMAIL`] whose clock stands at [`NOW`].
pub(crate) fn builder() -> VerifierBuilder {
    Verifier::builder()
        .audience(AUDIENCE)
        .allow(Principal::service_account(EMAIL))
        .clock(ManualClock::new(at(NOW)))
}

/// A key endpoint in memory: counts, can be slow, down or odd.
#[derive(Clone)]
pub(crate) struct Endpoint(Arc<EndpointState>);

struct EndpointState {
    hits: AtomicU32,
    delay: Duration,
    answer: Mutex<Answer>,
    once: Mutex<VecDeque<Answer>>,
}

#[derive(Clone)]
pub(crate) enum Answer {
    Body(u16, String, Vec<(&'static str, String)>),
    Panic,
    Refused,
    Silence,
}

impl Answer {
    pub(crate) fn keys(keys: &[Value]) -> Self {
        Self::Body(
            200,
            jwks(keys),
            vec![("cache-control", "public, max-age=21155".into())],
        )
    }

    /// The same, to be kept for so long.
    pub(crate) fn for_seconds(self, seconds: u32) -> Self {
        match self {
            Self::Body(status, body, _) => {
                let header = ("cache-control", format!("max-age={seconds}"));
                Self::Body(status, body, vec![header])
            }
            other => other,
        }
    }

    pub(crate) fn status(status: u16) -> Self {
        Self::Body(status, "<html>no</html>".into(), vec![])
    }
}

impl Endpoint {
    pub(crate) fn new(answer: Answer) -> Self {
        Self::slow(answer, Duration::from_millis(20))
    }

    pub(crate) fn slow(answer: Answer, delay: Duration) -> Self {
        Self(Arc::new(EndpointState {
            hits: AtomicU32::new(0),
            delay,
            answer: Mutex::new(answer),
            once: Mutex::default(),
        }))
    }

    pub(crate) fn set(&self, answer: Answer) {
        *self.0.answer.lock().unwrap() = answer;
    }

    /// Gives `answers` first, one after the other.
    pub(crate) fn then(&self, answers: impl IntoIterator<Item = Answer>) {
        self.0.once.lock().unwrap().extend(answers);
    }

    pub(crate) fn hits(&self) -> u32 {
        self.0.hits.load(Ordering::SeqCst)
    }
}

impl Transport for Endpoint {
    async fn send(&self, _: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        self.0.hits.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(self.0.delay).await;
        let once = self.0.once.lock().unwrap().pop_front();
        let answer = once.unwrap_or_else(|| self.0.answer.lock().unwrap().clone());
        match answer {
            Answer::Body(status, body, headers) => {
                let mut response = Response::builder().status(status);
                for (name, value) in headers {
                    response = response.header(name, value);
                }
                Ok(response.body(Bytes::from(body)).unwrap())
            }
            Answer::Panic => panic!("as this test wants"),
            Answer::Refused => Err(TransportError::new(
                TransportErrorKind::Connect,
                "connection refused",
            )),
            Answer::Silence => std::future::pending().await,
        }
    }
}
