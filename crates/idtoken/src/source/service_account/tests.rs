use std::sync::OnceLock;
use std::time::SystemTime;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::*;
use crate::clock::ManualClock;
use crate::token::tests::unsigned;
use crate::transport::{TransportError, TransportErrorKind};

struct Unused;

impl Transport for Unused {
    async fn send(&self, _: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        Err(TransportError::new(
            TransportErrorKind::Connect,
            "not asked in these tests",
        ))
    }
}

fn key_pair() -> &'static RsaKeyPair {
    static KEY: OnceLock<RsaKeyPair> = OnceLock::new();
    KEY.get_or_init(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
}

fn pem(der: &[u8]) -> String {
    format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        STANDARD.encode(der)
    )
}

fn key_json() -> Value {
    json!({
        "type": "service_account",
        "project_id": "project",
        "private_key_id": "key-1",
        "private_key": pem(AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(key_pair()).unwrap().as_ref()),
        "client_email": "caller@project.iam.gserviceaccount.com",
        "token_uri": "https://oauth2.googleapis.com/token",
    })
}

fn source(json: &Value) -> Result<ServiceAccountKey, SourceError> {
    ServiceAccountKey::from_json_with(&json.to_string(), Unused)
}

fn with(field: &str, value: Value) -> Value {
    let mut json = key_json();
    json[field] = value;
    json
}

fn answer(status: u16, body: &str) -> Result<IdToken, SourceError> {
    let body = Bytes::copy_from_slice(body.as_bytes());
    read(&Response::builder().status(status).body(body).unwrap())
}

#[test]
fn the_assertion_has_googles_claims_no_scope_and_a_good_signature() {
    let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000));
    let source = source(&key_json()).unwrap().with_clock(clock);
    let request = source
        .request(
            &source.key.current(),
            &Audience::new("https://a.run.app/?x=1&y").unwrap(),
        )
        .unwrap();
    assert_eq!(request.method(), http::Method::POST);
    assert_eq!(request.uri(), "https://oauth2.googleapis.com/token");
    assert_eq!(
        request.headers()[http::header::CONTENT_TYPE],
        "application/x-www-form-urlencoded"
    );

    let form: Vec<(String, String)> = form_urlencoded::parse(request.body())
        .into_owned()
        .collect();
    let [(grant, jwt_bearer), (name, assertion)] = &form[..] else {
        panic!("{form:?}")
    };
    assert_eq!(grant, "grant_type");
    assert_eq!(jwt_bearer, "urn:ietf:params:oauth:grant-type:jwt-bearer");
    assert_eq!(name, "assertion");

    let (signed, signature) = assertion.rsplit_once('.').unwrap();
    UnparsedPublicKey::new(
        &RSA_PKCS1_2048_8192_SHA256,
        key_pair().public_key().as_ref(),
    )
    .verify(
        signed.as_bytes(),
        &URL_SAFE_NO_PAD.decode(signature).unwrap(),
    )
    .unwrap();
    let parts: Vec<Value> = signed
        .split('.')
        .map(|part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap())
        .collect();
    assert_eq!(
        parts[0],
        json!({"alg": "RS256", "typ": "JWT", "kid": "key-1"})
    );
    assert_eq!(
        parts[1],
        json!({
            "iss": "caller@project.iam.gserviceaccount.com",
            "sub": "caller@project.iam.gserviceaccount.com",
            "aud": "https://oauth2.googleapis.com/token",
            "iat": 999_990,
            "exp": 1_003_590,
            "target_audience": "https://a.run.app/?x=1&y",
        }),
    );
}

#[test]
fn a_faulty_key_file_is_named_with_its_field_and_never_its_content() {
    for (json, expected) in [
        (json!([]), "is not the JSON of a credential"),
        (json!({"type": 1}), "is not the JSON of a credential"),
        (json!({}), "no field \"type\""),
        (
            with("type", json!("authorized_user")),
            "type \"authorized_user\"",
        ),
        (
            with("client_email", json!(1)),
            "is not the JSON of type \"service_account\"",
        ),
        (
            with("client_email", Value::Null),
            "no field \"client_email\"",
        ),
        (
            with("private_key_id", Value::Null),
            "no field \"private_key_id\"",
        ),
        (with("private_key", Value::Null), "no field \"private_key\""),
        (
            with("private_key", json!("SECRET-not-pem")),
            "\"private_key\" that is not a PEM",
        ),
        (
            with("private_key", json!(pem(b"SECRET-not-der"))),
            "\"private_key\" that is not a usable",
        ),
        (
            with("token_uri", json!("http://evil.example/token")),
            "\"token_uri\"",
        ),
        (
            with("token_uri", json!("file:///etc/passwd")),
            "\"token_uri\"",
        ),
        (
            with("token_uri", json!("https://evil.example/token")),
            "\"token_uri\" that leads to evil.example",
        ),
        (
            with("universe_domain", json!("evil.example/x#")),
            "\"universe_domain\" that is no domain",
        ),
    ] {
        let error = source(&json).unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::Misconfigured);
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.to_string().contains("the key given"), "{error}");
        let shown = format!("{error:?}");
        assert!(!shown.contains("SECRET"), "{shown}");
    }
}

#[test]
fn a_key_of_another_kind_is_refused() {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
    let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let ec = pem(ec.to_pkcs8v1().unwrap().as_ref());
    let error = source(&with("private_key", json!(ec))).unwrap_err();
    assert!(
        error.to_string().contains("not a usable RSA key"),
        "{error}"
    );
}

#[test]
fn a_file_that_is_missing_or_too_long_is_named() {
    let missing = ServiceAccountKey::from_file_with("/nonexistent/key.json", Unused).unwrap_err();
    assert!(
        missing
            .to_string()
            .contains("/nonexistent/key.json cannot be read"),
        "{missing}"
    );
    let long = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(long.path(), " ".repeat(64 * 1024 + 1)).unwrap();
    let error = ServiceAccountKey::from_file_with(long.path(), Unused).unwrap_err();
    assert!(error.to_string().contains("longer than 64 KiB"), "{error}");
}

#[test]
fn a_token_uri_on_this_machine_may_be_plain() {
    assert!(source(&with("token_uri", json!("http://127.0.0.1:1/token"))).is_ok());
    assert!(
        source(&with("token_uri", Value::Null)).is_ok(),
        "Google's own by default"
    );
}

#[test]
fn an_answer_without_a_usable_id_token_is_invalid_and_not_tried_again() {
    let no_exp = json!({"id_token": unsigned("{}")}).to_string();
    for body in [
        "",
        "<html>",
        "[]",
        "{}",
        r#"{"id_token":7}"#,
        r#"{"id_token":"x"}"#,
        &no_exp,
    ] {
        let error = answer(200, body).unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::InvalidAnswer, "{body}");
    }
    let good = json!({"id_token": unsigned(r#"{"exp":2000000000}"#)}).to_string();
    assert!(answer(200, &good).is_ok());
}

#[test]
fn debug_shows_no_key() {
    let shown = format!("{:?}", source(&key_json()).unwrap());
    assert!(shown.contains("caller@project"), "{shown}");
    assert!(
        !shown.contains("key-1") && !shown.contains("BEGIN"),
        "{shown}"
    );
}
