//! Tokens that Google really signed, years ago: the clock is set back to their day.
//!
//! The data is not part of this repository. `IDTOKEN_VECTORS` names its folder; without it nothing
//! is run, and the output says so.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use idtoken::clock::ManualClock;
use idtoken::{Issuer, KeySet, UnverifiedClaims, Verifier, VerifyErrorKind};
use serde_json::Value;

#[allow(clippy::disallowed_methods, reason = "says where the data lies")]
fn vectors() -> Option<PathBuf> {
    let folder = std::env::var_os("IDTOKEN_VECTORS").map(PathBuf::from);
    if folder.is_none() {
        println!("IDTOKEN_VECTORS is not set: 0 cases run");
    }
    folder
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn keys(folder: &Path, name: &str) -> KeySet {
    KeySet::from_json(&read(&folder.join("google").join(name))).unwrap()
}

/// A verifier whose audience is the token's own and whose clock stands a minute after its `iat`.
fn verifier(issuer: Issuer, token: &str) -> Verifier {
    let claims = UnverifiedClaims::read_without_verifying(token).unwrap();
    Verifier::builder()
        .audiences(claims.aud())
        .issuer(issuer)
        .allow_if(|_| true)
        .clock(ManualClock::new(
            claims.iat().unwrap() + Duration::from_secs(60),
        ))
        .build()
        .unwrap()
}

#[tokio::test]
async fn tokens_that_google_signed_verify_on_their_day() {
    let Some(folder) = vectors() else { return };
    let tokens: Value =
        serde_json::from_slice(&read(&folder.join("google/real_tokens.json"))).unwrap();
    let token = |name: &str| tokens["tokens"][name]["token"].as_str().unwrap();
    let federated = || Issuer::google().with_keys(keys(&folder, "google_federated_keys.json"));

    let rs256 = token("FEDERATED_SIGNON_RS256_TOKEN");
    let claims = verifier(federated(), rs256).verify(rs256).await.unwrap();
    assert_eq!(claims.iss(), "https://accounts.google.com");

    let es256 = token("ES256_TOKEN");
    let iap = || Issuer::iap().with_keys(keys(&folder, "google_iap_keys.json"));
    let claims = verifier(iap(), es256).verify(es256).await.unwrap();
    assert!(claims.sub().starts_with("accounts.google.com:"));
    assert!(!claims.google().unwrap().access_levels.is_empty());

    let mut refused = 0;
    for name in tokens["tokens"].as_object().unwrap().keys() {
        if ["FEDERATED_SIGNON_RS256_TOKEN", "ES256_TOKEN"].contains(&name.as_str()) {
            continue;
        }
        let error = verifier(federated(), token(name))
            .verify(token(name))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), VerifyErrorKind::UnknownKey, "{name}");
        refused += 1;
    }
    // Years later the same tokens are but expired.
    for (issuer, token) in [(federated(), rs256), (iap(), es256)] {
        let today = Verifier::builder()
            .audiences(
                UnverifiedClaims::read_without_verifying(token)
                    .unwrap()
                    .aud(),
            )
            .issuer(issuer)
            .allow_if(|_| true)
            .clock(ManualClock::new(
                SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000),
            ))
            .build()
            .unwrap();
        let error = today.verify(token).await.unwrap_err();
        assert_eq!(error.kind(), VerifyErrorKind::Expired);
        refused += 1;
    }
    println!("real tokens: 2 accepted, {refused} refused, 0 wrong");
}
