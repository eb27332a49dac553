//! Workload identity federation.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use idtoken::source::{
    DefaultSource, Environment, ExternalAccount, Impersonated, SubjectContext, SubjectTokenSupplier,
};
use idtoken::transport::BoxError;
use idtoken::{SourceErrorKind, TokenSource};
use idtoken_emulator::{Emulator, Endpoint, Fault, Role, SubjectSource};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::support::{HELLO, TARGET, assert_names, assert_no_secret, audience, found_in, google};

const TOKEN: &str = "SECRET-subject-token";

fn provider(google: &Emulator) -> String {
    google.provider("pool", "provider")
}

/// An emulator that trusts the workload which shows [`TOKEN`], as one that may impersonate.
async fn trusting() -> Emulator {
    let google = google().await;
    let principal = google.trust(&provider(&google), TOKEN, "workload");
    // This one role is enough, as the table in `idtoken::source` says.
    google.grant(&principal, Role::WorkloadIdentityUser, TARGET);
    google.set_subject_token(TOKEN);
    google
}

fn file(google: &Emulator, source: &SubjectSource) -> String {
    google.external_account_file(&provider(google), source, Some(TARGET))
}

fn token_file() -> (NamedTempFile, SubjectSource) {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{TOKEN}\n")).unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    (file, SubjectSource::File { path })
}

/// What comes out of a builder for the text of a file.
fn built(
    builder: idtoken::source::ExternalAccountBuilder,
    text: &str,
) -> Result<ExternalAccount, idtoken::SourceError> {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    builder.from_file(file.path())
}

#[tokio::test]
async fn a_file_then_sts_then_generate_id_token() {
    let google = trusting().await;
    let (_kept, source) = token_file();
    let source = found_in(&file(&google, &source)).await.unwrap();
    assert_eq!(source.kind(), "external_account");
    assert_names(
        &source.fetch(&audience(HELLO)).await.unwrap(),
        HELLO,
        TARGET,
    );
    let exchange = &google.requests(Endpoint::Sts)[0];
    for (name, value) in [
        (
            "grant_type",
            "urn:ietf:params:oauth:grant-type:token-exchange",
        ),
        (
            "requested_token_type",
            "urn:ietf:params:oauth:token-type:access_token",
        ),
        ("subject_token", TOKEN),
        ("audience", &provider(&google)),
        ("scope", "https://www.googleapis.com/auth/cloud-platform"),
    ] {
        assert_eq!(exchange.form(name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(google.hits(Endpoint::GenerateIdToken), 1);
    assert_eq!(google.hits(Endpoint::GenerateAccessToken), 0);
}

#[tokio::test]
async fn a_url_with_headers_as_text_and_as_json() {
    for source in [SubjectSource::Url, SubjectSource::JsonUrl] {
        let google = trusting().await;
        let found = found_in(&file(&google, &source)).await.unwrap();
        assert_names(&found.fetch(&audience(HELLO)).await.unwrap(), HELLO, TARGET);
        assert_eq!(google.hits(Endpoint::SubjectToken), 1, "{source:?}");
    }
}

#[tokio::test]
async fn requests_tell_the_librarys_name_and_nothing_else_of_the_caller() {
    let google = trusting().await;
    let found = found_in(&file(&google, &SubjectSource::Url)).await.unwrap();
    found.fetch(&audience(HELLO)).await.unwrap();
    for endpoint in [Endpoint::Sts, Endpoint::GenerateIdToken] {
        let request = &google.requests(endpoint)[0];
        let agent = request.headers()["user-agent"].to_str().unwrap();
        assert!(agent.starts_with("idtoken/"), "{agent}");
        // Google's libraries count runtimes and kinds of credentials with it.
        assert!(!request.headers().contains_key("x-goog-api-client"));
    }
}

#[tokio::test]
async fn aws_by_imdsv2() {
    let google = google().await;
    let principal = google.trust_aws(&provider(&google));
    google.grant(&principal, Role::WorkloadIdentityUser, TARGET);
    let found = found_in(&file(&google, &SubjectSource::Aws)).await.unwrap();
    assert_names(&found.fetch(&audience(HELLO)).await.unwrap(), HELLO, TARGET);
    assert_eq!(
        google.hits(Endpoint::Imds),
        4,
        "session, zone, role, credentials"
    );
}

#[tokio::test]
async fn aws_by_variables_asks_no_instance_metadata() {
    let google = google().await;
    let principal = google.trust_aws(&provider(&google));
    google.grant(&principal, Role::WorkloadIdentityUser, TARGET);
    let file = file(&google, &SubjectSource::Aws);
    // The emulated role's own.
    let keys = Environment::default()
        .set("AWS_ACCESS_KEY_ID", "ASIAEMULATEDACCESSKEY")
        .set(
            "AWS_SECRET_ACCESS_KEY",
            "emulated+secret/access+key/worth/nothing",
        )
        .set("AWS_SESSION_TOKEN", "emulated-session-token-of-the-role");
    let fetch = async |environment: Environment| {
        let builder = ExternalAccount::builder().environment(environment);
        built(builder, &file).unwrap().fetch(&audience(HELLO)).await
    };
    for variable in ["AWS_REGION", "AWS_DEFAULT_REGION"] {
        let token = fetch(keys.clone().set(variable, "eu-north-1"))
            .await
            .unwrap();
        assert_names(&token, HELLO, TARGET);
    }
    assert_eq!(google.hits(Endpoint::Imds), 0);
    let subject = google.requests(Endpoint::Sts)[0]
        .form("subject_token")
        .unwrap();
    assert!(
        subject.contains("sts%2Eeu%2Dnorth%2D1%2Eamazonaws%2Ecom"),
        "{subject}"
    );

    let error = fetch(keys.clone().set("AWS_REGION", "evil.example/"))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("region"), "{error}");
    assert_no_secret(&error);
    // Half of the keys are none: the instance is asked, for its session and the rest.
    let half = Environment::default().set("AWS_ACCESS_KEY_ID", "ASIAOTHER");
    fetch(half.set("AWS_REGION", "eu-north-1")).await.unwrap();
    assert_eq!(google.hits(Endpoint::Imds), 3, "session, role, credentials");
}

#[tokio::test]
async fn aws_urls_that_are_not_aws_are_refused() {
    let google = google().await;
    for (field, url) in [
        ("region_url", "http://evil.example/zone"),
        ("url", "https://169.254.169.254/roles"),
        (
            "imdsv2_session_token_url",
            "http://169.254.169.254.evil.example/",
        ),
        (
            "regional_cred_verification_url",
            "https://sts.evil.example/{region}",
        ),
        (
            "regional_cred_verification_url",
            "https://{region}.evil.example/sts.amazonaws.com",
        ),
        ("environment_id", "aws2"),
    ] {
        let mut json: Value = serde_json::from_str(&file(&google, &SubjectSource::Aws)).unwrap();
        json["credential_source"][field] = url.into();
        let error = found_in(&json.to_string()).await.unwrap_err();
        assert_eq!(
            error.kind(),
            SourceErrorKind::Misconfigured,
            "{field} {url}: {error}"
        );
    }
}

fn printed(fields: &Value) -> Value {
    let mut answer = json!({
        "version": 1,
        "success": true,
        "token_type": "urn:ietf:params:oauth:token-type:id_token",
        "id_token": TOKEN,
        "expiration_time": 4_000_000_000_u64,
    });
    for (name, value) in fields.as_object().unwrap() {
        answer[name] = value.clone();
    }
    answer
}

/// A file whose subject token comes from a program that prints `answer`.
fn program(google: &Emulator, home: &idtoken_emulator::Home, answer: &Value) -> String {
    let command = home.write_printer("printer", &answer.to_string()).unwrap();
    let source = SubjectSource::Executable { command };
    let mut file: Value = serde_json::from_str(&file(google, &source)).unwrap();
    file["subject_token_type"] = "urn:ietf:params:oauth:token-type:id_token".into();
    file.to_string()
}

#[tokio::test]
async fn an_executable_runs_only_with_permission() {
    let google = trusting().await;
    let home = google.home().unwrap();
    let file = program(&google, &home, &printed(&json!({})));
    let error = found_in(&file).await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Misconfigured);
    assert!(
        error
            .advice()
            .unwrap()
            .contains("GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES=1")
    );

    let source = built(ExternalAccount::builder().danger_allow_executables(), &file).unwrap();
    assert_names(
        &source.fetch(&audience(HELLO)).await.unwrap(),
        HELLO,
        TARGET,
    );
}

#[tokio::test]
async fn the_variable_permits_executables_and_only_with_1() {
    let google = trusting().await;
    let home = google.home().unwrap();
    let file = program(&google, &home, &printed(&json!({})));
    for (value, permitted) in [
        ("", false),
        ("0", false),
        ("true", false),
        ("11", false),
        ("1", true),
    ] {
        let name = "GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES";
        let environment = Environment::default().set(name, value);
        let source = DefaultSource::builder()
            .environment(environment)
            .from_json(&file);
        assert_eq!(source.is_ok(), permitted, "{value:?}");
        if let Ok(source) = source {
            let token = source.fetch(&audience(HELLO)).await.unwrap();
            assert_names(&token, HELLO, TARGET);
        }
    }
}

#[tokio::test]
async fn an_executables_answer_is_checked() {
    for (fields, expected) in [
        (json!({"version": 2}), "version"),
        (
            json!({"success": false, "code": "401", "message": "log in first"}),
            "log in first",
        ),
        (
            json!({"token_type": "urn:ietf:params:oauth:token-type:jwt"}),
            "another type",
        ),
        (json!({"expiration_time": 1}), "expired"),
        (json!({"id_token": null}), "no token"),
        (json!({"success": "yes"}), "something other"),
    ] {
        let google = trusting().await;
        let home = google.home().unwrap();
        let file = program(&google, &home, &printed(&fields));
        let source = built(ExternalAccount::builder().danger_allow_executables(), &file).unwrap();
        let error = source.fetch(&audience(HELLO)).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{fields}: {error}");
        assert_no_secret(&error);
        assert_eq!(google.hits(Endpoint::Sts), 0);
    }
}

#[tokio::test]
async fn a_program_that_fails_is_heard_first() {
    use std::os::unix::fs::PermissionsExt;

    let google = trusting().await;
    let home = google.home().unwrap();
    let refusal = printed(&json!({"success": false, "code": "401", "message": "log in first"}));
    for (prints, expected) in [
        (refusal.to_string(), "log in first"),
        ("nonsense".to_owned(), "the last words"),
        // One that failed is not believed when it says that it did not.
        (printed(&json!({})).to_string(), "the last words"),
    ] {
        let script = format!("#!/bin/sh\necho '{prints}'\necho the last words >&2\nexit 1\n");
        let path = home.write("failing", &script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        let command = path.to_str().unwrap().to_owned();
        let source = SubjectSource::Executable { command };
        let mut file: Value = serde_json::from_str(&file(&google, &source)).unwrap();
        file["subject_token_type"] = "urn:ietf:params:oauth:token-type:id_token".into();
        let builder = ExternalAccount::builder().danger_allow_executables();
        let source = built(builder, &file.to_string()).unwrap();
        let error = source.fetch(&audience(HELLO)).await.unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::Refused);
        assert!(error.to_string().contains(expected), "{prints}: {error}");
        assert_no_secret(&error);
    }
    assert_eq!(google.hits(Endpoint::Sts), 0);
}

#[tokio::test]
async fn an_output_file_that_is_still_good_spares_the_executable() {
    let google = trusting().await;
    let home = google.home().unwrap();
    let output = home
        .write("output.json", &printed(&json!({})).to_string())
        .unwrap();
    let broken = program(&google, &home, &printed(&json!({"version": 2})));
    let mut file: Value = serde_json::from_str(&broken).unwrap();
    file["credential_source"]["executable"]["output_file"] = output.to_str().unwrap().into();
    let builder = ExternalAccount::builder().danger_allow_executables();
    let source = built(builder, &file.to_string()).unwrap();
    source.fetch(&audience(HELLO)).await.unwrap();
    std::fs::write(&output, printed(&json!({"expiration_time": 1})).to_string()).unwrap();
    let error = built(
        ExternalAccount::builder().danger_allow_executables(),
        &file.to_string(),
    )
    .unwrap()
    .fetch(&audience(HELLO))
    .await
    .unwrap_err();
    assert!(
        error.to_string().contains("version"),
        "the program was asked: {error}"
    );
}

#[tokio::test]
async fn a_timeout_outside_5_to_120_seconds_is_refused() {
    let google = google().await;
    for millis in [0, 4_999, 120_001] {
        let source = SubjectSource::Executable {
            command: "true".to_owned(),
        };
        let mut json: Value = serde_json::from_str(&file(&google, &source)).unwrap();
        json["credential_source"]["executable"]["timeout_millis"] = millis.into();
        let builder = ExternalAccount::builder().danger_allow_executables();
        assert!(built(builder, &json.to_string()).is_err(), "{millis}");
    }
}

struct Supplier(Arc<AtomicU32>);

impl SubjectTokenSupplier for Supplier {
    async fn subject_token(&self, context: &SubjectContext) -> Result<String, BoxError> {
        assert!(context.audience().contains("workloadIdentityPools"));
        assert_eq!(context.impersonated_email(), Some(TARGET));
        match self.0.fetch_add(1, Ordering::SeqCst) {
            0 => Err("not yet".into()),
            _ => Ok(TOKEN.to_owned()),
        }
    }
}

#[tokio::test]
async fn a_supplier_of_ones_own() {
    let google = trusting().await;
    let file = file(&google, &SubjectSource::Url);
    let supplier = Supplier(Arc::default());
    let builder = ExternalAccount::builder().subject_token_supplier(supplier);
    let source = built(builder, &file).unwrap();
    let error = source.fetch(&audience(HELLO)).await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Transient);
    assert_names(
        &source.fetch(&audience(HELLO)).await.unwrap(),
        HELLO,
        TARGET,
    );
    assert_eq!(google.hits(Endpoint::SubjectToken), 0);
}

#[tokio::test]
async fn no_impersonation_url_is_refused_with_advice_but_serves_as_a_base() {
    let google = trusting().await;
    let text = google.external_account_file(&provider(&google), &SubjectSource::Url, None);
    let source = built(ExternalAccount::builder(), &text).unwrap();
    let error = source.fetch(&audience(HELLO)).await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Misconfigured);
    assert!(
        error
            .advice()
            .unwrap()
            .contains("service_account_impersonation_url"),
        "{error}"
    );
    assert_eq!(google.hits(Endpoint::Sts), 0);
    let source = Impersonated::builder(TARGET, source)
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
async fn a_surprise_host_is_refused_unless_allowed() {
    let google = google().await;
    for pointer in ["/token_url", "/credential_source/url"] {
        for url in [
            "https://evil.example/token",
            "http://sts.googleapis.com/v1/token",
        ] {
            let text = file(&google, &SubjectSource::Url);
            let mut json: Value = serde_json::from_str(&text).unwrap();
            *json.pointer_mut(pointer).unwrap() = url.into();
            let error = built(ExternalAccount::builder(), &json.to_string()).unwrap_err();
            assert_eq!(
                error.kind(),
                SourceErrorKind::Misconfigured,
                "{pointer} {url}"
            );
        }
        let mut json: Value = serde_json::from_str(&file(&google, &SubjectSource::Url)).unwrap();
        *json.pointer_mut(pointer).unwrap() = "https://sts.corp.example/token".into();
        let builder = ExternalAccount::builder().allow_host(".corp.example");
        assert!(built(builder, &json.to_string()).is_ok(), "{pointer}");
    }
}

#[tokio::test]
async fn an_unknown_workload_is_refused_with_the_services_words() {
    let google = google().await;
    google.set_subject_token("SECRET-of-a-stranger");
    let found = found_in(&file(&google, &SubjectSource::Url)).await.unwrap();
    let error = found.fetch(&audience(HELLO)).await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Refused);
    assert!(error.code().is_some(), "{error}");
    assert_no_secret(&error);
}

#[tokio::test]
async fn each_leg_is_tried_again_when_its_server_is_busy() {
    for endpoint in [
        Endpoint::SubjectToken,
        Endpoint::Sts,
        Endpoint::GenerateIdToken,
    ] {
        let google = trusting().await;
        google.fail_times(endpoint, 1, Fault::Status(503));
        let found = found_in(&file(&google, &SubjectSource::Url)).await.unwrap();
        found.fetch(&audience(HELLO)).await.unwrap();
        assert_eq!(google.hits(endpoint), 2, "{endpoint:?}");
    }
}

#[tokio::test]
async fn a_file_without_its_fields_names_the_first_missing() {
    let google = google().await;
    for field in [
        "audience",
        "subject_token_type",
        "token_url",
        "credential_source",
    ] {
        let text = file(&google, &SubjectSource::Url);
        let mut json: Value = serde_json::from_str(&text).unwrap();
        json.as_object_mut().unwrap().remove(field);
        let error = built(ExternalAccount::builder(), &json.to_string()).unwrap_err();
        assert!(
            error.to_string().contains(&format!("no field \"{field}\"")),
            "{error}"
        );
    }
}
