//! How the program ends: exit codes that scripts may rely on, and the error that carries one.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use idtoken::{SourceError, SourceErrorKind, TokenError, TokenErrorKind, VerifyErrorKind};
use serde_json::json;

use crate::output::{Output, printable, without_tokens};

/// Why the program ends. The numbers are part of the interface.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Exit {
    Success = 0,
    Internal = 1,
    Usage = 2,
    File = 3,
    Malformed = 4,
    Misconfigured = 10,
    Refused = 11,
    Unavailable = 12,
    InvalidAnswer = 13,
    Clock = 14,
    NotAccepted = 20,
    NotAllowed = 21,
    KeysUnavailable = 22,
    Finding = 30,
    CallRefused = 31,
    CannotListen = 40,
    Shadowing = 41,
    CannotRun = 126,
    NoSuchCommand = 127,
}

impl Exit {
    /// All of them, in the order of their numbers.
    pub(crate) const ALL: [Self; 19] = [
        Self::Success,
        Self::Internal,
        Self::Usage,
        Self::File,
        Self::Malformed,
        Self::Misconfigured,
        Self::Refused,
        Self::Unavailable,
        Self::InvalidAnswer,
        Self::Clock,
        Self::NotAccepted,
        Self::NotAllowed,
        Self::KeysUnavailable,
        Self::Finding,
        Self::CallRefused,
        Self::CannotListen,
        Self::Shadowing,
        Self::CannotRun,
        Self::NoSuchCommand,
    ];

    pub(crate) fn number(self) -> u8 {
        self as u8
    }

    pub(crate) fn code(self) -> ExitCode {
        ExitCode::from(self.number())
    }

    /// A word for scripts that read JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Internal => "internal",
            Self::Usage => "usage",
            Self::File => "file",
            Self::Malformed => "malformed",
            Self::Misconfigured => "misconfigured",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
            Self::InvalidAnswer => "invalid-answer",
            Self::Clock => "clock",
            Self::NotAccepted => "not-accepted",
            Self::NotAllowed => "not-allowed",
            Self::KeysUnavailable => "keys-unavailable",
            Self::Finding => "finding",
            Self::CallRefused => "call-refused",
            Self::CannotListen => "cannot-listen",
            Self::Shadowing => "shadowing",
            Self::CannotRun => "cannot-run",
            Self::NoSuchCommand => "no-such-command",
        }
    }

    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Success => "all went well; also when the reader of the output went away",
            Self::Internal => "this program failed: output cannot be written, no threads",
            Self::Usage => "a wrong flag or argument",
            Self::File => "a file that was named cannot be read or understood",
            Self::Malformed => "what was given is no token",
            Self::Misconfigured => "no credentials were found, or they cannot be used",
            Self::Refused => "Google understood and said no; a grant is missing",
            Self::Unavailable => "no answer, or too busy; likely to pass",
            Self::InvalidAnswer => "what came is no ID token, or one for another audience",
            Self::Clock => "this machine's clock and Google's disagree",
            Self::NotAccepted => "verify: the token is no proof of anything",
            Self::NotAllowed => "verify: the token is authentic, its bearer is not allowed",
            Self::KeysUnavailable => "verify: the issuer's keys cannot be had",
            Self::Finding => "doctor: something will go wrong",
            Self::CallRefused => "doctor: the service refused the call",
            Self::CannotListen => "proxy, emulate: the address cannot be bound",
            Self::Shadowing => "emulate: there is a real metadata server here",
            Self::CannotRun => "emulate: the command cannot be run",
            Self::NoSuchCommand => "emulate: there is no such command",
        }
    }

    pub(crate) fn of_source(kind: SourceErrorKind) -> Self {
        match kind {
            SourceErrorKind::Misconfigured => Self::Misconfigured,
            SourceErrorKind::Refused => Self::Refused,
            SourceErrorKind::Transient => Self::Unavailable,
            _ => Self::InvalidAnswer,
        }
    }

    pub(crate) fn of_token(kind: TokenErrorKind) -> Self {
        match kind {
            TokenErrorKind::Clock => Self::Clock,
            TokenErrorKind::Source(kind) => Self::of_source(kind),
            TokenErrorKind::WrongAudience => Self::InvalidAnswer,
            _ => Self::Unavailable,
        }
    }

    pub(crate) fn of_verdict(kind: VerifyErrorKind) -> Self {
        match kind {
            VerifyErrorKind::KeysUnavailable => Self::KeysUnavailable,
            VerifyErrorKind::Malformed(_) => Self::Malformed,
            VerifyErrorKind::NotAllowed => Self::NotAllowed,
            _ => Self::NotAccepted,
        }
    }
}

/// The table for the manual and for `--help`.
pub(crate) fn table() -> String {
    let mut table = String::new();
    for exit in Exit::ALL {
        table.push_str(&format!("{:>5}  {}\n", exit.number(), exit.meaning()));
    }
    table.push_str("\nWith `emulate -- COMMAND` it is the command's own code, or 128 and the number of the\nsignal that killed it.");
    table
}

/// What went wrong, for one line on standard error. Never holds a token.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            source: None,
        }
    }

    /// Ends the program quietly: nobody is there to be told.
    pub(crate) fn reader_gone() -> Self {
        Self::new(Exit::Success, "")
    }

    pub(crate) fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// The message and its causes, in one line.
    pub(crate) fn line(&self) -> String {
        let mut line = self.message.clone();
        let mut next = self.source.as_deref().map(|error| error as &dyn Error);
        while let Some(error) = next {
            let text = error.to_string();
            if !line.is_empty() {
                line.push_str(": ");
            }
            line.push_str(&text);
            next = error.source();
        }
        without_tokens(&printable(&line))
    }

    /// Tells it on standard error, and gives the code to end with.
    pub(crate) fn report(&self, output: &Output) -> ExitCode {
        if self.exit != Exit::Success {
            if output.is_json() {
                let error = json!({
                    "error": self.line(),
                    "exit_code": self.exit.number(),
                    "kind": self.exit.name(),
                });
                output.tell_raw(&error.to_string());
            } else {
                output.tell(&self.line());
            }
        }
        self.exit.code()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line())
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        Self::new(Exit::of_source(error.kind()), "").with_source(error)
    }
}

impl From<TokenError> for Failure {
    fn from(error: TokenError) -> Self {
        Self::new(Exit::of_token(error.kind()), "").with_source(error)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_code_is_there_once_and_in_order() {
        let numbers: Vec<_> = Exit::ALL.iter().map(|exit| exit.number()).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        let names: BTreeSet<_> = Exit::ALL.iter().map(|exit| exit.name()).collect();
        assert_eq!(names.len(), Exit::ALL.len());
    }

    #[test]
    fn a_failure_is_one_line_with_its_causes() {
        let cause = std::io::Error::other("disk\non fire");
        let failure = Failure::new(Exit::File, "cannot read it").with_source(cause);
        assert_eq!(failure.line(), "cannot read it: disk\\non fire");
    }
}
