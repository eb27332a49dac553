//! What the hot paths ask of the allocator, counted: a gate that no busy machine can move.
//!
//! Only the thread that measures is counted, so what a test leaves running beside it does not show.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use allocation_counter::measure;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use http::{Request, Response};
use idtoken::source::MetadataServer;
use idtoken::{Audience, KeySet, Principal, TokenCache, TokenHandle, Verifier};
use idtoken_emulator::{Emulator, TokenRequest};
use tower::{Layer, Service};
use tower_idtoken::header::X_SERVERLESS_AUTHORIZATION;
use tower_idtoken::{AddIdTokenLayer, ByOrigin, Existing, FromExtension, Header};

const AUDIENCE: &str = "https://hello-abc.a.run.app";
const EMAIL: &str = "caller@shop.iam.gserviceaccount.com";

#[tokio::test]
async fn a_cached_token_becomes_a_header_without_allocating() {
    let (_, handle) = cached().await;
    assert_eq!(allocations(|| drop(handle.try_bearer().unwrap())), 0);
    assert_eq!(allocations(|| drop(at_once(handle.bearer()).unwrap())), 0);
    assert_eq!(allocations(|| drop(handle.clone())), 0);
}

#[tokio::test]
async fn the_layer_allocates_nothing_on_a_hit() {
    let (tokens, handle) = cached().await;
    let layer = || AddIdTokenLayer::new(handle.clone());
    let by_origin = ByOrigin::refusing_others(["*.run.app"]).unwrap();
    let from_extension = FromExtension::refusing_others();
    let plain = || request(None);

    assert_eq!(of(layer().layer(Echo), plain()), 0, "one handle");
    assert_eq!(
        of(layer().header(Header::Both).layer(Echo), plain()),
        0,
        "both headers"
    );
    let own = request(Some("Basic theirs"));
    assert_eq!(of(layer().layer(Echo), own), 0, "beside the caller's own");
    let own = request(Some("Basic theirs"));
    assert_eq!(
        of(layer().existing(Existing::Replace).layer(Echo), own),
        0,
        "replacing"
    );
    assert_eq!(
        of(layer().distrust_on_401().layer(Echo), plain()),
        0,
        "distrust on 401"
    );

    let layer = AddIdTokenLayer::with_policy(tokens.clone(), by_origin);
    assert_eq!(of(layer.layer(Echo), plain()), 0, "by origin");
    let layer = AddIdTokenLayer::with_policy(tokens, from_extension);
    let mut with_audience = plain();
    with_audience
        .extensions_mut()
        .insert(handle.audience().clone());
    assert_eq!(of(layer.layer(Echo), with_audience), 0, "from an extension");
}

#[tokio::test]
async fn a_token_seen_before_is_verified_without_allocating() {
    let google = Emulator::start().await.unwrap();
    let verifier = verifier(&google, 64).await;
    let token = google.mint(&TokenRequest::new(AUDIENCE).account(EMAIL));
    verifier.verify(&token).await.unwrap();
    let count = allocations(|| drop(at_once(verifier.verify(&token)).unwrap()));
    assert_eq!(count, 0);

    let request = request(Some(&format!("Bearer {token}")));
    let headers = request.headers();
    let count = allocations(|| drop(at_once(verifier.verify_headers(headers)).unwrap()));
    assert_eq!(count, 0, "from the headers of a request");
}

#[tokio::test]
async fn a_token_never_seen_is_verified_and_remembered_with_four_allocations_at_most() {
    let google = Emulator::start().await.unwrap();
    let verifier = verifier(&google, 4_096).await;
    let now = google.clock().now();
    for age in 0..16 {
        let issued_at = now - Duration::from_secs(age);
        let token = google.mint(
            &TokenRequest::new(AUDIENCE)
                .account(EMAIL)
                .issued_at(issued_at),
        );
        let count = allocations_once(|| drop(at_once(verifier.verify(&token)).unwrap()));
        assert!(count <= 4, "{count} allocations");
    }
}

#[tokio::test]
async fn a_refusal_takes_no_more_allocations_than_an_acceptance() {
    let google = Emulator::start().await.unwrap();
    let verifier = verifier(&google, 0).await;
    let token = || TokenRequest::new(AUDIENCE).account(EMAIL);
    let good = google.mint(&token());
    let accepted = allocations(|| drop(at_once(verifier.verify(&good)).unwrap()));
    assert!(accepted <= 4, "{accepted} allocations");
    let long_ago = google.clock().now() - Duration::from_secs(7_200);
    for (fault, token) in [
        ("expired", google.mint(&token().issued_at(long_ago))),
        (
            "audience",
            google.mint(&TokenRequest::new("https://elsewhere").account(EMAIL)),
        ),
        (
            "identity",
            google.mint(&TokenRequest::new(AUDIENCE).account("mallory@evil.example")),
        ),
        ("key", google.mint(&token().header("kid", "unknown"))),
        ("garbage", "x".repeat(8_000)),
        ("long segments", format!("e30.{}.e30", "A".repeat(8_000))),
    ] {
        let count = allocations(|| drop(at_once(verifier.verify(&token)).unwrap_err()));
        assert!(
            count <= accepted,
            "{fault}: {count} allocations, {accepted} when all is well"
        );
    }
}

async fn cached() -> (TokenCache, TokenHandle) {
    let google = Emulator::start().await.unwrap();
    let source = MetadataServer::builder()
        .host(google.host())
        .build()
        .unwrap();
    let tokens = TokenCache::new(source);
    let handle = tokens.handle(&Audience::new(AUDIENCE).unwrap());
    handle.bearer().await.unwrap();
    (tokens, handle)
}

async fn verifier(google: &Emulator, remember: usize) -> Verifier {
    let keys = reqwest::get(google.jwks_url()).await.unwrap();
    let keys: Bytes = keys.bytes().await.unwrap();
    Verifier::builder()
        .audience(AUDIENCE)
        .allow(Principal::service_account(EMAIL))
        .keys(KeySet::from_json(&keys).unwrap())
        .remember_tokens(remember)
        .build()
        .unwrap()
}

/// A request whose header map has room for two more headers.
fn request(authorization: Option<&str>) -> Request<()> {
    let mut request = Request::get(format!("{AUDIENCE}/orders"))
        .header(ACCEPT, "application/json")
        .body(())
        .unwrap();
    if let Some(own) = authorization {
        let own = HeaderValue::try_from(own).unwrap();
        request.headers_mut().insert(AUTHORIZATION, own);
    }
    request.headers_mut().reserve(2);
    request
}

/// The allocations of one request through `service`.
fn of<S>(mut service: S, request: Request<()>) -> u64
where
    S: Service<Request<()>, Response = Response<Request<()>>>,
    S::Error: std::fmt::Debug,
{
    let own = request.headers().get(AUTHORIZATION).cloned();
    let mut request = Some(request);
    allocations(|| {
        let answer = at_once(service.call(request.take().unwrap())).unwrap();
        let mut sent = answer.into_body();
        let headers = sent.headers_mut();
        assert!(
            headers.values().any(HeaderValue::is_sensitive),
            "no token was attached"
        );
        headers.remove(X_SERVERLESS_AUTHORIZATION);
        match own.clone() {
            Some(own) => drop(headers.insert(AUTHORIZATION, own)),
            None => drop(headers.remove(AUTHORIZATION)),
        }
        request = Some(sent);
    })
}

/// The allocations of `operation` once it has warmed up.
fn allocations(mut operation: impl FnMut()) -> u64 {
    operation();
    allocations_once(operation)
}

fn allocations_once(operation: impl FnOnce()) -> u64 {
    measure(operation).count_total
}

fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("had to wait"),
    }
}

/// Gives the request back as it was sent.
#[derive(Clone)]
struct Echo;

impl Service<Request<()>> for Echo {
    type Response = Response<Request<()>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        ready(Ok(Response::new(request)))
    }
}
