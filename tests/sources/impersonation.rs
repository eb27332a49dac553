//! Service accounts on somebody else's authority.

use std::time::Duration;

use idtoken::clock::ManualClock;
use idtoken::source::{AuthorizedUser, Impersonated, MetadataServer, ServiceAccountKey};
use idtoken::{SourceErrorKind, TokenSource};
use idtoken_emulator::{Account, Emulator, Endpoint, Fault, Role, User};
use serde_json::Value;

use crate::support::{
    CALLER, HELLO, TARGET, assert_names, assert_no_secret, audience, found_in, google,
    google_with_grant,
};

fn base(google: &Emulator) -> ServiceAccountKey {
    ServiceAccountKey::from_json(&google.key_file(CALLER)).unwrap()
}

fn impersonated(google: &Emulator) -> Impersonated {
    Impersonated::builder(TARGET, base(google))
        .endpoint(google.url())
        .build()
        .unwrap()
}

fn body(google: &Emulator) -> Value {
    serde_json::from_slice(google.requests(Endpoint::GenerateIdToken)[0].body()).unwrap()
}

#[tokio::test]
async fn body_has_audience_and_include_email_and_no_delegates() {
    let google = google_with_grant().await;
    let token = impersonated(&google).fetch(&audience(HELLO)).await.unwrap();
    assert_names(&token, HELLO, TARGET);
    assert_eq!(
        body(&google),
        serde_json::json!({"audience": HELLO, "includeEmail": true})
    );
}

#[tokio::test]
async fn the_email_can_be_left_out() {
    let google = google_with_grant().await;
    let source = Impersonated::builder(TARGET, base(&google)).endpoint(google.url());
    let source = source.without_email().build().unwrap();
    let token = source.fetch(&audience(HELLO)).await.unwrap();
    assert_eq!(token.claims().email(), None);
    assert!(token.claims().sub().is_some());
}

#[tokio::test]
async fn generate_access_token_is_not_called_first() {
    let google = google_with_grant().await;
    impersonated(&google).fetch(&audience(HELLO)).await.unwrap();
    assert_eq!(google.hits(Endpoint::GenerateIdToken), 1);
    assert_eq!(google.hits(Endpoint::GenerateAccessToken), 0);
}

#[tokio::test]
async fn a_chain_of_two_delegates_is_named_in_order() {
    let google = google().await;
    let chain = [
        "one@shop.iam.gserviceaccount.com",
        "two@shop.iam.gserviceaccount.com",
    ];
    for email in chain {
        google.add_account(Account::new(email));
    }
    google.grant(CALLER, Role::TokenCreator, chain[0]);
    google.grant(chain[0], Role::TokenCreator, chain[1]);
    google.grant(chain[1], Role::TokenCreator, TARGET);
    let source = || Impersonated::builder(TARGET, base(&google)).endpoint(google.url());
    let whole = source().delegates(chain).build().unwrap();
    assert_names(&whole.fetch(&audience(HELLO)).await.unwrap(), HELLO, TARGET);
    assert_eq!(
        body(&google)["delegates"],
        serde_json::json!(chain.map(|email| format!("projects/-/serviceAccounts/{email}"))),
    );
    let broken = source().delegates([chain[1]]).build().unwrap();
    let error = broken.fetch(&audience(HELLO)).await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Refused);
}

#[tokio::test]
async fn a_403_keeps_googles_message_and_says_which_grant_is_missing() {
    let google = google().await;
    let error = impersonated(&google)
        .fetch(&audience(HELLO))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Refused);
    assert_eq!(error.code(), Some("PERMISSION_DENIED"));
    assert!(
        error
            .to_string()
            .contains("iam.serviceAccounts.getOpenIdToken"),
        "{error}"
    );
    assert!(
        error
            .advice()
            .unwrap()
            .contains("roles/iam.serviceAccountOpenIdTokenCreator")
    );
    assert_no_secret(&error);
}

#[tokio::test]
async fn an_unknown_target_is_asked_about() {
    let google = google().await;
    let source = Impersonated::builder("nobody@shop.iam.gserviceaccount.com", base(&google));
    let source = source.endpoint(google.url()).build().unwrap();
    let error = source.fetch(&audience(HELLO)).await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Refused);
    assert_eq!(error.status().unwrap(), 404);
    assert_eq!(error.code(), Some("NOT_FOUND"));
    assert_eq!(
        error.advice(),
        Some("is there an account nobody@shop.iam.gserviceaccount.com?")
    );
}

#[tokio::test]
async fn a_missing_token_is_invalid_and_a_busy_server_is_tried_again() {
    let google = google_with_grant().await;
    google.fail_times(Endpoint::GenerateIdToken, 1, Fault::Body("{}".to_owned()));
    let error = impersonated(&google)
        .fetch(&audience(HELLO))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::InvalidAnswer);
    google.fail_times(Endpoint::GenerateIdToken, 2, Fault::Status(503));
    impersonated(&google).fetch(&audience(HELLO)).await.unwrap();
}

#[tokio::test]
async fn on_the_metadata_servers_authority_with_one_access_token_for_many_audiences() {
    let google = google().await;
    google.attach(CALLER);
    google.grant(CALLER, Role::OpenIdTokenCreator, TARGET);
    let metadata = MetadataServer::builder()
        .host(google.host())
        .build()
        .unwrap();
    let source = Impersonated::builder(TARGET, metadata)
        .endpoint(google.url())
        .build()
        .unwrap();
    for text in ["a", "b", "c"] {
        assert_names(&source.fetch(&audience(text)).await.unwrap(), text, TARGET);
    }
    assert_eq!(google.hits(Endpoint::MetadataToken), 1);
    assert_eq!(google.hits(Endpoint::GenerateIdToken), 3);
}

#[tokio::test]
async fn a_base_token_near_its_end_is_replaced_without_a_401() {
    let clock = ManualClock::starting_now();
    let google = Emulator::builder()
        .clock(clock.clone())
        .start()
        .await
        .unwrap();
    google.add_account(Account::new(TARGET));
    google.attach(CALLER);
    google.grant(CALLER, Role::OpenIdTokenCreator, TARGET);
    let metadata = MetadataServer::builder()
        .host(google.host())
        .clock(clock.clone());
    let source = Impersonated::builder(TARGET, metadata.build().unwrap())
        .endpoint(google.url())
        .clock(clock.clone())
        .build()
        .unwrap();
    // In seconds after the one before, with how many access tokens there were by then.
    for (later, tokens) in [(0, 1), (3_370, 1), (10, 2), (3_370, 2), (3_600, 3)] {
        clock.advance(Duration::from_secs(later));
        source.fetch(&audience(HELLO)).await.unwrap();
        assert_eq!(
            google.hits(Endpoint::MetadataToken),
            tokens,
            "{later} s later"
        );
    }
    assert_eq!(
        google.hits(Endpoint::GenerateIdToken),
        5,
        "none was refused"
    );
}

#[tokio::test]
async fn an_access_token_that_is_refused_is_replaced_once() {
    let google = google().await;
    google.attach(CALLER);
    google.grant(CALLER, Role::OpenIdTokenCreator, TARGET);
    let metadata = MetadataServer::builder()
        .host(google.host())
        .build()
        .unwrap();
    let source = Impersonated::builder(TARGET, metadata)
        .endpoint(google.url())
        .build()
        .unwrap();
    google.fail_times(Endpoint::GenerateIdToken, 1, Fault::Status(401));
    source.fetch(&audience(HELLO)).await.unwrap();
    assert_eq!(google.hits(Endpoint::MetadataToken), 2);

    google.fail_times(Endpoint::GenerateIdToken, 2, Fault::Status(401));
    let error = source.fetch(&audience(HELLO)).await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Refused);
    assert_eq!(google.hits(Endpoint::MetadataToken), 3);
}

#[tokio::test]
async fn an_impersonated_base_asks_for_its_own_access_token() {
    let google = google().await;
    let middle = "one@shop.iam.gserviceaccount.com";
    google.add_account(Account::new(middle));
    google.grant(CALLER, Role::TokenCreator, middle);
    google.grant(middle, Role::OpenIdTokenCreator, TARGET);
    let between = Impersonated::builder(middle, base(&google))
        .endpoint(google.url())
        .build()
        .unwrap();
    let source = Impersonated::builder(TARGET, between)
        .endpoint(google.url())
        .build()
        .unwrap();
    for text in ["https://a.example", "https://b.example"] {
        assert_names(&source.fetch(&audience(text)).await.unwrap(), text, TARGET);
    }
    assert_eq!(google.hits(Endpoint::GenerateAccessToken), 1);
    assert_eq!(google.hits(Endpoint::GenerateIdToken), 2);
}

#[tokio::test]
async fn an_impersonated_base_without_its_grant_is_told_which_one() {
    let google = google().await;
    let middle = "one@shop.iam.gserviceaccount.com";
    google.add_account(Account::new(middle));
    google.grant(CALLER, Role::OpenIdTokenCreator, middle);
    let between = Impersonated::builder(middle, base(&google))
        .endpoint(google.url())
        .build()
        .unwrap();
    let source = Impersonated::builder(TARGET, between)
        .endpoint(google.url())
        .build()
        .unwrap();
    let error = source.fetch(&audience(HELLO)).await.unwrap_err();
    let advice = error.advice().unwrap();
    assert!(
        advice.contains("roles/iam.serviceAccountTokenCreator"),
        "{advice}"
    );
    assert!(advice.contains(middle), "{advice}");
}

#[tokio::test]
async fn a_persons_quota_project_pays_for_the_call() {
    let google = google().await;
    let user = User::new("me@example.com").gcloud_login();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), google.user_file(&user)).unwrap();
    let person = AuthorizedUser::from_file(file.path()).unwrap();
    google.grant("me@example.com", Role::OpenIdTokenCreator, TARGET);
    let person = person.with_quota_project("shop-quota").unwrap();
    let source = Impersonated::builder(TARGET, person)
        .endpoint(google.url())
        .build()
        .unwrap();
    source.fetch(&audience(HELLO)).await.unwrap();
    let asked = google.requests(Endpoint::GenerateIdToken);
    assert_eq!(asked[0].headers()["x-goog-user-project"], "shop-quota");
}

#[tokio::test]
async fn the_json_file_with_a_key_inside_and_delegates() {
    let google = google().await;
    let middle = "one@shop.iam.gserviceaccount.com";
    google.add_account(Account::new(middle));
    google.grant(CALLER, Role::TokenCreator, middle);
    google.grant(middle, Role::TokenCreator, TARGET);
    let file = google.impersonated_file(&google.key_file(CALLER), &[middle], TARGET);
    let source = found_in(&file).await.unwrap();
    assert_eq!(source.kind(), "impersonated_service_account");
    assert!(source.describe().contains(TARGET), "{}", source.describe());
    assert_names(
        &source.fetch(&audience(HELLO)).await.unwrap(),
        HELLO,
        TARGET,
    );
}

#[tokio::test]
async fn an_impersonation_url_to_a_surprise_host_is_refused() {
    let google = google().await;
    let file = google.impersonated_file(&google.key_file(CALLER), &[], TARGET);
    for url in [
        "https://evil.example/v1/projects/-/serviceAccounts/a@b.c:generateAccessToken",
        "http://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/a@b.c:generateAccessToken",
        "https://iamcredentials.googleapis.com/v1/other",
    ] {
        let mut json: Value = serde_json::from_str(&file).unwrap();
        json["service_account_impersonation_url"] = url.into();
        let error = found_in(&json.to_string()).await.unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::Misconfigured, "{url}");
        assert!(
            error
                .to_string()
                .contains("service_account_impersonation_url"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn an_impersonation_url_whose_account_is_no_name_is_refused() {
    let google = google().await;
    let impersonated = google.impersonated_file(&google.key_file(CALLER), &[], TARGET);
    let source = idtoken_emulator::SubjectSource::Url;
    let provider = google.provider("pool", "provider");
    let external = google.external_account_file(&provider, &source, Some(TARGET));
    for file in [impersonated, external] {
        for account in [
            "a@b.c;id",
            "a@b.c$(id)",
            "a@b.c&x",
            "'a'",
            "--x",
            "a%20b",
            "a@b.c?x=y",
            "a@b.c#/serviceAccounts/d@e.f",
            "",
        ] {
            let mut json: Value = serde_json::from_str(&file).unwrap();
            let url = google.iam_url(account, "generateAccessToken");
            json["service_account_impersonation_url"] = url.into();
            let error = found_in(&json.to_string()).await.unwrap_err();
            assert_eq!(error.kind(), SourceErrorKind::Misconfigured, "{account}");
            let words = "\"service_account_impersonation_url\" that names no service account";
            assert!(
                error.to_string().contains(words) || error.to_string().contains("no https URL"),
                "{account}: {error}"
            );
        }
    }
}

#[test]
fn a_target_that_is_no_account_is_refused() {
    for target in ["", "a/b", "a:b", "a b", "../x", "--x", "a;b"] {
        let metadata = MetadataServer::new().unwrap();
        assert!(
            Impersonated::builder(target, metadata).build().is_err(),
            "{target:?}"
        );
    }
}
