//! The called side, whole: real sockets, real keys, the emulator in Google's place.

#![allow(clippy::unwrap_used, reason = "a failed test is what it is for")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use axum_idtoken::Caller;
use http::StatusCode;
use idtoken::clock::ManualClock;
use idtoken::{Issuer, Principal, Verifier, VerifierBuilder, VerifyErrorKind};
use idtoken_emulator::{Emulator, Endpoint, Fault, SigningKey, TokenRequest};

const AUDIENCE: &str = "https://hello-abc.a.run.app";
const CALLER: &str = "frontend@shop.iam.gserviceaccount.com";

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
    let world = World::new().await;
    let mut newest = world.good_token();
    assert_eq!(world.verdict(&newest).await, Ok(()));
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
    }
}

#[tokio::test]
async fn keys_announced_before_they_sign_are_never_waited_for() {
    let world = World::new().await;
    for _ in 0..3 {
        world.google.publish_next();
        world.clock.advance(Duration::from_secs(24 * 3600));
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
    for fault in [
        Fault::Garbage,
        Fault::Empty,
        Fault::Truncated,
        Fault::Oversized(100 * 1024),
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
        assert_eq!(world.verdict(&good).await, Ok(()), "{fault:?}");
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
