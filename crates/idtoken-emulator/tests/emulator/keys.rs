use std::time::Duration;

use idtoken_emulator::{Emulator, SigningKey, TokenRequest};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;

use crate::support::{Claims, get, verified, verify};

#[tokio::test]
async fn publishes_two_keys_as_google_does() {
    let google = Emulator::start().await.unwrap();
    let answer = get(google.jwks_url()).await;
    let headers = answer.headers().clone();
    assert_eq!(headers["content-type"], "application/json; charset=UTF-8");
    assert_eq!(
        headers["cache-control"],
        "public, max-age=21155, must-revalidate, no-transform"
    );
    assert_eq!(headers["age"], "12");
    assert!(headers.contains_key("expires") && headers.contains_key("date"));
    let body: Value = answer.json().await.unwrap();
    let keys = body["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 2);
    for key in keys {
        assert_eq!(
            (&key["kty"], &key["alg"], &key["use"], &key["e"]),
            (
                &"RSA".into(),
                &"RS256".into(),
                &"sig".into(),
                &"AQAB".into()
            )
        );
        let id = key["kid"].as_str().unwrap();
        assert!(
            id.len() == 40 && id.bytes().all(|b| b.is_ascii_hexdigit()),
            "{id}"
        );
        assert_eq!(key["n"].as_str().unwrap().len(), 342, "2,048 bits");
    }
}

#[tokio::test]
async fn rotation_keeps_the_old_key_until_it_is_retired() {
    let google = Emulator::start().await.unwrap();
    let request = TokenRequest::new("a");
    let (old, old_id) = (google.mint(&request), google.key_id());
    google.rotate_keys();
    assert_ne!(google.key_id(), old_id);
    let new = google.mint(&request);
    verified(&google, &old).await;
    verified(&google, &new).await;
    google.retire_keys();
    verified(&google, &new).await;
    assert!(
        verify(&google.jwks_url(), &old, Algorithm::RS256)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_key_is_published_before_it_signs() {
    let google = Emulator::start().await.unwrap();
    google.publish_next();
    let early = google.mint(&TokenRequest::new("a").key(SigningKey::Next));
    let id = jsonwebtoken::decode_header(&early).unwrap().kid.unwrap();
    assert_ne!(id, google.key_id());
    verified(&google, &early).await;
    google.rotate_keys();
    assert_eq!(google.key_id(), id);
}

#[tokio::test]
async fn certificates_hold_the_same_keys() {
    let google = Emulator::start().await.unwrap();
    let token = google.mint(&TokenRequest::new("a"));
    let id = jsonwebtoken::decode_header(&token).unwrap().kid.unwrap();
    let certificates: Claims = get(google.pem_url()).await.json().await.unwrap();
    assert_eq!(certificates.len(), 2);
    let pem = certificates[&id].as_str().unwrap();
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----\n"));
    let key = DecodingKey::from_rsa_pem(pem.as_bytes()).unwrap();
    let mut rules = Validation::new(Algorithm::RS256);
    rules.set_audience(&["a"]);
    jsonwebtoken::decode::<Claims>(&token, &key, &rules).unwrap();
}

#[tokio::test]
async fn says_what_it_is_told_about_caching() {
    let google = Emulator::start().await.unwrap();
    google.set_key_cache(Duration::from_secs(100), None);
    let answer = get(google.jwks_url()).await;
    assert!(
        answer.headers()["cache-control"]
            .to_str()
            .unwrap()
            .contains("max-age=100,")
    );
    assert!(!answer.headers().contains_key("age"));
    google.set_key_cache_control(Some("no-store"));
    assert_eq!(
        get(google.pem_url()).await.headers()["cache-control"],
        "no-store"
    );
    google.set_key_cache_control(None);
    assert!(
        !get(google.jwks_url())
            .await
            .headers()
            .contains_key("cache-control")
    );
}

#[tokio::test]
async fn publishes_the_keys_of_service_accounts() {
    let google = Emulator::start().await.unwrap();
    let email = "batch@shop.iam.gserviceaccount.com";
    let file: Value = serde_json::from_str(&google.key_file(email)).unwrap();
    let jwks: Value = get(format!("{}/service_accounts/v1/jwk/{email}", google.url()))
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(jwks["keys"][0]["kid"], file["private_key_id"]);
    let url = file["client_x509_cert_url"].as_str().unwrap();
    let certificates: Claims = get(url).await.json().await.unwrap();
    assert!(certificates.contains_key(file["private_key_id"].as_str().unwrap()));
    let unknown = format!("{}/service_accounts/v1/jwk/nobody@x", google.url());
    assert_eq!(get(unknown).await.status(), 404);
}

#[tokio::test]
async fn discovery_names_googles_issuer_and_our_keys() {
    let google = Emulator::start().await.unwrap();
    let url = format!("{}/.well-known/openid-configuration", google.url());
    let body: Value = get(url).await.json().await.unwrap();
    assert_eq!(body["issuer"], "https://accounts.google.com");
    assert_eq!(body["jwks_uri"], google.jwks_url());
}

#[tokio::test]
async fn token_info_tells_good_from_bad() {
    let google = Emulator::start().await.unwrap();
    let ask = |token: String| {
        let url = format!("{}/tokeninfo?id_token={token}", google.url());
        async move { get(url).await }
    };
    let answer = ask(google.mint(&TokenRequest::new("a"))).await;
    assert_eq!(answer.status(), 200);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(
        (&body["aud"], &body["email_verified"]),
        (&"a".into(), &"true".into())
    );
    for bad in [
        TokenRequest::new("a").key(SigningKey::UnknownUnderCurrentId),
        TokenRequest::new("a").lifetime(Duration::ZERO),
    ] {
        assert_eq!(ask(google.mint(&bad)).await.status(), 400);
    }
}
