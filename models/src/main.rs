//! Runs every model and prints how many interleavings it went through.
//!
//! `cargo run --manifest-path models/Cargo.toml`

#[path = "../../crates/idtoken/src/cache/claim.rs"]
mod claim;
#[path = "../../crates/idtoken/src/flight.rs"]
#[allow(dead_code)]
mod flight;
mod sync;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use loom::future::block_on;
use loom::thread;

use self::claim::Claim;
use self::flight::{Boarding, Flight, FlightError};

fn main() {
    check("two callers share one flight", 3, || {
        callers_share_one_flight(2);
    });
    check("three callers share one flight", 2, || {
        callers_share_one_flight(3);
    });
    check(
        "a caller that leaves takes nothing along",
        3,
        cancelled_caller,
    );
    check("a panic strands nobody", 3, panicking_flight);
    check("dropping the flight lets a waiter go", 3, dropped_flight);
    check("one claim in a pause", 4, one_claim);
    check("a claim again after the pause", 4, claim_after_the_pause);
}

/// A slot in small: what landed last.
type Landed = Arc<loom::sync::Mutex<Option<u32>>>;

fn enter(
    flight: &Flight<u32>,
    landed: &Landed,
    runs: &Arc<AtomicU32>,
) -> Result<Boarding<u32>, FlightError> {
    let (landed, recheck, runs) = (Arc::clone(landed), Arc::clone(landed), Arc::clone(runs));
    flight.enter(
        move || *recheck.lock().unwrap(),
        move || async move {
            let value = runs.fetch_add(1, Ordering::SeqCst);
            thread::yield_now();
            *landed.lock().unwrap() = Some(value);
            value
        },
    )
}

fn outcome(boarding: Result<Boarding<u32>, FlightError>) -> Result<u32, FlightError> {
    match boarding? {
        Boarding::Landed(value) => Ok(value),
        Boarding::Wait(waiter) => block_on(waiter.wait()),
    }
}

fn callers_share_one_flight(callers: usize) {
    let flight = Arc::new(Flight::new(LIMIT));
    let (landed, runs) = (Landed::default(), Arc::new(AtomicU32::new(0)));
    let others: Vec<_> = (1..callers)
        .map(|_| {
            let (flight, landed, runs) =
                (Arc::clone(&flight), Arc::clone(&landed), Arc::clone(&runs));
            thread::spawn(move || outcome(enter(&flight, &landed, &runs)))
        })
        .collect();
    assert_eq!(outcome(enter(&flight, &landed, &runs)), Ok(0));
    for other in others {
        assert_eq!(other.join().unwrap(), Ok(0));
    }
    assert_eq!(runs.load(Ordering::SeqCst), 1, "a second flight took off");
}

fn cancelled_caller() {
    let flight = Arc::new(Flight::new(LIMIT));
    let (landed, runs) = (Landed::default(), Arc::new(AtomicU32::new(0)));
    let leaver = {
        let (flight, landed, runs) = (Arc::clone(&flight), Arc::clone(&landed), Arc::clone(&runs));
        thread::spawn(move || drop(enter(&flight, &landed, &runs)))
    };
    assert_eq!(outcome(enter(&flight, &landed, &runs)), Ok(0));
    leaver.join().unwrap();
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

/// loom cannot unwind a thread, so the work ends as it would in a panic: without a value.
fn panicking_flight() {
    let flight = Arc::new(Flight::<u32>::new(LIMIT));
    let waiter = {
        let flight = Arc::clone(&flight);
        thread::spawn(move || outcome(flight.enter(|| None, || Lost(thread::yield_now))))
    };
    let own = outcome(flight.enter(|| None, || Lost(thread::yield_now)));
    assert_eq!(own, Err(FlightError::Lost));
    assert_eq!(waiter.join().unwrap(), Err(FlightError::Lost));
    assert!(!flight.is_under_way(), "a dead flight holds its place");
}

fn dropped_flight() {
    let flight = Flight::<u32>::new(LIMIT);
    let (landed, runs) = (Landed::default(), Arc::new(AtomicU32::new(0)));
    let boarding = enter(&flight, &landed, &runs);
    drop(flight);
    assert!(matches!(outcome(boarding), Ok(0) | Err(FlightError::Lost)));
}

fn one_claim() {
    let claim = Arc::new(Claim::new());
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
    let callers: Vec<_> = (0..3)
        .map(|n| {
            let claim = Arc::clone(&claim);
            // Clocks are read at slightly different moments.
            let now = now - Duration::from_millis(n);
            thread::spawn(move || claim.take(now, PAUSE))
        })
        .collect();
    let claimed = callers
        .into_iter()
        .map(|caller| caller.join().unwrap())
        .filter(|claimed| *claimed)
        .count();
    assert_eq!(claimed, 1);
}

fn claim_after_the_pause() {
    let claim = Arc::new(Claim::new());
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
    assert!(claim.take(now, PAUSE));
    let other = {
        let claim = Arc::clone(&claim);
        thread::spawn(move || claim.take(now + PAUSE, PAUSE))
    };
    let own = claim.take(now + PAUSE, PAUSE);
    assert!(own ^ other.join().unwrap(), "exactly one");
}

/// Work that ends without a value: the task that polls it is told to stop.
struct Lost(fn());

impl std::future::Future for Lost {
    type Output = u32;

    fn poll(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<u32> {
        (self.0)();
        sync::abandon();
        std::task::Poll::Pending
    }
}

fn check(name: &str, preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let seen = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&seen);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(move || {
        count.fetch_add(1, Ordering::Relaxed);
        model();
    });
    let seen = seen.load(Ordering::Relaxed);
    println!("{name}: {seen} interleavings, up to {preemptions} preemptions");
}

const LIMIT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_secs(10);
