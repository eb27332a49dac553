use std::time::Duration;

use idtoken::clock::{Clock as _, SystemClock};
use idtoken_emulator::{Account, Emulator, Shape, SigningKey, TokenRequest};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::json;

use crate::support::{get, now, seconds, verified, verify};

const CALLER: &str = "caller@shop.iam.gserviceaccount.com";

#[tokio::test]
async fn by_default_a_token_breaks_no_rule() {
    let google = Emulator::start().await.unwrap();
    let token = google.mint(&TokenRequest::new("https://hello.a.run.app").account(CALLER));
    let claims = verified(&google, &token).await;
    let id = Account::new(CALLER).unique_id().to_owned();
    assert_eq!(claims["iss"], "https://accounts.google.com");
    assert_eq!(claims["aud"], "https://hello.a.run.app");
    assert_eq!(
        (claims["sub"].as_str(), claims["azp"].as_str()),
        (Some(&*id), Some(&*id))
    );
    assert_eq!(
        (&claims["email"], &claims["email_verified"]),
        (&CALLER.into(), &true.into())
    );
    assert_eq!(
        claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(),
        3_600
    );
    assert!(now().abs_diff(claims["iat"].as_u64().unwrap()) < 60);
    let header = jsonwebtoken::decode_header(&token).unwrap();
    assert_eq!(
        (header.alg, header.typ.as_deref()),
        (Algorithm::RS256, Some("JWT"))
    );
}

#[tokio::test]
async fn any_claim_or_header_may_be_changed_or_left_out() {
    let google = Emulator::start().await.unwrap();
    let issued_at = SystemClock.now() - Duration::from_secs(7_200);
    let token = google.mint(
        &TokenRequest::new("a")
            .issued_at(issued_at)
            .lifetime(Duration::from_secs(60))
            .claim("aud", json!(["a", "b"]))
            .claim("email_verified", "true")
            .without_claim("azp")
            .header("typ", 7)
            .header("crit", json!(["x"])),
    );
    let claims = claims_of(&token);
    assert_eq!(
        (&claims["aud"], &claims["email_verified"]),
        (&json!(["a", "b"]), &"true".into())
    );
    assert_eq!(claims["iat"], seconds(issued_at));
    assert_eq!(claims["exp"], seconds(issued_at) + 60);
    assert!(claims.get("azp").is_none());
    let header = part(&token, 0);
    assert_eq!(
        (&header["typ"], &header["crit"]),
        (&7.into(), &json!(["x"]))
    );
    let token = google.mint(&TokenRequest::new("a").without_header("kid"));
    assert!(part(&token, 0).get("kid").is_none());
}

#[tokio::test]
async fn shapes_differ_as_googles_sources_do() {
    let google = Emulator::start().await.unwrap();
    let claims = |shape, who: &str| {
        claims_of(&google.mint(&TokenRequest::new("client-id").account(who).shape(shape)))
    };
    let id = Account::new(CALLER).unique_id().to_owned();
    for (shape, azp, email) in [
        (Shape::MetadataFull, &*id, true),
        (Shape::MetadataStandard, &*id, false),
        (Shape::Service, &*id, true),
        (Shape::ServiceAccountKey, CALLER, true),
    ] {
        let claims = claims(shape, CALLER);
        assert_eq!(claims["azp"], azp, "{shape:?}");
        assert_eq!(claims.get("email").is_some(), email, "{shape:?}");
        assert!(claims.get("hd").is_none(), "{shape:?}");
    }
    let person = claims(Shape::User, "ann@shop.example");
    assert_eq!(
        (&person["aud"], &person["azp"]),
        (&"client-id".into(), &"client-id".into())
    );
    assert_eq!(person["hd"], "shop.example");
    assert!(claims(Shape::User, "ann@gmail.com").get("hd").is_none());
}

#[tokio::test]
async fn proxy_assertions_are_es256_and_live_ten_minutes() {
    let google = Emulator::start().await.unwrap();
    let audience = "/projects/1/apps/shop";
    let request = TokenRequest::new(audience)
        .shape(Shape::Iap)
        .account("ann@shop.example");
    let token = google.mint(&request);
    let claims = verify(&google.iap_jwks_url(), &token, Algorithm::ES256)
        .await
        .unwrap();
    assert_eq!(
        (&claims["iss"], &claims["aud"]),
        (&"https://cloud.google.com/iap".into(), &audience.into())
    );
    assert!(
        claims["sub"]
            .as_str()
            .unwrap()
            .starts_with("accounts.google.com:1")
    );
    assert_eq!(
        claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(),
        600
    );

    let keys: serde_json::Value = get(google.iap_pem_url()).await.json().await.unwrap();
    let id = jsonwebtoken::decode_header(&token).unwrap().kid.unwrap();
    assert_eq!(id.len(), 6);
    DecodingKey::from_ec_pem(keys[&id].as_str().unwrap().as_bytes()).unwrap();
}

#[tokio::test]
async fn keys_can_be_wrong_in_every_way() {
    let google = Emulator::start().await.unwrap();
    let current = google.key_id();
    let mint = |key| google.mint(&TokenRequest::new("a").key(key));
    let verify = |token: String| {
        let url = google.jwks_url();
        async move { verify(&url, &token, Algorithm::RS256).await }
    };
    verify(mint(SigningKey::Current)).await.unwrap();
    verify(mint(SigningKey::Previous)).await.unwrap();
    for key in [
        SigningKey::Hmac(b"secret".to_vec()),
        SigningKey::Iap,
        SigningKey::Signature(vec![0; 256]),
        SigningKey::Unknown,
        SigningKey::UnknownUnderCurrentId,
    ] {
        assert!(verify(mint(key.clone())).await.is_err(), "{key:?}");
    }
    assert_eq!(
        part(&mint(SigningKey::UnknownUnderCurrentId), 0)["kid"],
        *current
    );
    assert_ne!(part(&mint(SigningKey::Unknown), 0)["kid"], *current);
    let none = mint(SigningKey::None);
    assert!(none.ends_with('.') && part(&none, 0)["alg"] == "none");
    assert_eq!(part(&mint(SigningKey::Hmac(Vec::new())), 0)["alg"], "HS256");
    let token = google.mint(&TokenRequest::new("a").header("alg", "RS512"));
    crate::support::verify(&google.jwks_url(), &token, Algorithm::RS512)
        .await
        .unwrap();
}

#[tokio::test]
async fn header_and_payload_may_be_any_bytes() {
    let google = Emulator::start().await.unwrap();
    let token = google.mint(
        &TokenRequest::new("a")
            .raw_header(*b"[]")
            .raw_payload(*b"not json"),
    );
    assert!(token.starts_with("W10.bm90IGpzb24."));
}

fn claims_of(token: &str) -> serde_json::Value {
    part(token, 1)
}

fn part(token: &str, index: usize) -> serde_json::Value {
    use base64::Engine as _;

    let part = token.split('.').nth(index).unwrap();
    let json = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(part)
        .unwrap();
    serde_json::from_slice(&json).unwrap()
}
