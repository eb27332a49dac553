//! Many at once: cold caches, cold verifiers, and a stranger who sends unknown keys.
//!
//! Times here are by the wall clock, since waiting is what they are about.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use google_cloud_auth::credentials::idtoken::{mds, verifier};
use idtoken::source::MetadataServer;
use idtoken::{TokenCache, Verifier};
use idtoken_emulator::{Emulator, Endpoint, Fault, TokenRequest};
use tokio::runtime::Runtime;
use tower::BoxError;

use crate::fixtures::{self, AUDIENCE, EMAIL};
use crate::inbound::World;
use crate::measure::{Effort, min_and_median};
use crate::report::{Bound, Report};

pub fn run(effort: Effort, report: &mut Report) {
    let runtime = Runtime::new().expect("a runtime");
    if let Err(error) = runtime.block_on(cold_caches(effort, report)) {
        report.fail("cold storms of callers", error);
    }
    let world = match World::new(&runtime) {
        Ok(world) => Arc::new(world),
        Err(error) => return report.fail("storms of verifications", error),
    };
    if let Err(error) = runtime.block_on(cold_verifiers(effort, report, &world)) {
        report.fail("cold storms of verifications", error);
    }
    if let Err(error) = runtime.block_on(attack(effort, report, &world)) {
        report.fail("attack with unknown keys", error);
    }
}

/// So many tasks ask a cache that holds nothing.
async fn cold_caches(effort: Effort, report: &mut Report) -> Result<(), BoxError> {
    let repeats = if effort.short { 5 } else { 15 };
    let header = [
        "",
        "fetches",
        "failed",
        "one fetch ms",
        "p50 ms",
        "p99 ms",
        "last ms",
        "last / one fetch",
    ];
    let mut rows = Vec::new();
    // The metadata server of Google answers in some 20 ms when it has to sign.
    for delay_ms in [0, 20] {
        let delay = Duration::from_millis(delay_ms);
        let emulator = slow_emulator(Endpoint::Identity, delay).await?;
        for (tasks, audiences) in [(1_000, 1), (10_000, 1), (1_000, 50), (10_000, 50)] {
            for peer in [Peer::Idtoken, Peer::GoogleCloudAuth] {
                let (mut one, mut storms) = (Vec::new(), Vec::new());
                for _ in 0..repeats {
                    one.push(cold_storm(&emulator, peer, 1, 1).await?.last_ms());
                    storms.push(cold_storm(&emulator, peer, tasks, audiences).await?);
                }
                let (_, one) = min_and_median(one);
                storms.sort_by(|a, b| a.last_ms().total_cmp(&b.last_ms()));
                let storm = &storms[storms.len() / 2];
                let ratio = storm.last_ms() / one;
                let name = format!(
                    "{}: {tasks} tasks, {audiences} audiences, answer after {delay_ms} ms",
                    peer.name()
                );
                if matches!(peer, Peer::Idtoken) && tasks == 1_000 {
                    let most = storms.iter().map(|storm| storm.fetches).max().unwrap_or(0);
                    let per_audience = most as f64 / f64::from(audiences);
                    let work = format!("{name}: fetches per audience");
                    report.goal_value(&work, per_audience, Bound::AtMost(1.0));
                    let work = format!("{name}: last waiter / one fetch");
                    report.goal_value(&work, ratio, Bound::AtMost(1.5));
                }
                rows.push(storm.row(name, one, ratio));
            }
        }
    }
    let title = format!("cold storms of callers, wall clock, median of {repeats} storms");
    report.add_table(&title, &header, &rows);
    Ok(())
}

#[derive(Clone, Copy)]
enum Peer {
    Idtoken,
    GoogleCloudAuth,
}

impl Peer {
    fn name(self) -> &'static str {
        match self {
            Self::Idtoken => "idtoken",
            Self::GoogleCloudAuth => "google-cloud-auth",
        }
    }
}

struct Storm {
    fetches: u64,
    failed: usize,
    /// In order.
    waits_ms: Vec<f64>,
}

impl Storm {
    fn last_ms(&self) -> f64 {
        self.percentile(1.0)
    }

    fn percentile(&self, part: f64) -> f64 {
        let last = self.waits_ms.len().saturating_sub(1);
        self.waits_ms
            .get((last as f64 * part) as usize)
            .copied()
            .unwrap_or(f64::NAN)
    }

    fn row(&self, name: String, one: f64, ratio: f64) -> Vec<String> {
        let ms = |value: f64| format!("{value:.2}");
        vec![
            name,
            self.fetches.to_string(),
            self.failed.to_string(),
            ms(one),
            ms(self.percentile(0.5)),
            ms(self.percentile(0.99)),
            ms(self.last_ms()),
            ms(ratio),
        ]
    }
}

async fn cold_storm(
    emulator: &Emulator,
    peer: Peer,
    tasks: u32,
    audiences: u32,
) -> Result<Storm, BoxError> {
    let before = emulator.hits(Endpoint::Identity);
    let names = (0..audiences as usize).map(fixtures::audience);
    let (waits_ms, failed) = match peer {
        Peer::Idtoken => {
            let source = MetadataServer::builder().host(emulator.host()).build()?;
            let tokens = TokenCache::new(source);
            let handles: Vec<_> = names.map(|name| tokens.handle(&name)).collect();
            storm(tasks, &handles, |handle| async move {
                handle.bearer().await.is_ok()
            })
            .await
        }
        Peer::GoogleCloudAuth => {
            // Each starts its fetch when it is built.
            let started = Instant::now();
            let build = |name: idtoken::Audience| {
                mds::Builder::new(name.as_str())
                    .with_endpoint(emulator.url())
                    .build()
            };
            let credentials = names.map(build).collect::<Result<Vec<_>, _>>()?;
            let ask = |one: google_cloud_auth::credentials::idtoken::IDTokenCredentials| async move {
                one.id_token().await.is_ok()
            };
            storm_since(started, tasks, &credentials, ask).await
        }
    };
    Ok(Storm {
        fetches: emulator.hits(Endpoint::Identity) - before,
        failed,
        waits_ms,
    })
}

async fn storm<T, F>(
    tasks: u32,
    of: &[T],
    ask: impl Fn(T) -> F + Copy + Send + 'static,
) -> (Vec<f64>, usize)
where
    T: Clone + Send + 'static,
    F: Future<Output = bool> + Send,
{
    storm_since(Instant::now(), tasks, of, ask).await
}

/// When each of `tasks` was done, in milliseconds since `started`, in order; and how many failed.
async fn storm_since<T, F>(
    started: Instant,
    tasks: u32,
    of: &[T],
    ask: impl Fn(T) -> F + Copy + Send + 'static,
) -> (Vec<f64>, usize)
where
    T: Clone + Send + 'static,
    F: Future<Output = bool> + Send,
{
    let running: Vec<_> = (0..tasks as usize)
        .map(|number| {
            let one = of[number % of.len()].clone();
            tokio::spawn(async move {
                let good = ask(one).await;
                (started.elapsed().as_secs_f64() * 1e3, good)
            })
        })
        .collect();
    let (mut waits, mut failed) = (Vec::with_capacity(running.len()), 0);
    for task in running {
        let (wait, good) = task.await.unwrap_or((f64::NAN, false));
        waits.push(wait);
        failed += usize::from(!good);
    }
    waits.sort_by(f64::total_cmp);
    (waits, failed)
}

/// So many tasks verify with a verifier that has no keys yet.
async fn cold_verifiers(
    effort: Effort,
    report: &mut Report,
    world: &Arc<World>,
) -> Result<(), BoxError> {
    let repeats = if effort.short { 5 } else { 15 };
    let tasks = 1_000;
    world
        .emulator
        .fail(Endpoint::Jwks, Fault::Delay(Duration::from_millis(20)));
    let tokens: Vec<String> = world.tokens.to_vec();
    let mut rows = Vec::new();
    for peer in [Peer::Idtoken, Peer::GoogleCloudAuth] {
        let mut storms = Vec::new();
        for _ in 0..repeats {
            let before = world.emulator.hits(Endpoint::Jwks);
            let (waits_ms, failed) = match peer {
                Peer::Idtoken => {
                    let verifier = fetching(world)?;
                    let with = with_each(&tokens, &verifier);
                    storm(tasks, &with, |(token, verifier)| async move {
                        verifier.verify(&token).await.is_ok()
                    })
                    .await
                }
                Peer::GoogleCloudAuth => {
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
        if matches!(peer, Peer::Idtoken) {
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
                peer.name()
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
async fn attack(effort: Effort, report: &mut Report, world: &Arc<World>) -> Result<(), BoxError> {
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

async fn slow_emulator(endpoint: Endpoint, delay: Duration) -> Result<Emulator, BoxError> {
    let emulator = Emulator::start().await?;
    if !delay.is_zero() {
        emulator.fail(endpoint, Fault::Delay(delay));
    }
    Ok(emulator)
}
