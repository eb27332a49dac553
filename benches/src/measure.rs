//! Rounds in turn: A B C, A B C, … so that whatever disturbs the machine disturbs all alike.

use std::future::Future;
use std::pin::pin;
use std::sync::Barrier;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use cpu_time::ThreadTime;

use crate::alloc::Counts;

/// How long to go on.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    pub short: bool,
    rounds: usize,
    rounds_on_two_threads: usize,
    round: Duration,
}

impl Effort {
    pub fn new(short: bool) -> Self {
        Self {
            short,
            rounds: if short { 60 } else { 300 },
            rounds_on_two_threads: if short { 20 } else { 100 },
            round: Duration::from_micros(1_500),
        }
    }
}

/// One operation to measure.
pub struct Case {
    name: String,
    run: Box<dyn Fn(u64) + Send + Sync>,
    on_two_threads: bool,
}

impl Case {
    /// `run(n)` does the operation `n` times; what it does besides is spread over all of them.
    pub fn new(name: impl Into<String>, run: impl Fn(u64) + Send + Sync + 'static) -> Self {
        Self {
            name: name.into(),
            run: Box::new(run),
            on_two_threads: true,
        }
    }

    /// Does not work when two threads do it at once.
    pub fn alone(mut self) -> Self {
        self.on_two_threads = false;
        self
    }
}

/// What was measured of one operation: CPU time of the thread, in nanoseconds for one operation.
#[derive(Clone, Debug)]
pub struct Row {
    pub name: String,
    pub min: f64,
    pub median: f64,
    pub min_on_two: f64,
    pub median_on_two: f64,
    pub allocations: f64,
    pub bytes: f64,
}

/// Measures `cases` in turn.
pub fn measure(effort: Effort, cases: &[Case]) -> Vec<Row> {
    let counts: Vec<u64> = cases.iter().map(|case| calibrate(effort, case)).collect();
    let rounds = |rounds: usize, once: &dyn Fn(&Case, u64) -> f64| -> Vec<(f64, f64)> {
        let mut times = vec![Vec::with_capacity(rounds); cases.len()];
        for _ in 0..rounds {
            for ((case, count), times) in cases.iter().zip(&counts).zip(&mut times) {
                times.push(once(case, *count));
            }
        }
        times.into_iter().map(min_and_median).collect()
    };
    let alone = rounds(effort.rounds, &time);
    let in_twos = rounds(effort.rounds_on_two_threads, &time_on_two_threads);
    let rows = cases.iter().zip(alone).zip(in_twos);
    rows.map(|((case, (min, median)), (min_on_two, median_on_two))| {
        let (allocations, bytes) = allocations(case);
        Row {
            name: case.name.clone(),
            min,
            median,
            min_on_two,
            median_on_two,
            allocations,
            bytes,
        }
    })
    .collect()
}

/// Polls a future that must not have to wait.
pub fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("an operation that was to be measured had to wait"),
    }
}

/// The smallest and the middle one.
pub fn min_and_median(mut values: Vec<f64>) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[0], values[values.len() / 2])
}

/// How many operations fill a round; warms everything up on the way.
fn calibrate(effort: Effort, case: &Case) -> u64 {
    let mut count = 1;
    loop {
        let each = time(case, count);
        if each * count as f64 >= effort.round.as_nanos() as f64 / 4.0 {
            return ((effort.round.as_nanos() as f64 / each) as u64).max(1);
        }
        count *= 2;
    }
}

fn time(case: &Case, count: u64) -> f64 {
    let started = ThreadTime::now();
    (case.run)(count);
    started.elapsed().as_nanos() as f64 / count as f64
}

/// The mean of two threads that do the same at the same time.
fn time_on_two_threads(case: &Case, count: u64) -> f64 {
    if !case.on_two_threads {
        return f64::NAN;
    }
    let barrier = Barrier::new(2);
    let run = || {
        barrier.wait();
        time(case, count)
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(run);
        let own = run();
        let other = other.join().expect("a measured operation panicked");
        (own + other) / 2.0
    })
}

/// Allocations and bytes of one operation, without those of the preparation.
fn allocations(case: &Case) -> (f64, f64) {
    let counted = |count: u64| {
        let before = Counts::now();
        (case.run)(count);
        Counts::now().since(before)
    };
    let (few, many) = (counted(FEW), counted(FEW + MORE));
    let difference = |many: u64, few: u64| (many as f64 - few as f64) / MORE as f64;
    (
        difference(many.allocations, few.allocations),
        difference(many.bytes, few.bytes),
    )
}

const FEW: u64 = 64;
const MORE: u64 = 256;
