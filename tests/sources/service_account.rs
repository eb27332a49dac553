//! Key files.

use std::fs;

use idtoken::source::ServiceAccountKey;
use idtoken::transport::ReqwestTransport;
use idtoken::{SourceErrorKind, TokenSource};
use idtoken_emulator::{Endpoint, Fault};
use serde_json::Value;

use crate::support::{CALLER, HELLO, assert_names, assert_no_secret, audience, google};

#[tokio::test]
async fn over_tls_with_the_servers_own_authority() {
    let google = google().await;
    let mut key: Value = serde_json::from_str(&google.key_file(CALLER)).unwrap();
    key["token_uri"] = format!("{}/token", google.https_url()).into();
    let trusting = ReqwestTransport::trusting_only(google.ca_pem().as_bytes()).unwrap();
    let source = ServiceAccountKey::from_json_with(&key.to_string(), trusting).unwrap();
    assert_names(
        &source.fetch(&audience(HELLO)).await.unwrap(),
        HELLO,
        CALLER,
    );

    let source = ServiceAccountKey::from_json(&key.to_string()).unwrap();
    let error = source.fetch(&audience(HELLO)).await.unwrap_err();
    assert_eq!(
        error.kind(),
        SourceErrorKind::Transient,
        "an unknown authority: {error}"
    );
}

#[tokio::test]
async fn extra_claims_are_present_in_the_assertion() {
    let google = google().await;
    let source = ServiceAccountKey::from_json(&google.key_file(CALLER)).unwrap();
    let source = source.with_claim("purpose", "testing").unwrap();
    source.fetch(&audience(HELLO)).await.unwrap();
    let assertion = google.requests(Endpoint::Token)[0]
        .form("assertion")
        .unwrap();
    let claims = idtoken::UnverifiedClaims::read_without_verifying(&assertion).unwrap();
    assert_eq!(
        claims.get::<String>("purpose").unwrap().as_deref(),
        Some("testing")
    );
}

#[tokio::test]
async fn scope_with_target_audience_and_times_of_ones_own_are_refused_locally() {
    let google = google().await;
    let source = ServiceAccountKey::from_json(&google.key_file(CALLER)).unwrap();
    for name in [
        "scope",
        "exp",
        "iat",
        "target_audience",
        "aud",
        "iss",
        "sub",
    ] {
        let error = source.clone().with_claim(name, 1).unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::Misconfigured);
        assert!(error.to_string().contains(name), "{error}");
    }
    assert_eq!(google.hits(Endpoint::Token), 0);
}

#[tokio::test]
async fn another_universe_goes_through_generate_id_token_with_a_self_signed_jwt() {
    let google = google().await;
    google.grant(CALLER, idtoken_emulator::Role::OpenIdTokenCreator, CALLER);
    let mut key: Value = serde_json::from_str(&google.key_file(CALLER)).unwrap();
    key["universe_domain"] = "example.goog".into();
    let source = ServiceAccountKey::from_json(&key.to_string()).unwrap();
    let source = source.with_iam_endpoint(google.url());
    assert_names(
        &source.fetch(&audience(HELLO)).await.unwrap(),
        HELLO,
        CALLER,
    );
    assert_eq!(
        google.hits(Endpoint::Token),
        0,
        "that universe has no token endpoint"
    );
    assert_eq!(google.hits(Endpoint::GenerateIdToken), 1);
}

#[tokio::test]
async fn a_key_file_that_is_replaced_is_read_again() {
    let google = google().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.json");
    fs::write(&path, google.key_file(CALLER)).unwrap();
    let source = ServiceAccountKey::from_file(&path).unwrap();
    source.fetch(&audience(HELLO)).await.unwrap();

    google.revoke_keys(CALLER);
    source.fetch(&audience(HELLO)).await.unwrap_err();
    fs::write(&path, "{ half of").unwrap();
    let error = source.fetch(&audience(HELLO)).await.unwrap_err();
    assert_eq!(
        error.code(),
        Some("invalid_grant"),
        "the old key is used meanwhile: {error}"
    );
    // Another length, so that the change shows whatever the file system's clock can tell.
    fs::write(&path, format!("{}\n\n", google.key_file(CALLER))).unwrap();
    source.fetch(&audience(HELLO)).await.unwrap();
}

#[tokio::test]
async fn an_answer_without_an_id_token_is_invalid_and_not_tried_again() {
    for body in ["{}", "[]", "<html>", r#"{"id_token":1}"#] {
        let google = google().await;
        google.fail(Endpoint::Token, Fault::Body(body.to_owned()));
        let source = ServiceAccountKey::from_json(&google.key_file(CALLER)).unwrap();
        let error = source.fetch(&audience(HELLO)).await.unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::InvalidAnswer, "{body}");
        assert_eq!(google.hits(Endpoint::Token), 1, "{body}");
        assert_no_secret(&error);
    }
}

#[tokio::test]
async fn retries_that_run_out_say_how_many_and_the_last_status() {
    let google = google().await;
    google.fail(Endpoint::Token, Fault::Status(503));
    let source = ServiceAccountKey::from_json(&google.key_file(CALLER)).unwrap();
    let error = source.fetch(&audience(HELLO)).await.unwrap_err();
    assert_eq!(u64::from(error.tries()), google.hits(Endpoint::Token));
    assert_eq!(error.status().unwrap(), 503);
    assert!(error.to_string().contains("after 5 tries"), "{error}");
    assert_no_secret(&error);
}
