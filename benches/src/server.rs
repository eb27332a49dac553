//! Whole servers on loopback, each a process of its own, under load by wrk.
//!
//! The machine is shared by the load, the servers and whoever else is on it, so beside requests per
//! second there is the CPU time that the servers spent on each request.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use http::StatusCode;
use idtoken_emulator::{Emulator, Endpoint, TokenRequest};
use tokio::runtime::Runtime;
use tower::BoxError;

use self::envoy::Envoy;
use self::process::Process;
use self::strangers::status;
use self::wrk::{Load, Wrk};
use crate::fixtures::{AUDIENCE, EMAIL};
use crate::measure::{Effort, min_and_median};
use crate::report::{Bound, Report};

mod envoy;
mod process;
pub mod roles;
mod strangers;
mod wrk;

pub fn run(effort: Effort, report: &mut Report) {
    let runtime = Runtime::new().expect("a runtime");
    let folder = match tempfile::tempdir() {
        Ok(folder) => folder,
        Err(error) => return report.fail("server", error),
    };
    let world = match runtime.block_on(World::new(folder.path())) {
        Ok(world) => world,
        Err(error) => return report.fail("server", error),
    };
    let envoy = envoy::program();
    if let Err(error) = &envoy {
        report.fail("Envoy", error);
    }
    let envoy = envoy.as_deref().ok();
    if let Err(error) = called(effort, report, &runtime, &world, envoy) {
        report.fail("the called side", error);
    }
    if let Err(error) = calling(effort, report, &runtime, &world, envoy) {
        report.fail("the calling side", error);
    }
}

struct World<'f> {
    folder: &'f Path,
    emulator: Emulator,
    seen: std::path::PathBuf,
    /// As many as are sent in turn to a server that remembers four.
    new: std::path::PathBuf,
    good: String,
    elsewhere: String,
}

impl<'f> World<'f> {
    async fn new(folder: &'f Path) -> io::Result<Self> {
        let emulator = Emulator::start().await?;
        emulator.attach(EMAIL);
        let now = SystemTime::now();
        let mint = |age: u64| {
            let request = TokenRequest::new(AUDIENCE).account(EMAIL);
            emulator.mint(&request.issued_at(now - Duration::from_secs(age)))
        };
        let tokens: Vec<_> = (0..512).map(|age| mint(60 + age)).collect();
        let lasting: Vec<_> = (0..8).map(mint).collect();
        let (seen, new) = (folder.join("seen"), folder.join("new"));
        std::fs::write(&seen, tokens[..64].join("\n"))?;
        std::fs::write(&new, tokens.join("\n"))?;
        std::fs::write(folder.join("lasting"), lasting.join("\n"))?;
        let elsewhere = TokenRequest::new("https://elsewhere.a.run.app").account(EMAIL);
        Ok(Self {
            folder,
            seen,
            new,
            good: mint(0),
            elsewhere: emulator.mint(&elsewhere),
            emulator,
        })
    }
}

/// A server under test: what is asked, with which tokens, and who spends CPU on it.
struct Candidate<'p> {
    name: &'static str,
    port: u16,
    tokens: &'p Path,
    processes: Vec<&'p Process>,
    /// Whether it must turn away who has no token for it.
    checks: bool,
    loads: Vec<Load>,
}

fn called(
    effort: Effort,
    report: &mut Report,
    runtime: &Runtime,
    world: &World<'_>,
    envoy: Option<&Path>,
) -> Result<(), BoxError> {
    let jwks = world.emulator.jwks_url();
    let lasting = world.folder.join("lasting");
    let lasting = lasting.to_str().ok_or("a folder whose name is text")?;
    let plain = Process::of_ours(&["hello"])?;
    let rung = |name| Process::of_ours(&["hello", "--rung", name]);
    let (state, header, hash) = (rung("state")?, rung("header")?, rung("hash")?);
    let ours = Process::of_ours(&["hello", "--jwks", &jwks])?;
    let forgetful = [
        "hello",
        "--jwks",
        &jwks,
        "--remember",
        "4",
        "--first",
        lasting,
    ];
    let ours_new = Process::of_ours(&forgetful)?;
    let start = |cached| {
        let config = envoy::jwt_authn(&world.emulator, plain.port, cached);
        envoy
            .map(|program| Envoy::start(program, world.folder, &config))
            .transpose()
    };
    let (cached, uncached, through) = (start(true)?, start(false)?, {
        let config = envoy::no_filter(plain.port);
        envoy
            .map(|program| Envoy::start(program, world.folder, &config))
            .transpose()?
    });
    let candidate = |name, port, tokens, processes, checks| Candidate {
        name,
        port,
        tokens,
        processes,
        checks,
        loads: Vec::new(),
    };
    let rung = |name, process| {
        candidate(
            name,
            Process::port(process),
            &*world.seen,
            vec![process],
            false,
        )
    };
    let mut candidates = vec![
        candidate(
            "axum hello, no tokens checked",
            plain.port,
            &*world.seen,
            vec![&plain],
            false,
        ),
        candidate(
            "axum hello with Caller, tokens seen before",
            ours.port,
            &world.seen,
            vec![&ours],
            true,
        ),
        candidate(
            "axum hello with Caller, tokens always new",
            ours_new.port,
            &world.new,
            vec![&ours_new],
            true,
        ),
        rung("axum hello with State<Arc>", &state),
        rung("axum hello that reads the header", &header),
        rung("axum hello that takes its SHA-256", &hash),
    ];
    let through = through.as_ref();
    let (cached, uncached) = (cached.as_ref(), uncached.as_ref());
    for (name, envoy, tokens) in [
        ("axum hello behind Envoy, no filter", through, &world.seen),
        (
            "axum hello behind Envoy jwt_authn, token cache on",
            cached,
            &world.seen,
        ),
        (
            "axum hello behind Envoy jwt_authn, token cache off",
            uncached,
            &world.new,
        ),
    ] {
        if let Some(envoy) = envoy {
            let processes = vec![&envoy.process, &plain];
            let checks = !name.ends_with("no filter");
            let port = envoy.process.port;
            candidates.push(candidate(name, port, tokens, processes, checks));
        }
    }
    for candidate in &candidates {
        runtime.block_on(candidate.turns_strangers_away(world))?;
    }
    load_in_turn(effort, world, &mut candidates)?;
    add(report, "the called side", &candidates);
    let rates: Vec<f64> = candidates.iter().map(Candidate::rate).collect();
    let work = "server with Caller, tokens seen / server without (requests/s)";
    report.goal_value(work, rates[1] / rates[0], Bound::AtLeast(0.95));
    let costs: Vec<f64> = candidates.iter().map(Candidate::cost).collect();
    let work = "the same by CPU: server without / with Caller";
    report.goal_value(work, costs[0] / costs[1], Bound::AtLeast(0.95));
    if let (Some(cached), Some(uncached)) = (rates.get(7), rates.get(8)) {
        let work = "server with Caller, tokens seen / behind Envoy with its cache (requests/s)";
        report.goal_value(work, rates[1] / cached, Bound::AtLeast(1.0));
        let work = "server with Caller, tokens new / behind Envoy without cache (requests/s)";
        report.goal_value(work, rates[2] / uncached, Bound::AtLeast(1.0));
    }
    Ok(())
}

fn calling(
    effort: Effort,
    report: &mut Report,
    runtime: &Runtime,
    world: &World<'_>,
    envoy: Option<&Path>,
) -> Result<(), BoxError> {
    // It checks each token, so that an answer proves that there was a good one.
    let upstream = Process::of_ours(&["hello", "--jwks", &world.emulator.jwks_url()])?;
    let to = format!("http://127.0.0.1:{}", upstream.port);
    let metadata = world.emulator.host();
    let caller = |how, to: &str| {
        Process::of_ours(&[
            "caller",
            "--how",
            how,
            "--upstream",
            to,
            "--metadata",
            metadata,
            "--token",
            &world.good,
        ])
    };
    let constant = caller("constant", &to)?;
    let layer = caller("layer", &to)?;
    let config = envoy::gcp_authn(&world.emulator, upstream.port);
    let envoy = envoy
        .map(|program| Envoy::start(program, world.folder, &config))
        .transpose()?;
    let through = envoy
        .as_ref()
        .map(|envoy| caller("bare", &format!("http://127.0.0.1:{}", envoy.process.port)))
        .transpose()?;
    let candidate = |name, process: &_, processes| Candidate {
        name,
        port: Process::port(process),
        tokens: &*world.seen,
        processes,
        checks: false,
        loads: Vec::new(),
    };
    let mut candidates = vec![
        candidate(
            "axum that calls on, constant header",
            &constant,
            vec![&constant],
        ),
        candidate("axum that calls on, AddIdTokenLayer", &layer, vec![&layer]),
    ];
    if let (Some(through), Some(envoy)) = (&through, &envoy) {
        let name = "axum that calls on through Envoy gcp_authn";
        candidates.push(candidate(name, through, vec![through, &envoy.process]));
    }
    // Without a token there is no answer, whoever was to attach one.
    let bare = caller("bare", &to)?;
    let status = runtime.block_on(status(bare.port, None))?;
    if status != StatusCode::UNAUTHORIZED {
        return Err(format!("the upstream says {status} to a request without a token").into());
    }
    candidates.retain(
        |candidate| match runtime.block_on(candidate.turns_strangers_away(world)) {
            Ok(()) => true,
            Err(error) => {
                report.fail("the calling side", error);
                false
            }
        },
    );
    load_in_turn(effort, world, &mut candidates)?;
    if world.emulator.hits(Endpoint::Identity) == 0 {
        return Err("nobody has asked for a token".into());
    }
    add(
        report,
        "the calling side (CPU without the upstream)",
        &candidates,
    );
    Ok(())
}

fn load_in_turn(
    effort: Effort,
    world: &World<'_>,
    candidates: &mut [Candidate<'_>],
) -> Result<(), BoxError> {
    let wrk = Wrk::new(world.folder)?;
    let (rounds, seconds) = if effort.short { (2, 1) } else { (6, 4) };
    for round in 0..=rounds {
        for candidate in &mut *candidates {
            let load = wrk.run(
                candidate.port,
                candidate.tokens,
                seconds,
                &candidate.processes,
            )?;
            if load.bad_answers > 0 {
                let problem = format!("{} bad answers", load.bad_answers);
                return Err(format!("{}: {problem}", candidate.name).into());
            }
            // The first round warms up.
            if round > 0 {
                candidate.loads.push(load);
            }
        }
    }
    Ok(())
}

impl Candidate<'_> {
    fn rate(&self) -> f64 {
        min_and_median(
            self.loads
                .iter()
                .map(|load| load.requests_per_second)
                .collect(),
        )
        .1
    }

    /// CPU microseconds for each request.
    fn cost(&self) -> f64 {
        min_and_median(self.loads.iter().map(|load| load.cpu_micros_each).collect()).1
    }

    fn latency(&self) -> f64 {
        min_and_median(self.loads.iter().map(|load| load.p99_ms).collect()).1
    }
}

fn add(report: &mut Report, title: &str, candidates: &[Candidate<'_>]) {
    let (Some(rate), Some(cost)) = (
        candidates.first().map(Candidate::rate),
        candidates.first().map(Candidate::cost),
    ) else {
        return;
    };
    let rows: Vec<_> = candidates
        .iter()
        .map(|candidate| {
            vec![
                candidate.name.to_owned(),
                format!("{:.0}", candidate.rate()),
                format!("{:.2}", candidate.rate() / rate),
                format!("{:.1}", candidate.cost()),
                format!("{:+.1}", candidate.cost() - cost),
                format!("{:.2}", candidate.latency()),
            ]
        })
        .collect();
    let rounds = candidates[0].loads.len();
    let title = format!(
        "{title}, {rounds} rounds in turn, medians, {} connections",
        wrk::CONNECTIONS
    );
    let header = ["", "requests/s", "ratio", "CPU us each", "more", "p99 ms"];
    report.add_table(&title, &header, &rows);
}
