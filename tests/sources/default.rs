//! Application default credentials: what is found, in which order, and what is an error.

use std::path::Path;

use idtoken::source::{DefaultSource, Environment};
use idtoken::{SourceErrorKind, TokenSource};
use idtoken_emulator::{Emulator, User};

use crate::support::{CALLER, HELLO, assert_names, audience, found, found_in, google};

/// Nothing but what is set; no metadata server.
fn nowhere() -> Environment {
    Environment::default().set("METADATA_SERVER_DETECTION", "none")
}

async fn look(environment: Environment) -> Result<DefaultSource, idtoken::SourceError> {
    DefaultSource::builder()
        .environment(environment)
        .build()
        .await
}

fn folder_with_key(google: &Emulator, inside: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder
        .path()
        .join(inside)
        .join("application_default_credentials.json");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, google.key_file(CALLER)).unwrap();
    folder
}

#[tokio::test]
async fn the_named_file_comes_first() {
    let google = google().await;
    let gclouds = folder_with_key(&google, "");
    let named = gclouds.path().join("named.json");
    std::fs::write(&named, google.user_file(&User::new("me@example.com"))).unwrap();
    let source = look(
        nowhere()
            .set("GOOGLE_APPLICATION_CREDENTIALS", named.to_str().unwrap())
            .set("CLOUDSDK_CONFIG", gclouds.path().to_str().unwrap())
            .set("GCE_METADATA_HOST", google.host()),
    )
    .await
    .unwrap();
    assert_eq!(source.kind(), "authorized_user");
    assert!(
        source
            .describe()
            .contains("GOOGLE_APPLICATION_CREDENTIALS names")
    );
}

#[tokio::test]
async fn gclouds_file_comes_second_wherever_gcloud_keeps_it() {
    let google = google().await;
    let usual = if cfg!(windows) {
        ("APPDATA", "gcloud")
    } else {
        ("HOME", ".config/gcloud")
    };
    for (variable, inside) in [("CLOUDSDK_CONFIG", ""), usual] {
        let folder = folder_with_key(&google, inside);
        let environment = nowhere()
            .set(variable, folder.path().to_str().unwrap())
            .set("GCE_METADATA_HOST", google.host());
        let source = look(environment).await.unwrap();
        assert_eq!(source.kind(), "service_account", "{variable}");
        assert!(source.describe().contains(CALLER), "{}", source.describe());
        assert_names(
            &source.fetch(&audience(HELLO)).await.unwrap(),
            HELLO,
            CALLER,
        );
    }
}

#[cfg(unix)]
#[tokio::test]
async fn windows_place_for_gclouds_file_is_not_looked_at_elsewhere() {
    let google = google().await;
    let windows = folder_with_key(&google, "gcloud");
    let home = tempfile::tempdir().unwrap();
    let environment = nowhere()
        .set("APPDATA", windows.path().to_str().unwrap())
        .set("HOME", home.path().to_str().unwrap());
    let error = look(environment).await.unwrap_err();
    assert!(
        error.to_string().contains("no credentials found"),
        "{error}"
    );
}

#[cfg(unix)]
#[tokio::test]
async fn a_home_that_cannot_be_looked_into_is_told_and_no_reason_to_stop() {
    let google = google().await;
    let home = tempfile::tempdir().unwrap();
    // Leads to itself: an error even for root, for whom nothing is shut.
    std::os::unix::fs::symlink(".config", home.path().join(".config")).unwrap();
    let environment = nowhere().set("HOME", home.path().to_str().unwrap());
    let error = look(environment.clone()).await.unwrap_err();
    assert!(
        error.to_string().contains("no credentials found"),
        "{error}"
    );
    let cause = std::error::Error::source(&error).unwrap();
    assert!(cause.is::<std::io::Error>(), "{cause}");

    let environment = Environment::default()
        .set("HOME", home.path().to_str().unwrap())
        .set("GCE_METADATA_HOST", google.host());
    assert_eq!(look(environment).await.unwrap().kind(), "metadata");
}

#[tokio::test]
async fn the_metadata_server_comes_last_and_a_named_one_is_not_asked_first() {
    let google = google().await;
    for variable in ["GCE_METADATA_HOST", "GCE_METADATA_ROOT", "GCE_METADATA_IP"] {
        let environment = Environment::default().set(variable, google.host());
        let source = look(environment).await.unwrap();
        assert_eq!(source.kind(), "metadata", "{variable}");
        let email = google.default_account().email().to_owned();
        assert_names(
            &source.fetch(&audience(HELLO)).await.unwrap(),
            HELLO,
            &email,
        );
    }
    assert_eq!(google.hits(idtoken_emulator::Endpoint::Ping), 0);
}

#[tokio::test]
async fn nothing_at_all_says_what_was_looked_for_and_what_to_do() {
    let error = look(nowhere().set("HOME", "/nonexistent"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Misconfigured);
    for words in [
        "GOOGLE_APPLICATION_CREDENTIALS",
        "/nonexistent/.config/gcloud",
        "metadata",
    ] {
        assert!(error.to_string().contains(words), "{error}");
    }
    assert!(
        error
            .advice()
            .unwrap()
            .contains("gcloud auth application-default login")
    );
}

#[tokio::test]
async fn a_named_file_that_is_missing_is_an_error_and_never_skipped() {
    let google = google().await;
    let environment = Environment::default()
        .set("GOOGLE_APPLICATION_CREDENTIALS", "/nonexistent/key.json")
        .set("GCE_METADATA_HOST", google.host());
    let error = look(environment).await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Misconfigured);
    assert!(
        error
            .to_string()
            .contains("/nonexistent/key.json cannot be read"),
        "{error}"
    );
    assert!(
        error
            .advice()
            .unwrap()
            .contains("GOOGLE_APPLICATION_CREDENTIALS"),
        "{error}"
    );
    assert!(
        std::error::Error::source(&error).is_some(),
        "with its cause"
    );
}

#[tokio::test]
async fn a_folder_in_the_place_of_a_file_is_an_error() {
    let error = found(Path::new("/")).await.unwrap_err();
    assert!(error.to_string().contains("cannot be read"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_not_json_or_of_no_known_type_is_named() {
    for (text, words) in [
        ("", "is not the JSON"),
        ("<html>", "is not the JSON"),
        ("[]", "is not the JSON"),
        ("{}", "no field \"type\""),
        (r#"{"type":7}"#, "is not the JSON"),
        (r#"{"type":"magic"}"#, "unknown type \"magic\""),
        (
            r#"{"type":"gdch_service_account"}"#,
            "Google Distributed Cloud",
        ),
        (
            r#"{"type":"external_account_authorized_user"}"#,
            "workforce",
        ),
        (r#"{"type":"authorized_user"}"#, "no field \"client_id\""),
        (r#"{"type":"service_account"}"#, "no field \"client_email\""),
        (
            r#"{"type":"impersonated_service_account"}"#,
            "service_account_impersonation_url",
        ),
        (r#"{"type":"external_account"}"#, "no field \"audience\""),
    ] {
        let error = found_in(text).await.unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::Misconfigured, "{text}");
        assert!(error.to_string().contains(words), "{text}: {error}");
    }
}

#[tokio::test]
async fn what_was_found_is_told_in_one_line_whatever_the_file_says() {
    let google = google().await;
    let user = google.user_file(&User::new("me@example.com"));
    let mut user: serde_json::Value = serde_json::from_str(&user).unwrap();
    user["client_id"] = "a\nERROR \u{1b}[31mforged".into();
    let shown = found_in(&user.to_string()).await.unwrap().describe();
    assert!(shown.contains("forged, because"), "{shown}");
    assert!(!shown.contains(char::is_control), "{shown:?}");
}

#[tokio::test]
async fn another_type_than_expected_is_named_with_both() {
    let google = google().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), google.user_file(&User::new("me@example.com"))).unwrap();
    let error = idtoken::source::ServiceAccountKey::from_file(file.path()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("\"authorized_user\", not \"service_account\""),
        "{error}"
    );
    std::fs::write(file.path(), google.key_file(CALLER)).unwrap();
    let error = idtoken::source::AuthorizedUser::from_file(file.path()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("\"service_account\", not \"authorized_user\""),
        "{error}"
    );
}

#[tokio::test]
async fn a_found_identity_can_impersonate() {
    let google = crate::support::google_with_grant().await;
    let source = found_in(&google.key_file(CALLER)).await.unwrap();
    let base = source.into_base();
    let target = crate::support::TARGET;
    let source = idtoken::source::Impersonated::builder(target, base).endpoint(google.url());
    assert_names(
        &source
            .build()
            .unwrap()
            .fetch(&audience(HELLO))
            .await
            .unwrap(),
        HELLO,
        target,
    );
}

#[tokio::test]
async fn a_long_file_is_refused_unread() {
    let error = found_in(&" ".repeat(64 * 1024 + 1)).await.unwrap_err();
    assert!(error.to_string().contains("longer than 64 KiB"), "{error}");
}
