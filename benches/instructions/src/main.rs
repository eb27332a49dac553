//! Does one operation so many times: `idtoken-instructions OPERATION COUNT`.
//!
//! The script `run` beside this has valgrind count what that takes. The clock stands still and the
//! tokens are the same each time, so the count is repeatable. What it leaves out is the clock read,
//! which is not an instruction count anyway.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::process::ExitCode;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest;
use http::header::{ACCEPT, AUTHORIZATION, HeaderName, HeaderValue, USER_AGENT};
use http::{Request, Response};
use idtoken::clock::ManualClock;
use idtoken::{
    Audience, Claims, IdToken, KeySet, Principal, SourceError, TokenCache, TokenHandle, Verifier,
    source,
};
use tower::{Layer, Service};
use tower_idtoken::{AddIdTokenLayer, ByOrigin, Header, RequireIdTokenLayer};

use crate::fixture::{AUDIENCE, EMAIL, Fixture, NOW};

mod fixture;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (operation, count) = match arguments.as_slice() {
        [make] if make == "--make-fixture" => {
            println!("{}", fixture::make());
            return ExitCode::SUCCESS;
        }
        [list] if list == "--list" => {
            OPERATIONS.iter().for_each(|(name, _)| println!("{name}"));
            return ExitCode::SUCCESS;
        }
        [operation, count] => (operation, count.parse().unwrap_or(0)),
        _ => {
            eprintln!("usage: idtoken-instructions OPERATION COUNT");
            return ExitCode::from(2);
        }
    };
    match OPERATIONS.iter().find(|(name, _)| name == operation) {
        Some((_, run)) => {
            run(count);
            ExitCode::SUCCESS
        }
        None => {
            eprintln!("there is no operation {operation:?}");
            ExitCode::from(2)
        }
    }
}

const OPERATIONS: [(&str, fn(u64)); 14] = [
    ("handle", handle),
    ("layer", layer),
    ("layer-around-a-box", layer_around_a_box),
    ("layer-both-headers", layer_both_headers),
    ("layer-by-origin", layer_by_origin),
    ("layer-distrust", layer_distrust),
    ("layer-constant", layer_constant),
    ("raw-rs256", raw_rs256),
    ("raw-sha256", raw_sha256),
    ("require", require),
    ("verify-first-seen", verify_first_seen),
    ("verify-headers-first-seen", verify_headers_first_seen),
    ("verify-headers-seen-before", verify_headers_seen_before),
    ("verify-seen-before", verify_seen_before),
];

fn handle(count: u64) {
    let (_, handle) = cached();
    for _ in 0..count {
        black_box(handle.try_bearer()).expect("a token");
    }
}

fn layer(count: u64) {
    let (_, handle) = cached();
    send(count, AddIdTokenLayer::new(handle).layer(Echo));
}

fn layer_both_headers(count: u64) {
    let (_, handle) = cached();
    send(
        count,
        AddIdTokenLayer::new(handle)
            .header(Header::Both)
            .layer(Echo),
    );
}

fn layer_by_origin(count: u64) {
    let (tokens, _) = cached();
    let policy = ByOrigin::refusing_others(["*.run.app"]).expect("a pattern");
    send(
        count,
        AddIdTokenLayer::with_policy(tokens, policy).layer(Echo),
    );
}

fn layer_distrust(count: u64) {
    let (_, handle) = cached();
    send(
        count,
        AddIdTokenLayer::new(handle).distrust_on_401().layer(Echo),
    );
}

/// As clients are whose futures are boxed: hyper-util's, reqwest's.
fn layer_around_a_box(count: u64) {
    let (_, handle) = cached();
    send(count, AddIdTokenLayer::new(handle).layer(Boxed));
}

/// What the requests and a header that is always the same cost: beside which to read the others.
fn layer_constant(count: u64) {
    let (_, handle) = cached();
    let bearer = handle.try_bearer().expect("a token");
    send(count, Constant(bearer));
}

fn raw_rs256(count: u64) {
    let fixture = Fixture::read();
    let key = fixture.key();
    let split: Vec<_> = fixture
        .new
        .iter()
        .map(|token| fixture::split(token))
        .collect();
    for (message, signature) in split.iter().cycle().take(count as usize) {
        black_box(key.verify_sig(message.as_bytes(), signature)).expect("a good signature");
    }
}

fn raw_sha256(count: u64) {
    let fixture = Fixture::read();
    for _ in 0..count {
        let token = black_box(fixture.new[0].as_bytes());
        black_box(digest::digest(&digest::SHA256, token));
    }
}

/// One group of places, all taken by tokens that last longer: ours push each other out of the last.
fn verify_first_seen(count: u64) {
    let fixture = Fixture::read();
    let verifier = verifier(&fixture, 4);
    for token in &fixture.lasting {
        at_once(verifier.verify(token)).expect("a good token");
    }
    for token in fixture.new.iter().cycle().take(count as usize) {
        black_box(at_once(verifier.verify(token))).expect("a good token");
    }
}

/// The same from headers, and with what looking over all of the header costs.
fn verify_headers_first_seen(count: u64) {
    let fixture = Fixture::read();
    let verifier = verifier(&fixture, 4);
    for token in &fixture.lasting {
        at_once(verifier.verify(token)).expect("a good token");
    }
    let headers: Vec<_> = fixture.new.iter().map(|token| with_token(token)).collect();
    for request in headers.iter().cycle().take(count as usize) {
        black_box(at_once(verifier.verify_headers(request.headers()))).expect("a good token");
    }
}

fn verify_seen_before(count: u64) {
    let fixture = Fixture::read();
    let verifier = verifier(&fixture, 64);
    let token = &fixture.new[0];
    at_once(verifier.verify(token)).expect("a good token");
    for _ in 0..count {
        black_box(at_once(verifier.verify(token))).expect("a good token");
    }
}

/// From the headers of a request, as servers have it.
fn verify_headers_seen_before(count: u64) {
    let (verifier, request) = known();
    for _ in 0..count {
        black_box(at_once(verifier.verify_headers(request.headers()))).expect("a good token");
    }
}

/// The layer in front of a server.
fn require(count: u64) {
    let (verifier, mut request) = known();
    let mut service = RequireIdTokenLayer::new(verifier).layer(Back);
    for _ in 0..count {
        let answer = at_once(service.call(request)).expect("an answer");
        request = answer.into_body().expect("a good token");
    }
}

/// A verifier, and a request with a token that it has seen before.
fn known() -> (Verifier, Request<()>) {
    let fixture = Fixture::read();
    let verifier = verifier(&fixture, 64);
    let token = &fixture.new[0];
    at_once(verifier.verify(token)).expect("a good token");
    (verifier, with_token(token))
}

fn with_token(token: &str) -> Request<()> {
    let mut request = request();
    let bearer = format!("Bearer {token}").parse().expect("a header");
    request.headers_mut().insert(AUTHORIZATION, bearer);
    request
}

fn verifier(fixture: &Fixture, remember: usize) -> Verifier {
    Verifier::builder()
        .audience(AUDIENCE)
        .allow(Principal::service_account(EMAIL))
        .keys(KeySet::from_json(fixture.jwks.as_bytes()).expect("a key set"))
        .clock(clock())
        .remember_tokens(remember)
        .build()
        .expect("a sound verifier")
}

fn cached() -> (TokenCache, TokenHandle) {
    let tokens = TokenCache::builder(source::from_fn(|_| async {
        Ok::<_, SourceError>(IdToken::new(&Fixture::read().new[0])?)
    }))
    .clock(clock())
    .build();
    let handle = tokens.handle(&Audience::new(AUDIENCE).expect("an audience"));
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().build().expect("a runtime");
    runtime.block_on(handle.bearer()).expect("a token");
    (tokens, handle)
}

fn clock() -> ManualClock {
    ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(NOW))
}

fn send<S>(count: u64, mut service: S)
where
    S: Service<Request<()>, Response = Response<Request<()>>>,
    S::Error: std::fmt::Debug,
{
    let mut request = request();
    for _ in 0..count {
        let answer = at_once(service.call(request)).expect("an answer");
        request = answer.into_body();
    }
}

fn request() -> Request<()> {
    Request::get(format!("{AUDIENCE}/orders"))
        .header(ACCEPT, "application/json")
        .header(USER_AGENT, "shop/1.2")
        .body(())
        .expect("a request")
}

/// Gives the request back without what was attached to it.
#[derive(Clone)]
struct Echo;

impl Service<Request<()>> for Echo {
    type Response = Response<Request<()>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<()>) -> Self::Future {
        let attached = request.headers_mut().remove(AUTHORIZATION);
        assert!(attached.is_some(), "no token was attached");
        request.headers_mut().remove(SERVERLESS);
        ready(Ok(Response::new(request)))
    }
}

#[derive(Clone)]
struct Boxed;

impl Service<Request<()>> for Boxed {
    type Response = Response<Request<()>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        Box::pin(Echo.call(request))
    }
}

/// Attaches what tower-http's `AddAuthorization` does.
#[derive(Clone)]
struct Constant(HeaderValue);

impl Service<Request<()>> for Constant {
    type Response = Response<Request<()>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<()>) -> Self::Future {
        request.headers_mut().insert(AUTHORIZATION, self.0.clone());
        Echo.call(request)
    }
}

/// Gives the request back as a server got it, but for the claims in it.
#[derive(Clone)]
struct Back;

impl Service<Request<()>> for Back {
    type Response = Response<Option<Request<()>>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<()>) -> Self::Future {
        let claims = request.extensions_mut().remove::<Claims>();
        assert!(claims.is_some(), "let in without claims");
        ready(Ok(Response::new(Some(request))))
    }
}

const SERVERLESS: HeaderName = HeaderName::from_static("x-serverless-authorization");

fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("had to wait"),
    }
}
