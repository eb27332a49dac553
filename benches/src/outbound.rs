//! The calling side: from a cached token to a header, and to a request that carries it.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use http::{HeaderValue, Request, Response};
use idtoken::clock::{Clock as _, SystemClock};
use idtoken::{Audience, TokenCache, TokenHandle};
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Runtime;
use tower::retry::RetryLayer;
use tower::{Layer, Service, ServiceBuilder};
use tower_http::auth::AddAuthorizationLayer;
use tower_idtoken::retry::RetryOn401;
use tower_idtoken::{AddIdTokenLayer, ByOrigin, Fixed, FromExtension, Header};

use crate::fixtures::{self, AUDIENCE, Boxed, Echo, Requests};
use crate::measure::{Case, Effort, at_once, measure};
use crate::report::{Bound, Report};

mod peers;
mod refused;

pub fn run(effort: Effort, report: &mut Report) {
    let runtime = Runtime::new().expect("a runtime");
    let _inside = runtime.enter();
    handle(effort, report, &runtime);
    layer(effort, report, &runtime);
    audiences(effort, report, &runtime);
    refused::run(effort, report, &runtime);
}

/// A cached token as a header value.
fn handle(effort: Effort, report: &mut Report, runtime: &Runtime) {
    let floor = Arc::new(Floor::new());
    let cheap_floor = Arc::clone(&floor);
    let handle = warm(runtime, &fixtures::cache(8), AUDIENCE);
    let (asking, awaiting) = (handle.clone(), handle.clone());
    let mut cases = vec![
        Case::new(
            "floor: ArcSwap load + clock read + HeaderValue clone",
            move |n| {
                repeat(n, || floor.read(SystemTime::now()));
            },
        ),
        Case::new("idtoken: TokenHandle::try_bearer", move |n| {
            repeat(n, || asking.try_bearer());
        }),
        Case::new("idtoken: TokenHandle::bearer, awaited", move |n| {
            repeat(n, || at_once(awaiting.bearer()));
        }),
        Case::new("floor with the clock as of the last tick", move |n| {
            repeat(n, || cheap_floor.read(SystemClock.now()));
        }),
    ];
    match peers::cached_tokens(runtime) {
        Ok(peers) => cases.extend(peers),
        Err(error) => report.fail("cached tokens of the peers", error),
    }
    let rows = measure(effort, &cases);
    report.add("cached token to header value", &rows);
    report.goal(
        "cached token to header value / floor",
        &rows[1],
        &rows[0],
        Bound::AtMost(1.3),
    );
    report.goal(
        "cached token to header value / floor with our own, cheaper clock",
        &rows[1],
        &rows[3],
        Bound::AtMost(1.3),
    );
    report.goal_allocations(&rows[1], 0.0);

    let floor = Floor::new();
    let (load, clone) = (floor.held.clone(), floor.value.clone());
    let rows = measure(
        effort,
        &[
            Case::new("ArcSwap load", move |n| repeat(n, || load.load().is_some())),
            Case::new("HeaderValue clone and drop", move |n| {
                repeat(n, || clone.clone())
            }),
            Case::new("SystemTime::now", |n| repeat(n, SystemTime::now)),
            Case::new("CLOCK_REALTIME_COARSE", |n| {
                repeat(n, || clock_gettime(ClockId::RealtimeCoarse));
            }),
            Case::new("Instant::now", |n| repeat(n, std::time::Instant::now)),
        ],
    );
    report.add("what a hit is made of", &rows);
}

/// What every hit has to do.
struct Floor {
    held: Arc<ArcSwapOption<(HeaderValue, SystemTime)>>,
    value: HeaderValue,
}

impl Floor {
    fn new() -> Self {
        let value = fixtures::bearer(&fixtures::unsigned_token(AUDIENCE));
        drop(value.clone());
        let until = SystemTime::now() + Duration::from_secs(3_600);
        Self {
            held: Arc::new(ArcSwapOption::from_pointee((value.clone(), until))),
            value,
        }
    }

    fn read(&self, now: SystemTime) -> Option<HeaderValue> {
        let held = self.held.load();
        let (value, until) = held.as_deref()?;
        (now < *until).then(|| value.clone())
    }
}

/// A whole layer around a service that is ready.
fn layer(effort: Effort, report: &mut Report, runtime: &Runtime) {
    let tokens = fixtures::cache(8);
    let handle = warm(runtime, &tokens, AUDIENCE);
    let layer = || AddIdTokenLayer::new(handle.clone());
    let by_origin = ByOrigin::refusing_others(["*.run.app"]).expect("a pattern");
    let constant = fixtures::bearer(&fixtures::unsigned_token(AUDIENCE));
    let constant = constant
        .to_str()
        .expect("ASCII")
        .trim_start_matches("Bearer ")
        .to_owned();
    #[allow(deprecated, reason = "the constructor that is there")]
    let constant = AddAuthorizationLayer::bearer(&constant).as_sensitive(true);
    let constant_around_box = constant.layer(Boxed);
    let mut cases = vec![
        send("bare service", Echo),
        send(
            "tower-http: AddAuthorization with a constant",
            constant.layer(Echo),
        ),
        send("idtoken: one handle", layer().layer(Echo)),
        send(
            "idtoken: ByOrigin",
            AddIdTokenLayer::with_policy(tokens, by_origin).layer(Echo),
        ),
        send(
            "idtoken: one handle, both headers",
            layer().header(Header::Both).layer(Echo),
        ),
        send(
            "idtoken: one handle, distrust_on_401",
            layer().distrust_on_401().layer(Echo),
        ),
        send(
            "idtoken: one handle, RetryOn401 around it",
            ServiceBuilder::new()
                .layer(RetryLayer::new(RetryOn401::new()))
                .layer(layer().distrust_on_401())
                .service(Echo),
        ),
    ];
    let boxed = cases.len();
    cases.push(send(
        "tower-http: AddAuthorization around a boxed future",
        constant_around_box,
    ));
    cases.push(send(
        "idtoken: one handle around a boxed future",
        layer().layer(Boxed),
    ));
    match peers::layers(runtime, handle.clone()) {
        Ok(peers) => cases.extend(peers),
        Err(error) => report.fail("layers over the peers", error),
    }
    let rows = measure(effort, &cases);
    report.add("a whole layer around a ready service, whole request", &rows);
    let work = "layer on a hit / AddAuthorization with a constant";
    report.goal(work, &rows[2], &rows[1], Bound::AtMost(1.6));
    let work = "the same around a boxed future, as HTTP clients have it";
    report.goal(work, &rows[boxed + 1], &rows[boxed], Bound::AtMost(1.6));
    report.goal_allocations(&rows[2], 0.0);
    report.goal_allocations(&rows[3], 0.0);
}

/// The audience chosen for each request, among few and among many.
fn audiences(effort: Effort, report: &mut Report, runtime: &Runtime) {
    let sizes = [50, 1_000, 100_000];
    let caches: Vec<_> = sizes
        .iter()
        .map(|size| (*size, filled(runtime, *size)))
        .collect();
    let fifty = origins(50);
    let handle = warm(runtime, &fixtures::cache(8), AUDIENCE);
    let hosts = Fixed::new(handle)
        .for_hosts(["*.run.app"])
        .expect("a pattern");
    let fixed = AddIdTokenLayer::with_policy(fixtures::cache(1), hosts);
    let policy = || ByOrigin::refusing_others(["*.run.app"]).expect("a pattern");
    let mut cases = vec![
        send_to("bare service, 50 origins", &fifty, Echo),
        send_to("one fixed handle, 50 origins", &fifty, fixed.layer(Echo)),
    ];
    for (size, tokens) in &caches {
        let layer = AddIdTokenLayer::with_policy(tokens.clone(), policy());
        let name = format!("by origin, {size} audiences held, 50 asked for");
        cases.push(send_to(&name, &fifty, layer.layer(Echo)));
    }
    let many = origins(100_000);
    let (_, tokens) = &caches[2];
    let layer = AddIdTokenLayer::with_policy(tokens.clone(), policy());
    cases.push(send_to("bare service, 100000 origins", &many, Echo));
    cases.push(send_to(
        "one fixed handle, 100000 origins",
        &many,
        fixed.layer(Echo),
    ));
    cases.push(send_to(
        "by origin, 100000 held, all asked for",
        &many,
        layer.layer(Echo),
    ));
    let rows = measure(effort, &cases);
    report.add("audience chosen for each request", &rows);
    report.goal(
        "by origin among 50 / one fixed handle",
        &rows[2],
        &rows[1],
        Bound::AtMost(1.4),
    );
    report.goal(
        "by origin, 100,000 held and 50 asked for / among 50",
        &rows[4],
        &rows[2],
        Bound::AtMost(2.0),
    );
    report.goal(
        "by origin, 100,000 held and all asked for / among 50",
        &rows[7],
        &rows[2],
        Bound::AtMost(2.0),
    );
    report.goal(
        "the same / one fixed handle with the same requests",
        &rows[7],
        &rows[6],
        Bound::AtMost(2.0),
    );
    report.goal_allocations(&rows[4], 0.0);
    from_extension(effort, report, runtime);
}

/// The audience as an extension of the request.
fn from_extension(effort: Effort, report: &mut Report, runtime: &Runtime) {
    let tokens = fixtures::cache(8);
    let handle = warm(runtime, &tokens, AUDIENCE);
    let layer = AddIdTokenLayer::with_policy(tokens, FromExtension::refusing_others());
    let with_handle = Requests::to([AUDIENCE]).with_extension(handle.clone());
    let with_audience = Requests::to([AUDIENCE]).with_extension(handle.audience().clone());
    let service = layer.layer(Echo);
    let rows = measure(
        effort,
        &[
            send_these("handle in the extensions", with_handle, service.clone()),
            send_these("audience in the extensions", with_audience, service),
        ],
    );
    report.add("audience that travels with the request", &rows);
}

/// A handle whose token has come.
pub fn warm(runtime: &Runtime, tokens: &TokenCache, audience: &str) -> TokenHandle {
    let handle = tokens.handle(&Audience::new(audience).expect("a sound audience"));
    runtime.block_on(handle.bearer()).expect("a token");
    handle
}

/// A cache that holds the tokens of so many audiences.
pub fn filled(runtime: &Runtime, audiences: usize) -> TokenCache {
    let tokens = fixtures::cache(audiences);
    let audiences: Vec<_> = (0..audiences).map(fixtures::audience).collect();
    for some in audiences.chunks(1_000) {
        runtime.block_on(tokens.warm(some)).expect("tokens");
    }
    tokens
}

fn origins(count: usize) -> Vec<String> {
    let audience = |number| fixtures::audience(number).as_str().to_owned();
    (0..count).map(audience).collect()
}

fn send<S>(name: &str, service: S) -> Case
where
    S: Service<Request<()>, Response = Response<Request<()>>> + Clone + Send + Sync + 'static,
    S::Error: std::fmt::Debug,
{
    send_these(name, Requests::to([AUDIENCE]), service)
}

fn send_to<S>(name: &str, origins: &[String], service: S) -> Case
where
    S: Service<Request<()>, Response = Response<Request<()>>> + Clone + Send + Sync + 'static,
    S::Error: std::fmt::Debug,
{
    send_these(
        name,
        Requests::to(origins.iter().map(String::as_str)),
        service,
    )
}

fn send_these<S>(name: &str, requests: Requests, service: S) -> Case
where
    S: Service<Request<()>, Response = Response<Request<()>>> + Clone + Send + Sync + 'static,
    S::Error: std::fmt::Debug,
{
    Case::new(name, move |n| requests.send(&mut service.clone(), n))
}

fn repeat<T>(count: u64, mut operation: impl FnMut() -> T) {
    for _ in 0..count {
        black_box(operation());
    }
}
