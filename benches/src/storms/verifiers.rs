//! Verifications at once: with no keys yet, and while a stranger sends unknown ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use google_cloud_auth::credentials::idtoken::verifier;
use idtoken::Verifier;
use idtoken_emulator::{Endpoint, Fault, TokenRequest};
use tower::BoxError;

use super::{Storm, storm};
use crate::fixtures::{AUDIENCE, EMAIL};
use crate::inbound::World;
use crate::measure::Effort;
use crate::report::{Bound, Report};

/// So many tasks verify with a verifier that has no keys yet.
pub async fn cold(effort: Effort, report: &mut Report, world: &Arc<World>) -> Result<(), BoxError> {
    let repeats = if effort.short { 5 } else { 15 };
    let tasks = 1_000;
    world
        .emulator
        .fail(Endpoint::Jwks, Fault::Delay(Duration::from_millis(20)));
    let tokens: Vec<String> = world.tokens.to_vec();
    let mut rows = Vec::new();
    for ours in [true, false] {
        let mut storms = Vec::new();
        for _ in 0..repeats {
            let before = world.emulator.hits(Endpoint::Jwks);
            let (waits_ms, failed) = match ours {
                true => {
                    let verifier = fetching(world)?;
                    let with = with_each(&tokens, &verifier);
                    storm(tasks, &with, |(token, verifier)| async move {
                        verifier.verify(&token).await.is_ok()
                    })
                    .await
                }
                false => {
                    let verifier = Arc::new(google(world));
                    let with = with_each(&tokens, &verifier);
                    storm(tasks, &with, |(token, verifier)| async move {
                        verifier.verify(&token).await.is_ok()
                    })
                    .await
                }
            };
            storms.push(Storm {
                fetches: world.emulator.hits(Endpoint::Jwks) - before,
                failed,
                waits_ms,
            });
        }
        storms.sort_by(|a, b| a.last_ms().total_cmp(&b.last_ms()));
        let storm = &storms[storms.len() / 2];
        if ours {
            let refused: usize = storms.iter().map(|storm| storm.failed).sum();
            let fetches = storms.iter().map(|storm| storm.fetches).max().unwrap_or(0);
            let work = "1,000 cold verifications: valid tokens refused";
            report.goal_value(work, refused as f64, Bound::AtMost(0.0));
            let work = "1,000 cold verifications: key fetches";
            report.goal_value(work, fetches as f64, Bound::AtMost(1.0));
        }
        let ms = |value: f64| format!("{value:.2}");
        rows.push(vec![
            format!(
                "{}: {tasks} tasks, 64 tokens, keys after 20 ms",
                if ours { "idtoken" } else { "google-cloud-auth" }
            ),
            storm.fetches.to_string(),
            storm.failed.to_string(),
            ms(storm.percentile(0.5)),
            ms(storm.percentile(0.99)),
            ms(storm.last_ms()),
        ]);
    }
    world.emulator.heal(Endpoint::Jwks);
    let title = format!("cold verifications, wall clock, median of {repeats} storms");
    let header = [
        "",
        "key fetches",
        "valid ones refused",
        "p50 ms",
        "p99 ms",
        "last ms",
    ];
    report.add_table(&title, &header, &rows);
    Ok(())
}

/// Valid tokens are verified while somebody sends tokens that name unknown keys.
pub async fn attack(
    effort: Effort,
    report: &mut Report,
    world: &Arc<World>,
) -> Result<(), BoxError> {
    let span = Duration::from_millis(if effort.short { 500 } else { 2_000 });
    let unknown = |number: u32| {
        let request = TokenRequest::new(AUDIENCE).account(EMAIL);
        world
            .emulator
            .mint(&request.header("kid", format!("unknown-{number}")))
    };
    let bad: Arc<[String]> = (0..64).map(unknown).collect();
    let mut rows = Vec::new();
    let ours = fetching(world)?;
    let theirs = Arc::new(google(world));
    for attacked in [false, true] {
        let bad = attacked.then(|| Arc::clone(&bad));
        let result = {
            let verify = |verifier: Verifier, token: String| async move {
                verifier.verify(&token).await.is_ok()
            };
            under_attack(world, span, ours.clone(), bad.clone(), verify).await
        };
        if attacked {
            let work = "attack with unknown keys: valid tokens refused";
            report.goal_value(work, result.refused as f64, Bound::AtMost(0.0));
        }
        rows.push(result.row("idtoken", attacked));
        let result = {
            let verify = |verifier: Arc<verifier::Verifier>, token: String| async move {
                verifier.verify(&token).await.is_ok()
            };
            under_attack(world, span, Arc::clone(&theirs), bad, verify).await
        };
        rows.push(result.row("google-cloud-auth", attacked));
    }
    let header = [
        "",
        "valid ones accepted /s",
        "valid ones refused",
        "attacks /s",
        "key fetches",
    ];
    report.add_table(
        "one task verifies, one task attacks, wall clock",
        &header,
        &rows,
    );
    Ok(())
}

struct Attack {
    seconds: f64,
    accepted: u64,
    refused: u64,
    attacks: u64,
    fetches: u64,
}

impl Attack {
    fn row(&self, name: &str, attacked: bool) -> Vec<String> {
        let attack = if attacked { "under attack" } else { "in peace" };
        let each_second = |count: u64| format!("{:.0}", count as f64 / self.seconds);
        vec![
            format!("{name}, {attack}"),
            each_second(self.accepted),
            self.refused.to_string(),
            each_second(self.attacks),
            self.fetches.to_string(),
        ]
    }
}

async fn under_attack<V, F>(
    world: &World,
    span: Duration,
    verifier: V,
    bad: Option<Arc<[String]>>,
    verify: impl Fn(V, String) -> F + Copy + Send + 'static,
) -> Attack
where
    V: Clone + Send + 'static,
    F: Future<Output = bool> + Send,
{
    let before = world.emulator.hits(Endpoint::Jwks);
    let (over, attacks) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let attacker = bad.map(|bad| {
        let (verifier, over, attacks) = (verifier.clone(), Arc::clone(&over), Arc::clone(&attacks));
        tokio::spawn(async move {
            for token in bad.iter().cycle() {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                verify(verifier.clone(), token.clone()).await;
                attacks.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        })
    });
    let tokens = Arc::clone(&world.tokens);
    let victim = tokio::spawn(async move {
        let (started, mut accepted, mut refused) = (Instant::now(), 0, 0);
        for token in tokens.iter().cycle() {
            if started.elapsed() > span {
                break;
            }
            if verify(verifier.clone(), token.clone()).await {
                accepted += 1;
            } else {
                refused += 1;
            }
            tokio::task::yield_now().await;
        }
        (accepted, refused, started.elapsed().as_secs_f64())
    });
    let (accepted, refused, seconds) = victim.await.unwrap_or((0, u64::MAX, 1.0));
    over.store(true, Ordering::Relaxed);
    if let Some(attacker) = attacker {
        let _ = attacker.await;
    }
    Attack {
        seconds,
        accepted,
        refused,
        attacks: attacks.load(Ordering::Relaxed),
        fetches: world.emulator.hits(Endpoint::Jwks) - before,
    }
}

/// Ours, with keys to be fetched, and each token judged anew.
fn fetching(world: &World) -> Result<Verifier, BoxError> {
    let verifier = Verifier::builder()
        .audience(AUDIENCE)
        .allow(idtoken::Principal::service_account(EMAIL))
        .jwks_url(world.emulator.jwks_url())
        .remember_tokens(0)
        .build()?;
    Ok(verifier)
}

fn google(world: &World) -> verifier::Verifier {
    let builder = verifier::Builder::new([AUDIENCE]).with_email(EMAIL);
    builder.with_jwks_url(world.emulator.jwks_url()).build()
}

fn with_each<V: Clone>(tokens: &[String], verifier: &V) -> Vec<(String, V)> {
    tokens
        .iter()
        .map(|token| (token.clone(), verifier.clone()))
        .collect()
}
