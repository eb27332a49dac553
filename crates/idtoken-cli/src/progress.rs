//! A sign of life on terminals while something takes its time.

use std::io::{self, Write};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::output::Output;

/// Shows what is going on until it is dropped. Shows nothing when it is over soon, and nothing at
/// all unless standard error is a terminal.
#[must_use = "progress ends when it is dropped"]
pub(crate) struct Progress(Option<JoinHandle<()>>);

impl Progress {
    pub(crate) fn start(output: &Output, what: impl Into<String>) -> Self {
        let what = what.into();
        Self(output.shows_progress().then(|| {
            tokio::spawn(async move {
                tokio::time::sleep(GRACE).await;
                for frame in FRAMES.iter().cycle() {
                    let _ = write!(io::stderr(), "\r{frame} {what} ");
                    let _ = io::stderr().flush();
                    tokio::time::sleep(STEP).await;
                }
            })
        }))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
            // Back to the first column, and clear to the end of the line.
            let _ = write!(io::stderr(), "\r\u{1b}[K");
        }
    }
}

const FRAMES: [&str; 4] = ["|", "/", "-", "\\"];
const GRACE: Duration = Duration::from_millis(300);
const STEP: Duration = Duration::from_millis(120);
