use std::time::Duration;

use idtoken::clock::ManualClock;
use idtoken_emulator::{Account, Emulator, Endpoint, Fault, Role};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::support::{client, get, metadata, now, verified, verify};

const CALLER: &str = "caller@shop.iam.gserviceaccount.com";
const MIDDLE: &str = "middle@shop.iam.gserviceaccount.com";
const TARGET: &str = "target@shop.iam.gserviceaccount.com";

#[tokio::test]
async fn impersonates_whom_the_caller_may() {
    let google = Emulator::start().await.unwrap();
    google.grant(CALLER, Role::OpenIdTokenCreator, TARGET);
    let token = google.access_token(CALLER);
    let unique_id = Account::new(TARGET).unique_id().to_owned();

    let body = json!({
    "audience": "https://hello.a.run.app",
    "includeEmail": true,
    "delegates": null,
    });
    let (status, answer) = call(&google, TARGET, "generateIdToken", &token, &body).await;
    assert_eq!(status, 200, "{answer}");
    let claims = verified(&google, answer["token"].as_str().unwrap()).await;
    assert_eq!(claims["aud"], "https://hello.a.run.app");
    assert_eq!(
        (&claims["email"], &claims["email_verified"]),
        (&TARGET.into(), &true.into())
    );
    assert_eq!(
        (claims["sub"].as_str(), claims["azp"].as_str()),
        (Some(&*unique_id), Some(&*unique_id))
    );

    let body = json!({ "audience": "a", "useEmailAzp": true, "organizationNumberIncluded": true });
    let (_, answer) = call(&google, &unique_id, "generateIdToken", &token, &body).await;
    let claims = verified(&google, answer["token"].as_str().unwrap()).await;
    assert_eq!(claims["azp"], TARGET);
    assert!(!claims.contains_key("email") && claims["google"]["organization_number"].is_u64());
    assert_eq!(google.hits(Endpoint::GenerateIdToken), 2);
}

#[tokio::test]
async fn checks_a_chain_of_delegates_link_by_link() {
    let google = Emulator::start().await.unwrap();
    let token = google.access_token(CALLER);
    let body = json!({
        "audience": "a",
        "delegates": [format!("projects/-/serviceAccounts/{MIDDLE}")],
    });
    google.add_account(Account::new(TARGET));
    google.grant(CALLER, Role::TokenCreator, MIDDLE);
    let (status, answer) = call(&google, TARGET, "generateIdToken", &token, &body).await;
    assert_eq!(
        (status, &answer["error"]["status"]),
        (403, &"PERMISSION_DENIED".into())
    );
    google.grant(MIDDLE, Role::OpenIdTokenCreator, TARGET);
    assert_eq!(
        call(&google, TARGET, "generateIdToken", &token, &body)
            .await
            .0,
        200
    );
    let direct = json!({ "audience": "a" });
    assert_eq!(
        call(&google, TARGET, "generateIdToken", &token, &direct)
            .await
            .0,
        403
    );
    google.revoke(CALLER, Role::TokenCreator, MIDDLE);
    let (_, answer) = call(&google, TARGET, "generateIdToken", &token, &body).await;
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("iam.serviceAccounts.implicitDelegation"),
        "{message}"
    );
}

#[tokio::test]
#[allow(clippy::too_many_lines, reason = "a table")]
async fn refuses_in_the_form_of_googles_apis() {
    let google = Emulator::start().await.unwrap();
    google.grant(CALLER, Role::TokenCreator, TARGET);
    let good = google.access_token(CALLER);
    let audience = json!({ "audience": "a" });
    let narrow = google.scoped_access_token(CALLER, "openid");
    let other = google.access_token("other@shop.iam.gserviceaccount.com");
    for (name, target, token, body, code, status) in [
        (
            "no such token",
            TARGET,
            "ya29.x",
            &audience,
            401,
            "UNAUTHENTICATED",
        ),
        (
            "narrow scope",
            TARGET,
            &*narrow,
            &audience,
            403,
            "PERMISSION_DENIED",
        ),
        (
            "no grant",
            TARGET,
            &*other,
            &audience,
            403,
            "PERMISSION_DENIED",
        ),
        (
            "no such account",
            "x@y",
            &*good,
            &audience,
            404,
            "NOT_FOUND",
        ),
        (
            "no audience",
            TARGET,
            &*good,
            &json!({}),
            400,
            "INVALID_ARGUMENT",
        ),
        (
            "empty audience",
            TARGET,
            &*good,
            &json!({ "audience": "" }),
            400,
            "INVALID_ARGUMENT",
        ),
        (
            "unknown field",
            TARGET,
            &*good,
            &json!({ "audience": "a", "x": 1 }),
            400,
            "INVALID_ARGUMENT",
        ),
        (
            "flag as text",
            TARGET,
            &*good,
            &json!({ "audience": "a", "includeEmail": "yes" }),
            400,
            "INVALID_ARGUMENT",
        ),
        (
            "bare delegate",
            TARGET,
            &*good,
            &json!({ "audience": "a", "delegates": [MIDDLE] }),
            400,
            "INVALID_ARGUMENT",
        ),
        (
            "no object",
            TARGET,
            &*good,
            &json!([]),
            400,
            "INVALID_ARGUMENT",
        ),
    ] {
        let (got, answer) = call(&google, target, "generateIdToken", token, body).await;
        let error = &answer["error"];
        assert_eq!(
            (got, &error["status"]),
            (code, &status.into()),
            "{name}: {answer}"
        );
        assert_eq!(error["code"], code, "{name}");
    }
    let (_, answer) = call(&google, TARGET, "generateIdToken", &other, &audience).await;
    assert_eq!(
        answer["error"]["message"],
        "Permission 'iam.serviceAccounts.getOpenIdToken' denied on resource (or it may not exist)."
    );
    google.fail(Endpoint::GenerateIdToken, Fault::Status(503));
    let (code, answer) = call(&google, TARGET, "generateIdToken", &good, &audience).await;
    assert_eq!(
        (code, &answer["error"]["status"]),
        (503, &"UNAVAILABLE".into())
    );
}

#[tokio::test]
async fn access_tokens_end() {
    let clock = ManualClock::starting_now();
    let google = Emulator::builder()
        .clock(clock.clone())
        .start()
        .await
        .unwrap();
    google.grant(CALLER, Role::TokenCreator, TARGET);
    let token = google.access_token(CALLER);
    let body = json!({ "audience": "a" });
    clock.advance(Duration::from_secs(3_598));
    assert_eq!(
        call(&google, TARGET, "generateIdToken", &token, &body)
            .await
            .0,
        200
    );
    clock.advance(Duration::from_secs(1));
    assert_eq!(
        call(&google, TARGET, "generateIdToken", &token, &body)
            .await
            .0,
        401
    );
}

#[tokio::test]
async fn an_access_token_of_the_metadata_server_is_good_here() {
    let google = Emulator::start().await.unwrap();
    google.attach(CALLER);
    google.grant(CALLER, Role::TokenCreator, CALLER);
    let path = "instance/service-accounts/default/token";
    let token: Value = metadata(&google, path).await.json().await.unwrap();
    let token = token["access_token"].as_str().unwrap();
    let body = json!({ "audience": "a" });
    assert_eq!(
        call(&google, CALLER, "generateIdToken", token, &body)
            .await
            .0,
        200
    );
}

#[tokio::test]
async fn a_self_signed_token_is_good_here() {
    let google = Emulator::start().await.unwrap();
    google.grant(CALLER, Role::OpenIdTokenCreator, CALLER);
    let file: Value = serde_json::from_str(&google.key_file(CALLER)).unwrap();
    let pem = file["private_key"].as_str().unwrap().as_bytes();
    let key = jsonwebtoken::EncodingKey::from_rsa_pem(pem).unwrap();
    let header = jsonwebtoken::Header::new(Algorithm::RS256);
    let body = json!({ "audience": "a" });
    for (scope, subject, lifetime, status) in [
        ("https://www.googleapis.com/auth/iam", CALLER, 3_600, 200),
        ("openid", CALLER, 3_600, 403),
        ("https://www.googleapis.com/auth/iam", TARGET, 3_600, 401),
        ("https://www.googleapis.com/auth/iam", CALLER, 7_200, 401),
    ] {
        let claims = json!({
            "iss": CALLER, "sub": subject, "scope": scope, "iat": now(), "exp": now() + lifetime,
        });
        let token = jsonwebtoken::encode(&header, &claims, &key).unwrap();
        let (got, answer) = call(&google, CALLER, "generateIdToken", &token, &body).await;
        assert_eq!(got, status, "{scope} {subject} {lifetime}: {answer}");
    }
}

#[tokio::test]
async fn access_tokens_of_others_need_more_than_the_narrow_role() {
    let clock = ManualClock::new(std::time::UNIX_EPOCH + Duration::from_secs(784_111_777));
    let google = Emulator::builder().clock(clock).start().await.unwrap();
    let token = google.access_token(CALLER);
    let body = json!({
        "scope": ["https://www.googleapis.com/auth/cloud-platform"],
        "lifetime": "60s",
    });
    google.grant(CALLER, Role::OpenIdTokenCreator, TARGET);
    assert_eq!(
        call(&google, TARGET, "generateAccessToken", &token, &body)
            .await
            .0,
        403
    );
    google.grant(CALLER, Role::TokenCreator, TARGET);
    let (status, answer) = call(&google, TARGET, "generateAccessToken", &token, &body).await;
    assert_eq!(
        (status, &answer["expireTime"]),
        (200, &"1994-11-06T08:50:37Z".into())
    );
    let theirs = answer["accessToken"].as_str().unwrap();
    google.grant(TARGET, Role::TokenCreator, MIDDLE);
    let body = json!({ "audience": "a" });
    assert_eq!(
        call(&google, MIDDLE, "generateIdToken", theirs, &body)
            .await
            .0,
        200
    );
    for body in [json!({}), json!({ "scope": ["a"], "lifetime": "43201s" })] {
        assert_eq!(
            call(&google, TARGET, "generateAccessToken", &token, &body)
                .await
                .0,
            400
        );
    }
}

#[tokio::test]
async fn signs_in_the_name_of_an_account_with_its_published_key() {
    let google = Emulator::start().await.unwrap();
    google.grant(CALLER, Role::TokenCreator, TARGET);
    let token = google.access_token(CALLER);
    let body = json!({ "payload": json!({ "iss": TARGET, "exp": now() + 60 }).to_string() });
    let (status, answer) = call(&google, TARGET, "signJwt", &token, &body).await;
    assert_eq!(status, 200, "{answer}");
    let url = format!("{}/service_accounts/v1/jwk/{TARGET}", google.url());
    let jwt = answer["signedJwt"].as_str().unwrap();
    assert_eq!(
        verify(&url, jwt, Algorithm::RS256).await.unwrap()["iss"],
        TARGET
    );

    let body = json!({ "payload": "aGVsbG8=" });
    let (status, blob) = call(&google, TARGET, "signBlob", &token, &body).await;
    assert_eq!((status, &blob["keyId"]), (200, &answer["keyId"]));
    assert_eq!(call(&google, TARGET, "signJwt", &token, &body).await.0, 400);
}

#[tokio::test]
async fn no_account_is_bound_to_a_place() {
    let google = Emulator::start().await.unwrap();
    let url = format!(
        "{}/v1/projects/-/serviceAccounts/{CALLER}/allowedLocations",
        google.url()
    );
    let answer: Value = get(url).await.json().await.unwrap();
    assert_eq!(answer["encodedLocations"], "0x0");
}

async fn call(
    google: &Emulator,
    on: &str,
    method: &str,
    token: &str,
    body: &Value,
) -> (u16, Value) {
    let request = client()
        .post(google.iam_url(on, method))
        .bearer_auth(token)
        .json(body);
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}
