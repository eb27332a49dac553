//! Key files.

use std::fs;

use idtoken::source::{DefaultSource, Impersonated, ServiceAccountKey};
use idtoken::transport::ReqwestTransport;
use idtoken::{SourceErrorKind, TokenSource};
use idtoken_emulator::{Endpoint, Fault};
use serde_json::Value;

use crate::support::{
    CALLER, HELLO, Rerouted, TARGET, assert_names, assert_no_secret, audience, google,
};

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
async fn another_universe_is_asked_only_where_it_is_allowed() {
    let google = google().await;
    google.grant(CALLER, idtoken_emulator::Role::OpenIdTokenCreator, CALLER);
    let mut key: Value = serde_json::from_str(&google.key_file(CALLER)).unwrap();
    key["universe_domain"] = "example.goog".into();
    let key = key.to_string();
    let rerouted = Rerouted::to(&google);
    let builder = || DefaultSource::builder();
    let source = builder().from_json_with(&key, rerouted.clone()).unwrap();
    let error = source.fetch(&audience(HELLO)).await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Misconfigured);
    assert!(
        error.to_string().contains("universe example.goog"),
        "{error}"
    );
    assert!(
        error
            .advice()
            .unwrap()
            .contains("allow_host(\".example.goog\")")
    );
    assert_eq!(rerouted.hosts(), [""; 0], "nothing was signed for it");

    let builder = builder().allow_host(".example.goog");
    let source = builder.from_json_with(&key, rerouted.clone()).unwrap();
    let token = source.fetch(&audience(HELLO)).await.unwrap();
    assert_names(&token, HELLO, CALLER);
    assert_eq!(rerouted.hosts(), ["iamcredentials.example.goog"]);
}

#[tokio::test]
async fn the_universe_of_the_base_names_the_host() {
    let google = crate::support::google_with_grant().await;
    let mut key: Value = serde_json::from_str(&google.key_file(CALLER)).unwrap();
    for (universe, host) in [
        ("googleapis.com", "iamcredentials.googleapis.com"),
        ("example.goog", "iamcredentials.example.goog"),
    ] {
        key["universe_domain"] = universe.into();
        let rerouted = Rerouted::to(&google);
        let base = DefaultSource::builder().allow_host(".example.goog");
        let base = base
            .from_json_with(&key.to_string(), rerouted.clone())
            .unwrap();
        let source = Impersonated::builder(TARGET, base).build_with(rerouted.clone());
        let token = source.unwrap().fetch(&audience(HELLO)).await.unwrap();
        assert_names(&token, HELLO, TARGET);
        assert_eq!(rerouted.hosts(), [host]);
    }
}

#[tokio::test]
async fn a_claim_that_another_universe_has_no_place_for_is_an_error() {
    let google = google().await;
    let mut key: Value = serde_json::from_str(&google.key_file(CALLER)).unwrap();
    key["universe_domain"] = "example.goog".into();
    let source = ServiceAccountKey::from_json(&key.to_string()).unwrap();
    let source = source.with_iam_endpoint(google.url());
    let source = source.with_claim("purpose", "testing").unwrap();
    let error = source.fetch(&audience(HELLO)).await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Misconfigured);
    assert!(error.to_string().contains("\"purpose\""), "{error}");
    assert_eq!(google.hits(Endpoint::GenerateIdToken), 0);
}

#[tokio::test]
async fn a_key_files_urls_lead_to_google_or_where_allowed() {
    let google = google().await;
    let mut key: Value = serde_json::from_str(&google.key_file(CALLER)).unwrap();
    for good in [
        "https://oauth2.googleapis.com/token",
        "https://www.googleapis.com/oauth2/v4/token",
        "https://accounts.google.com/o/oauth2/token",
        &google.token_url(),
    ] {
        key["token_uri"] = good.into();
        ServiceAccountKey::from_json(&key.to_string()).unwrap();
        let rerouted = Rerouted::to(&google);
        ServiceAccountKey::from_json_with(&key.to_string(), rerouted).unwrap();
    }
    for bad in [
        "https://evil.example/token",
        "http://oauth2.googleapis.com/token",
    ] {
        key["token_uri"] = bad.into();
        let text = key.to_string();
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), &text).unwrap();
        for error in [
            ServiceAccountKey::from_json(&text).unwrap_err(),
            ServiceAccountKey::from_file(file.path()).unwrap_err(),
            crate::support::found(file.path()).await.unwrap_err(),
            DefaultSource::builder().from_json(&text).unwrap_err(),
        ] {
            assert_eq!(error.kind(), SourceErrorKind::Misconfigured);
            assert!(error.to_string().contains("\"token_uri\""), "{error}");
        }
    }
    key["token_uri"] = "https://evil.example/token".into();
    let rerouted = Rerouted::to(&google);
    let builder = DefaultSource::builder().allow_host("evil.example");
    let source = builder.from_json_with(&key.to_string(), rerouted.clone());
    // The emulator takes only assertions that are made out to itself.
    let error = source.unwrap().fetch(&audience(HELLO)).await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Refused);
    assert_eq!(rerouted.hosts(), ["evil.example"]);
}

#[tokio::test]
async fn a_replaced_key_file_may_lead_no_further_than_the_first() {
    let google = google().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.json");
    let text = google.key_file(CALLER);
    fs::write(&path, &text).unwrap();
    let source = crate::support::found(&path).await.unwrap();
    let elsewhere = text.replace(&google.token_url(), "https://evil.example/token");
    fs::write(&path, elsewhere).unwrap();
    source.fetch(&audience(HELLO)).await.unwrap();
    assert_eq!(google.hits(Endpoint::Token), 1, "the old key is used");
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
