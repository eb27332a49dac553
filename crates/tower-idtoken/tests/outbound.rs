//! The outbound layer around mock services: readiness, order, and what never leaves.

#![allow(clippy::unwrap_used, reason = "a failed test is what it is for")]

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Request, Response};
use idtoken::{Audience, IdToken, SourceError, SourceErrorKind, TokenCache, TokenSource};
use tokio::sync::Semaphore;
use tower::retry::RetryLayer;
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
use tower_idtoken::policy::RequestHead;
use tower_idtoken::retry::RetryOn401;
use tower_idtoken::{
    AddIdToken, AddIdTokenLayer, ByHost, ByOrigin, Existing, Fixed, FromExtension, Header, NotSent,
    NotSentKind, Selection, TokenPolicy, token_error,
};

/// Hands out unsigned tokens that name their audience, once its gate is open.
#[derive(Clone)]
struct Source {
    gate: Arc<Semaphore>,
    fails: Arc<AtomicBool>,
    fetches: Arc<AtomicU32>,
}

impl Source {
    fn new() -> Self {
        Self {
            gate: Arc::new(Semaphore::new(1)),
            fails: Arc::default(),
            fetches: Arc::default(),
        }
    }

    fn closed() -> Self {
        Self {
            gate: Arc::new(Semaphore::new(0)),
            ..Self::new()
        }
    }
}

impl TokenSource for Source {
    async fn fetch(&self, audience: &Audience) -> Result<IdToken, SourceError> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        self.gate.acquire().await.unwrap().forget();
        self.gate.add_permits(1);
        if self.fails.load(Ordering::SeqCst) {
            return Err(SourceError::new(
                SourceErrorKind::Refused,
                "test",
                "as this test wants",
            ));
        }
        Ok(IdToken::new(&jwt(audience.as_str()))?)
    }
}

fn jwt(audience: &str) -> String {
    use base64::Engine;
    let part = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let claims = format!(r#"{{"aud":"{audience}","exp":4000000000}}"#);
    format!(
        "{}.{}.{}",
        part(r#"{"alg":"RS256"}"#),
        part(&claims),
        part("signature")
    )
}

fn bearer(audience: &str) -> String {
    format!("Bearer {}", jwt(audience))
}

fn get(uri: &str) -> Request<()> {
    Request::get(uri).body(()).unwrap()
}

/// Answers with the headers it was sent.
fn echo() -> impl Service<
    Request<()>,
    Response = Response<HeaderMap>,
    Error = Infallible,
    Future = Ready<Result<Response<HeaderMap>, Infallible>>,
> + Clone {
    service_fn(|request: Request<()>| ready(Ok(Response::new(request.headers().clone()))))
}

const HELLO: &str = "https://hello.a.run.app";

fn fixed(source: Source) -> AddIdTokenLayer {
    AddIdTokenLayer::new(TokenCache::new(source).handle(&Audience::new(HELLO).unwrap()))
}

async fn sent<P: TokenPolicy + Clone>(
    layer: AddIdTokenLayer<P>,
    request: Request<()>,
) -> Result<HeaderMap, tower_idtoken::error::BoxError> {
    let service = ServiceBuilder::new().layer(layer).service(echo());
    service.oneshot(request).await.map(Response::into_body)
}

fn kind(error: &tower_idtoken::error::BoxError) -> NotSentKind {
    error.downcast_ref::<NotSent>().expect("a NotSent").kind()
}

#[tokio::test]
async fn authorization_bearer_is_set_and_marked_sensitive() {
    let headers = sent(fixed(Source::new()), get("https://hello.a.run.app/x"))
        .await
        .unwrap();
    assert_eq!(headers[AUTHORIZATION], bearer(HELLO));
    assert!(headers[AUTHORIZATION].is_sensitive());
    assert_eq!(headers.len(), 1);
}

#[tokio::test]
async fn the_serverless_header_is_a_choice() {
    let layer = fixed(Source::new()).header(Header::XServerlessAuthorization);
    let headers = sent(layer, get(HELLO)).await.unwrap();
    assert_eq!(headers["x-serverless-authorization"], bearer(HELLO));
    assert!(headers["x-serverless-authorization"].is_sensitive());
    assert!(!headers.contains_key(AUTHORIZATION));
}

#[tokio::test]
async fn a_callers_own_authorization_is_never_clobbered_by_default() {
    let mut request = get(HELLO);
    request
        .headers_mut()
        .insert(AUTHORIZATION, HeaderValue::from_static("Basic theirs"));
    let headers = sent(fixed(Source::new()), request.clone()).await.unwrap();
    assert_eq!(headers[AUTHORIZATION], "Basic theirs");
    assert_eq!(headers["x-serverless-authorization"], bearer(HELLO));

    let headers = sent(
        fixed(Source::new()).existing(Existing::Replace),
        request.clone(),
    )
    .await;
    assert_eq!(headers.unwrap()[AUTHORIZATION], bearer(HELLO));

    let source = Source::new();
    let headers = sent(fixed(source.clone()).existing(Existing::Keep), request)
        .await
        .unwrap();
    assert_eq!(headers[AUTHORIZATION], "Basic theirs");
    assert_eq!(headers.len(), 1);
    assert_eq!(
        source.fetches.load(Ordering::SeqCst),
        0,
        "no token is fetched for nothing"
    );
}

#[tokio::test]
async fn a_failed_fetch_means_the_request_is_not_sent() {
    let source = Source::new();
    source.fails.store(true, Ordering::SeqCst);
    let calls = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&calls);
    let inner = service_fn(move |_: Request<()>| {
        seen.fetch_add(1, Ordering::SeqCst);
        ready(Ok::<_, Infallible>(Response::new(())))
    });
    let service = ServiceBuilder::new().layer(fixed(source)).service(inner);
    let error = service.oneshot(get(HELLO)).await.unwrap_err();
    assert_eq!(kind(&error), NotSentKind::NoToken);
    assert!(error.to_string().contains("was not sent"), "{error}");
    let cause = token_error(&*error).expect("the cause is in the chain");
    assert_eq!(
        cause.source_error().unwrap().kind(),
        SourceErrorKind::Refused
    );
    assert_eq!(calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn plain_http_is_refused_except_to_this_machine() {
    let policy = ByOrigin::refusing_others(["*.run.app", "localhost", "127.0.0.1", "[::1]"]);
    let layer = AddIdTokenLayer::with_policy(TokenCache::new(Source::new()), policy.unwrap());
    let error = sent(layer.clone(), get("http://hello.a.run.app/"))
        .await
        .unwrap_err();
    assert_eq!(kind(&error), NotSentKind::InsecureScheme);
    for uri in [
        "http://localhost:81/",
        "http://127.0.0.1:1/",
        "http://[::1]:2/",
    ] {
        let headers = sent(layer.clone(), get(uri)).await.unwrap();
        assert_eq!(
            headers[AUTHORIZATION],
            bearer(uri.trim_end_matches('/')),
            "{uri}"
        );
    }
}

#[tokio::test]
async fn a_fixed_token_goes_to_its_own_host_and_no_other() {
    for uri in [
        "https://evil.example/",
        "https://hello.a.run.app.evil.example/",
        "https://evil.example/hello.a.run.app",
        "https://hello.a.run.app@evil.example/",
        "/only/a/path",
    ] {
        let error = sent(fixed(Source::new()), get(uri)).await.unwrap_err();
        assert_eq!(kind(&error), NotSentKind::NotAllowed, "{uri}");
    }
    for uri in [
        "https://HELLO.a.run.app./",
        "https://hello.a.run.app:8443/y",
    ] {
        assert!(sent(fixed(Source::new()), get(uri)).await.is_ok(), "{uri}");
    }
}

#[tokio::test]
async fn a_fixed_token_for_a_plain_word_needs_its_hosts_named() {
    let tokens = TokenCache::new(Source::new());
    let handle = tokens.handle(&Audience::new("reports").unwrap());
    let error = sent(
        AddIdTokenLayer::new(handle.clone()),
        get("https://reports.example.com"),
    )
    .await;
    assert_eq!(kind(&error.unwrap_err()), NotSentKind::NotAllowed);
    let policy = Fixed::new(handle.clone())
        .for_hosts(["reports.example.com"])
        .unwrap();
    let layer = AddIdTokenLayer::with_policy(tokens.clone(), policy);
    let headers = sent(layer, get("https://reports.example.com"))
        .await
        .unwrap();
    assert_eq!(headers[AUTHORIZATION], bearer("reports"));
    let policy = Fixed::new(handle).danger_any_host();
    let layer = AddIdTokenLayer::with_policy(tokens, policy);
    assert!(
        sent(layer, get("/path"))
            .await
            .unwrap()
            .contains_key(AUTHORIZATION)
    );
}

#[tokio::test]
async fn hosts_without_a_rule_are_refused_or_skipped_as_the_constructor_says() {
    let tokens = TokenCache::new(Source::new());
    let refusing = ByOrigin::refusing_others(["*.run.app"]).unwrap();
    let layer = AddIdTokenLayer::with_policy(tokens.clone(), refusing);
    let error = sent(layer, get("https://example.com")).await.unwrap_err();
    assert_eq!(kind(&error), NotSentKind::NotAllowed);
    assert!(error.to_string().contains("example.com"), "{error}");
    let skipping = ByOrigin::skipping_others(["*.run.app"]).unwrap();
    let layer = AddIdTokenLayer::with_policy(tokens, skipping);
    assert!(
        sent(layer, get("https://example.com"))
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn by_origin_uses_one_normal_form() {
    let source = Source::new();
    let policy = ByOrigin::refusing_others(["*.run.app"]).unwrap();
    let layer = AddIdTokenLayer::with_policy(TokenCache::new(source.clone()), policy);
    for uri in [
        "https://hello.a.run.app/a?b=c",
        "https://HELLO.A.run.app/",
        "https://hello.a.run.app.:443",
    ] {
        let headers = sent(layer.clone(), get(uri)).await.unwrap();
        assert_eq!(headers[AUTHORIZATION], bearer(HELLO), "{uri}");
    }
    assert_eq!(source.fetches.load(Ordering::SeqCst), 1);
    let error = sent(layer, get("https://user:pw@hello.a.run.app/"))
        .await
        .unwrap_err();
    assert_eq!(kind(&error), NotSentKind::NotAllowed);
}

#[tokio::test]
async fn a_closure_is_a_policy() {
    let tokens = TokenCache::new(Source::new());
    let layer = AddIdTokenLayer::with_policy(tokens, |head: RequestHead<'_>| match head.path() {
        "/open" => Selection::Skip,
        "/closed" => Selection::Refuse,
        _ => Selection::Audience(Audience::new("custom").unwrap()),
    });
    assert!(
        sent(layer.clone(), get("https://a.example/open"))
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        sent(layer.clone(), get("https://a.example/closed"))
            .await
            .is_err()
    );
    let headers = sent(layer, get("https://a.example/")).await.unwrap();
    assert_eq!(headers[AUTHORIZATION], bearer("custom"));
}

/// A service that panics when called without having been polled ready, as tower allows.
#[derive(Default)]
struct Strict {
    ready: bool,
    permits: Arc<Mutex<u32>>,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self {
            ready: false,
            permits: Arc::clone(&self.permits),
        }
    }
}

impl Service<Request<()>> for Strict {
    type Response = Response<HeaderMap>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if !self.ready {
            self.ready = true;
            *self.permits.lock().unwrap() += 1;
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        assert!(
            std::mem::take(&mut self.ready),
            "called without being ready"
        );
        *self.permits.lock().unwrap() -= 1;
        ready(Ok(Response::new(request.headers().clone())))
    }
}

#[tokio::test]
async fn no_ready_state_is_stolen_or_leaked() {
    let source = Source::closed();
    let permits = Arc::new(Mutex::new(0));
    let inner = Strict {
        ready: false,
        permits: Arc::clone(&permits),
    };
    let mut service = ServiceBuilder::new()
        .layer(fixed(source.clone()))
        .service(inner);

    // A cold call waits with its readied service; a second call readies the one left behind.
    let first = service.ready().await.unwrap().call(get(HELLO));
    let second = service.ready().await.unwrap().call(get(HELLO));
    assert_eq!(*permits.lock().unwrap(), 2);
    source.gate.add_permits(1);
    first.await.unwrap();
    second.await.unwrap();
    service
        .ready()
        .await
        .unwrap()
        .call(get(HELLO))
        .await
        .unwrap();
    assert_eq!(*permits.lock().unwrap(), 0, "each permit was used once");
}

#[tokio::test]
async fn a_call_dropped_while_fetching_leaks_nothing_and_writes_nothing_late() {
    let source = Source::closed();
    let calls = Arc::new(AtomicU32::new(0));
    let held = Arc::new(());
    let (seen, token) = (Arc::clone(&calls), Arc::clone(&held));
    let inner = service_fn(move |_: Request<()>| {
        let _held = &token;
        seen.fetch_add(1, Ordering::SeqCst);
        ready(Ok::<_, Infallible>(Response::new(())))
    });
    let service = ServiceBuilder::new()
        .layer(fixed(source.clone()))
        .service(inner);
    let mut call = Box::pin(service.oneshot(get(HELLO)));
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert!(call.as_mut().poll(&mut cx).is_pending());
    drop(call);
    assert_eq!(
        Arc::strong_count(&held),
        1,
        "the parked service went with the call"
    );
    source.gate.add_permits(1);
    tokio::task::yield_now().await;
    assert_eq!(calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn inner_errors_and_readiness_errors_come_through() {
    let inner = service_fn(|_: Request<()>| ready(Err::<Response<()>, _>(std::fmt::Error)));
    let service = ServiceBuilder::new()
        .layer(fixed(Source::new()))
        .service(inner);
    let error = service.oneshot(get(HELLO)).await.unwrap_err();
    assert!(error.is::<std::fmt::Error>());
    assert!(token_error(&*error).is_none());
}

#[tokio::test(start_paused = true)]
async fn under_timeout_and_concurrency_limit() {
    let source = Source::closed();
    let service = ServiceBuilder::new()
        .timeout(Duration::from_secs(2))
        .concurrency_limit(1)
        .layer(fixed(source.clone()))
        .service(echo());
    let error = service.clone().oneshot(get(HELLO)).await.unwrap_err();
    assert!(error.is::<tower::timeout::error::Elapsed>(), "{error}");
    source.gate.add_permits(1);
    service.oneshot(get(HELLO)).await.unwrap();
}

#[tokio::test]
async fn both_headers_carry_the_same_token_marked_sensitive() {
    let layer = fixed(Source::new()).header(Header::Both);
    let headers = sent(layer, get(HELLO)).await.unwrap();
    for name in ["authorization", "x-serverless-authorization"] {
        assert_eq!(headers[name], bearer(HELLO));
        assert!(headers[name].is_sensitive(), "{name}");
    }
}

#[tokio::test]
async fn a_custom_header_carries_the_token_marked_sensitive() {
    let name = http::HeaderName::from_static("x-gate");
    let layer = fixed(Source::new()).header(Header::Custom(name));
    let headers = sent(layer, get(HELLO)).await.unwrap();
    assert_eq!(headers["x-gate"], bearer(HELLO));
    assert!(headers["x-gate"].is_sensitive());
    assert_eq!(headers.len(), 1);
}

#[tokio::test]
async fn the_audience_is_looked_up_by_host() {
    let policy = ByHost::refusing_others([
        ("reports.example.com", Audience::new("reports").unwrap()),
        ("*.example.com", Audience::new("internal").unwrap()),
    ]);
    let source = Source::new();
    let tokens = TokenCache::new(source.clone());
    let layer = AddIdTokenLayer::with_policy(tokens, policy.unwrap());
    for (uri, audience) in [
        ("https://reports.example.com/a", "reports"),
        ("https://Reports.example.com.:444/", "reports"),
        ("https://b.example.com/", "internal"),
        ("https://c.example.com/", "internal"),
    ] {
        let headers = sent(layer.clone(), get(uri)).await.unwrap();
        assert_eq!(headers[AUTHORIZATION], bearer(audience), "{uri}");
    }
    assert_eq!(source.fetches.load(Ordering::SeqCst), 2);
    let error = sent(layer, get("https://example.net/")).await.unwrap_err();
    assert_eq!(kind(&error), NotSentKind::NotAllowed);
}

#[tokio::test]
async fn an_audience_or_a_handle_in_the_request_wins_on_its_own_host_only() {
    let tokens = TokenCache::new(Source::new());
    let reports = Audience::new("reports").unwrap();
    let policy = FromExtension::or(ByOrigin::skipping_others(["*.run.app"]).unwrap())
        .for_hosts(["reports.example.com"])
        .unwrap();
    let layer = AddIdTokenLayer::with_policy(tokens.clone(), policy);
    let with_audience = |uri: &str| {
        let mut request = get(uri);
        request.extensions_mut().insert(reports.clone());
        request
    };
    let with_handle = |uri: &str| {
        let mut request = get(uri);
        let handle = tokens.handle(&Audience::new("https://f.example.net").unwrap());
        request.extensions_mut().insert(handle);
        request
    };
    for (request, audience) in [
        (with_audience("https://reports.example.com/x"), "reports"),
        (
            with_handle("https://F.example.net/x"),
            "https://f.example.net",
        ),
        (get("https://hello.a.run.app/"), HELLO),
    ] {
        let headers = sent(layer.clone(), request).await.unwrap();
        assert_eq!(headers[AUTHORIZATION], bearer(audience));
    }
    let headers = sent(layer.clone(), get("https://example.org/")).await;
    assert!(headers.unwrap().is_empty(), "left to the other policy");
    for request in [
        with_audience("https://evil.example/"),
        with_audience("https://hello.a.run.app/"),
        with_handle("https://evil.example/f.example.net"),
    ] {
        let error = sent(layer.clone(), request).await.unwrap_err();
        assert_eq!(kind(&error), NotSentKind::NotAllowed);
    }
}

#[tokio::test]
async fn user_information_is_refused_by_every_policy_for_the_hosts_it_knows() {
    let hello = Audience::new(HELLO).unwrap();
    let tokens = TokenCache::new(Source::new());
    let handle = tokens.handle(&hello);
    let host = "hello.a.run.app";
    let fixed = Fixed::new(handle).skipping_others();
    let by_origin = ByOrigin::skipping_others([host]).unwrap();
    let by_host = ByHost::skipping_others([(host, hello.clone())]).unwrap();
    let from_extension = FromExtension::skipping_others();
    for number in 0..4 {
        let (fixed, by_origin) = (fixed.clone(), by_origin.clone());
        let (by_host, from_extension) = (by_host.clone(), from_extension.clone());
        let policy = move |head: RequestHead<'_>| match number {
            0 => fixed.select(head),
            1 => by_origin.select(head),
            2 => by_host.select(head),
            _ => from_extension.select(head),
        };
        let layer = AddIdTokenLayer::with_policy(tokens.clone(), policy);
        let mut request = get("https://user:pw@hello.a.run.app/");
        request.extensions_mut().insert(hello.clone());
        let error = sent(layer.clone(), request).await.unwrap_err();
        assert_eq!(kind(&error), NotSentKind::NotAllowed, "policy {number}");
        let other = get("https://user:pw@example.com/");
        assert!(
            sent(layer, other).await.unwrap().is_empty(),
            "policy {number}"
        );
    }
}

/// Refuses the first `times` requests with 401, and remembers the tokens it saw.
#[derive(Clone, Default)]
struct Moody {
    times: u32,
    seen: Arc<Mutex<Vec<HeaderValue>>>,
}

impl Moody {
    fn service(
        &self,
    ) -> impl Service<Request<()>, Response = Response<()>, Error = Infallible, Future: Send> + Clone
    {
        let this = self.clone();
        service_fn(move |request: Request<()>| {
            let mut seen = this.seen.lock().unwrap();
            seen.push(request.headers()[AUTHORIZATION].clone());
            let status = if seen.len() <= this.times as usize {
                401
            } else {
                200
            };
            let response = Response::builder().status(status).body(()).unwrap();
            ready(Ok::<_, Infallible>(response))
        })
    }
}

/// Tokens that differ, from a cache that lets them be distrusted at once.
fn counting_tokens() -> (TokenCache, Arc<AtomicU32>) {
    struct Counting(Arc<AtomicU32>);

    impl TokenSource for Counting {
        async fn fetch(&self, audience: &Audience) -> Result<IdToken, SourceError> {
            use base64::Engine;
            let part = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
            let n = self.0.fetch_add(1, Ordering::SeqCst);
            let claims = format!(r#"{{"aud":"{audience}","exp":4000000000,"n":{n}}}"#);
            let header = part(r#"{"alg":"RS256"}"#);
            Ok(IdToken::new(&format!(
                "{header}.{}.{}",
                part(&claims),
                part("x")
            ))?)
        }
    }

    let fetches = Arc::new(AtomicU32::new(0));
    let tokens = TokenCache::builder(Counting(Arc::clone(&fetches)))
        .retry_pause(Duration::ZERO)
        .build();
    (tokens, fetches)
}

#[tokio::test]
async fn a_401_is_answered_with_a_fresh_token_and_one_more_try() {
    for (times, status, tries) in [(0, 200, 1), (1, 200, 2), (5, 401, 2)] {
        let (tokens, fetches) = counting_tokens();
        let upstream = Moody {
            times,
            ..Moody::default()
        };
        let layer = AddIdTokenLayer::new(tokens.handle(&Audience::new(HELLO).unwrap()));
        let service = ServiceBuilder::new()
            .layer(RetryLayer::new(RetryOn401::new()))
            .layer(layer.distrust_on_401())
            .service(upstream.service());
        let response = service.oneshot(get(HELLO)).await.unwrap();
        assert_eq!(response.status(), status);
        let seen = upstream.seen.lock().unwrap();
        assert_eq!(seen.len(), tries);
        assert_eq!(fetches.load(Ordering::SeqCst) as usize, tries);
        assert!(tries == 1 || seen[0] != seen[1], "the token is a fresh one");
    }
}

#[tokio::test]
async fn a_401_without_retry_only_distrusts() {
    let (tokens, fetches) = counting_tokens();
    let upstream = Moody {
        times: 1,
        ..Moody::default()
    };
    let layer = AddIdTokenLayer::new(tokens.handle(&Audience::new(HELLO).unwrap()));
    let service = ServiceBuilder::new()
        .layer(layer.distrust_on_401())
        .service(upstream.service());
    for (status, fetched) in [(401, 1), (200, 2), (200, 2)] {
        let response = service.clone().oneshot(get(HELLO)).await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(fetches.load(Ordering::SeqCst), fetched);
    }
}

#[tokio::test]
async fn a_401_to_a_token_that_has_just_come_or_to_none_of_ours_is_passed_on() {
    let upstream = Moody {
        times: 9,
        ..Moody::default()
    };
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(RetryOn401::new()))
        .layer(
            fixed(Source::new())
                .existing(Existing::Keep)
                .distrust_on_401(),
        )
        .service(upstream.service());
    let mut own = get(HELLO);
    own.headers_mut()
        .insert(AUTHORIZATION, HeaderValue::from_static("Basic theirs"));
    for request in [get(HELLO), own] {
        let response = service.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 401);
    }
    assert_eq!(upstream.seen.lock().unwrap().len(), 2);
}

#[test]
fn the_future_is_no_larger_than_the_inner_one() {
    type Boxed = Pin<Box<dyn Future<Output = Result<Response<()>, Infallible>> + Send>>;

    fn sizes<S>(_: &AddIdToken<S>) -> (usize, usize)
    where
        S: Service<Request<()>> + Clone,
        S::Error: Into<tower_idtoken::error::BoxError>,
    {
        let ours = size_of::<<AddIdToken<S> as Service<Request<()>>>::Future>();
        (ours, size_of::<S::Future>())
    }

    let layer = fixed(Source::new());
    let boxed = service_fn(|_: Request<()>| -> Boxed { Box::pin(ready(Ok(Response::new(())))) });
    let (ours, inner) = sizes(&tower::Layer::layer(&layer, boxed));
    assert!(ours <= inner, "{ours} > {inner} around a boxed future");
    let (ours, inner) = sizes(&tower::Layer::layer(
        &layer,
        service_fn(|_: Request<()>| ready(Ok::<_, Infallible>(Response::new(())))),
    ));
    assert!(ours <= inner, "{ours} > {inner} around a ready future");
}

#[test]
fn services_and_futures_can_cross_threads() {
    fn is_send<T: Send>(_: &T) {}
    fn is_sync<T: Sync>(_: &T) {}
    let mut service = tower::Layer::layer(&fixed(Source::new()), echo());
    is_send(&service);
    is_sync(&service);
    is_send(&service.call(get("https://elsewhere.example")));
}
