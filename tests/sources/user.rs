//! A person's login.

use idtoken::source::{AuthorizedUser, Impersonated};
use idtoken::{SourceErrorKind, TokenCache, TokenSource};
use idtoken_emulator::{Emulator, Endpoint, Fault, Reauth, Role, User};
use serde_json::Value;

use crate::support::{HELLO, TARGET, assert_names, assert_no_secret, audience, google};

const ME: &str = "me@example.com";

fn login(google: &Emulator, user: &User) -> AuthorizedUser {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), google.user_file(user)).unwrap();
    AuthorizedUser::from_file(file.path()).unwrap()
}

#[tokio::test]
async fn the_id_token_is_for_the_client_and_for_no_other_audience() {
    let google = google().await;
    let source = login(&google, &User::new(ME).gcloud_login());
    let client = source.client_id().to_owned();
    assert_names(
        &source.fetch(&audience(&client)).await.unwrap(),
        &client,
        ME,
    );

    let error = source.fetch(&audience(HELLO)).await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Misconfigured);
    let advice = error.advice().unwrap();
    assert!(
        advice.contains("source::impersonating(\""),
        "the builder line: {advice}"
    );
    assert!(
        advice.contains("gcloud iam service-accounts add-iam-policy-binding"),
        "{advice}"
    );
    assert_eq!(
        google.hits(Endpoint::Token),
        1,
        "refused before any request"
    );
}

#[tokio::test]
async fn the_clients_audience_can_be_accepted_through_the_cache() {
    let google = google().await;
    let source = login(&google, &User::new(ME).gcloud_login()).danger_accept_client_audience();
    let tokens = TokenCache::new(source);
    tokens.handle(&audience(HELLO)).bearer().await.unwrap();
}

#[tokio::test]
async fn the_default_login_is_for_the_client_too_unless_accepted() {
    let google = google().await;
    let file = google.user_file(&User::new(ME).gcloud_login());
    let source = crate::support::found_in(&file).await.unwrap();
    let error = source.fetch(&audience(HELLO)).await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Misconfigured);
    let tokens = TokenCache::new(source.danger_accept_client_audience());
    tokens.handle(&audience(HELLO)).bearer().await.unwrap();

    // It changes nothing for what has audiences: a mix-up is still found.
    let key = crate::support::found_in(&google.key_file(crate::support::CALLER))
        .await
        .unwrap();
    let tokens = TokenCache::new(key.danger_accept_client_audience());
    google.fail_times(Endpoint::Token, 1, Fault::WrongAudience);
    let error = tokens.handle(&audience(HELLO)).bearer().await.unwrap_err();
    assert_eq!(error.kind(), idtoken::TokenErrorKind::WrongAudience);
}

#[tokio::test]
async fn a_login_without_openid_is_told_how_to_log_in_again() {
    let google = google().await;
    let user = User::new(ME).scopes("https://www.googleapis.com/auth/cloud-platform");
    let source = login(&google, &user).danger_accept_client_audience();
    let error = source.fetch(&audience(HELLO)).await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Refused);
    assert!(error.advice().unwrap().contains("openid"), "{error}");
}

#[tokio::test]
async fn a_503_is_tried_again_and_malformed_json_is_not() {
    let google = google().await;
    let source = login(&google, &User::new(ME)).danger_accept_client_audience();
    google.fail_times(Endpoint::Token, 1, Fault::Status(503));
    source.fetch(&audience(HELLO)).await.unwrap();
    google.fail_times(Endpoint::Token, 1, Fault::Body("{\"id_token\":".to_owned()));
    let error = source.fetch(&audience(HELLO)).await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::InvalidAnswer);
    assert_no_secret(&error);
}

#[tokio::test]
async fn reauth_is_named_as_such() {
    for reauth in [Reauth::InvalidRapt, Reauth::RaptRequired] {
        let google = google().await;
        let source = login(&google, &User::new(ME)).danger_accept_client_audience();
        google.set_reauth(ME, Some(reauth));
        let error = source.fetch(&audience(HELLO)).await.unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::Refused);
        assert!(error.advice().unwrap().contains("log in again"), "{error}");
    }
}

#[tokio::test]
async fn as_the_base_of_an_impersonation() {
    let google = google().await;
    google.grant(ME, Role::OpenIdTokenCreator, TARGET);
    let me = login(&google, &User::new(ME));
    let source = Impersonated::builder(TARGET, me)
        .endpoint(google.url())
        .build()
        .unwrap();
    assert_names(
        &source.fetch(&audience(HELLO)).await.unwrap(),
        HELLO,
        TARGET,
    );
}

#[tokio::test]
async fn a_token_uri_that_leads_elsewhere_is_refused() {
    let google = google().await;
    let mut json: Value = serde_json::from_str(&google.user_file(&User::new(ME))).unwrap();
    json["token_uri"] = "https://evil.example/token".into();
    let error = crate::support::found_in(&json.to_string())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("evil.example"), "{error}");
    assert!(
        error
            .advice()
            .unwrap()
            .contains("allow_host(\"evil.example\")")
    );
    let builder = idtoken::source::DefaultSource::builder().allow_host("evil.example");
    builder.from_json(&json.to_string()).unwrap();
}

#[tokio::test]
async fn debug_shows_no_secret() {
    let google = google().await;
    let json: Value = serde_json::from_str(&google.user_file(&User::new(ME))).unwrap();
    let shown = format!("{:?}", login(&google, &User::new(ME)));
    for field in ["refresh_token", "client_secret"] {
        assert!(!shown.contains(json[field].as_str().unwrap()), "{shown}");
    }
}
