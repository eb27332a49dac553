//! A process that is stopped for longer than its token lives, as serverless platforms stop those
//! without a request to serve.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a failed test is what it is for")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use idtoken::clock::SystemClock;
use idtoken::{Audience, Clock, IdToken, SourceError, TokenCache, TokenSource, UnverifiedClaims};

/// Tokens with two to three seconds to live.
struct ShortLived;

impl TokenSource for ShortLived {
    async fn fetch(&self, audience: &Audience) -> Result<IdToken, SourceError> {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let exp = seconds(SystemClock.now()) + 3;
        let claims = format!(r#"{{"aud":"{audience}","exp":{exp}}}"#);
        let header = part(r#"{"alg":"RS256"}"#);
        Ok(IdToken::new(&format!(
            "{header}.{}.{}",
            part(&claims),
            part("x")
        ))?)
    }
}

/// Not a test of its own: what the child process does. For each line on its input it writes when
/// the token that it would send expires, and what time it is.
#[test]
#[ignore = "run by the test below, in a process of its own"]
fn child() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .unwrap();
    let handle = TokenCache::new(ShortLived).handle(&Audience::new("hello").unwrap());
    for _ in std::io::stdin().lines() {
        let bearer = runtime.block_on(handle.bearer()).unwrap();
        let jwt = bearer.to_str().unwrap().strip_prefix("Bearer ").unwrap();
        let claims = UnverifiedClaims::read_without_verifying(jwt).unwrap();
        let exp = seconds(claims.exp().unwrap());
        println!("\ntoken {exp} {}", SystemClock.now_ms());
    }
}

#[test]
fn a_process_stopped_for_longer_than_its_token_lives_sends_a_fresh_one_first() {
    let mut child = Stopped::start();
    let (first, now_ms) = child.ask();
    assert!(first * 1000 > now_ms);

    child.signal("STOP");
    // The one real wait of these tests: no clock of ours can stop another process.
    while SystemClock.now_ms() <= first * 1000 {
        std::thread::park_timeout(Duration::from_millis(50));
    }
    child.signal("CONT");

    let (second, now_ms) = child.ask();
    assert!(second * 1000 > now_ms, "expired {second}, now {now_ms} ms");
    assert!(second > first);
}

struct Stopped {
    process: Child,
    answers: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Stopped {
    fn start() -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--ignored", "--nocapture"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, answers }
    }

    /// When the token ends, in seconds, and the child's time, in milliseconds.
    fn ask(&mut self) -> (u64, u64) {
        writeln!(self.process.stdin.as_mut().unwrap(), "go").unwrap();
        let line = self
            .answers
            .by_ref()
            .map(Result::unwrap)
            .find(|line| line.starts_with("token "))
            .unwrap();
        let mut numbers = line.split(' ').skip(1).map(|text| text.parse().unwrap());
        (numbers.next().unwrap(), numbers.next().unwrap())
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([format!("-{name}"), self.process.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

trait Millis {
    fn now_ms(&self) -> u64;
}

impl Millis for SystemClock {
    fn now_ms(&self) -> u64 {
        let since = self.now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        u64::try_from(since.as_millis()).unwrap()
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs()
}
