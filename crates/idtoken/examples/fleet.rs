//! What a fleet asks of the token endpoint over a day, with jitter and without.
//!
//! Ten thousand instances are deployed within a minute; each calls a hundred audiences all day, each
//! of those every three seconds on average. When a token is due, the cache's own schedule says; the
//! call that finds it so refreshes it. Run it in release mode, or with fewer instances:
//!
//! ```text
//! cargo run --release -p idtoken --example fleet
//! cargo run -p idtoken --example fleet -- 300
//! ```
//!
//! It fails when jitter does not take the peaks down.

use std::time::{Duration, SystemTime};

use self::jitter::Jitter;
use self::schedule::Schedule;

#[path = "../src/jitter.rs"]
#[allow(dead_code, reason = "the cache's own, of which not all is needed")]
mod jitter;
#[path = "../src/cache/schedule.rs"]
#[allow(dead_code, reason = "the cache's own, of which not all is needed")]
mod schedule;

const AUDIENCES: u64 = 100;
const DAY_S: u64 = 86_400;
const TOKEN_LIFE: Duration = Duration::from_secs(3600);
const DEPLOYED_WITHIN: Duration = Duration::from_secs(60);
const GAP_S: f64 = 3.0;

fn main() {
    let asked_for = std::env::args().nth(1);
    let instances = asked_for.map_or(10_000, |text| text.parse().expect("a number of instances"));
    println!("{instances} instances x {AUDIENCES} audiences, one day, tokens of an hour");
    println!("margin    jitter    mean/s    peak/s    peak:mean    last hour's peak:mean");
    let mut last_ratio = f64::INFINITY;
    for (margin_s, jitter_s) in [(225, 0), (225, 60), (1800, 1600), (3000, 2800)] {
        let schedule = Schedule {
            margin: Duration::from_secs(margin_s),
            pause: schedule::DEFAULT_PAUSE,
        };
        let per_second = simulate(&schedule, Duration::from_secs(jitter_s), instances);
        // The first fetch of each is due to the deployment, not to the refreshing.
        let settled = &per_second[1800..];
        let last_hour = &per_second[per_second.len() - 3600..];
        let (mean, peak) = (mean(settled), peak(settled));
        let ratio = peak / mean;
        println!(
            "{margin_s:>5} s {jitter_s:>7} s {mean:>9.0} {peak:>9.0} {ratio:>12.1} {:>16.1}",
            self::peak(last_hour) / self::mean(last_hour),
        );
        assert!(ratio < last_ratio, "more jitter, but no lower peak");
        last_ratio = ratio;
    }
}

/// Requests in each second of the day.
fn simulate(schedule: &Schedule, most_jitter: Duration, instances: u64) -> Vec<u32> {
    let (mut rng, jitter) = (fastrand::Rng::with_seed(1), Jitter::seeded(1));
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let mut per_second = vec![0; DAY_S as usize];
    for _ in 0..instances {
        let deployed = DEPLOYED_WITHIN.mul_f64(rng.f64());
        for _ in 0..AUDIENCES {
            let mut passed = deployed + wait(&mut rng);
            while let Some(count) = per_second.get_mut(passed.as_secs() as usize) {
                *count += 1;
                let now = start + passed;
                let spread = jitter.up_to(most_jitter);
                let plan = schedule.plan(now, Some(now), now + TOKEN_LIFE, spread);
                let plan = plan.expect("a token that has just been made is good");
                passed += plan.due_after + wait(&mut rng);
            }
        }
    }
    per_second
}

/// Until the next call: exponentially distributed.
fn wait(rng: &mut fastrand::Rng) -> Duration {
    Duration::from_secs_f64(-GAP_S * (1.0 - rng.f64()).ln())
}

fn mean(per_second: &[u32]) -> f64 {
    per_second.iter().map(|n| f64::from(*n)).sum::<f64>() / per_second.len() as f64
}

fn peak(per_second: &[u32]) -> f64 {
    per_second.iter().copied().max().map_or(0.0, f64::from)
}
