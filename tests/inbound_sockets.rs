//! The called side, whole: real sockets, real keys, the emulator in Google's place.

#![allow(clippy::unwrap_used, reason = "a failed test is what it is for")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use axum_idtoken::{Caller, CallerRejection};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body as HttpBody;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use idtoken::clock::ManualClock;
use idtoken::danger::CloudRunService;
use idtoken::inbound::TokenHeader;
use idtoken::source::ServiceAccountKey;
use idtoken::transport::{
    FromService, MAX_BODY_BYTES, ReqwestTransport, TransportError, TransportErrorKind,
};
use idtoken::{
    Audience, Issuer, Principal, TokenCache, Transport as _, Verifier, VerifierBuilder,
    VerifyError, VerifyErrorKind,
};
use idtoken_emulator::{CloudRun, Emulator, Endpoint, Fault, SigningKey, TokenRequest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tower::{ServiceBuilder, ServiceExt as _};
use tower_idtoken::{AddIdTokenLayer, Header};

const AUDIENCE: &str = "https://hello-abc.a.run.app";
const CALLER: &str = "frontend@shop.iam.gserviceaccount.com";
const MALLORY: &str = "mallory@shop.iam.gserviceaccount.com";

/// The emulator and a verifier, under one clock.
struct World {
    clock: ManualClock,
    google: Emulator,
    verifier: Verifier,
}

impl World {
    async fn new() -> Self {
        Self::with(|builder, google| builder.jwks_url(google.jwks_url())).await
    }

    async fn with(finish: impl FnOnce(VerifierBuilder, &Emulator) -> VerifierBuilder) -> Self {
        let clock = ManualClock::starting_now();
        let google = Emulator::builder()
            .clock(clock.clone())
            .start()
            .await
            .unwrap();
        let builder = Verifier::builder()
            .audience(AUDIENCE)
            .allow(Principal::service_account(CALLER))
            .clock(clock.clone());
        let verifier = finish(builder, &google).build().unwrap();
        Self {
            clock,
            google,
            verifier,
        }
    }

    fn token(&self, key: SigningKey) -> String {
        self.google
            .mint(&TokenRequest::new(AUDIENCE).account(CALLER).key(key))
    }

    fn good_token(&self) -> String {
        self.token(SigningKey::Current)
    }

    async fn verdict(&self, jwt: &str) -> Result<(), VerifyErrorKind> {
        self.verifier
            .verify(jwt)
            .await
            .map(drop)
            .map_err(|error| error.kind())
    }

    fn key_fetches(&self) -> u64 {
        self.google.hits(Endpoint::Jwks)
    }

    /// Waits, in real time but not for long, for a refresh that nobody else waits for.
    async fn until(&self, what: impl Fn(&Self) -> bool) {
        let limit = tokio::time::Instant::now() + Duration::from_secs(20);
        while !what(self) {
            assert!(tokio::time::Instant::now() < limit, "it never happened");
            tokio::task::yield_now().await;
        }
    }
}

/// Verifies `jwt` `count` times at once; how many were accepted.
async fn at_once(verifier: &Verifier, jwt: &str, count: u32) -> u32 {
    let callers: Vec<_> = (0..count)
        .map(|_| {
            let (verifier, jwt) = (verifier.clone(), jwt.to_owned());
            tokio::spawn(async move { verifier.verify(&jwt).await.is_ok() })
        })
        .collect();
    let mut accepted = 0;
    for caller in callers {
        accepted += u32::from(caller.await.unwrap());
    }
    accepted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_concurrent_cold_verifications_are_one_fetch_and_all_accepted() {
    let world = World::new().await;
    assert_eq!(
        at_once(&world.verifier, &world.good_token(), 1000).await,
        1000
    );
    assert_eq!(world.key_fetches(), 1);
}

#[tokio::test]
async fn keys_are_read_as_jwks_and_as_pem() {
    for form in [Emulator::jwks_url, Emulator::pem_url] {
        let world = World::with(|builder, google| builder.jwks_url(form(google))).await;
        assert_eq!(world.verdict(&world.good_token()).await, Ok(()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotation_under_load_refuses_no_valid_token() {
    let world = Arc::new(World::new().await);
    let mut newest = world.good_token();
    assert_eq!(world.verdict(&newest).await, Ok(()));
    // The load goes on through every rotation, with tokens of whichever key signs.
    let (stop, served) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU32::new(0)),
    );
    let load: Vec<_> = (0..2)
        .map(|_| {
            let (world, stop, served) =
                (Arc::clone(&world), Arc::clone(&stop), Arc::clone(&served));
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    assert_eq!(world.verdict(&world.good_token()).await, Ok(()));
                    served.fetch_add(1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for rotation in 1..=10_u64 {
        world.clock.advance(Duration::from_secs(1));
        world.google.rotate_keys();
        let before = std::mem::replace(&mut newest, world.good_token());
        let (old, new) = tokio::join!(
            at_once(&world.verifier, &before, 100),
            at_once(&world.verifier, &newest, 100),
        );
        assert_eq!((old, new), (100, 100), "rotation {rotation}");
        assert_eq!(world.key_fetches(), 1 + rotation);
        let so_far = served.load(Ordering::SeqCst);
        world
            .until(|_| served.load(Ordering::SeqCst) > so_far)
            .await;
    }
    stop.store(true, Ordering::SeqCst);
    for caller in load {
        caller.await.unwrap();
    }
}

#[tokio::test]
async fn keys_announced_before_they_sign_are_never_waited_for() {
    let world = World::new().await;
    let day = Duration::from_secs(24 * 3600);
    world.google.set_key_cache(day, None);
    assert_eq!(world.verdict(&world.good_token()).await, Ok(()));
    for _ in 0..3 {
        world.google.publish_next();
        // In the last tenth of the set's cache time, when everyone's is due.
        world.clock.advance(day * 95 / 100);
        let fetches = world.key_fetches();
        assert_eq!(world.verdict(&world.good_token()).await, Ok(()));
        world.until(|world| world.key_fetches() > fetches).await;
        world.google.rotate_keys();
        let fetches = world.key_fetches();
        // The set that is under way may land a moment later; then it is one wait, not a refusal.
        assert_eq!(world.verdict(&world.good_token()).await, Ok(()));
        assert!(world.key_fetches() <= fetches + 1);
    }
}

#[tokio::test]
async fn endpoint_down_for_hours_refuses_no_valid_token_until_the_bound() {
    let world = World::new().await;
    world
        .google
        .set_key_cache(Duration::from_secs(6 * 3600), None);
    assert_eq!(world.verdict(&world.good_token()).await, Ok(()));
    world.google.fail(Endpoint::Jwks, Fault::Reset);
    for hour in 1..18 {
        world.clock.advance(Duration::from_secs(3600));
        assert_eq!(
            world.verdict(&world.good_token()).await,
            Ok(()),
            "hour {hour}"
        );
    }
    world.clock.advance(Duration::from_secs(3600));
    assert_eq!(
        world.verdict(&world.good_token()).await,
        Err(VerifyErrorKind::KeysUnavailable)
    );
    world.google.heal(Endpoint::Jwks);
    world.clock.advance(Duration::from_secs(3600));
    assert_eq!(world.verdict(&world.good_token()).await, Ok(()));
}

#[tokio::test]
async fn a_poisoned_key_set_refuses_no_valid_token() {
    let another = Emulator::start().await.unwrap();
    let keys_of_another = reqwest::get(another.jwks_url()).await.unwrap();
    let keys_of_another = keys_of_another.text().await.unwrap();
    for fault in [
        Fault::Garbage,
        Fault::Empty,
        Fault::Truncated,
        Fault::Oversized(100 * 1024),
        Fault::Body(padded(&keys_of_another, 64 * 1024 + 1)),
        Fault::Body(r#"{"keys":[]}"#.to_owned()),
        Fault::Redirect("http://127.0.0.1:1/".to_owned()),
        Fault::Status(404),
        Fault::Status(503),
    ] {
        let world = World::new().await;
        world.google.set_key_cache(Duration::from_secs(3600), None);
        assert_eq!(world.verdict(&world.good_token()).await, Ok(()));
        world.google.fail(Endpoint::Jwks, fault.clone());
        world.clock.advance(Duration::from_secs(3599));
        let good = world.good_token();
        assert_eq!(world.verdict(&good).await, Ok(()));
        world.until(|world| world.key_fetches() > 1).await;
        // Past their cache time the keys held wait for what becomes of that fetch.
        world.clock.advance(Duration::from_secs(1));
        assert_eq!(world.verdict(&good).await, Ok(()), "{fault:?}");
    }
}

fn padded(text: &str, len: usize) -> String {
    text.to_owned() + &" ".repeat(len - text.len())
}

#[tokio::test]
async fn an_answer_past_the_bound_is_too_large_for_either_transport() {
    let google = Emulator::start().await.unwrap();
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let ours = ReqwestTransport::new().unwrap();
    let of_service = FromService::new(client);
    let request = || Request::get(google.jwks_url()).body(Bytes::new()).unwrap();
    for (len, kind) in [
        (MAX_BODY_BYTES, None),
        (MAX_BODY_BYTES + 1, Some(TransportErrorKind::TooLarge)),
        (10 * 1024 * 1024, Some(TransportErrorKind::TooLarge)),
    ] {
        google.fail(Endpoint::Jwks, Fault::Body(padded("{}", len)));
        for answer in [ours.send(request()).await, of_service.send(request()).await] {
            assert_eq!(answer.as_ref().err().map(TransportError::kind), kind);
            assert!(answer.is_err() || answer.unwrap().body().len() == len);
        }
    }
}

#[tokio::test]
async fn a_removed_key_is_not_accepted_after_its_bound() {
    let world = World::new().await;
    world.google.set_key_cache(Duration::from_secs(600), None);
    let of_old_key = world.good_token();
    assert_eq!(world.verdict(&of_old_key).await, Ok(()));
    world.google.rotate_keys();
    world.google.retire_keys();
    // Within the cache time of the set the old key counts; past it the first request that comes
    // waits for the next set, with nothing asked in between.
    world.clock.advance(Duration::from_secs(300));
    assert_eq!(world.verdict(&of_old_key).await, Ok(()));
    world.clock.advance(Duration::from_secs(300));
    assert_eq!(
        world.verdict(&of_old_key).await,
        Err(VerifyErrorKind::UnknownKey)
    );
    assert_eq!(world.verdict(&world.good_token()).await, Ok(()));
    assert_eq!(world.key_fetches(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_kid_flood_leaves_valid_callers_untouched() {
    let world = Arc::new(World::new().await);
    let good = world.good_token();
    assert_eq!(world.verdict(&good).await, Ok(()));
    world.clock.advance(Duration::from_secs(11));
    let stop = Arc::new(AtomicBool::new(false));
    let refused = Arc::new(AtomicU32::new(0));
    let attackers: Vec<_> = (0..4)
        .map(|attacker| {
            let (world, stop, refused) =
                (Arc::clone(&world), Arc::clone(&stop), Arc::clone(&refused));
            tokio::spawn(async move {
                let mut number = 0_u32;
                while !stop.load(Ordering::SeqCst) {
                    let request = TokenRequest::new(AUDIENCE)
                        .key(SigningKey::Signature(vec![0; 256]))
                        .header("kid", format!("{attacker}-{number}"));
                    let bad = world.google.mint(&request);
                    assert_eq!(world.verdict(&bad).await, Err(VerifyErrorKind::UnknownKey));
                    refused.fetch_add(1, Ordering::SeqCst);
                    number += 1;
                    // A refusal needs no wait, so a loop of them would keep its worker for good.
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    let mut accepted = 0;
    while refused.load(Ordering::SeqCst) < 2000 {
        accepted += at_once(&world.verifier, &good, 10).await;
        assert_eq!(accepted % 10, 0);
    }
    stop.store(true, Ordering::SeqCst);
    for attacker in attackers {
        attacker.await.unwrap();
    }
    assert_eq!(
        world.key_fetches(),
        2,
        "one when cold, one for all unknown ids"
    );
}

#[tokio::test]
async fn what_the_emulator_signs_wrongly_is_refused() {
    let world = World::new().await;
    for (key, kind) in [
        (SigningKey::None, VerifyErrorKind::AlgorithmNotAllowed),
        (
            SigningKey::Hmac(b"secret".to_vec()),
            VerifyErrorKind::AlgorithmNotAllowed,
        ),
        (
            SigningKey::UnknownUnderCurrentId,
            VerifyErrorKind::BadSignature,
        ),
        (
            SigningKey::Signature(vec![1; 256]),
            VerifyErrorKind::BadSignature,
        ),
        (SigningKey::Unknown, VerifyErrorKind::UnknownKey),
        (SigningKey::Iap, VerifyErrorKind::AlgorithmNotAllowed),
    ] {
        let found = world.verdict(&world.token(key.clone())).await;
        // An empty signature is no third part at all.
        let is_none =
            key == SigningKey::None && matches!(found, Err(VerifyErrorKind::Malformed(_)));
        assert!(found == Err(kind) || is_none, "{key:?}: {found:?}");
    }
    assert_eq!(world.verdict(&world.good_token()).await, Ok(()));
}

#[tokio::test]
async fn iap_assertions_are_verified_by_iaps_own_keys() {
    let aud = "/projects/1/apps/p";
    let world = World::with(|builder, google| {
        builder
            .audience(aud)
            .issuer(Issuer::iap().with_jwks_url(google.iap_jwks_url()))
            .allow(Principal::anyone_of(&Issuer::iap()))
    })
    .await;
    let request = TokenRequest::new(aud)
        .key(SigningKey::Iap)
        .lifetime(Duration::from_secs(600))
        .claim("iss", "https://cloud.google.com/iap");
    assert_eq!(world.verdict(&world.google.mint(&request)).await, Ok(()));
}

#[tokio::test]
async fn a_function_over_sockets_greets_refuses_and_rotates() {
    let world = World::new().await;
    let app = Router::new()
        .route(
            "/",
            get(|caller: Caller| async move { caller.email().unwrap_or_default().to_owned() }),
        )
        .with_state(world.verifier.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let ask = |token: Option<String>| {
        let request = client.get(&url);
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        async move {
            let response = request.send().await.unwrap();
            (response.status(), response.text().await.unwrap())
        }
    };
    let greeted = (StatusCode::OK, CALLER.to_owned());
    assert_eq!(ask(Some(world.good_token())).await, greeted);
    assert_eq!(ask(None).await.0, StatusCode::UNAUTHORIZED);
    let stranger = world.google.mint(&TokenRequest::new(AUDIENCE));
    assert_eq!(ask(Some(stranger)).await.0, StatusCode::FORBIDDEN);
    world.google.rotate_keys();
    world.clock.advance(Duration::from_secs(11));
    assert_eq!(ask(Some(world.good_token())).await, greeted);
    server.abort();
}

/// A function behind Cloud Run's IAM check: what its handler makes of each caller.
struct BehindIam {
    google: Emulator,
    service: CloudRun,
    client: Client<HttpConnector, Body>,
}

impl BehindIam {
    /// `finish` has the last word on the function's verifier.
    async fn new(finish: impl FnOnce(VerifierBuilder) -> VerifierBuilder) -> Self {
        let google = Emulator::start().await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let service = google
            .cloud_run("hello")
            .invoker(CALLER)
            .invoker(MALLORY)
            .start(listener.local_addr().unwrap())
            .await
            .unwrap();
        let builder = Verifier::builder()
            .audience(service.url())
            .allow(Principal::service_account(CALLER))
            .jwks_url(google.jwks_url());
        let app = Router::new()
            .route("/", get(judged))
            .with_state(finish(builder).build().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self {
            google,
            service,
            client,
        }
    }

    /// Calls it with a token of `email` that the layer puts where `header` says.
    async fn call_as(&self, email: &str, header: Header) -> (StatusCode, String) {
        let source = ServiceAccountKey::from_json(&self.google.key_file(email)).unwrap();
        let tokens = TokenCache::new(source);
        let handle = tokens.handle(&Audience::new(self.service.url()).unwrap());
        let client = ServiceBuilder::new()
            .layer(AddIdTokenLayer::new(handle).header(header))
            .service(self.client.clone());
        read(client.oneshot(self.request(&[])).await.unwrap()).await
    }

    async fn call(&self, headers: &[(&str, &str)]) -> (StatusCode, String) {
        read(self.client.request(self.request(headers)).await.unwrap()).await
    }

    fn request(&self, headers: &[(&str, &str)]) -> Request<Body> {
        let request = Request::get(format!("{}/", self.service.url()));
        let with = |request: http::request::Builder, (name, jwt): &(&str, &str)| {
            request.header(*name, format!("Bearer {jwt}"))
        };
        headers
            .iter()
            .fold(request, with)
            .body(Body::empty())
            .unwrap()
    }

    fn token(&self, email: &str) -> String {
        self.google
            .mint(&TokenRequest::new(self.service.url()).account(email))
    }
}

async fn judged(caller: Result<Caller, CallerRejection>) -> (StatusCode, String) {
    match caller {
        Ok(caller) => (
            StatusCode::OK,
            caller.email().unwrap_or_default().to_owned(),
        ),
        Err(rejection) => {
            let kind = rejection.rejection().verify_error().map(VerifyError::kind);
            (rejection.status(), format!("{kind:?}"))
        }
    }
}

async fn read<B: HttpBody<Error: std::fmt::Debug>>(response: Response<B>) -> (StatusCode, String) {
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn a_function_behind_iam_verifies_callers_that_send_both() {
    let function = BehindIam::new(|builder| builder).await;
    let greeted = (StatusCode::OK, CALLER.to_owned());
    let removed = (
        StatusCode::UNAUTHORIZED,
        "Some(SignatureRemoved)".to_owned(),
    );
    assert_eq!(function.call_as(CALLER, Header::Both).await, greeted);
    assert_eq!(
        function.call_as(CALLER, Header::Authorization).await,
        removed
    );
    assert_eq!(
        function
            .call_as(CALLER, Header::XServerlessAuthorization)
            .await,
        removed
    );
    // An invoker who is none of ours.
    let (status, _) = function.call_as(MALLORY, Header::Both).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    // The front end turns away who may not invoke at all; the function never sees them.
    let visits = function.service.visits().len();
    let stranger = "stranger@shop.iam.gserviceaccount.com";
    let (status, text) = function.call_as(stranger, Header::Both).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(text.contains("does not have permission"), "{text}");
    assert_eq!(function.service.visits().len(), visits + 1);

    // An invoker's own token for the front end, and a forged one beside it.
    let own = function.token(MALLORY);
    let forged = note_on(&function.token(CALLER));
    let verdict = function
        .call(&[
            ("x-serverless-authorization", &own),
            ("authorization", &forged),
        ])
        .await;
    assert_eq!(verdict, removed);
}

#[tokio::test]
async fn an_invoker_cannot_forge_another_behind_a_trusted_front_end() {
    let Ok(here) = CloudRunService::from_environment() else {
        // Only a process with Cloud Run's variables may trust its front end: again, in one that
        // has them.
        let this = "an_invoker_cannot_forge_another_behind_a_trusted_front_end";
        let again = tokio::process::Command::new(std::env::current_exe().unwrap())
            .args([this, "--exact", "--nocapture"])
            .envs([
                ("K_SERVICE", "f"),
                ("K_REVISION", "f-1"),
                ("K_CONFIGURATION", "f"),
            ])
            .output()
            .await
            .unwrap();
        let said = String::from_utf8_lossy(&again.stdout);
        assert!(again.status.success(), "{said}");
        assert!(said.contains("1 passed"), "{said}");
        return;
    };
    let refused = (
        StatusCode::UNAUTHORIZED,
        "Some(SignatureRemoved)".to_owned(),
    );
    let greeted = (StatusCode::OK, CALLER.to_owned());
    for header in [TokenHeader::authorization(), TokenHeader::cloud_run()] {
        let is_cloud_run = header == TokenHeader::cloud_run();
        let trusting = |builder: VerifierBuilder| {
            builder
                .token_header(header)
                .danger_trust_cloud_run_iam(here.clone())
        };
        let function = BehindIam::new(trusting).await;
        assert_eq!(
            function.call_as(CALLER, Header::Authorization).await,
            greeted
        );
        let own = function.token(MALLORY);
        let forged = note_on(&function.token(CALLER));
        let (status, kind) = function
            .call(&[
                ("x-serverless-authorization", &own),
                ("authorization", &forged),
            ])
            .await;
        if is_cloud_run {
            assert_eq!(status, StatusCode::FORBIDDEN, "the caller's own counts");
        } else {
            assert_eq!((status, kind), refused);
        }
    }
}

/// The token as the front end would leave it, had it checked this one.
fn note_on(jwt: &str) -> String {
    let signed = jwt.rsplit_once('.').unwrap().0;
    format!("{signed}.SIGNATURE_REMOVED_BY_GOOGLE")
}

#[tokio::test]
async fn a_folded_header_is_a_bad_request() {
    let world = World::new().await;
    let app = Router::new()
        .route("/", get(|_: Caller| async {}))
        .with_state(world.verifier.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let good = world.good_token();
    for (line, status) in [
        (format!("Authorization: Bearer {good}"), "200"),
        (format!("Authorization: Bearer\r\n  {good}"), "400"),
        (format!("Authorization:\r\n\tBearer {good}"), "400"),
        (
            format!("Authorization: Bearer {}\r\n {}", &good[..9], &good[9..]),
            "400",
        ),
    ] {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET / HTTP/1.1\r\nHost: x\r\n{line}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let found = answer.split(' ').nth(1);
        assert_eq!(found, Some(status), "{line:?}: {answer}");
    }
    server.abort();
}
