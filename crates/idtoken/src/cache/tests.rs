use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use tokio::sync::Semaphore;

use super::*;
use crate::clock::{Clock, ManualClock, unix_seconds};
use crate::error::{SourceError, SourceErrorKind, TokenErrorKind};
use crate::token::IdToken;
use crate::token::tests::unsigned;

/// What the source does with the next fetches.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mood {
    /// Tokens of this many seconds, issued now.
    Gives(u64),
    /// The same token over and over, as the metadata server does.
    Repeats {
        exp: u64,
    },
    Fails(SourceErrorKind),
    /// Fails, and asks to be left alone for this many seconds.
    Busy(u64),
    ForAnother,
    Hangs,
    Panics,
    /// Tokens that expired this many seconds ago.
    Stale(u64),
    /// Tokens of an hour, issued by a clock that is this far ahead.
    FromTheFuture(u64),
}

/// A source whose mood can be changed, and which can be held back at a gate.
struct Google {
    clock: ManualClock,
    mood: Mutex<Mood>,
    fetches: AtomicU32,
    gate: Semaphore,
}

impl Google {
    async fn answer(&self, audience: &Audience) -> Result<IdToken, SourceError> {
        let number = self.fetches.fetch_add(1, Ordering::SeqCst);
        self.gate.acquire().await.unwrap().forget();
        self.gate.add_permits(1);
        let now = unix_seconds(self.clock.now());
        let mood = *self.mood.lock().unwrap();
        let token = |aud: &str, iat: u64, exp: u64, number: u32| {
            let claims = format!(r#"{{"aud":"{aud}","iat":{iat},"exp":{exp},"n":{number}}}"#);
            Ok(IdToken::new(&unsigned(&claims))?)
        };
        match mood {
            Mood::Gives(lifetime) => token(audience.as_str(), now, now + lifetime, number),
            Mood::Repeats { exp } => token(audience.as_str(), exp - 3600, exp, 0),
            Mood::Fails(kind) => Err(SourceError::new(kind, "test", "as this test wants")),
            Mood::Busy(seconds) => {
                let error = SourceError::new(SourceErrorKind::Transient, "test", "as asked");
                Err(error.with_retry_after(Some(Duration::from_secs(seconds))))
            }
            Mood::ForAnother => token("https://another.example", now, now + 3600, number),
            Mood::Hangs => std::future::pending().await,
            Mood::Panics => panic!("as this test wants"),
            Mood::Stale(by) => token(audience.as_str(), now - by - 3600, now - by, number),
            Mood::FromTheFuture(by) => token(audience.as_str(), now + by, now + by + 3600, number),
        }
    }
}

impl TokenSource for Arc<Google> {
    async fn fetch(&self, audience: &Audience) -> Result<IdToken, SourceError> {
        self.answer(audience).await
    }
}

struct World {
    google: Arc<Google>,
    clock: ManualClock,
    cache: TokenCache,
    hello: TokenHandle,
}

impl World {
    fn new() -> Self {
        Self::with(|builder| builder)
    }

    fn with(
        set_up: impl FnOnce(TokenCacheBuilder<Arc<Google>>) -> TokenCacheBuilder<Arc<Google>>,
    ) -> Self {
        let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000));
        let google = Arc::new(Google {
            clock: clock.clone(),
            mood: Mutex::new(Mood::Gives(3600)),
            fetches: AtomicU32::new(0),
            gate: Semaphore::new(1),
        });
        let builder = TokenCache::builder(Arc::clone(&google))
            .clock(clock.clone())
            .refresh_jitter(Duration::ZERO);
        let cache = set_up(builder).build();
        let hello = cache.handle(&audience("hello"));
        Self {
            google,
            clock,
            cache,
            hello,
        }
    }

    fn mood(&self, mood: Mood) {
        *self.google.mood.lock().unwrap() = mood;
    }

    fn fetches(&self) -> u32 {
        self.google.fetches.load(Ordering::SeqCst)
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// Holds fetches back at the gate until [`release`](Self::release).
    fn hold(&self) {
        self.google.gate.try_acquire().unwrap().forget();
    }

    fn release(&self) {
        self.google.gate.add_permits(1);
    }
}

fn audience(name: &str) -> Audience {
    Audience::new(format!("https://{name}.a.run.app")).unwrap()
}

/// Lets tasks that are ready run to where they wait.
async fn settle() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

/// The wall clock goes on by `seconds` together with the monotonic one.
async fn live(world: &World, seconds: u64) {
    world.pass(seconds);
    tokio::time::advance(Duration::from_secs(seconds)).await;
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
}

#[tokio::test]
async fn same_audience_twice_is_one_fetch() {
    let world = World::new();
    let first = world.hello.bearer().await.unwrap();
    let second = world
        .cache
        .handle(&audience("hello"))
        .bearer()
        .await
        .unwrap();
    assert_eq!(first, second);
    assert!(first.is_sensitive());
    assert_eq!(world.fetches(), 1);
}

#[tokio::test]
async fn two_audiences_are_two_fetches_and_never_mixed() {
    let world = World::new();
    let claims = |header: HeaderValue| {
        IdToken::new(header.to_str().unwrap().strip_prefix("Bearer ").unwrap()).unwrap()
    };
    for name in ["hello", "goodbye", "hello"] {
        let token = claims(world.cache.handle(&audience(name)).bearer().await.unwrap());
        assert!(token.serves(&audience(name)), "{name}");
    }
    assert_eq!(world.fetches(), 2);
}

#[tokio::test]
async fn try_bearer_never_waits() {
    let world = World::new();
    assert!(world.hello.try_bearer().is_none());
    assert_eq!(world.fetches(), 0);
    let token = world.hello.bearer().await.unwrap();
    assert_eq!(world.hello.try_bearer(), Some(token));
}

#[tokio::test]
async fn a_thousand_cold_callers_are_one_fetch() {
    let world = World::new();
    world.hold();
    let callers: Vec<_> = (0..1000)
        .map(|_| {
            let handle = world.hello.clone();
            tokio::spawn(async move { handle.bearer().await })
        })
        .collect();
    settle().await;
    world.release();
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
    assert_eq!(world.fetches(), 1);
}

#[tokio::test]
async fn a_token_in_its_last_225_seconds_is_served_and_refreshed_once_beside() {
    let world = World::new();
    let old = world.hello.bearer().await.unwrap();
    world.pass(3374);
    assert_eq!(world.hello.try_bearer().as_ref(), Some(&old));
    settle().await;
    assert_eq!(world.fetches(), 1, "not due yet");

    world.pass(1);
    world.hold();
    for _ in 0..100 {
        assert_eq!(world.hello.try_bearer().as_ref(), Some(&old));
    }
    settle().await;
    assert_eq!(world.fetches(), 2, "one refresh for a hundred calls");
    world.release();
    settle().await;
    assert_ne!(world.hello.try_bearer(), Some(old));
}

#[tokio::test]
async fn expiry_is_read_from_exp_and_not_from_the_fetch_time() {
    let world = World::new();
    let exp = unix_seconds(world.clock.now()) + 360;
    world.mood(Mood::Repeats { exp });
    world.hello.bearer().await.unwrap();
    world.pass(135);
    world.hello.try_bearer().unwrap();
    settle().await;
    assert_eq!(world.fetches(), 2, "due with 225 s of its own life left");
    world.pass(360 - 135 - 10);
    assert!(
        world.hello.try_bearer().is_none(),
        "never served at its end"
    );
}

#[tokio::test]
async fn a_source_that_repeats_its_token_is_asked_once_a_pause() {
    let world = World::new();
    world.mood(Mood::Repeats {
        exp: unix_seconds(world.clock.now()) + 200,
    });
    world.hello.bearer().await.unwrap();
    for _ in 0..100 {
        world.pass(1);
        world.hello.bearer().await.unwrap();
        settle().await;
    }
    let fetches = world.fetches();
    assert!(
        (10..=12).contains(&fetches),
        "{fetches} fetches in 100 s with a pause of 10 s"
    );
}

#[tokio::test]
async fn an_outage_in_the_refresh_window_goes_unseen_until_the_very_end() {
    for kind in KINDS {
        let world = World::new();
        world.hello.bearer().await.unwrap();
        world.mood(Mood::Fails(kind));
        for _ in 0..3589 {
            world.pass(1);
            world.hello.bearer().await.unwrap();
            settle().await;
        }
        world.pass(1);
        let error = world.hello.bearer().await.unwrap_err();
        assert_eq!(error.kind(), TokenErrorKind::Source(kind));
        assert_eq!(error.is_transient(), kind == SourceErrorKind::Transient);
        assert!((20..40).contains(&world.fetches()), "{}", world.fetches());
        world.mood(Mood::Gives(3600));
        world.pass(40);
        world.hello.bearer().await.unwrap();
    }
}

#[tokio::test]
async fn a_permanent_failure_is_not_for_good() {
    for kind in KINDS {
        let world = World::new();
        world.mood(Mood::Fails(kind));
        let error = world.hello.bearer().await.unwrap_err();
        assert_eq!(error.kind(), TokenErrorKind::Source(kind));
        world.mood(Mood::Gives(3600));
        world.hello.bearer().await.unwrap_err();
        assert_eq!(world.fetches(), 1, "not asked again within the pause");
        world.pass(1);
        world.hello.bearer().await.unwrap();
        assert_eq!(world.fetches(), 2);
    }
}

#[tokio::test]
async fn one_failure_is_shared_with_all_who_wait() {
    let world = World::new();
    world.mood(Mood::Fails(SourceErrorKind::Refused));
    world.hold();
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let handle = world.hello.clone();
            tokio::spawn(async move { handle.bearer().await })
        })
        .collect();
    settle().await;
    world.release();
    for caller in callers {
        caller.await.unwrap().unwrap_err();
    }
    assert_eq!(world.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_never_answers_costs_the_fetch_timeout_and_no_more() {
    let world = World::with(|builder| builder.fetch_timeout(Duration::from_secs(7)));
    world.mood(Mood::Hangs);
    let start = tokio::time::Instant::now();
    let error = world.hello.bearer().await.unwrap_err();
    assert_eq!(error.kind(), TokenErrorKind::Timeout);
    assert_eq!(start.elapsed(), Duration::from_secs(7));
    world.mood(Mood::Gives(3600));
    world.pass(2);
    world.hello.bearer().await.unwrap();
}

#[tokio::test]
async fn a_panicking_source_fails_its_callers_and_recovers() {
    let world = World::new();
    world.mood(Mood::Panics);
    let error = world.hello.bearer().await.unwrap_err();
    assert_eq!(error.kind(), TokenErrorKind::Interrupted);
    world.mood(Mood::Gives(3600));
    world.pass(2);
    world.hello.bearer().await.unwrap();
    assert_eq!(world.fetches(), 2, "a panic is not tried again at once");
}

#[tokio::test]
async fn a_panic_in_the_refresh_window_leaves_the_old_token_in_service() {
    let world = World::new();
    let old = world.hello.bearer().await.unwrap();
    world.pass(3400);
    world.mood(Mood::Panics);
    assert_eq!(world.hello.bearer().await.unwrap(), old);
    settle().await;
    assert_eq!(world.fetches(), 2);
    assert_eq!(world.hello.bearer().await.unwrap(), old);
}

#[tokio::test]
async fn a_cancelled_caller_takes_nothing_from_the_others() {
    let world = World::new();
    world.hold();
    let cancelled = tokio::spawn(world.hello.bearer());
    settle().await;
    let waiting = tokio::spawn(world.hello.bearer());
    settle().await;
    cancelled.abort();
    assert!(cancelled.await.unwrap_err().is_cancelled());
    world.release();
    waiting.await.unwrap().unwrap();
    assert_eq!(world.fetches(), 1);
}

#[tokio::test]
async fn a_token_for_another_audience_is_refused() {
    let world = World::new();
    world.mood(Mood::ForAnother);
    let error = world.hello.bearer().await.unwrap_err();
    assert_eq!(error.kind(), TokenErrorKind::WrongAudience);
    assert!(world.hello.try_bearer().is_none());
}

#[tokio::test]
async fn a_token_that_arrives_expired_is_a_clock_problem_and_no_busy_loop() {
    let world = World::new();
    world.mood(Mood::Stale(1800));
    for _ in 0..100 {
        let error = world.hello.bearer().await.unwrap_err();
        assert_eq!(error.kind(), TokenErrorKind::Clock);
        assert!(error.to_string().contains("1800 s"), "{error}");
    }
    assert_eq!(world.fetches(), 1);
}

#[tokio::test]
async fn a_token_from_the_future_is_served_for_its_true_length() {
    let world = World::new();
    world.mood(Mood::FromTheFuture(1800));
    world.hello.bearer().await.unwrap();
    world.mood(Mood::Fails(SourceErrorKind::Transient));
    world.pass(3589);
    assert!(world.hello.try_bearer().is_some());
    world.pass(1);
    assert!(
        world.hello.try_bearer().is_none(),
        "an hour after its issue it has ended"
    );
    assert!(world.fetches() <= 2);
}

#[tokio::test]
async fn a_suspended_machine_sends_no_token_that_expired_meanwhile() {
    let world = World::new();
    let old = world.hello.bearer().await.unwrap();
    world.pass(86_400);
    assert!(world.hello.try_bearer().is_none());
    assert_ne!(world.hello.bearer().await.unwrap(), old);
}

#[tokio::test]
async fn a_clock_that_steps_back_gets_a_new_token_and_goes_on_serving() {
    let world = World::new();
    let old = world.hello.bearer().await.unwrap();
    world.clock.step_back(Duration::from_secs(7200));
    assert_eq!(world.hello.try_bearer(), Some(old.clone()));
    settle().await;
    assert_eq!(world.fetches(), 2);
    assert_ne!(world.hello.try_bearer(), Some(old));
    world.hello.bearer().await.unwrap();
    settle().await;
    assert_eq!(world.fetches(), 2, "settled");
}

#[tokio::test]
async fn a_401_gets_a_fresh_token_once() {
    let world = World::new();
    let old = world.hello.bearer().await.unwrap();
    world.hello.distrust(&old);
    assert_eq!(
        world.hello.bearer().await.unwrap(),
        old,
        "it has only just come"
    );
    world.pass(11);
    world
        .hello
        .distrust(&HeaderValue::from_static("Bearer other"));
    assert_eq!(
        world.hello.bearer().await.unwrap(),
        old,
        "another token was refused"
    );
    world.hello.distrust(&old);
    let new = world.hello.bearer().await.unwrap();
    assert_ne!(new, old);
    world.hello.distrust(&new);
    assert_eq!(world.hello.bearer().await.unwrap(), new, "no fetch per 401");
    assert_eq!(world.fetches(), 2);
}

#[tokio::test]
async fn a_distrusted_token_is_better_than_none() {
    let world = World::new();
    let old = world.hello.bearer().await.unwrap();
    world.pass(11);
    world.hello.distrust(&old);
    world.mood(Mood::Fails(SourceErrorKind::Transient));
    assert_eq!(world.hello.bearer().await.unwrap(), old);
}

#[tokio::test]
async fn an_idle_audience_is_not_refreshed() {
    let world = World::new();
    world.hello.bearer().await.unwrap();
    for _ in 0..100 {
        world.pass(600);
        settle().await;
    }
    assert_eq!(world.fetches(), 1);
}

#[tokio::test]
async fn dropping_cache_and_handles_leaves_no_task_behind() {
    let world = World::new();
    world.hold();
    let google = Arc::downgrade(&world.google);
    let waiting = tokio::spawn(world.hello.bearer());
    settle().await;
    assert_eq!(world.fetches(), 1);
    waiting.abort();
    drop(world);
    settle().await;
    assert!(
        google.upgrade().is_none(),
        "the fetch still holds its source"
    );
}

#[tokio::test]
async fn warm_fetches_side_by_side_and_says_when_ready() {
    let world = World::new();
    world.hold();
    let audiences: Vec<_> = (0..20).map(|n| audience(&format!("f{n}"))).collect();
    let (cache, list) = (world.cache.clone(), audiences.clone());
    let warming = tokio::spawn(async move { cache.warm(&list).await });
    settle().await;
    assert_eq!(world.fetches(), 20);
    world.release();
    warming.await.unwrap().unwrap();
    assert!(
        audiences
            .iter()
            .all(|a| world.cache.handle(a).try_bearer().is_some())
    );
}

#[tokio::test]
async fn the_bound_on_audiences_holds() {
    let world = World::with(|builder| builder.max_audiences(10));
    for n in 0..1000 {
        world
            .cache
            .handle(&audience(&format!("f{n}")))
            .bearer()
            .await
            .unwrap();
    }
    assert_eq!(world.cache.audiences(), 10);
    let old = world.hello.bearer().await.unwrap();
    assert_eq!(
        world.hello.bearer().await.unwrap(),
        old,
        "a handle outlives any flood"
    );
}

#[test]
fn build_needs_no_runtime_and_bearer_outside_one_is_an_error() {
    let world = World::new();
    let mut acquire = Box::pin(world.hello.bearer());
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let Poll::Ready(Err(error)) = acquire.as_mut().poll(&mut cx) else {
        panic!("must be ready")
    };
    assert_eq!(error.kind(), TokenErrorKind::NoRuntime);
}

#[test]
fn outside_a_runtime_a_fetch_under_way_is_not_waited_for() {
    let world = World::new();
    world.hold();
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let runtime = runtime();
    runtime.block_on(async {
        let mut inside = Box::pin(world.hello.bearer());
        assert!(inside.as_mut().poll(&mut cx).is_pending());
    });
    let mut outside = Box::pin(world.hello.bearer());
    let Poll::Ready(Err(error)) = outside.as_mut().poll(&mut cx) else {
        panic!("must be ready")
    };
    assert_eq!(error.kind(), TokenErrorKind::NoRuntime);
    let hello = audience("hello");
    let mut warming = Box::pin(world.cache.warm_within([&hello], Duration::from_secs(1)));
    let Poll::Ready(Err(error)) = warming.as_mut().poll(&mut cx) else {
        panic!("must be ready")
    };
    assert_eq!(error.kind(), TokenErrorKind::NoRuntime);
}

#[test]
fn a_look_from_outside_a_runtime_leaves_the_refresh_to_one_from_inside() {
    let world = World::new();
    let runtime = runtime();
    runtime.block_on(world.hello.bearer()).unwrap();
    world.pass(3400);
    world.hello.try_bearer().unwrap();
    runtime.block_on(async {
        world.hello.try_bearer().unwrap();
        settle().await;
    });
    assert_eq!(world.fetches(), 2);
}

#[tokio::test]
async fn limits_without_end_are_no_panic() {
    for (jitter, fetches) in [(Duration::ZERO, 2), (Duration::MAX, 1)] {
        let world = World::with(|builder| {
            builder
                .fetch_timeout(Duration::MAX)
                .refresh_jitter(jitter)
                .refresh_margin(Duration::MAX)
                .retry_pause(Duration::MAX)
                .max_audiences(usize::MAX)
                .max_fetches(usize::MAX)
        });
        let hello = audience("hello");
        let warming = world.cache.warm_within([&hello], Duration::MAX);
        warming.await.unwrap();
        world.hello.bearer().await.unwrap();
        settle().await;
        assert_eq!(world.fetches(), fetches);
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_asks_for_a_longer_pause_gets_it_while_an_old_token_serves() {
    let world = World::new();
    world.hello.bearer().await.unwrap();
    live(&world, 3376).await;
    world.mood(Mood::Busy(30));
    for _ in 0..200 {
        world.hello.bearer().await.unwrap();
        settle().await;
        live(&world, 1).await;
    }
    let tries = world.fetches() - 1;
    assert!((5..=7).contains(&tries), "{tries} tries in 200 s");
}

#[test]
fn two_runtimes_one_after_the_other_do_not_hang() {
    let world = World::new();
    world.hold();
    let first = runtime();
    let stranded = world.hello.bearer();
    first.block_on(async {
        tokio::select! { biased; _ = stranded => {}, () = settle() => {} }
    });
    drop(first);
    world.release();
    runtime().block_on(async { world.hello.bearer().await.unwrap() });
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_steps_back_during_an_outage_serves_no_token_past_its_end() {
    let world = World::new();
    world.hello.bearer().await.unwrap();
    world.mood(Mood::Fails(SourceErrorKind::Transient));
    world.clock.step_back(Duration::from_secs(1800));
    for _ in 0..3589 {
        world.pass(1);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(world.hello.try_bearer().is_some());
        settle().await;
    }
    world.pass(1);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(
        world.hello.try_bearer().is_none(),
        "the monotonic clock says that it has ended"
    );
}

#[tokio::test(start_paused = true)]
async fn a_step_back_by_less_than_the_tokens_age_serves_nothing_past_its_end() {
    for calls_all_the_time in [true, false] {
        for step in [59, 600, 2400] {
            let world = World::new();
            world.hello.bearer().await.unwrap();
            world.mood(Mood::Fails(SourceErrorKind::Transient));
            live(&world, 3000).await;
            assert!(world.hello.try_bearer().is_some());
            world.clock.step_back(Duration::from_secs(step));
            for _ in 0..589 {
                live(&world, 1).await;
                if calls_all_the_time {
                    assert!(world.hello.try_bearer().is_some(), "step of {step} s");
                    settle().await;
                }
            }
            live(&world, 1).await;
            assert!(world.hello.try_bearer().is_none(), "step of {step} s");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_back_while_nobody_calls_serves_nothing_past_its_end() {
    for step in [1, 600, 3000, 7200] {
        let world = World::new();
        world.hello.bearer().await.unwrap();
        live(&world, 3000).await;
        world.clock.step_back(Duration::from_secs(step));
        live(&world, 590).await;
        assert!(world.hello.try_bearer().is_none(), "step of {step} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_back_is_seen_although_the_token_was_due_before_it() {
    let world = World::new();
    world.hello.bearer().await.unwrap();
    world.mood(Mood::Fails(SourceErrorKind::Transient));
    // Suspended: the monotonic clock stands still.
    world.pass(3480);
    assert!(world.hello.try_bearer().is_some());
    settle().await;
    assert_eq!(world.fetches(), 2);
    world.clock.step_back(Duration::from_secs(3600));
    tokio::time::advance(Duration::from_secs(31)).await;
    world.mood(Mood::Gives(3600));
    assert!(world.hello.try_bearer().is_some());
    settle().await;
    assert_eq!(world.fetches(), 3, "no clock tells when the old one ends");
}

#[tokio::test]
async fn at_the_epoch_a_dead_token_is_dead() {
    let world = World::new();
    world.clock.set(SystemTime::UNIX_EPOCH);
    world.mood(Mood::Gives(60));
    world.hello.bearer().await.unwrap();
    world.mood(Mood::Fails(SourceErrorKind::Transient));
    world.pass(60);
    assert!(world.hello.try_bearer().is_none());
    world.clock.set(SystemTime::UNIX_EPOCH);
    assert!(world.hello.try_bearer().is_some());
    settle().await;
    assert_eq!(world.fetches(), 2, "due, not fresh");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_catches_up_with_itself_is_not_believed_again() {
    // A step that is seen as one, and one too small for that in a life without a margin.
    for (margin, look_at, step) in [(225, 3000, 600), (0, 3589, 50)] {
        let margin = Duration::from_secs(margin);
        let world = World::with(|builder| builder.refresh_margin(margin));
        world.hello.bearer().await.unwrap();
        world.mood(Mood::Fails(SourceErrorKind::Transient));
        live(&world, look_at).await;
        assert!(world.hello.try_bearer().is_some());
        world.clock.step_back(Duration::from_secs(step));
        for age in look_at + 1..look_at + 2 * step {
            live(&world, 1).await;
            let is_alive = world.hello.try_bearer().is_some();
            assert_eq!(is_alive, age < 3590, "at {age} s, after a step of {step} s");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_small_correction_of_the_clock_is_not_worth_a_fetch() {
    let world = World::new();
    let token = world.hello.bearer().await.unwrap();
    live(&world, 100).await;
    for (step, fetches) in [(30, 1), (61, 2)] {
        assert_eq!(world.hello.try_bearer().as_ref(), Some(&token));
        world.clock.step_back(Duration::from_secs(step));
        assert_eq!(world.hello.try_bearer().as_ref(), Some(&token));
        settle().await;
        assert_eq!(world.fetches(), fetches, "after {step} s");
    }
}

#[tokio::test]
async fn the_back_off_does_not_grow_while_an_old_token_serves() {
    let world = World::new();
    world.hello.bearer().await.unwrap();
    world.mood(Mood::Fails(SourceErrorKind::Transient));
    world.pass(3400);
    for _ in 0..189 {
        world.hello.bearer().await.unwrap();
        settle().await;
        world.pass(1);
    }
    world.pass(1);
    world.hello.bearer().await.unwrap_err();
    world.mood(Mood::Gives(3600));
    world.pass(2);
    world.hello.bearer().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_steps_back_does_not_make_an_old_failure_recent_again() {
    let world = World::new();
    world.mood(Mood::Fails(SourceErrorKind::Transient));
    world.hello.bearer().await.unwrap_err();
    world.mood(Mood::Gives(3600));
    world.clock.step_back(Duration::from_secs(60));
    tokio::time::advance(Duration::from_secs(60)).await;
    world.pass(60);
    world.hello.bearer().await.unwrap();
}

#[tokio::test]
async fn a_distrusted_token_is_better_than_a_failure_remembered() {
    let world = World::new();
    world.hello.bearer().await.unwrap();
    world.pass(3400);
    world.mood(Mood::Fails(SourceErrorKind::Transient));
    let old = world.hello.bearer().await.unwrap();
    settle().await;
    assert!(world.hello.distrust(&old));
    assert_eq!(world.hello.bearer().await.unwrap(), old);
    assert_eq!(world.fetches(), 2, "within the back-off");
}

#[tokio::test(start_paused = true)]
async fn no_more_fetches_at_once_than_set_and_the_rest_wait_their_turn() {
    let world = World::with(|builder| builder.max_fetches(3));
    world.hold();
    let audiences: Vec<_> = (0..10).map(|n| audience(&format!("f{n}"))).collect();
    let (cache, list) = (world.cache.clone(), audiences);
    let warming = tokio::spawn(async move { cache.warm(&list).await });
    settle().await;
    assert_eq!(world.fetches(), 3);
    world.release();
    warming.await.unwrap().unwrap();
    assert_eq!(world.fetches(), 10);
}

#[tokio::test(start_paused = true)]
async fn strangers_that_queue_do_not_keep_others_from_their_refresh() {
    let world = World::with(|builder| builder.max_fetches(1).max_audiences(10));
    let old = world.hello.bearer().await.unwrap();
    world.pass(3400);
    world.hold();
    let mut strangers: Vec<_> = (0..12)
        .map(|n| tokio::spawn(world.cache.handle(&audience(&format!("s{n}"))).bearer()))
        .collect();
    settle().await;
    assert_eq!(world.hello.bearer().await.unwrap(), old);
    settle().await;
    assert_eq!(world.fetches(), 3, "one stranger's and one refresh");
    for refused in strangers.split_off(10) {
        let error = refused.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), TokenErrorKind::TooManyAudiences);
    }
    world.release();
    for stranger in strangers {
        stranger.await.unwrap().unwrap();
    }
    assert_ne!(world.hello.bearer().await.unwrap(), old);
}

#[tokio::test(start_paused = true)]
async fn warm_within_tries_again_while_patience_lasts_and_says_when_ready() {
    let world = World::new();
    world.mood(Mood::Fails(SourceErrorKind::Transient));
    let (cache, clock) = (world.cache.clone(), world.clock.clone());
    let hello = audience("hello");
    let patience = Duration::from_secs(5);
    let start = tokio::time::Instant::now();
    let error = cache.warm_within([&hello], patience).await.unwrap_err();
    assert_eq!(
        error.kind(),
        TokenErrorKind::Source(SourceErrorKind::Transient)
    );
    assert_eq!(start.elapsed(), patience);
    assert!(!world.hello.is_ready());

    let warming = tokio::spawn(async move { cache.warm_within([&hello], patience).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.mood(Mood::Gives(3600));
    clock.advance(Duration::from_secs(2));
    warming.await.unwrap().unwrap();
    assert!(world.hello.is_ready());
}

#[tokio::test]
async fn warm_within_does_not_wait_for_what_waiting_will_not_mend() {
    let world = World::new();
    world.mood(Mood::Fails(SourceErrorKind::Misconfigured));
    let error = world
        .cache
        .warm_within([&audience("hello")], Duration::from_secs(3600))
        .await
        .unwrap_err();
    assert_eq!(
        error.kind(),
        TokenErrorKind::Source(SourceErrorKind::Misconfigured)
    );
}

#[tokio::test]
async fn jitter_spreads_the_refreshes_of_instances_that_started_together() {
    let mut due_after = Vec::new();
    for seed in 0..20 {
        let world = World::with(|builder| {
            builder
                .jitter_seed(seed)
                .refresh_jitter(Duration::from_secs(60))
        });
        world.hello.bearer().await.unwrap();
        world.pass(3374);
        let mut seconds = 0;
        while world.fetches() == 1 {
            world.pass(1);
            seconds += 1;
            world.hello.bearer().await.unwrap();
            settle().await;
        }
        due_after.push(seconds);
    }
    assert!(
        due_after.iter().all(|s| (1..=61).contains(s)),
        "{due_after:?}"
    );
    due_after.sort_unstable();
    due_after.dedup();
    assert!(due_after.len() > 10, "{due_after:?}");
}

#[test]
fn two_runtimes_at_once_share_one_cache_and_none_hangs() {
    let world = World::with(|builder| builder.fetch_timeout(Duration::from_millis(50)));
    world.mood(Mood::Hangs);
    // The first starts the flight and then nobody drives it.
    let idle = runtime();
    let stranded = world.hello.bearer();
    idle.block_on(async {
        tokio::select! { biased; _ = stranded => {}, () = settle() => {} }
    });
    world.mood(Mood::Gives(3600));
    runtime().block_on(async {
        let error = world.hello.bearer().await.unwrap_err();
        assert_eq!(error.kind(), TokenErrorKind::Timeout);
        world.hello.bearer().await.unwrap();
    });
}

#[cfg(feature = "metrics")]
#[test]
fn metrics_count_hits_misses_refreshes_failures_and_ages_without_audiences() {
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    let recorder = DebuggingRecorder::new();
    let snapshots = recorder.snapshotter();
    let world = metrics::with_local_recorder(&recorder, World::new);
    runtime().block_on(async {
        world.hello.bearer().await.unwrap();
        world.hello.bearer().await.unwrap();
        world.pass(3400);
        world.mood(Mood::Fails(SourceErrorKind::Refused));
        world.hello.bearer().await.unwrap();
        settle().await;
        world.mood(Mood::Panics);
        world.pass(10);
        world.hello.bearer().await.unwrap();
        settle().await;
    });
    let mut seen: Vec<_> = snapshots
        .snapshot()
        .into_vec()
        .into_iter()
        .filter_map(|(key, _, _, value)| {
            assert!(!format!("{key:?}").contains("run.app"), "{key:?}");
            let label = key.key().labels().next().map_or("", |label| label.value());
            let value = match value {
                DebugValue::Counter(count) => count as f64,
                DebugValue::Gauge(value) => value.into_inner(),
                DebugValue::Histogram(values) => values.len() as f64,
            };
            (value > 0.0).then(|| format!("{} {label} {value}", key.key().name()))
        })
        .collect();
    seen.sort();
    assert_eq!(
        seen,
        [
            "idtoken_audiences  1",
            "idtoken_fetch_failures_total interrupted 1",
            "idtoken_fetch_failures_total refused 1",
            "idtoken_fetch_seconds  3",
            "idtoken_hits_total  3",
            "idtoken_misses_total  1",
            "idtoken_refreshes_total  2",
            "idtoken_token_age_seconds  3",
        ]
    );
}

const KINDS: [SourceErrorKind; 4] = [
    SourceErrorKind::InvalidAnswer,
    SourceErrorKind::Misconfigured,
    SourceErrorKind::Refused,
    SourceErrorKind::Transient,
];

/// Counts the spans and events of this crate.
#[derive(Clone, Default)]
struct Told(Arc<(AtomicU32, AtomicU32)>);

impl Told {
    fn spans_and_events(&self) -> (u32, u32) {
        let (spans, events) = &*self.0;
        (spans.load(Ordering::SeqCst), events.load(Ordering::SeqCst))
    }
}

impl tracing::Subscriber for Told {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("idtoken")
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        let spans = self.0.0.fetch_add(1, Ordering::SeqCst);
        tracing::span::Id::from_u64(u64::from(spans) + 1)
    }

    fn event(&self, _: &tracing::Event<'_>) {
        self.0.1.fetch_add(1, Ordering::SeqCst);
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn fetches_are_told_and_hits_are_not() {
    let told = Told::default();
    // A second one, for with a single one it is left to whichever thread comes to a place first
    // whether anybody listens there.
    let _second = tracing::Dispatch::new(Told::default());
    let _told = tracing::subscriber::set_default(told.clone());
    let world = World::new();
    world.hello.bearer().await.unwrap();
    assert_eq!(told.spans_and_events(), (1, 1));
    for _ in 0..1000 {
        world.hello.bearer().await.unwrap();
        world.hello.try_bearer().unwrap();
    }
    assert_eq!(told.spans_and_events(), (1, 1));
    let moods = [Mood::Fails(SourceErrorKind::Transient), Mood::Panics];
    for (mood, fetches) in moods.into_iter().zip(2..) {
        world.mood(mood);
        world.pass(3600);
        world.hello.bearer().await.unwrap_err();
        assert_eq!(told.spans_and_events(), (fetches, fetches));
    }
}

#[tokio::test]
async fn debug_output_shows_no_token() {
    let world = World::new();
    let bearer = world.hello.bearer().await.unwrap();
    let jwt = bearer
        .to_str()
        .unwrap()
        .strip_prefix("Bearer ")
        .unwrap()
        .to_owned();
    let shown = format!("{:?} {:?} {bearer:?}", world.cache, world.hello);
    assert!(jwt.split('.').all(|part| !shown.contains(part)), "{shown}");
}
