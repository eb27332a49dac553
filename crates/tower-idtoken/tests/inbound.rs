//! The inbound layer around mock services.

#![allow(clippy::unwrap_used, reason = "a failed test is what it is for")]

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Request, Response};
use idtoken::clock::ManualClock;
use idtoken::inbound::X_SERVERLESS_AUTHORIZATION;
use idtoken::transport::{Transport, TransportError};
use idtoken::verify::Algorithm;
use idtoken::{Claims, Issuer, Principal, Verifier, VerifierBuilder};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tower::{Layer, Service, ServiceExt};
use tower_idtoken::{RequireIdToken, RequireIdTokenLayer};

const NOW: u64 = 1_700_000_000;
const EMAIL: &str = "caller@p.iam.gserviceaccount.com";

/// An issuer, and the endpoint of its keys, which answers once its gate is open.
#[derive(Clone)]
struct Sts {
    pair: Arc<EcdsaKeyPair>,
    gate: Arc<Semaphore>,
    status: u16,
}

impl Sts {
    fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self {
            pair: Arc::new(pair),
            gate: Arc::new(Semaphore::new(1000)),
            status: 200,
        }
    }

    fn builder(&self) -> VerifierBuilder {
        let issuer =
            Issuer::new("https://sts.test", "http://127.0.0.1:1/").with_algorithm(Algorithm::Es256);
        Verifier::builder()
            .issuer(issuer)
            .transport(self.clone())
            .audience("f")
            .allow(Principal::service_account(EMAIL))
            .clock(ManualClock::new(
                SystemTime::UNIX_EPOCH + Duration::from_secs(NOW),
            ))
    }

    fn layer(&self) -> RequireIdTokenLayer {
        RequireIdTokenLayer::new(self.builder().build().unwrap())
    }

    fn token(&self, changes: &Value) -> String {
        let mut claims = json!({
            "iss": "https://sts.test", "aud": "f", "sub": "1029", "email": EMAIL,
            "email_verified": true, "iat": NOW, "exp": NOW + 3600,
        });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let header = json!({"alg": "ES256", "kid": "k"}).to_string();
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

    fn request(&self, changes: &Value) -> Request<()> {
        let value = format!("Bearer {}", self.token(changes));
        Request::get("/x")
            .header("authorization", value)
            .body(())
            .unwrap()
    }
}

impl Transport for Sts {
    async fn send(&self, _: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        self.gate.acquire().await.unwrap().forget();
        let point = self.pair.public_key().as_ref();
        let (x, y) = (
            URL_SAFE_NO_PAD.encode(&point[1..33]),
            URL_SAFE_NO_PAD.encode(&point[33..]),
        );
        let keys = json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": "k", "x": x, "y": y}]});
        Ok(Response::builder()
            .status(self.status)
            .body(keys.to_string().into())
            .unwrap())
    }
}

/// Answers with what it saw, and panics when it is called without having been polled ready.
#[derive(Default)]
struct App {
    is_ready: bool,
    calls: Arc<AtomicU32>,
}

impl Clone for App {
    fn clone(&self) -> Self {
        Self {
            is_ready: false,
            calls: Arc::clone(&self.calls),
        }
    }
}

impl Service<Request<()>> for App {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        assert!(
            std::mem::take(&mut self.is_ready),
            "called without having been polled ready"
        );
        self.calls.fetch_add(1, Ordering::SeqCst);
        let caller = request
            .extensions()
            .get::<Claims>()
            .map_or("nobody", Claims::sub);
        let headers: Vec<_> = request
            .headers()
            .keys()
            .map(http::HeaderName::as_str)
            .collect();
        ready(Ok(Response::new(format!("{caller} {}", headers.join(",")))))
    }
}

async fn ask(layer: &RequireIdTokenLayer, request: Request<()>) -> Response<String> {
    layer.layer(App::default()).oneshot(request).await.unwrap()
}

#[tokio::test]
async fn an_allowed_caller_passes_with_claims_in_extensions() {
    let sts = Sts::new();
    let response = ask(&sts.layer(), sts.request(&json!({}))).await;
    assert_eq!(
        (response.status().as_u16(), response.body().as_str()),
        (200, "1029 authorization")
    );
}

#[tokio::test]
async fn refusals_have_status_challenge_and_no_body_and_never_reach_the_application() {
    let sts = Sts::new();
    let header = |value: &str| {
        Request::get("/")
            .header("authorization", value)
            .body(())
            .unwrap()
    };
    for (request, status, challenge) in [
        (Request::new(()), 401, "Bearer"),
        (header("Basic dTpw"), 401, "Bearer"),
        (header("Bearer"), 400, r#"Bearer error="invalid_request""#),
        (
            header("Bearer a.b.c"),
            401,
            r#"Bearer error="invalid_token""#,
        ),
        (
            sts.request(&json!({"exp": NOW - 100})),
            401,
            r#"Bearer error="invalid_token""#,
        ),
        (
            sts.request(&json!({"email": "x@y"})),
            403,
            r#"Bearer error="insufficient_scope""#,
        ),
    ] {
        let app = App::default();
        let calls = Arc::clone(&app.calls);
        let response = sts.layer().layer(app).oneshot(request).await.unwrap();
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(response.headers()["www-authenticate"], challenge);
        assert_eq!(
            (response.body().as_str(), calls.load(Ordering::SeqCst)),
            ("", 0)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn keys_unavailable_is_503_with_retry_after() {
    let sts = Sts {
        status: 404,
        ..Sts::new()
    };
    let response = ask(&sts.layer(), sts.request(&json!({}))).await;
    assert_eq!(response.status().as_u16(), 503);
    assert_eq!(response.headers()["retry-after"], "1");
    assert!(!response.headers().contains_key("www-authenticate"));
}

#[tokio::test(start_paused = true)]
async fn grpc_requests_are_refused_in_grpcs_own_way() {
    let sts = Sts::new();
    let down = Sts {
        status: 404,
        ..Sts::new()
    };
    let grpc = |mut request: Request<()>, content_type: &'static str| {
        request
            .headers_mut()
            .insert("content-type", content_type.parse().unwrap());
        request
    };
    for (layer, request, code) in [
        (sts.layer(), Request::new(()), "16"),
        (sts.layer(), sts.request(&json!({"aud": "g"})), "16"),
        (sts.layer(), sts.request(&json!({"email": "x@y"})), "7"),
        (down.layer(), down.request(&json!({})), "14"),
    ] {
        let response = ask(&layer, grpc(request, "application/grpc+proto")).await;
        assert_eq!(response.status().as_u16(), 200);
        assert_eq!(response.headers()["content-type"], "application/grpc");
        assert_eq!(response.headers()["grpc-status"], code);
        assert!(response.headers().contains_key("grpc-message"));
        assert!(!response.headers().contains_key("www-authenticate"));
    }
    let good = ask(
        &sts.layer(),
        grpc(sts.request(&json!({})), "application/grpc"),
    )
    .await;
    assert!(good.body().starts_with("1029"));
}

#[tokio::test]
async fn allow_missing_no_token_ok_bad_token_still_refused() {
    let sts = Sts::new();
    let layer = sts.layer().allow_missing();
    assert_eq!(ask(&layer, Request::new(())).await.body(), "nobody ");
    assert_eq!(
        ask(&layer, sts.request(&json!({}))).await.body(),
        "1029 authorization"
    );
    assert_eq!(
        ask(&layer, sts.request(&json!({"aud": "g"})))
            .await
            .status()
            .as_u16(),
        401
    );
    let basic = Request::get("/")
        .header("authorization", "Basic dTpw")
        .body(())
        .unwrap();
    assert_eq!(ask(&layer, basic).await.status().as_u16(), 401);
}

#[tokio::test]
async fn bypass_is_for_exact_paths_only() {
    let sts = Sts::new();
    let layer = sts.layer().bypass_path("/healthz").bypass_path("/ready");
    for (uri, status) in [
        ("/healthz", 200),
        ("/healthz?verbose=1", 200),
        ("/ready", 200),
        ("/healthz/", 401),
        ("/healthz/x", 401),
        ("/Healthz", 401),
        ("//healthz", 401),
        ("/%68ealthz", 401),
        ("/x/../healthz", 401),
        ("/", 401),
    ] {
        let response = ask(&layer, Request::get(uri).body(()).unwrap()).await;
        assert_eq!(response.status().as_u16(), status, "{uri}");
    }
    // Not verified, so no claims, whatever it carries.
    let mut request = sts.request(&json!({}));
    *request.uri_mut() = "/healthz".parse().unwrap();
    assert_eq!(ask(&layer, request).await.body(), "nobody authorization");
}

#[tokio::test]
async fn layer_leaves_token_for_downstream_or_strips_it() {
    let sts = Sts::new();
    let mut request = sts.request(&json!({}));
    assert_eq!(
        ask(&sts.layer(), sts.request(&json!({}))).await.body(),
        "1029 authorization"
    );
    assert_eq!(
        ask(&sts.layer().strip_token(), sts.request(&json!({})))
            .await
            .body(),
        "1029 "
    );
    // Of two headers only the one that was judged is stripped: the other is the application's.
    let token = request
        .headers_mut()
        .insert("authorization", "Basic dTpw".parse().unwrap());
    request
        .headers_mut()
        .insert(X_SERVERLESS_AUTHORIZATION, token.unwrap());
    assert_eq!(
        ask(&sts.layer().strip_token(), request).await.body(),
        "1029 authorization"
    );
}

#[tokio::test]
async fn the_readied_service_waits_for_keys_with_its_request() {
    let mut sts = Sts::new();
    sts.gate = Arc::new(Semaphore::new(0));
    let app = App::default();
    let calls = Arc::clone(&app.calls);
    let mut service = sts.layer().layer(app);
    let first = service.ready().await.unwrap().call(sts.request(&json!({})));
    let second = service
        .ready()
        .await
        .unwrap()
        .call(sts.request(&json!({"aud": "g"})));
    let cancelled = service.ready().await.unwrap().call(sts.request(&json!({})));
    drop(cancelled);
    assert_eq!(calls.load(Ordering::SeqCst), 0);
    sts.gate.add_permits(1);
    let (first, second) = tokio::join!(first, second);
    assert_eq!(first.unwrap().body(), "1029 authorization");
    assert_eq!(second.unwrap().status().as_u16(), 401);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    // From here on there is nothing to wait for.
    let third = service.ready().await.unwrap().call(sts.request(&json!({})));
    assert_eq!(third.await.unwrap().status().as_u16(), 200);
}

#[test]
fn the_future_is_hardly_larger_than_the_inner_one() {
    type Inner = <App as Service<Request<()>>>::Future;
    type Outer = <RequireIdToken<App> as Service<Request<()>>>::Future;
    let (inner, outer) = (size_of::<Inner>(), size_of::<Outer>());
    assert!(
        outer <= inner + size_of::<usize>(),
        "{outer} bytes around {inner}"
    );
    fn send<T: Send>() {}
    send::<Outer>();
}

#[cfg(feature = "tower-http")]
#[tokio::test]
async fn tower_https_own_layer_takes_the_same_check() {
    use tower_http::auth::AsyncRequireAuthorizationLayer;
    use tower_idtoken::inbound::AuthorizeIdToken;

    let mut sts = Sts::new();
    sts.gate = Arc::new(Semaphore::new(0));
    let check = AuthorizeIdToken::<String>::with_layer(sts.layer().bypass_path("/healthz"));
    let layer = AsyncRequireAuthorizationLayer::new(check);
    let health = Request::get("/healthz").body(()).unwrap();
    let response = layer.layer(App::default()).oneshot(health).await.unwrap();
    assert_eq!(response.body(), "nobody ");
    let waits = layer.layer(App::default()).oneshot(sts.request(&json!({})));
    sts.gate.add_permits(1);
    assert_eq!(waits.await.unwrap().body(), "1029 authorization");
    for (changes, status) in [
        (json!({}), 200),
        (json!({"aud": "g"}), 401),
        (json!({"email": "x"}), 403),
    ] {
        let response = layer
            .layer(App::default())
            .oneshot(sts.request(&changes))
            .await
            .unwrap();
        assert_eq!(response.status().as_u16(), status);
    }
    let response = layer
        .layer(App::default())
        .oneshot(Request::new(()))
        .await
        .unwrap();
    assert_eq!(response.headers()["www-authenticate"], "Bearer");
}
