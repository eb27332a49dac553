//! Load by wrk, which must be installed.

use std::fs;
use std::path::{Path, PathBuf};

use tower::BoxError;

use super::process::{LOAD, Process, on_core};

pub struct Wrk {
    script: PathBuf,
}

/// What one run gave.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub requests_per_second: f64,
    pub cpu_micros_each: f64,
    pub p99_ms: f64,
    pub bad_answers: u64,
}

impl Wrk {
    pub fn new(folder: &Path) -> Result<Self, BoxError> {
        let script = folder.join("load.lua");
        fs::write(&script, SCRIPT)?;
        Ok(Self { script })
    }

    /// Asks `port` for so many seconds, with the tokens of a file in turn.
    pub fn run(
        &self,
        port: u16,
        tokens: &Path,
        seconds: u64,
        processes: &[&Process],
    ) -> Result<Load, BoxError> {
        let ticks = || -> Result<u64, BoxError> {
            let each = processes.iter().map(|process| process.cpu_ticks());
            Ok(each.sum::<Result<u64, _>>()?)
        };
        let before = ticks()?;
        let output = on_core(LOAD, "wrk")
            .args([
                "-t1",
                &format!("-c{CONNECTIONS}"),
                &format!("-d{seconds}s"),
                "--latency",
                "-s",
            ])
            .arg(&self.script)
            .arg(format!("http://127.0.0.1:{port}/"))
            .env("BENCH_TOKENS", tokens)
            .output()
            .map_err(|error| format!("wrk (Debian: apt-get install wrk): {error}"))?;
        let spent = (ticks()? - before) as f64 * MICROS_IN_A_TICK;
        let text = String::from_utf8_lossy(&output.stdout);
        let number = |before: &str, after: &str| -> Option<f64> {
            let line = text
                .lines()
                .find(|line| line.contains(before) && line.contains(after))?;
            let rest = line.split(before).nth(1)?.trim();
            rest.split(|c: char| !c.is_ascii_digit() && c != '.')
                .next()?
                .parse()
                .ok()
        };
        let requests_per_second =
            number("Requests/sec:", "").ok_or_else(|| format!("wrk says: {text}"))?;
        let requests = text
            .lines()
            .find_map(|line| {
                line.split(" requests in ")
                    .next()?
                    .trim()
                    .parse::<f64>()
                    .ok()
            })
            .ok_or_else(|| format!("wrk says: {text}"))?;
        let socket_errors = text
            .lines()
            .any(|line| line.contains("Socket errors"))
            .into();
        Ok(Load {
            requests_per_second,
            cpu_micros_each: spent / requests,
            p99_ms: p99(&text).unwrap_or(f64::NAN),
            bad_answers: number("responses:", "Non-2xx").map_or(socket_errors, |bad| bad as u64),
        })
    }
}

fn p99(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.trim().starts_with("99%"))?;
    let value = line.split_whitespace().nth(1)?;
    let end = value.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = value.split_at(end);
    let number: f64 = number.parse().ok()?;
    match unit {
        "us" => Some(number / 1e3),
        "ms" => Some(number),
        "s" => Some(number * 1e3),
        _ => None,
    }
}

pub const CONNECTIONS: u32 = 32;

/// The kernel's USER_HZ is 100 wherever Linux runs on x86-64 and ARM.
const MICROS_IN_A_TICK: f64 = 10_000.0;

/// The requests are made before the load starts, so that Lua has next to nothing to do.
const SCRIPT: &str = r#"
local requests = {}
local next = 0

function init(args)
  for token in io.lines(os.getenv("BENCH_TOKENS")) do
    wrk.headers["Authorization"] = "Bearer " .. token
    requests[#requests + 1] = wrk.format("GET", "/")
  end
end

function request()
  next = next % #requests + 1
  return requests[next]
end
"#;
