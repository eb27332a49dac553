//! The extractor in a real router, without sockets.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::error::Error as _;
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use axum::Router;
use axum::extract::{FromRef, FromRequestParts};
use axum::routing::get;
use axum_idtoken::{Caller, CallerRejection, NoExtra};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use idtoken::clock::ManualClock;
use idtoken::verify::Algorithm;
use idtoken::{Issuer, KeySet, Principal, Verifier};
use serde_json::{Value, json};
use tower::ServiceExt as _;

const EMAIL: &str = "caller@p.iam.gserviceaccount.com";
const NOW: u64 = 1_700_000_000;

struct Sender {
    pair: EcdsaKeyPair,
}

impl Sender {
    fn new() -> Self {
        Self {
            pair: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
        }
    }

    fn issuer(&self) -> Issuer {
        let point = self.pair.public_key().as_ref();
        let (x, y) = (
            URL_SAFE_NO_PAD.encode(&point[1..33]),
            URL_SAFE_NO_PAD.encode(&point[33..]),
        );
        let keys = json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": "k", "x": x, "y": y}]});
        Issuer::new("https://issuer.test", "http://127.0.0.1:1/")
            .with_algorithm(Algorithm::Es256)
            .with_keys(KeySet::from_json(keys.to_string().as_bytes()).unwrap())
    }

    fn verifier(&self) -> Verifier {
        Verifier::builder()
            .issuer(self.issuer())
            .audience("https://f.a.run.app")
            .allow(Principal::service_account(EMAIL))
            .clock(ManualClock::new(
                SystemTime::UNIX_EPOCH + Duration::from_secs(NOW),
            ))
            .build()
            .unwrap()
    }

    fn token(&self, changes: &Value) -> String {
        let mut claims = json!({
            "iss": "https://issuer.test", "aud": "https://f.a.run.app", "sub": "1029",
            "email": EMAIL, "email_verified": true, "iat": NOW, "exp": NOW + 3600, "tenant": 7,
        });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let header = json!({"alg": "ES256", "kid": "k", "typ": "JWT"}).to_string();
        let input = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        let signature = self
            .pair
            .sign(&SystemRandom::new(), input.as_bytes())
            .unwrap();
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

#[derive(serde::Deserialize)]
struct Tenant {
    tenant: u32,
}

fn app(verifier: Verifier) -> Router {
    Router::new()
        .route(
            "/",
            get(|caller: Caller| async move { caller.email().unwrap().to_owned() }),
        )
        .route(
            "/optional",
            get(|caller: Option<Caller>| async move {
                caller.map_or_else(|| "nobody".to_owned(), |caller| caller.sub().to_owned())
            }),
        )
        .route(
            "/tenant",
            get(|caller: Caller<Tenant>| async move {
                format!("{} of {}", caller.sub(), caller.extra().tenant)
            }),
        )
        .with_state(verifier)
}

struct Answer {
    status: StatusCode,
    challenge: Option<String>,
    body: String,
}

async fn ask(app: Router, path: &str, headers: &[(&str, &[u8])]) -> Answer {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response: Response<_> = app
        .oneshot(request.body(axum::body::Body::empty()).unwrap())
        .await
        .unwrap();
    let challenge = response.headers().get("www-authenticate");
    Answer {
        status: response.status(),
        challenge: challenge.map(|value| value.to_str().unwrap().to_owned()),
        body: String::from_utf8(
            response
                .into_body()
                .collect()
                .await
                .unwrap()
                .to_bytes()
                .to_vec(),
        )
        .unwrap(),
    }
}

fn bearer(token: &str) -> Vec<u8> {
    format!("Bearer {token}").into_bytes()
}

#[tokio::test]
async fn an_allowed_caller_reaches_the_handler_through_either_header() {
    let sender = Sender::new();
    let value = bearer(&sender.token(&json!({})));
    for name in ["authorization", "x-serverless-authorization"] {
        let answer = ask(app(sender.verifier()), "/", &[(name, &value)]).await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (StatusCode::OK, EMAIL)
        );
        assert_eq!(answer.challenge, None);
    }
}

#[tokio::test]
async fn each_refusal_has_its_status_challenge_and_a_body_without_detail() {
    let sender = Sender::new();
    let expired = bearer(&sender.token(&json!({"iat": NOW - 7200, "exp": NOW - 3600})));
    let stranger = bearer(&sender.token(&json!({"email": "x@p.iam.gserviceaccount.com"})));
    let good = bearer(&sender.token(&json!({})));
    let bad_token = Some(r#"Bearer error="invalid_token""#);
    let bad_request = Some(r#"Bearer error="invalid_request""#);
    let bad_scope = Some(r#"Bearer error="insufficient_scope""#);
    for (headers, status, challenge) in [
        (vec![], 401, Some("Bearer")),
        (
            vec![("authorization", &b"Basic dTpw"[..])],
            401,
            Some("Bearer"),
        ),
        (vec![("authorization", &b"Bearer"[..])], 400, bad_request),
        (
            vec![("authorization", &b"Bearer a\tb"[..])],
            400,
            bad_request,
        ),
        (
            vec![("authorization", &b"Bearer \xff"[..])],
            400,
            bad_request,
        ),
        (
            vec![("authorization", &good[..]), ("authorization", &good[..])],
            400,
            bad_request,
        ),
        (
            vec![("authorization", &b"Bearer a.b.c"[..])],
            401,
            bad_token,
        ),
        (vec![("authorization", &expired[..])], 401, bad_token),
        (vec![("authorization", &stranger[..])], 403, bad_scope),
    ] {
        for path in ["/", "/tenant"] {
            let answer = ask(app(sender.verifier()), path, &headers).await;
            assert_eq!(answer.status.as_u16(), status, "{headers:?}");
            assert_eq!(answer.challenge.as_deref(), challenge, "{headers:?}");
            let vague = [
                "valid credentials are required",
                "malformed credentials",
                "not allowed",
            ];
            assert!(vague.contains(&answer.body.as_str()), "{}", answer.body);
        }
    }
}

#[tokio::test]
async fn keys_unavailable_is_503_with_retry_after() {
    let sender = Sender::new();
    struct Down;
    impl idtoken::transport::Transport for Down {
        async fn send(
            &self,
            _: Request<bytes::Bytes>,
        ) -> Result<Response<bytes::Bytes>, idtoken::transport::TransportError> {
            Ok(Response::builder()
                .status(404)
                .body(bytes::Bytes::new())
                .unwrap())
        }
    }
    let verifier = Verifier::builder()
        .issuer(sender.issuer())
        .jwks_url("http://127.0.0.1:1/")
        .transport(Down)
        .audience("https://f.a.run.app")
        .allow(Principal::service_account(EMAIL))
        .build()
        .unwrap();
    let request = Request::get("/").header("authorization", bearer(&sender.token(&json!({}))));
    let response = app(verifier)
        .oneshot(request.body(axum::body::Body::empty()).unwrap())
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "1");
    assert!(!response.headers().contains_key("www-authenticate"));
}

#[tokio::test]
async fn no_token_is_nobody_but_a_bad_token_is_still_refused() {
    let sender = Sender::new();
    let good = bearer(&sender.token(&json!({})));
    for (header, status, body) in [
        (None, 200, "nobody"),
        (Some(&good[..]), 200, "1029"),
        (Some(b"Bearer a.b.c"), 401, "valid credentials are required"),
        (Some(b"Bearer"), 400, "malformed credentials"),
        (Some(b"Basic dTpw"), 401, "valid credentials are required"),
    ] {
        let headers: Vec<_> = header
            .map(|value| ("authorization", value))
            .into_iter()
            .collect();
        let answer = ask(app(sender.verifier()), "/optional", &headers).await;
        assert_eq!(
            (answer.status.as_u16(), answer.body.as_str()),
            (status, body)
        );
    }
}

#[tokio::test]
async fn claims_are_read_into_a_type_of_ones_own() {
    let sender = Sender::new();
    let good = bearer(&sender.token(&json!({})));
    let answer = ask(
        app(sender.verifier()),
        "/tenant",
        &[("authorization", &good)],
    )
    .await;
    assert_eq!(answer.body, "1029 of 7");
    let odd = bearer(&sender.token(&json!({"tenant": "seven"})));
    let answer = ask(
        app(sender.verifier()),
        "/tenant",
        &[("authorization", &odd)],
    )
    .await;
    assert_eq!(
        (answer.status.as_u16(), answer.body.as_str()),
        (403, "not allowed")
    );
}

#[tokio::test]
async fn several_verifiers_live_in_one_app_by_the_state_of_their_routers() {
    #[derive(Clone)]
    struct Admin {
        verifier: Verifier,
    }
    impl FromRef<Admin> for Verifier {
        fn from_ref(admin: &Admin) -> Self {
            admin.verifier.clone()
        }
    }
    let sender = Sender::new();
    let admins = Verifier::builder()
        .issuer(sender.issuer())
        .audience("https://f.a.run.app")
        .allow(Principal::subject("1"))
        .clock(ManualClock::new(
            SystemTime::UNIX_EPOCH + Duration::from_secs(NOW),
        ))
        .build()
        .unwrap();
    let admin = Router::new()
        .route(
            "/admin",
            get(|caller: Caller| async move { caller.sub().to_owned() }),
        )
        .with_state(Admin { verifier: admins });
    let app = app(sender.verifier()).merge(admin);
    let caller = bearer(&sender.token(&json!({})));
    let boss = bearer(&sender.token(&json!({"sub": "1", "email": "x@y"})));
    for (path, token, status) in [
        ("/", &caller, 200),
        ("/", &boss, 403),
        ("/admin", &caller, 403),
        ("/admin", &boss, 200),
    ] {
        let answer = ask(app.clone(), path, &[("authorization", token)]).await;
        assert_eq!(answer.status.as_u16(), status, "{path}");
    }
}

#[tokio::test]
async fn several_verifiers_live_in_one_app_by_their_types() {
    #[derive(Clone)]
    struct Admins(Verifier);
    impl AsRef<Verifier> for Admins {
        fn as_ref(&self) -> &Verifier {
            &self.0
        }
    }
    #[derive(Clone, FromRef)]
    struct State {
        callers: Verifier,
        admins: Admins,
    }
    let sender = Sender::new();
    let admins = sender.verifier();
    admins
        .set_policy(idtoken::Policy::new([Principal::subject("1")]))
        .unwrap();
    let app = Router::new()
        .route(
            "/",
            get(|caller: Caller| async move { caller.sub().to_owned() }),
        )
        .route(
            "/admin",
            get(|admin: Caller<NoExtra, Admins>| async move { admin.sub().to_owned() }),
        )
        .with_state(State {
            callers: sender.verifier(),
            admins: Admins(admins),
        });
    let caller = bearer(&sender.token(&json!({})));
    let boss = bearer(&sender.token(&json!({"sub": "1", "email": "x@y"})));
    for (path, token, status) in [
        ("/", &caller, 200),
        ("/", &boss, 403),
        ("/admin", &caller, 403),
        ("/admin", &boss, 200),
    ] {
        let answer = ask(app.clone(), path, &[("authorization", token)]).await;
        assert_eq!(answer.status.as_u16(), status, "{path}");
    }
}

#[tokio::test]
async fn a_whole_router_is_closed_by_the_tower_layer() {
    let sender = Sender::new();
    let app = Router::new()
        .route(
            "/",
            get(
                |axum::Extension(claims): axum::Extension<idtoken::Claims>| async move {
                    claims.sub().to_owned()
                },
            ),
        )
        .route("/healthz", get(|| async { "well" }))
        .layer(tower_idtoken::RequireIdTokenLayer::new(sender.verifier()).bypass_path("/healthz"));
    let good = bearer(&sender.token(&json!({})));
    let answer = ask(app.clone(), "/", &[("authorization", &good)]).await;
    assert_eq!(
        (answer.status.as_u16(), answer.body.as_str()),
        (200, "1029")
    );
    assert_eq!(ask(app.clone(), "/", &[]).await.status.as_u16(), 401);
    assert_eq!(ask(app, "/healthz", &[]).await.body, "well");
}

#[tokio::test]
async fn display_says_this_level_only_and_sources_say_the_rest_without_the_token() {
    let sender = Sender::new();
    let token = sender.token(&json!({"exp": NOW - 100, "iat": NOW - 200}));
    let (mut parts, ()) = Request::get("/")
        .header("authorization", bearer(&token))
        .body(())
        .unwrap()
        .into_parts();
    let extracted: Result<Caller, CallerRejection> =
        <Caller as FromRequestParts<Verifier>>::from_request_parts(&mut parts, &sender.verifier())
            .await;
    let rejection = extracted.unwrap_err();
    assert_eq!(
        rejection.to_string(),
        "the request's token was not accepted"
    );
    assert_eq!(
        rejection.source().unwrap().to_string(),
        "the token has expired"
    );
    let shown = format!("{rejection:?}");
    assert!(
        token.split('.').all(|part| !shown.contains(part)),
        "{shown}"
    );
}
