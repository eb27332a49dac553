//! Running the command, and the one rule that holds for all its outputs: no token where none
//! belongs.

use std::path::Path;
use std::process::Stdio;

use idtoken_emulator::{Emulator, Home};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// A local Google, and the environment in which the command finds it.
pub(crate) struct World {
    pub(crate) google: Emulator,
    pub(crate) home: Home,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::around(Emulator::start().await.unwrap())
    }

    pub(crate) fn around(google: Emulator) -> Self {
        let home = google.home().unwrap();
        Self { google, home }
    }

    /// A command line, its words separated by blanks.
    pub(crate) fn idtoken(&self, line: &str) -> Run {
        let mut command = Command::new(env!("CARGO_BIN_EXE_idtoken"));
        command
            .args(line.split_whitespace())
            .env_clear()
            .envs(self.home.env())
            .envs(self.google.env())
            .current_dir(self.home.path());
        Run {
            command,
            stdin: String::new(),
            may_print_token: line.split_whitespace().any(|word| word == "print"),
        }
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        let path: &Path = self.home.path();
        path.join(name)
    }
}

/// A command about to be run.
pub(crate) struct Run {
    command: Command,
    stdin: String,
    may_print_token: bool,
}

impl Run {
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn env_remove(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// One more argument, blanks included.
    pub(crate) fn arg(mut self, arg: &str) -> Self {
        self.command.arg(arg);
        self
    }

    pub(crate) fn stdin(mut self, text: impl Into<String>) -> Self {
        self.stdin = text.into();
        self
    }

    pub(crate) async fn end(mut self) -> Ended {
        let mut child = self
            .command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A command that does not read it may be gone by now.
        let _ = stdin.write_all(self.stdin.as_bytes()).await;
        drop(stdin);
        let output = child.wait_with_output().await.unwrap();
        let ended = Ended {
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            code: output.status.code(),
        };
        ended.scan(&self.stdin, self.may_print_token);
        ended
    }
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: Option<i32>,
}

impl Ended {
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    /// Ended with this code, after one line on standard error.
    #[track_caller]
    pub(crate) fn failed(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "{}", self.stderr);
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.stdout.lines().count(), 1, "{self:?}");
        serde_json::from_str(&self.stdout).unwrap()
    }

    #[track_caller]
    pub(crate) fn error(&self) -> Value {
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
        serde_json::from_str(&self.stderr).unwrap()
    }

    /// Nothing that could be used as a token, and no escape sequence: nobody here is a terminal.
    #[track_caller]
    fn scan(&self, stdin: &str, may_print_token: bool) {
        assert!(
            !holds_jwt(&self.stderr),
            "a token on standard error: {self:?}"
        );
        if !may_print_token {
            assert!(
                !holds_jwt(&self.stdout),
                "a token on standard output: {self:?}"
            );
        }
        let signature = stdin.trim().rsplit('.').next().unwrap_or_default();
        if signature.len() > 40 {
            assert!(!self.stdout.contains(signature), "a signature: {self:?}");
            assert!(!self.stderr.contains(signature), "a signature: {self:?}");
        }
        assert!(!self.stderr.contains('\u{1b}'), "{self:?}");
    }
}

/// Whether there is something in it that starts as every JWT does.
pub(crate) fn holds_jwt(text: &str) -> bool {
    text.match_indices("eyJ").any(|(at, _)| {
        let rest = text.get(at + 3..).unwrap_or_default();
        rest.bytes()
            .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
            .count()
            > 8
    })
}

pub(crate) const SERVICE: &str = "https://hello-abc123-uc.a.run.app";
