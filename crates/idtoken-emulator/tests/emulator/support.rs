//! A plain client, and an independent check of tokens.

use std::sync::LazyLock;
use std::time::SystemTime;

use idtoken::clock::{Clock as _, SystemClock};
use idtoken_emulator::Emulator;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Map, Value};

pub(crate) type Claims = Map<String, Value>;

/// One for all tests, since making one takes a while; it keeps no connection, since each test has a
/// runtime of its own.
pub(crate) fn client() -> &'static reqwest::Client {
    static CLIENT: LazyLock<reqwest::Client> = LazyLock::new(|| {
        reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(0)
            .build()
            .unwrap()
    });
    &CLIENT
}

pub(crate) async fn get(url: impl AsRef<str>) -> reqwest::Response {
    client().get(url.as_ref()).send().await.unwrap()
}

/// Asks the metadata server, with the header it wants.
pub(crate) async fn metadata(google: &Emulator, path: &str) -> reqwest::Response {
    let url = format!("{}/computeMetadata/v1/{path}", google.url());
    client()
        .get(url)
        .header("Metadata-Flavor", "Google")
        .send()
        .await
        .unwrap()
}

pub(crate) async fn identity(google: &Emulator, query: &str) -> reqwest::Response {
    metadata(
        google,
        &format!("instance/service-accounts/default/identity?{query}"),
    )
    .await
}

/// The claims of a token whose signature the published keys verify, by another library. Times are
/// for the test to look at.
pub(crate) async fn verified(google: &Emulator, jwt: &str) -> Claims {
    verify(&google.jwks_url(), jwt, Algorithm::RS256)
        .await
        .unwrap()
}

pub(crate) async fn verify(
    jwks_url: &str,
    jwt: &str,
    algorithm: Algorithm,
) -> Result<Claims, Box<dyn std::error::Error>> {
    let keys: JwkSet = get(jwks_url).await.json().await?;
    let header = jsonwebtoken::decode_header(jwt)?;
    let id = header.kid.ok_or("no kid")?;
    let key = DecodingKey::from_jwk(keys.find(&id).ok_or("unknown kid")?)?;
    let mut rules = Validation::new(algorithm);
    rules.validate_aud = false;
    rules.validate_exp = false;
    rules.required_spec_claims.clear();
    Ok(jsonwebtoken::decode::<Claims>(jwt, &key, &rules)?.claims)
}

pub(crate) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

pub(crate) fn now() -> u64 {
    seconds(SystemClock.now())
}
