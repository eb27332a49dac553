//! The keeper as its verifier sees it: an endpoint in memory, a clock by hand, tokio's time paused.

use std::time::{Duration, SystemTime};

use serde_json::json;

use crate::clock::{Clock as _, ManualClock};
use crate::verify::testing::*;
use crate::verify::{Verifier, VerifyErrorKind as Kind};

struct World {
    clock: ManualClock,
    endpoint: Endpoint,
    verifier: Verifier,
}

impl World {
    fn new(endpoint: Endpoint) -> Self {
        let clock = ManualClock::new(at(NOW));
        let verifier = builder()
            .clock(clock.clone())
            .transport(endpoint.clone())
            .build()
            .unwrap();
        Self {
            clock,
            endpoint,
            verifier,
        }
    }

    fn with_keys() -> Self {
        Self::new(Endpoint::new(first_keys()))
    }

    /// A token by key `index`, good at the clock's time.
    fn token(&self, index: usize) -> String {
        let now = self
            .clock
            .now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let claims = claims_with(&json!({"iat": now, "exp": now + 3600}));
        Signer::rsa(index).token(&format!("k{index}"), &claims)
    }

    async fn verdict(&self, jwt: &str) -> Result<(), Kind> {
        self.verifier
            .verify(jwt)
            .await
            .map(drop)
            .map_err(|error| error.kind())
    }

    /// Verifies a token by key `index`.
    async fn verify(&self, index: usize) -> Result<(), Kind> {
        self.verdict(&self.token(index)).await
    }

    /// Lets a refresh that nobody waits for come to its end.
    async fn settle(&self) {
        tokio::time::sleep(Duration::from_secs(15)).await;
    }
}

fn first_keys() -> Answer {
    Answer::keys(&[Signer::rsa(0).jwk("k0")])
}

fn both_keys() -> Answer {
    Answer::keys(&[Signer::rsa(0).jwk("k0"), Signer::rsa(1).jwk("k1")])
}

fn padded(text: &str) -> String {
    text.to_owned() + &" ".repeat(64 * 1024 + 1 - text.len())
}

fn hours(count: u64) -> Duration {
    Duration::from_secs(3600 * count)
}

#[tokio::test(start_paused = true)]
async fn a_thousand_concurrent_cold_verifications_are_one_fetch_and_all_accepted() {
    let world = World::with_keys();
    let jwt = world.token(0);
    let callers: Vec<_> = (0..1000)
        .map(|_| {
            let (verifier, jwt) = (world.verifier.clone(), jwt.clone());
            tokio::spawn(async move { verifier.verify(&jwt).await.is_ok() })
        })
        .collect();
    let mut accepted = 0;
    for caller in callers {
        accepted += u32::from(caller.await.unwrap());
    }
    assert_eq!((accepted, world.endpoint.hits()), (1000, 1));
}

#[tokio::test(start_paused = true)]
async fn ten_verifications_are_one_fetch() {
    let world = World::with_keys();
    for _ in 0..10 {
        assert_eq!(world.verify(0).await, Ok(()));
    }
    assert_eq!(world.endpoint.hits(), 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_fetched_for_a_token_that_is_bad_without_keys() {
    let world = World::with_keys();
    for jwt in ["", "a.b.c", "e30.e30.c2ln"] {
        assert!(world.verdict(jwt).await.is_err());
    }
    assert_eq!(world.endpoint.hits(), 0);
}

#[tokio::test(start_paused = true)]
async fn unknown_kid_then_rotated_jwks_is_one_refetch_then_ok() {
    let world = World::with_keys();
    assert_eq!(world.verify(0).await, Ok(()));
    world.clock.advance(Duration::from_millis(100));
    world.endpoint.set(both_keys());
    assert_eq!(world.verify(1).await, Ok(()));
    assert_eq!(world.verify(0).await, Ok(()));
    assert_eq!(world.endpoint.hits(), 2);
}

#[tokio::test(start_paused = true)]
async fn only_a_fetch_that_brought_no_new_key_holds_back_the_next_for_long() {
    let world = World::with_keys();
    assert_eq!(world.verify(0).await, Ok(()));
    world.clock.advance(Duration::from_millis(100));
    assert_eq!(world.verify(1).await, Err(Kind::UnknownKey), "in vain");
    world.endpoint.set(both_keys());
    world.clock.advance(Duration::from_millis(9_999));
    assert_eq!(world.verify(1).await, Err(Kind::UnknownKey), "held back");
    assert_eq!(world.endpoint.hits(), 2);
    world.clock.advance(Duration::from_millis(50_001));
    assert_eq!(world.verify(1).await, Ok(()));
    assert_eq!(world.endpoint.hits(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_unknown_kids_are_at_most_one_refetch_per_pause_and_valid_tokens_unaffected() {
    let world = World::with_keys();
    assert_eq!(world.verify(0).await, Ok(()));
    let good = world.token(0);
    for second in 0..60 {
        for kid in 0..50 {
            let jwt = Signer::p256().compact(
                &format!(r#"{{"alg":"RS256","kid":"u{second}-{kid}"}}"#),
                &good_claims().to_string(),
            );
            assert_eq!(world.verdict(&jwt).await, Err(Kind::UnknownKey));
        }
        let before = tokio::time::Instant::now();
        assert_eq!(world.verdict(&good).await, Ok(()));
        assert_eq!(
            before.elapsed(),
            Duration::ZERO,
            "a known key waits for nothing"
        );
        world.clock.advance(Duration::from_secs(1));
    }
    let hits = world.endpoint.hits();
    assert!((2..=7).contains(&hits), "{hits} fetches in a minute");
}

#[tokio::test(start_paused = true)]
async fn one_misled_caller_is_remembered() {
    let world = World::with_keys();
    assert_eq!(world.verify(0).await, Ok(()));
    for _ in 0..5 {
        world.clock.advance(Duration::from_secs(11));
        assert_eq!(world.verify(2).await, Err(Kind::UnknownKey));
    }
    assert_eq!(world.endpoint.hits(), 2);
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_for_a_new_key_all_get_it() {
    let world = World::with_keys();
    assert_eq!(world.verify(0).await, Ok(()));
    world.clock.advance(Duration::from_secs(11));
    world.endpoint.set(both_keys());
    let jwt = world.token(1);
    let callers: Vec<_> = (0..200)
        .map(|_| {
            let (verifier, jwt) = (world.verifier.clone(), jwt.clone());
            tokio::spawn(async move { verifier.verify(&jwt).await.map(drop) })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
    assert_eq!(world.endpoint.hits(), 2);
}

#[tokio::test(start_paused = true)]
async fn prefetch_before_expiry_is_waited_for_by_nobody() {
    let world = World::with_keys();
    assert_eq!(world.verify(0).await, Ok(()));
    // `max-age` is 21,155 s; the last tenth is within everyone's refresh window.
    world.clock.advance(Duration::from_secs(21_155 * 95 / 100));
    world.endpoint.set(both_keys());
    let before = tokio::time::Instant::now();
    for _ in 0..100 {
        assert_eq!(world.verify(0).await, Ok(()));
    }
    assert_eq!(before.elapsed(), Duration::ZERO);
    world.settle().await;
    assert_eq!(world.endpoint.hits(), 2);
    assert_eq!(world.verify(1).await, Ok(()));
    assert_eq!(world.endpoint.hits(), 2);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_refetched_while_fresh_or_idle() {
    let world = World::with_keys();
    assert_eq!(world.verify(0).await, Ok(()));
    world.clock.advance(Duration::from_secs(21_155 * 79 / 100));
    assert_eq!(world.verify(0).await, Ok(()));
    tokio::time::sleep(hours(100)).await;
    assert_eq!(world.endpoint.hits(), 1);
}

#[tokio::test(start_paused = true)]
async fn stale_keys_serve_through_an_outage_up_to_their_bound() {
    let world = World::with_keys();
    assert_eq!(world.verify(0).await, Ok(()));
    world.endpoint.set(Answer::status(500));
    for _ in 0..17 {
        world.clock.advance(hours(1));
        assert_eq!(world.verify(0).await, Ok(()));
        world.settle().await;
    }
    // 21,155 s and twelve hours are 17.9 hours.
    world.clock.advance(hours(1));
    assert_eq!(world.verify(0).await, Err(Kind::KeysUnavailable));
    world.endpoint.set(first_keys());
    world.clock.advance(Duration::from_secs(11));
    assert_eq!(world.verify(0).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_failed_prefetch_backs_off() {
    let world = World::with_keys();
    assert_eq!(world.verify(0).await, Ok(()));
    world.endpoint.set(Answer::status(404));
    world.clock.advance(hours(6));
    for _ in 0..3600 {
        assert_eq!(world.verify(0).await, Ok(()));
        tokio::task::yield_now().await;
        world.settle().await;
        world.clock.advance(Duration::from_secs(1));
    }
    // 10, 20, 40, 80, 160 and then every 300 seconds: sixteen in an hour.
    let hits = world.endpoint.hits() - 1;
    assert!((10..=17).contains(&hits), "{hits} fetches in an hour");
}

#[tokio::test(start_paused = true)]
async fn a_poisoned_key_set_takes_nothing_away() {
    for poison in [
        Answer::Body(200, String::new(), vec![]),
        Answer::Body(200, "<html>captive portal</html>".into(), vec![]),
        Answer::Body(200, r#"{"keys":[]}"#.into(), vec![]),
        Answer::Body(
            200,
            r#"{"keys":[{"kty":"oct","kid":"k0","k":"AA"}]}"#.into(),
            vec![],
        ),
        // Keys all right, but past the bound: taken, they would push out the one held.
        Answer::Body(200, padded(&jwks(&[Signer::rsa(1).jwk("k1")])), vec![]),
        Answer::Body(302, String::new(), vec![("location", "http://x/".into())]),
        Answer::status(404),
        Answer::Refused,
        Answer::Silence,
    ] {
        let world = World::with_keys();
        assert_eq!(world.verify(0).await, Ok(()));
        world.endpoint.set(poison);
        world.clock.advance(hours(6));
        assert_eq!(world.verify(0).await, Ok(()));
        world.settle().await;
        assert_eq!(world.verify(0).await, Ok(()));
        assert!(world.endpoint.hits() > 1, "it was asked for");
    }
}

#[tokio::test(start_paused = true)]
async fn a_removed_key_goes_with_the_next_set() {
    let world = World::new(Endpoint::new(both_keys()));
    assert_eq!(world.verify(1).await, Ok(()));
    world.endpoint.set(first_keys());
    world.clock.advance(hours(6));
    assert_eq!(world.verify(0).await, Ok(()));
    world.settle().await;
    assert_eq!(world.verify(1).await, Err(Kind::UnknownKey));
}

#[tokio::test(start_paused = true)]
async fn after_an_idle_night_a_removed_key_is_refused_at_once() {
    let world = World::new(Endpoint::new(both_keys()));
    assert_eq!(world.verify(1).await, Ok(()));
    world.endpoint.set(first_keys());
    world.clock.advance(hours(12));
    assert_eq!(world.verify(1).await, Err(Kind::UnknownKey));
    assert_eq!(world.verify(0).await, Ok(()));
    assert_eq!(world.endpoint.hits(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_seen_before_is_not_believed_past_the_cache_time_either() {
    let world = World::new(Endpoint::new(both_keys().for_seconds(600)));
    let jwt = world.token(1);
    assert_eq!(world.verdict(&jwt).await, Ok(()));
    world.endpoint.set(first_keys());
    world.clock.advance(Duration::from_secs(600));
    assert_eq!(world.verdict(&jwt).await, Err(Kind::UnknownKey));
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_down_or_hangs_past_the_cache_time_is_waited_for_once() {
    for answer in [Answer::Silence, Answer::Refused, Answer::status(404)] {
        let world = World::with_keys();
        assert_eq!(world.verify(0).await, Ok(()));
        world.endpoint.set(answer);
        world.clock.advance(hours(12));
        let before = tokio::time::Instant::now();
        assert_eq!(world.verify(0).await, Ok(()));
        assert!(before.elapsed() < Duration::from_secs(12));
        // From here on it is known to be down, and asked again beside the requests.
        for _ in 0..100 {
            let before = tokio::time::Instant::now();
            assert_eq!(world.verify(0).await, Ok(()));
            assert_eq!(before.elapsed(), Duration::ZERO);
            world.clock.advance(Duration::from_secs(1));
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert!(world.endpoint.hits() > 3);
        world
            .endpoint
            .set(Answer::keys(&[Signer::rsa(1).jwk("k1")]));
        world.clock.advance(hours(1));
        assert_eq!(world.verify(0).await, Err(Kind::UnknownKey));
        assert_eq!(world.verify(1).await, Ok(()));
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
}

/// Polls a verification until it waits for a fetch that never ends, in a runtime of its own.
fn runtime_with_a_fetch(world: &World, jwt: &str) -> tokio::runtime::Runtime {
    let runtime = runtime();
    world.endpoint.then([Answer::Silence]);
    let fetching = async {
        let _ = tokio::time::timeout(Duration::from_millis(1), world.verifier.verify(jwt)).await;
    };
    runtime.block_on(fetching);
    runtime
}

#[test]
fn a_fetch_lost_with_its_runtime_is_made_again_in_anothers() {
    let world = World::with_keys();
    let jwt = world.token(0);
    // By one who waits for it, and by one who comes later.
    let first = runtime_with_a_fetch(&world, &jwt);
    runtime().block_on(async {
        let mut waiting = std::pin::pin!(world.verdict(&jwt));
        assert!(futures_poll(waiting.as_mut()).is_pending());
        first.shutdown_background();
        assert_eq!(waiting.await, Ok(()));
    });
    let world = World::with_keys();
    runtime_with_a_fetch(&world, &jwt).shutdown_background();
    assert_eq!(runtime().block_on(world.verdict(&jwt)), Ok(()));

    // With keys in hand, a lost fetch does not turn away those who need a new one.
    world.clock.advance(Duration::from_secs(11));
    let newer = world.token(1);
    runtime_with_a_fetch(&world, &newer).shutdown_background();
    world.endpoint.set(both_keys());
    runtime().block_on(async {
        assert_eq!(world.verdict(&newer).await, Err(Kind::KeysUnavailable));
        world.clock.advance(Duration::from_millis(100));
        assert_eq!(world.verdict(&newer).await, Ok(()));
    });
}

fn futures_poll<F: Future>(future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
    future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
}

#[test]
fn a_runtime_that_nobody_drives_any_more_is_not_waited_for() {
    let world = World::with_keys();
    let jwt = world.token(0);
    let idle = runtime_with_a_fetch(&world, &jwt);
    // Its time stands still from here on, so that the fetch is older than whatever it waits.
    let paused = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    assert_eq!(paused.block_on(world.verdict(&jwt)), Ok(()));
    idle.shutdown_background();
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_panics_holds_nobody_back() {
    let world = World::with_keys();
    world.endpoint.then([Answer::Panic, Answer::Panic]);
    assert_eq!(world.verify(0).await, Err(Kind::KeysUnavailable));
    assert_eq!(world.verify(0).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn key_endpoint_500_then_ok() {
    let endpoint = Endpoint::new(first_keys());
    endpoint.then([Answer::status(500), Answer::Refused]);
    let world = World::new(endpoint);
    assert_eq!(world.verify(0).await, Ok(()));
    assert_eq!(world.endpoint.hits(), 3);
}

#[tokio::test(start_paused = true)]
async fn cold_failures_are_typed_bounded_and_recover() {
    for (answer, text) in [
        (Answer::status(404), "the key endpoint answered 404"),
        (Answer::Refused, "the key endpoint could not be reached"),
        (Answer::Silence, "the key endpoint did not answer in time"),
        (
            Answer::Body(200, "{}".into(), vec![]),
            "the key endpoint's answer is unusable",
        ),
    ] {
        let world = World::new(Endpoint::new(answer));
        let before = tokio::time::Instant::now();
        let error = world.verifier.verify(&world.token(0)).await.unwrap_err();
        assert!(before.elapsed() < Duration::from_secs(12), "{text}");
        assert_eq!(error.kind(), Kind::KeysUnavailable);
        assert_eq!(error.status().as_u16(), 503);
        assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), text);

        // Within the pause nobody asks again, and everybody learns why.
        let hits = world.endpoint.hits();
        assert_eq!(world.verify(0).await, Err(Kind::KeysUnavailable));
        assert_eq!(world.endpoint.hits(), hits);

        world.endpoint.set(first_keys());
        world.clock.advance(Duration::from_secs(2));
        assert_eq!(world.verify(0).await, Ok(()), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_kid_while_the_endpoint_is_down_is_503_and_not_401() {
    let world = World::with_keys();
    assert_eq!(world.verify(0).await, Ok(()));
    world.endpoint.set(Answer::Refused);
    world.clock.advance(Duration::from_secs(11));
    assert_eq!(world.verify(1).await, Err(Kind::KeysUnavailable));
    assert_eq!(world.verify(1).await, Err(Kind::KeysUnavailable));
    assert_eq!(world.verify(0).await, Ok(()));
    world.endpoint.set(both_keys());
    world.clock.advance(Duration::from_secs(11));
    assert_eq!(world.verify(1).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_caller_leaves_the_fetch_to_the_others() {
    let world = World::with_keys();
    let jwt = world.token(0);
    let first = tokio::time::timeout(Duration::from_millis(1), world.verifier.verify(&jwt)).await;
    assert!(first.is_err(), "cancelled while it waited");
    assert_eq!(world.verdict(&jwt).await, Ok(()));
    assert_eq!(world.endpoint.hits(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_steps_wedges_nothing() {
    for (forward, by) in [
        (true, hours(24 * 30)),
        (false, Duration::from_secs(30)),
        (false, hours(24 * 30)),
    ] {
        let world = World::with_keys();
        assert_eq!(world.verify(0).await, Ok(()));
        if forward {
            world.clock.advance(by);
        } else {
            world.clock.step_back(by);
        }
        assert_eq!(world.verify(0).await, Ok(()), "{by:?}");
        world.settle().await;
        assert_eq!(
            world.endpoint.hits(),
            2,
            "the set's age cannot be told any more: {by:?}"
        );
        world.endpoint.set(both_keys());
        world.clock.advance(Duration::from_secs(11));
        assert_eq!(world.verify(1).await, Ok(()), "{by:?}");
        world.settle().await;
        assert_eq!(world.endpoint.hits(), 3);
    }
}

#[test]
fn outside_of_a_runtime_is_an_error_and_not_a_panic() {
    let world = World::with_keys();
    let jwt = world.token(0);
    let mut future = std::pin::pin!(world.verifier.verify(&jwt));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(Err(error)) = future.as_mut().poll(&mut context) else {
        panic!("must be done at once");
    };
    assert_eq!(error.kind(), Kind::KeysUnavailable);
    let text = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(text, "keys can only be fetched inside a tokio runtime");
}

#[tokio::test(start_paused = true)]
async fn dropping_the_verifier_ends_its_fetch() {
    let world = World::new(Endpoint::new(Answer::Silence));
    let endpoint = world.endpoint.clone();
    let jwt = world.token(0);
    let _ = tokio::time::timeout(Duration::from_millis(1), world.verifier.verify(&jwt)).await;
    drop(world);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(endpoint.hits(), 1, "no retry by anyone");
}
