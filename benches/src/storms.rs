//! Many at once: cold caches, cold verifiers, and a stranger who sends unknown keys.
//!
//! Times here are by the wall clock, since waiting is what they are about.

use std::sync::Arc;
use std::time::{Duration, Instant};

use google_cloud_auth::credentials::idtoken::mds;
use idtoken::TokenCache;
use idtoken::source::MetadataServer;
use idtoken_emulator::{Emulator, Endpoint, Fault};
use tokio::runtime::Runtime;
use tower::BoxError;

use crate::fixtures;
use crate::inbound::World;
use crate::measure::{Effort, min_and_median};
use crate::report::{Bound, Report};

mod verifiers;

pub fn run(effort: Effort, report: &mut Report) {
    let runtime = Runtime::new().expect("a runtime");
    if let Err(error) = runtime.block_on(cold_caches(effort, report)) {
        report.fail("cold storms of callers", error);
    }
    let world = match World::new(&runtime) {
        Ok(world) => Arc::new(world),
        Err(error) => return report.fail("storms of verifications", error),
    };
    if let Err(error) = runtime.block_on(verifiers::cold(effort, report, &world)) {
        report.fail("cold storms of verifications", error);
    }
    if let Err(error) = runtime.block_on(verifiers::attack(effort, report, &world)) {
        report.fail("attack with unknown keys", error);
    }
}

/// So many tasks ask a cache that holds nothing.
async fn cold_caches(effort: Effort, report: &mut Report) -> Result<(), BoxError> {
    let repeats = if effort.short { 15 } else { 31 };
    let header = [
        "",
        "fetches",
        "failed",
        "one fetch ms",
        "p50 ms",
        "p99 ms",
        "last ms",
        "least",
        "last / one fetch",
    ];
    let mut rows = Vec::new();
    // The metadata server of Google answers in some 20 ms when it has to sign.
    for delay_ms in [0, 20] {
        let delay = Duration::from_millis(delay_ms);
        let emulator = slow_emulator(Endpoint::Identity, delay).await?;
        for (tasks, audiences) in [(1_000, 1), (10_000, 1), (1_000, 50), (10_000, 50)] {
            let mut floor = f64::NAN;
            for peer in Peer::ALL {
                // Tasks that have nothing to share are no storm.
                let is_floor = matches!(peer, Peer::Floor);
                if is_floor && tasks != 1_000 {
                    continue;
                }
                let tasks = if is_floor { audiences } else { tasks };
                let (mut one, mut storms) = (Vec::new(), Vec::new());
                for _ in 0..repeats {
                    one.push(cold_storm(&emulator, peer, 1, 1).await?.last_ms());
                    storms.push(cold_storm(&emulator, peer, tasks, audiences).await?);
                }
                let (_, one) = min_and_median(one);
                storms.sort_by(|a, b| a.last_ms().total_cmp(&b.last_ms()));
                let (storm, least) = (&storms[storms.len() / 2], storms[0].last_ms());
                let last = storm.last_ms();
                let name = format!(
                    "{}: {tasks} tasks, {audiences} audiences, answer after {delay_ms} ms",
                    peer.name()
                );
                if is_floor {
                    floor = last;
                }
                if matches!(peer, Peer::Idtoken) && tasks == 1_000 {
                    let most = storms.iter().map(|storm| storm.fetches).max().unwrap_or(0);
                    let per_audience = most as f64 / f64::from(audiences);
                    let work = format!("{name}: fetches per audience");
                    report.goal_value(&work, per_audience, Bound::AtMost(1.0));
                    let work = format!("{name}: last waiter / one fetch");
                    report.goal_value(&work, last / one, Bound::AtMost(1.5));
                    let work = format!("{name}: last waiter / as many bare requests at once");
                    report.goal_value(&work, last / floor, Bound::AtMost(1.5));
                }
                rows.push(storm.row(name, one, least));
            }
        }
    }
    let title = format!("cold storms of callers, wall clock, median and least of {repeats} storms");
    report.add_table(&title, &header, &rows);
    Ok(())
}

#[derive(Clone, Copy)]
enum Peer {
    /// One bare request for each audience, side by side through one client.
    Floor,
    Idtoken,
    /// The same, but the clock starts before the client is built, as it has to for the next.
    IdtokenWithBuilding,
    GoogleCloudAuth,
}

impl Peer {
    const ALL: [Self; 4] = [
        Self::Floor,
        Self::Idtoken,
        Self::IdtokenWithBuilding,
        Self::GoogleCloudAuth,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor, reqwest alone",
            Self::Idtoken => "idtoken",
            Self::IdtokenWithBuilding => "idtoken, client built within the time",
            Self::GoogleCloudAuth => "google-cloud-auth, built within the time",
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

    fn row(&self, name: String, one: f64, least: f64) -> Vec<String> {
        let ms = |value: f64| format!("{value:.2}");
        vec![
            name,
            self.fetches.to_string(),
            self.failed.to_string(),
            ms(one),
            ms(self.percentile(0.5)),
            ms(self.percentile(0.99)),
            ms(self.last_ms()),
            ms(least),
            ms(self.last_ms() / one),
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
    let building = Instant::now();
    let (waits_ms, failed) = match peer {
        Peer::Floor => {
            let client = reqwest::Client::new();
            let one = |name: idtoken::Audience| {
                let url = format!("{}{IDENTITY}?audience={name}", emulator.url());
                client.get(url).header("Metadata-Flavor", "Google")
            };
            let requests: Vec<_> = names.map(one).map(Arc::new).collect();
            storm(tasks, &requests, |request| async move {
                let Some(request) = request.try_clone() else {
                    return false;
                };
                match request.send().await {
                    Ok(answer) => answer.status().is_success() && answer.bytes().await.is_ok(),
                    Err(_) => false,
                }
            })
            .await
        }
        Peer::Idtoken | Peer::IdtokenWithBuilding => {
            let source = MetadataServer::builder().host(emulator.host()).build()?;
            let tokens = TokenCache::new(source);
            let handles: Vec<_> = names.map(|name| tokens.handle(&name)).collect();
            let started = match peer {
                Peer::IdtokenWithBuilding => building,
                _ => Instant::now(),
            };
            storm_since(started, tasks, &handles, |handle| async move {
                handle.bearer().await.is_ok()
            })
            .await
        }
        Peer::GoogleCloudAuth => {
            // Each starts its fetch when it is built.
            let build = |name: idtoken::Audience| {
                mds::Builder::new(name.as_str())
                    .with_endpoint(emulator.url())
                    .build()
            };
            let credentials = names.map(build).collect::<Result<Vec<_>, _>>()?;
            let ask = |one: google_cloud_auth::credentials::idtoken::IDTokenCredentials| async move {
                one.id_token().await.is_ok()
            };
            storm_since(building, tasks, &credentials, ask).await
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

async fn slow_emulator(endpoint: Endpoint, delay: Duration) -> Result<Emulator, BoxError> {
    let emulator = Emulator::start().await?;
    if !delay.is_zero() {
        emulator.fail(endpoint, Fault::Delay(delay));
    }
    Ok(emulator)
}

const IDENTITY: &str = "/computeMetadata/v1/instance/service-accounts/default/identity";
