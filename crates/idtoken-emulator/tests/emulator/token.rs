use std::time::Duration;

use idtoken::clock::ManualClock;
use idtoken_emulator::Emulator;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::support::{client, now, verified};

const BATCH: &str = "batch@shop.iam.gserviceaccount.com";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

#[tokio::test]
async fn exchanges_an_assertion_for_an_id_token() {
    let google = Emulator::start().await.unwrap();
    let key = Key::of(&google);
    let (status, body) = exchange(&google, &key.sign(|_| {})).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body.as_object().unwrap().len(), 1, "nothing but id_token");
    let claims = verified(&google, body["id_token"].as_str().unwrap()).await;
    assert_eq!(claims["aud"], "https://hello.a.run.app");
    assert_eq!(
        (&claims["email"], &claims["azp"]),
        (&BATCH.into(), &BATCH.into())
    );
    assert_eq!(claims["email_verified"], true);
    assert_eq!(claims["sub"].as_str().unwrap().len(), 21);
}

#[tokio::test]
async fn exchanges_an_assertion_for_an_access_token() {
    let google = Emulator::start().await.unwrap();
    let assertion = Key::of(&google).sign(|claims| {
        claims["scope"] = claims["target_audience"].take();
        claims.as_object_mut().unwrap().remove("target_audience");
    });
    let (status, body) = exchange(&google, &assertion).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["token_type"], "Bearer");
    assert!(body["access_token"].is_string() && body["expires_in"] == 3_599);
}

#[tokio::test]
async fn accepts_what_real_clients_send() {
    let google = Emulator::start().await.unwrap();
    let key = Key::of(&google);
    let own = google.url().to_owned();
    for (name, assertion) in [
        (
            "no subject",
            key.sign(|c| drop(c.as_object_mut().unwrap().remove("sub"))),
        ),
        ("a null for it", key.sign(|c| c["sub"] = Value::Null)),
        ("an empty scope", key.sign(|c| c["scope"] = "".into())),
        (
            "a lifetime of 3,620 s",
            key.sign(|c| c["iat"] = (c["exp"].as_u64().unwrap() - 3_620).into()),
        ),
        (
            "the constant audience",
            key.sign(|c| c["aud"] = "https://oauth2.googleapis.com/token".into()),
        ),
        (
            "the old audience",
            key.sign(|c| c["aud"] = "https://www.googleapis.com/oauth2/v4/token".into()),
        ),
        (
            "its older path",
            key.sign(|c| c["aud"] = format!("{own}/oauth2/v4/token").into()),
        ),
    ] {
        let (status, body) = exchange(&google, &assertion).await;
        assert_eq!(status, 200, "{name}: {body}");
    }
}

#[tokio::test]
#[allow(clippy::too_many_lines, reason = "one table")]
async fn refuses_a_bad_assertion_in_googles_words() {
    let google = Emulator::start().await.unwrap();
    let key = Key::of(&google);
    let stranger = Key::of(&Emulator::start().await.unwrap());
    let timeframe = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.";
    let good = key.sign(|_| {});
    let (unsigned, signature) = good.rsplit_once('.').unwrap();
    for (name, assertion, status, error, description) in [
        (
            "another's key",
            stranger.sign(|_| {}),
            400,
            "invalid_grant",
            "Invalid JWT Signature.",
        ),
        (
            "no signature",
            format!("{unsigned}."),
            400,
            "invalid_grant",
            "Invalid JWT Signature.",
        ),
        (
            "unknown account",
            key.sign(|c| c["iss"] = "x@y".into()),
            400,
            "invalid_grant",
            "Invalid grant: account not found",
        ),
        (
            "expired",
            key.sign(|c| {
                c["iat"] = 1_000.into();
                c["exp"] = 2_000.into();
            }),
            400,
            "invalid_grant",
            timeframe,
        ),
        (
            "too long",
            key.sign(|c| c["exp"] = (c["iat"].as_u64().unwrap() + 3_621).into()),
            400,
            "invalid_grant",
            timeframe,
        ),
        (
            "from the future",
            key.sign(|c| {
                c["iat"] = (now() + 400).into();
                c["exp"] = (now() + 500).into();
            }),
            400,
            "invalid_grant",
            timeframe,
        ),
        (
            "no times",
            key.sign(|c| drop(c.as_object_mut().unwrap().remove("exp"))),
            400,
            "invalid_grant",
            timeframe,
        ),
        (
            "another endpoint",
            key.sign(|c| c["aud"] = "https://elsewhere.example/token".into()),
            400,
            "invalid_grant",
            "Invalid JWT: Failed audience check.",
        ),
        (
            "no wish",
            key.sign(|c| drop(c.as_object_mut().unwrap().remove("target_audience"))),
            400,
            "invalid_request",
            "",
        ),
        (
            "two wishes",
            key.sign(|c| c["scope"] = "openid".into()),
            400,
            "invalid_request",
            "",
        ),
        (
            "another subject",
            key.sign(|c| c["sub"] = "boss@shop.example".into()),
            401,
            "unauthorized_client",
            "",
        ),
        ("no JWT", "x".to_owned(), 400, "invalid_grant", ""),
        (
            "swapped payload",
            swap_payload(&good, signature),
            400,
            "invalid_grant",
            "Invalid JWT Signature.",
        ),
    ] {
        let (got, body) = exchange(&google, &assertion).await;
        assert_eq!(
            (got, body["error"].as_str()),
            (status, Some(error)),
            "{name}: {body}"
        );
        let text = body["error_description"].as_str().unwrap();
        assert!(text.starts_with(description), "{name}: {text}");
    }
}

#[tokio::test]
async fn refuses_a_bad_form() {
    let google = Emulator::start().await.unwrap();
    let form = "application/x-www-form-urlencoded";
    for (content_type, body, error) in [
        (
            "text/plain",
            "grant_type=refresh_token",
            "unsupported_grant_type",
        ),
        ("application/json", "{}", "unsupported_grant_type"),
        ("application/json", "[]", "invalid_request"),
        (
            "application/json",
            r#"{"grant_type":["refresh_token"]}"#,
            "invalid_request",
        ),
        (form, "", "unsupported_grant_type"),
        (form, "grant_type=password", "unsupported_grant_type"),
        (form, &format!("grant_type={JWT_BEARER}"), "invalid_request"),
        (form, "grant_type=a&grant_type=b", "invalid_request"),
    ] {
        let request = client()
            .post(google.token_url())
            .header("Content-Type", content_type);
        let answer = request.body(body.to_owned()).send().await.unwrap();
        assert_eq!(answer.status(), 400, "{body}");
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(answer["error"], error, "{body}");
    }
    assert_eq!(
        client()
            .get(google.token_url())
            .send()
            .await
            .unwrap()
            .status(),
        404
    );
}

#[tokio::test]
async fn forgets_revoked_keys_and_deleted_accounts() {
    let google = Emulator::start().await.unwrap();
    let key = Key::of(&google);
    google.revoke_keys(BATCH);
    let (_, body) = exchange(&google, &key.sign(|_| {})).await;
    assert_eq!(body["error_description"], "Invalid JWT Signature.");
    let key = Key::of(&google);
    assert_eq!(exchange(&google, &key.sign(|_| {})).await.0, 200);
    google.remove_account(BATCH);
    let (_, body) = exchange(&google, &key.sign(|_| {})).await;
    assert_eq!(
        body["error_description"],
        "Invalid grant: account not found"
    );
}

#[tokio::test]
async fn judges_and_issues_by_the_clock_it_was_given() {
    let clock = ManualClock::starting_now();
    let google = Emulator::builder()
        .clock(clock.clone())
        .start()
        .await
        .unwrap();
    let assertion = Key::of(&google).sign(|_| {});
    clock.advance(Duration::from_secs(3_500));
    let (_, body) = exchange(&google, &assertion).await;
    let claims = verified(&google, body["id_token"].as_str().unwrap()).await;
    assert!(claims["iat"].as_u64().unwrap() >= now() + 3_400);
    clock.advance(Duration::from_secs(200));
    assert_eq!(exchange(&google, &assertion).await.0, 400);
}

/// A key file, read by another library.
struct Key {
    file: Value,
    key: EncodingKey,
}

impl Key {
    fn of(google: &Emulator) -> Self {
        let file: Value = serde_json::from_str(&google.key_file(BATCH)).unwrap();
        assert_eq!(file["type"], "service_account");
        assert_eq!(file["token_uri"], google.token_url());
        let key = EncodingKey::from_rsa_pem(file["private_key"].as_str().unwrap().as_bytes());
        Self {
            file,
            key: key.unwrap(),
        }
    }

    fn sign(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = json!({
            "iss": self.file["client_email"],
            "sub": self.file["client_email"],
            "aud": self.file["token_uri"],
            "iat": now(),
            "exp": now() + 3_600,
            "target_audience": "https://hello.a.run.app",
        });
        change(&mut claims);
        let mut header = Header::new(Algorithm::RS256);
        header.kid = self.file["private_key_id"].as_str().map(str::to_owned);
        jsonwebtoken::encode(&header, &claims, &self.key).unwrap()
    }
}

fn swap_payload(jwt: &str, signature: &str) -> String {
    let header = jwt.split('.').next().unwrap();
    let other = json!({ "iss": BATCH, "aud": "x" }).to_string();
    use base64::Engine as _;
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(other);
    format!("{header}.{payload}.{signature}")
}

async fn exchange(google: &Emulator, assertion: &str) -> (u16, Value) {
    let form = [("grant_type", JWT_BEARER), ("assertion", assertion)];
    let answer = client()
        .post(google.token_url())
        .form(&form)
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}
