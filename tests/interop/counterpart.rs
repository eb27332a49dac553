//! The programs that stand in for the users of Google's clients.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

/// A client of Google's, behind a program that asks it for tokens and for verdicts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Counterpart {
    /// google-auth.
    Python,
    /// google-auth-library.
    Node,
    /// google-cloud-auth.
    Rust,
}

impl Counterpart {
    pub(crate) const ALL: [Self; 3] = [Self::Python, Self::Node, Self::Rust];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Python => "google-auth",
            Self::Node => "google-auth-library",
            Self::Rust => "google-cloud-auth",
        }
    }

    /// The ways to a token that it has.
    pub(crate) fn exchanges(self) -> &'static [&'static str] {
        match self {
            // It has no ID tokens for external accounts, nor a source to build them from.
            Self::Rust => &["metadata", "key_file", "impersonated", "user"],
            Self::Python | Self::Node => &[
                "metadata",
                "key_file",
                "impersonated",
                "external_account",
                "user",
            ],
        }
    }

    /// The verifiers in its program for `verdicts`, in the order of the lines that it prints.
    pub(crate) fn judges(self) -> &'static [&'static str] {
        match self {
            Self::Python => &["google-auth", "google-auth's verify_oauth2_token"],
            Self::Node => &["google-auth-library", "jose"],
            Self::Rust => &["google-cloud-auth"],
        }
    }

    /// Its program for `tokens` or `verdicts`, where it was told of.
    pub(crate) fn command(self, job: &str) -> Option<Command> {
        let mut command = match self {
            Self::Python => {
                let mut command = Command::new(told("IDTOKEN_PYTHON")?);
                command.arg(peers().join(job).with_extension("py"));
                command
            }
            Self::Node => {
                // Node looks for packages beside the script.
                let folder = PathBuf::from(told("IDTOKEN_NODE")?);
                let mut command = Command::new("node");
                command.arg(folder.join(job).with_extension("mjs"));
                command
            }
            Self::Rust => {
                let mut command = Command::new(told("IDTOKEN_CLOUD_AUTH")?);
                command.arg(job);
                command
            }
        };
        command.env_remove("GOOGLE_APPLICATION_CREDENTIALS");
        Some(command)
    }
}

/// What asking a client for a token came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) token: Option<String>,
    /// One for each time that it was asked in vain.
    pub(crate) errors: Vec<String>,
    pub(crate) seconds: f64,
}

/// The outcomes that a program of `tokens` prints, by exchange.
pub(crate) fn outcomes(printed: &str) -> BTreeMap<String, Outcome> {
    let report: BTreeMap<String, Value> = serde_json::from_str(printed).unwrap();
    let outcome = |value: Value| Outcome {
        token: value["token"].as_str().map(str::to_owned),
        errors: serde_json::from_value(value["errors"].clone()).unwrap(),
        seconds: value["seconds"].as_f64().unwrap(),
    };
    report
        .into_iter()
        .map(|(exchange, value)| (exchange, outcome(value)))
        .collect()
}

/// What a command prints, when it succeeds in time.
pub(crate) async fn printed(command: &mut Command) -> String {
    printed_within(LIMIT, command).await
}

pub(crate) async fn printed_within(limit: Duration, command: &mut Command) -> String {
    let output = tokio::time::timeout(limit, command.kill_on_drop(true).output())
        .await
        .expect("it took too long")
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn told(name: &str) -> Option<OsString> {
    let value = variable(name);
    if value.is_none() {
        println!("{name} is not set: nothing is run");
    }
    value
}

#[allow(
    clippy::disallowed_methods,
    reason = "says whether and with what to run"
)]
pub(crate) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn peers() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/peers"))
}

pub(crate) const LIMIT: Duration = Duration::from_secs(60);
