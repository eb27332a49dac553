//! A program run for its output: never through a shell, within bounds, killed with all that it
//! started at its timeout.

use std::ffi::{OsStr, OsString};
use std::process::Stdio;
use std::time::Duration;

#[cfg(unix)]
use rustix::process::{Pid, Signal};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::error::{SourceError, SourceErrorKind};

/// What to run, and for how long at the most.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    source_name: &'static str,
    name: OsString,
    arguments: Vec<OsString>,
    variables: Vec<(&'static str, OsString)>,
    timeout: Duration,
}

impl Program {
    pub(crate) fn new(
        source_name: &'static str,
        name: impl Into<OsString>,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
        timeout: Duration,
    ) -> Self {
        Self {
            source_name,
            name: name.into(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            variables: Vec::new(),
            timeout,
        }
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(crate) fn set(&mut self, variable: &'static str, value: impl AsRef<OsStr>) {
        self.variables.push((variable, value.as_ref().to_owned()));
    }

    /// Runs it to its end.
    pub(crate) async fn run(&self) -> Result<Output, SourceError> {
        let name = self.name.to_string_lossy();
        let mut command = Command::new(&self.name);
        command
            .args(&self.arguments)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command.spawn().map_err(|error| {
            let message = format!("{name} cannot be run");
            self.fail(SourceErrorKind::Misconfigured, &message)
                .with_cause(error)
                .with_advice("is it installed, executable, and on this process's PATH?")
        })?;
        // Dropped before the child: whatever still runs is killed.
        let group = Group::of(&child);
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let outcome = timeout(self.timeout, async {
            let (output, complaint) = tokio::join!(read(stdout), read(stderr));
            Ok::<_, std::io::Error>((output?, complaint?, child.wait().await?))
        })
        .await;
        let (printed, complaint, status) = match outcome {
            Ok(Ok(done)) => done,
            Ok(Err(error)) => {
                let message = format!("{name} could not be read");
                return Err(self
                    .fail(SourceErrorKind::Transient, &message)
                    .with_cause(error));
            }
            Err(_) => {
                let limit = self.timeout.as_secs_f64();
                let message = format!("{name} was killed after {limit:.1} s without an end");
                return Err(self.fail(SourceErrorKind::Transient, &message));
            }
        };
        group.has_ended();
        if printed.len() > MAX_OUTPUT_BYTES {
            let message = format!("{name} printed more than 64 KiB");
            return Err(self.fail(SourceErrorKind::InvalidAnswer, &message));
        }
        let failure = (!status.success()).then(|| {
            let message = format!("{name} failed ({status}): {}", last_words(&complaint));
            self.fail(SourceErrorKind::Refused, &message)
        });
        Ok(Output { printed, failure })
    }

    fn fail(&self, kind: SourceErrorKind, message: &str) -> SourceError {
        SourceError::new(kind, self.source_name, message)
    }
}

/// What came of a program that ended by itself.
pub(crate) struct Output {
    /// At most 64 KiB.
    pub(crate) printed: Zeroizing<String>,
    /// Set if it says that it failed, with the end of what it wrote to its error stream.
    pub(crate) failure: Option<SourceError>,
}

impl Output {
    /// What a program printed that did not fail.
    pub(crate) fn success(self) -> Result<Zeroizing<String>, SourceError> {
        match self.failure {
            None => Ok(self.printed),
            Some(failure) => Err(failure),
        }
    }
}

/// The program and all that it started: gcloud is a script, and what hangs is its child.
struct Group {
    #[cfg(unix)]
    leader: Option<Pid>,
}

#[cfg(unix)]
impl Group {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self {
            leader: id.and_then(Pid::from_raw),
        }
    }

    /// Its number may be another's from now on.
    fn has_ended(mut self) {
        self.leader = None;
    }
}

#[cfg(unix)]
impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.leader {
            // One that is gone already is as good as killed.
            let _ = rustix::process::kill_process_group(leader, Signal::KILL);
        }
    }
}

#[cfg(not(unix))]
impl Group {
    fn of(_: &Child) -> Self {
        Self {}
    }

    fn has_ended(self) {}
}

/// Reads a stream to its end, one byte past the bound at the most; the rest is read and dropped, so
/// that the program does not hang on a full pipe.
async fn read(stream: Option<impl AsyncRead + Unpin>) -> std::io::Result<Zeroizing<String>> {
    let Some(mut stream) = stream else {
        return Ok(Zeroizing::default());
    };
    let mut kept = Zeroizing::new(Vec::new());
    (&mut stream)
        .take(MAX_OUTPUT_BYTES as u64 + 1)
        .read_to_end(&mut kept)
        .await?;
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
    Ok(Zeroizing::new(String::from_utf8_lossy(&kept).into_owned()))
}

/// The end of what a program complained of: warnings come first, the reason last.
fn last_words(complaint: &str) -> &str {
    let complaint = complaint.trim();
    match complaint.char_indices().nth_back(MAX_WORDS_CHARS - 1) {
        Some((start, _)) => &complaint[start..],
        None => complaint,
    }
}

/// What is left of an error's 500 characters.
const MAX_WORDS_CHARS: usize = 400;

const MAX_OUTPUT_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_are_kept_whole_and_cut_at_their_start() {
        assert_eq!(last_words(" ERROR: no \n"), "ERROR: no");
        let long = format!("{}ERROR: nö", "WARNING: ä ".repeat(100));
        let kept = last_words(&long);
        assert!(kept.ends_with("ERROR: nö"), "{kept}");
        assert_eq!(kept.chars().count(), MAX_WORDS_CHARS);
    }
}
