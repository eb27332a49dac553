//! What a fleet asks of the token endpoint over a day, with jitter and without.
//!
//! Ten thousand instances are deployed within a minute; each calls a hundred audiences all day.
//! The rule is the cache's own: a token of an hour is due with less than the margin left, delayed
//! at random by up to the jitter, and each call that finds it due refreshes it. Calls to one
//! audience come every three seconds on average. Run it in release mode:
//!
//! ```text
//! cargo run --release -p idtoken --example fleet
//! ```

const INSTANCES: u64 = 10_000;
const AUDIENCES: u64 = 100;
const DAY_S: u64 = 86_400;
const TOKEN_LIFE_S: f64 = 3600.0;
const LAST_CALL_S: f64 = 10.0;
const DEPLOYED_WITHIN_S: f64 = 60.0;
const GAP_S: f64 = 3.0;

fn main() {
    println!("{INSTANCES} instances x {AUDIENCES} audiences, one day, tokens of an hour");
    println!("margin    jitter    mean/s    peak/s    peak:mean    last hour's peak:mean");
    for (margin_s, jitter_s) in [
        (225.0, 0.0),
        (225.0, 60.0),
        (1800.0, 1600.0),
        (3000.0, 2800.0),
    ] {
        let per_second = simulate(margin_s, jitter_s);
        // The first fetch of each is due to the deployment, not to the refreshing.
        let settled = &per_second[1800..];
        let last_hour = &per_second[per_second.len() - 3600..];
        let mean = mean(settled);
        let peak = peak(settled);
        println!(
            "{margin_s:>5} s {jitter_s:>7} s {mean:>9.0} {peak:>9.0} {:>12.1} {:>16.1}",
            peak / mean,
            self::peak(last_hour) / self::mean(last_hour),
        );
    }
}

/// Requests in each second of the day.
fn simulate(margin_s: f64, jitter_s: f64) -> Vec<u32> {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut per_second = vec![0; DAY_S as usize];
    for _ in 0..INSTANCES {
        let deployed_s = rng.f64() * DEPLOYED_WITHIN_S;
        for _ in 0..AUDIENCES {
            let mut now_s = deployed_s + wait(&mut rng);
            while let Some(count) = per_second.get_mut(now_s as usize) {
                *count += 1;
                let until_due_s = TOKEN_LIFE_S - margin_s + rng.f64() * jitter_s;
                now_s += until_due_s.min(TOKEN_LIFE_S - LAST_CALL_S) + wait(&mut rng);
            }
        }
    }
    per_second
}

/// Until the next call: exponentially distributed.
fn wait(rng: &mut fastrand::Rng) -> f64 {
    -GAP_S * (1.0 - rng.f64()).ln()
}

fn mean(per_second: &[u32]) -> f64 {
    per_second.iter().map(|n| f64::from(*n)).sum::<f64>() / per_second.len() as f64
}

fn peak(per_second: &[u32]) -> f64 {
    per_second.iter().copied().max().map_or(0.0, f64::from)
}
