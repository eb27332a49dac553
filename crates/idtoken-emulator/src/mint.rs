//! Tokens on demand, good ones and every kind of bad one.

use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;
use serde_json::{Value, json};

use crate::account::Account;
use crate::claims::{self, Shape};
use crate::jose::{self, Object};
use crate::keys::KeyRing;
use crate::world::{Call, Twist, World, unix_seconds};

/// What [`Emulator::mint`](crate::Emulator::mint) shall make.
///
/// By default a token that Google could have signed just now; each method makes it differ in one
/// respect, so that a test can break one rule and leave all others kept.
///
/// ```
/// use idtoken_emulator::{SigningKey, TokenRequest};
///
/// let forged = TokenRequest::new("https://hello-abc.a.run.app")
///     .account("caller@shop.iam.gserviceaccount.com")
///     .claim("email_verified", false)
///     .without_claim("azp")
///     .key(SigningKey::Unknown);
/// # let _ = forged;
/// ```
#[derive(Clone, Debug)]
pub struct TokenRequest {
    audience: String,
    account: Option<String>,
    shape: Shape,
    key: Option<SigningKey>,
    issued_at: Option<SystemTime>,
    lifetime: Option<Duration>,
    claims: Vec<(String, Option<Value>)>,
    headers: Vec<(String, Option<Value>)>,
    raw_header: Option<Vec<u8>>,
    raw_payload: Option<Vec<u8>>,
}

impl TokenRequest {
    /// A token for `audience` about the account that is attached to the metadata server.
    #[must_use]
    pub fn new(audience: impl Into<String>) -> Self {
        Self {
            audience: audience.into(),
            account: None,
            shape: Shape::default(),
            key: None,
            issued_at: None,
            lifetime: None,
            claims: Vec::new(),
            headers: Vec::new(),
            raw_header: None,
            raw_payload: None,
        }
    }

    /// About the account with this e-mail address, which need not have been added.
    #[must_use]
    pub fn account(mut self, email: impl Into<String>) -> Self {
        self.account = Some(email.into());
        self
    }

    /// As if it had come about in this way.
    #[must_use]
    pub fn shape(mut self, shape: Shape) -> Self {
        self.shape = shape;
        self
    }

    /// Signed with this key.
    #[must_use]
    pub fn key(mut self, key: SigningKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Issued at this time rather than now.
    #[must_use]
    pub fn issued_at(mut self, time: SystemTime) -> Self {
        self.issued_at = Some(time);
        self
    }

    /// With `exp` this long after `iat`.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// With this claim set to this value, whatever its type.
    #[must_use]
    pub fn claim(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.claims.push((name.into(), Some(value.into())));
        self
    }

    /// Without this claim.
    #[must_use]
    pub fn without_claim(mut self, name: impl Into<String>) -> Self {
        self.claims.push((name.into(), None));
        self
    }

    /// With this header parameter set to this value. `alg` changes how the token is signed too, as
    /// far as the key can: `RS256`, `RS384`, `RS512` and `PS256`.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.headers.push((name.into(), Some(value.into())));
        self
    }

    /// Without this header parameter.
    #[must_use]
    pub fn without_header(mut self, name: impl Into<String>) -> Self {
        self.headers.push((name.into(), None));
        self
    }

    /// With these bytes as the header, JSON or not.
    #[must_use]
    pub fn raw_header(mut self, header: impl Into<Vec<u8>>) -> Self {
        self.raw_header = Some(header.into());
        self
    }

    /// With these bytes as the payload, JSON or not.
    #[must_use]
    pub fn raw_payload(mut self, payload: impl Into<Vec<u8>>) -> Self {
        self.raw_payload = Some(payload.into());
        self
    }
}

/// Which key signs a minted token.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SigningKey {
    /// The key that signs Google's ID tokens now.
    Current,
    /// HS256 with this secret: with a public key as the secret, a well-known attack.
    Hmac(Vec<u8>),
    /// The key of Identity-Aware Proxy, ES256.
    Iap,
    /// The key announced by [`Emulator::publish_next`](crate::Emulator::publish_next), else the
    /// current one.
    Next,
    /// No key: `alg` is `none` and the signature is empty.
    None,
    /// The newest key that signed before and is still published, else one that never was.
    Previous,
    /// These bytes in the signature's place, beside the current key's id.
    Signature(Vec<u8>),
    /// A key that was never published, under its own id.
    Unknown,
    /// A key that was never published, under the id of the current one.
    UnknownUnderCurrentId,
}

/// Makes the token.
pub(crate) fn mint(world: &World, now: u64, request: &TokenRequest) -> String {
    let account = match &request.account {
        Some(email) => world.account_or_new(email),
        None => world.attached_or_default(),
    };
    let issued_at = request.issued_at.map_or(now, unix_seconds);
    let mut claims = claims::claims(request.shape, &account, &request.audience, issued_at);
    if let Some(lifetime) = request.lifetime {
        claims.insert(
            "exp".to_owned(),
            issued_at.saturating_add(lifetime.as_secs()).into(),
        );
    }
    change(&mut claims, &request.claims);
    let payload = request
        .raw_payload
        .clone()
        .unwrap_or_else(|| Value::Object(claims).to_string().into());
    let key = request.key.clone().unwrap_or(match request.shape {
        Shape::Iap => SigningKey::Iap,
        _ => SigningKey::Current,
    });
    sign(world, request, &key, &payload)
}

/// The claims that an endpoint was asked for, but for what a fault has twisted.
pub(crate) fn claims_for(
    call: Call<'_>,
    shape: Shape,
    account: &Account,
    audience: &str,
) -> Object {
    let audience = match call.twist {
        Some(Twist::WrongAudience) => WRONG_AUDIENCE,
        _ => audience,
    };
    let issued_at = match call.twist {
        Some(Twist::Expired) => call.now.saturating_sub(2 * shape.lifetime().as_secs()),
        _ => call.now,
    };
    claims::claims(shape, account, audience, issued_at)
}

/// Any claims, signed with the current key, and noted.
pub(crate) fn sign_claims(world: &mut World, claims: Object) -> String {
    let key = &world.keys.current;
    let header = json!({ "alg": "RS256", "kid": key.id(), "typ": "JWT" }).to_string();
    let payload = Value::Object(claims).to_string();
    let token = jose::compact(header.as_bytes(), payload.as_bytes(), |message| {
        key.sign("RS256", message)
    });
    world.journal.issue(&token);
    token
}

fn sign(world: &World, request: &TokenRequest, key: &SigningKey, payload: &[u8]) -> String {
    let keys = &world.keys;
    let (rsa, id) = match key {
        SigningKey::Next => (keys.next.as_ref().unwrap_or(&keys.current), None),
        SigningKey::Previous => match keys.previous.first() {
            Some(key) => (key, None),
            None => (KeyRing::stranger(), None),
        },
        SigningKey::Unknown => (KeyRing::stranger(), None),
        SigningKey::UnknownUnderCurrentId => (KeyRing::stranger(), Some(keys.current.id())),
        _ => (&keys.current, None),
    };
    let id = match key {
        SigningKey::Iap => keys.iap.id(),
        _ => id.unwrap_or_else(|| rsa.id()),
    };
    let alg = match key {
        SigningKey::Hmac(_) => "HS256",
        SigningKey::Iap => "ES256",
        SigningKey::None => "none",
        _ => "RS256",
    };
    let mut header = Object::new();
    header.insert("alg".to_owned(), alg.into());
    header.insert("kid".to_owned(), id.into());
    header.insert("typ".to_owned(), "JWT".into());
    change(&mut header, &request.headers);
    let alg = header
        .get("alg")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let header = request
        .raw_header
        .clone()
        .unwrap_or_else(|| Value::Object(header).to_string().into());
    jose::compact(&header, payload, |message| match key {
        SigningKey::Hmac(secret) => {
            let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
            hmac::sign(&secret, message).as_ref().to_vec()
        }
        SigningKey::Iap => keys.iap.sign(message),
        SigningKey::None => Vec::new(),
        SigningKey::Signature(bytes) => bytes.clone(),
        _ => rsa.sign(&alg, message),
    })
}

fn change(object: &mut Object, changes: &[(String, Option<Value>)]) {
    for (name, value) in changes {
        match value {
            Some(value) => object.insert(name.clone(), value.clone()),
            None => object.remove(name),
        };
    }
}

/// The audience of a token that a fault has sent astray.
const WRONG_AUDIENCE: &str = "https://wrong-audience.example";
