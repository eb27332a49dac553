//! Google's signing keys: which one signs, which are published, and the endpoints that say so.

pub(crate) mod certificate;
pub(crate) mod signing;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::header::{AGE, CACHE_CONTROL, EXPIRES, VARY};
use http::{Request, StatusCode};
use serde_json::{Map, Value, json};

use self::signing::{EcKey, RsaKey};
use crate::answer::{self, Answer};
use crate::endpoint::{ACCOUNT_JWKS, ACCOUNT_PEM, Endpoint, decode_segment};
use crate::world::World;

/// Google's keys: one signs, others are published beside it.
#[derive(Debug)]
pub(crate) struct KeyRing {
    pub(crate) current: Arc<RsaKey>,
    pub(crate) next: Option<Arc<RsaKey>>,
    /// Newest first.
    pub(crate) previous: Vec<Arc<RsaKey>>,
    pub(crate) iap: Arc<EcKey>,
}

impl KeyRing {
    /// Two fresh keys, or one: the previous key is made once in a process and shared by all
    /// emulators in it, for tests start many of them and making keys is all that takes time.
    pub(crate) fn new(now: u64) -> Self {
        Self {
            current: Arc::new(RsaKey::generate(now)),
            next: None,
            previous: vec![Arc::clone(
                PREVIOUS.get_or_init(|| Arc::new(RsaKey::generate(now))),
            )],
            iap: Arc::new(EcKey::generate()),
        }
    }

    /// Makes `key` the one that signs, or the key announced before if there is one.
    pub(crate) fn rotate(&mut self, key: Option<RsaKey>) {
        let Some(next) = self.next.take().or_else(|| key.map(Arc::new)) else {
            return;
        };
        self.previous
            .insert(0, std::mem::replace(&mut self.current, next));
        self.previous.truncate(MOST_PREVIOUS);
    }

    /// A key that was never published.
    pub(crate) fn stranger() -> &'static Arc<RsaKey> {
        STRANGER.get_or_init(|| Arc::new(RsaKey::generate(0)))
    }

    /// The published keys, in the order in which they are listed.
    pub(crate) fn published(&self) -> impl Iterator<Item = &Arc<RsaKey>> {
        std::iter::once(&self.current)
            .chain(&self.next)
            .chain(&self.previous)
    }
}

/// What the key endpoints say about how long their answer may be kept.
#[derive(Clone, Debug)]
pub(crate) struct KeyCache {
    pub(crate) max_age: Duration,
    /// How long the answer has lain in Google's own caches already.
    pub(crate) age: Option<Duration>,
    /// A `Cache-Control` to send in place of the usual one; `Some(None)` sends none at all.
    pub(crate) cache_control: Option<Option<String>>,
}

impl Default for KeyCache {
    fn default() -> Self {
        Self {
            max_age: Duration::from_secs(21_155),
            age: Some(Duration::from_secs(12)),
            cache_control: None,
        }
    }
}

/// Answers all key endpoints.
pub(crate) fn respond(
    world: &World,
    now: u64,
    endpoint: Endpoint,
    request: &Request<impl Sized>,
) -> Answer {
    let path = request.uri().path();
    let body = match endpoint {
        Endpoint::AccountJwks => of_account(world, path.strip_prefix(ACCOUNT_JWKS), jwks),
        Endpoint::AccountPem => of_account(world, path.strip_prefix(ACCOUNT_PEM), certificates),
        Endpoint::IapJwks => Some(json!({ "keys": [world.keys.iap.jwk()] })),
        Endpoint::IapPem => Some(json!({ world.keys.iap.id(): world.keys.iap.public_pem() })),
        Endpoint::Pem => Some(certificates(&mut world.keys.published())),
        _ => Some(jwks(&mut world.keys.published())),
    };
    match body {
        Some(body) => cacheable(answer::json(StatusCode::OK, &body), &world.key_cache, now),
        None => answer::html(StatusCode::NOT_FOUND, "No such account."),
    }
}

type Keys<'a> = dyn Iterator<Item = &'a Arc<RsaKey>> + 'a;

fn of_account(
    world: &World,
    email: Option<&str>,
    publish: fn(&mut Keys<'_>) -> Value,
) -> Option<Value> {
    let email = decode_segment(email?)?;
    world.account(&email)?;
    Some(publish(&mut world.keys_of(&email)))
}

fn jwks(keys: &mut Keys<'_>) -> Value {
    json!({ "keys": keys.map(|key| key.jwk()).collect::<Vec<_>>() })
}

fn certificates(keys: &mut Keys<'_>) -> Value {
    Value::Object(
        keys.map(|key| (key.id().to_owned(), key.certificate().into()))
            .collect::<Map<_, _>>(),
    )
}

fn cacheable(answer: Answer, cache: &KeyCache, now: u64) -> Answer {
    let max_age = cache.max_age.as_secs();
    let usual = format!("public, max-age={max_age}, must-revalidate, no-transform");
    let cache_control = match &cache.cache_control {
        None => Some(usual),
        Some(given) => given.clone(),
    };
    let mut answer = answer::with_header(answer, VARY, "Origin,X-Origin,Referer,Accept-Encoding");
    if let Some(text) = cache_control {
        answer = answer::with_header(answer, CACHE_CONTROL, &text);
    }
    let age = cache.age.map_or(0, |age| age.as_secs());
    if cache.age.is_some() {
        answer = answer::with_header(answer, AGE, &age.to_string());
    }
    let expires = now.saturating_add(max_age).saturating_sub(age);
    answer::with_header(answer, EXPIRES, &crate::world::http_date(expires))
}

static PREVIOUS: OnceLock<Arc<RsaKey>> = OnceLock::new();
static STRANGER: OnceLock<Arc<RsaKey>> = OnceLock::new();

/// Google publishes two or three keys at a time; more than this many would be a leak of ours.
const MOST_PREVIOUS: usize = 8;
