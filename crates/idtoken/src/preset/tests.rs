use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

use super::gateway::{Gateway, Product};
use super::*;
use crate::Claims;
use crate::clock::ManualClock;
use crate::verify::VerifyErrorKind as Kind;
use crate::verify::testing::*;

const URL: &str = "https://f.a.run.app/push?kind=orders";

fn finish(builder: VerifierBuilder) -> Verifier {
    let keys = key_set(&[Signer::rsa(0).jwk("k0"), Signer::p256().jwk("ec")]);
    builder
        .keys(keys)
        .clock(ManualClock::new(at(NOW)))
        .build()
        .unwrap()
}

async fn verdict(verifier: &Verifier, header: &'static str, jwt: &str) -> Result<Claims, u16> {
    let mut headers = HeaderMap::new();
    headers.insert(header, HeaderValue::from_str(jwt).unwrap());
    verifier
        .verify_headers(&headers)
        .await
        .map_err(|rejection| rejection.status().as_u16())
}

fn bearer(changes: &Value) -> String {
    format!(
        "Bearer {}",
        Signer::rsa(0).token("k0", &claims_with(changes))
    )
}

#[tokio::test]
async fn pubsub_scheduler_tasks_and_eventarc_aud_is_the_full_url_and_the_email_is_pinned() {
    for preset in [
        pubsub_push,
        eventarc,
        cloud_scheduler,
        cloud_tasks,
        api_gateway,
    ] {
        let verifier = finish(preset(URL, EMAIL));
        let good = bearer(&json!({ "aud": URL }));
        assert!(verdict(&verifier, "authorization", &good).await.is_ok());
        // Their senders know no other header.
        let elsewhere = verdict(&verifier, "x-serverless-authorization", &good).await;
        assert_eq!(elsewhere.map(drop), Err(401));
        for (changes, status) in [
            (json!({"aud": "https://f.a.run.app"}), 401),
            (json!({"aud": "https://f.a.run.app/push"}), 401),
            (
                json!({"aud": URL, "email": "other@p.iam.gserviceaccount.com"}),
                403,
            ),
            (json!({"aud": URL, "email_verified": false}), 403),
            (json!({"aud": URL, "email": null}), 403),
        ] {
            let verdict = verdict(&verifier, "authorization", &bearer(&changes)).await;
            assert_eq!(verdict.map(drop), Err(status), "{changes}");
        }
    }
}

#[tokio::test]
async fn service_to_service_takes_either_header_and_any_of_its_callers() {
    let other = "other@p.iam.gserviceaccount.com";
    let verifier = finish(service_to_service(AUDIENCE, [EMAIL, other]));
    for header in ["authorization", "x-serverless-authorization"] {
        for email in [EMAIL, other] {
            let good = bearer(&json!({ "email": email }));
            assert!(verdict(&verifier, header, &good).await.is_ok());
        }
        let stranger = bearer(&json!({"email": "x@p.iam.gserviceaccount.com"}));
        assert_eq!(
            verdict(&verifier, header, &stranger).await.map(drop),
            Err(403)
        );
    }
}

#[tokio::test]
async fn iap_header_aud_forms_and_ten_minutes() {
    for (audience, text) in [
        (IapAudience::app_engine(1, "p"), "/projects/1/apps/p"),
        (
            IapAudience::backend_service(1, 2),
            "/projects/1/global/backendServices/2",
        ),
        (
            IapAudience::regional_backend_service(1, "r", 2),
            "/projects/1/r/backendServices/2",
        ),
        (
            IapAudience::cloud_run(1, "r", "f"),
            "/projects/1/locations/r/services/f",
        ),
    ] {
        let verifier = finish(iap(&audience));
        let token = |exp: u64| {
            let changes = json!({"iss": "https://cloud.google.com/iap", "aud": text,
                "sub": "accounts.google.com:1029", "iat": NOW, "exp": exp});
            Signer::p256().token("ec", &claims_with(&changes))
        };
        let header = "x-goog-iap-jwt-assertion";
        assert!(verdict(&verifier, header, &token(NOW + 600)).await.is_ok());
        assert_eq!(
            verdict(&verifier, header, &token(NOW + 3600))
                .await
                .map(drop),
            Err(401)
        );
        let in_authorization = format!("Bearer {}", token(NOW + 600));
        assert_eq!(
            verdict(&verifier, "authorization", &in_authorization)
                .await
                .map(drop),
            Err(401)
        );
    }
    // The unsigned companions say nothing.
    let verifier = finish(iap(&IapAudience::app_engine(1, "p")));
    let spoofed = verdict(
        &verifier,
        "x-goog-authenticated-user-email",
        "accounts.google.com:a@b",
    );
    assert_eq!(spoofed.await.map(drop), Err(401));
}

#[tokio::test]
async fn spoofed_user_info_is_read_only_after_the_gateways_own_token() {
    let verifier = finish(api_gateway(AUDIENCE, EMAIL));
    let mut headers = HeaderMap::new();
    let info = b64(json!({"sub": "user-1"}).to_string());
    headers.insert(
        "x-apigateway-api-userinfo",
        HeaderValue::from_str(&info).unwrap(),
    );
    headers.insert(
        "x-forwarded-authorization",
        HeaderValue::from_static("Bearer user"),
    );
    // Without the gateway's token there are no claims to ask with.
    let rejection = verifier.verify_headers(&headers).await.unwrap_err();
    assert!(rejection.is_missing());
    let stranger = bearer(&json!({"email": "x@p.iam.gserviceaccount.com"}));
    headers.insert("authorization", HeaderValue::from_str(&stranger).unwrap());
    let rejection = verifier.verify_headers(&headers).await.unwrap_err();
    assert_eq!(rejection.verify_error().unwrap().kind(), Kind::NotAllowed);

    headers.insert(
        "authorization",
        HeaderValue::from_str(&bearer(&json!({}))).unwrap(),
    );
    let caller = verifier.verify_headers(&headers).await.unwrap();
    let gateway = Gateway::new(Product::ApiGateway, EMAIL);
    let espv2 = Gateway::new(Product::Espv2, EMAIL);
    let user = gateway.user_info(&caller, &headers).unwrap().unwrap();
    assert_eq!(user["sub"], "user-1");
    assert_eq!(espv2.user_info(&caller, &headers), Ok(None));
    assert_eq!(
        gateway
            .forwarded_authorization(&caller, &headers)
            .unwrap()
            .unwrap(),
        "Bearer user"
    );

    headers.append(
        "x-forwarded-authorization",
        HeaderValue::from_static("Bearer spoofed"),
    );
    assert!(gateway.forwarded_authorization(&caller, &headers).is_err());
    headers.append("x-apigateway-api-userinfo", HeaderValue::from_static("e30"));
    assert!(gateway.user_info(&caller, &headers).is_err());
    for (value, is_good) in [
        ("e30=", true),
        ("e30", true),
        ("W10", false),
        ("!", false),
        ("", false),
        ("é", false),
    ] {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        headers.insert("x-endpoint-api-userinfo", value.clone());
        let read = espv2.user_info(&caller, &headers);
        assert_eq!(read.is_ok(), is_good, "{value:?}");
    }
}

#[tokio::test]
async fn a_direct_caller_cannot_speak_for_the_gateway() {
    let direct = "batch@p.iam.gserviceaccount.com";
    let verifier = api_gateway(AUDIENCE, EMAIL).allow(Principal::service_account(direct));
    let verifier = finish(verifier);
    let gateway = Gateway::new(Product::ApiGateway, EMAIL.to_ascii_uppercase());
    let info = b64(json!({"sub": "user-1"}).to_string());
    for (email, believed) in [(EMAIL, true), (direct, false)] {
        let token = bearer(&json!({ "email": email }));
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", token.as_str()),
            ("x-apigateway-api-userinfo", &info),
            ("x-forwarded-authorization", "Bearer user"),
        ] {
            headers.insert(name, HeaderValue::from_str(value).unwrap());
        }
        let caller = verifier.verify_headers(&headers).await.unwrap();
        let user = gateway.user_info(&caller, &headers).unwrap();
        let forwarded = gateway.forwarded_authorization(&caller, &headers).unwrap();
        assert_eq!(
            (user.is_some(), forwarded.is_some()),
            (believed, believed),
            "{email}"
        );
    }
    // Nor can a stranger whose own issuer gives it the gateway's address.
    let sts = Issuer::new("https://sts.test", "http://127.0.0.1:1/")
        .with_keys(key_set(&[Signer::rsa(1).jwk("k0")]));
    let verifier = Verifier::builder()
        .audience(AUDIENCE)
        .issuer(sts.clone())
        .allow(Principal::anyone_of(&sts))
        .clock(ManualClock::new(at(NOW)))
        .build()
        .unwrap();
    let claims = claims_with(&json!({ "iss": "https://sts.test" }));
    let caller = verifier.verify(&Signer::rsa(1).token("k0", &claims)).await;
    let mut headers = HeaderMap::new();
    let info = HeaderValue::from_str(&info).unwrap();
    headers.insert("x-apigateway-api-userinfo", info);
    assert_eq!(gateway.user_info(&caller.unwrap(), &headers), Ok(None));
}
