//! What the proxy tells of its requests. Paths, never queries: those can hold secrets. Nor tokens
//! that a path has in it: JSON goes to standard output, which repeats what it is given.

use std::sync::{Mutex, PoisonError};

use http::header::WWW_AUTHENTICATE;
use http::{Method, Response, StatusCode};
use idtoken::clock::SystemClock;
use idtoken::{Clock, UnverifiedClaims};
use serde_json::json;
use tokio::time::{Duration, Instant};
use tower_idtoken::explain_refusal;
use tower_idtoken::refusal::RefusalKind;

use super::answer::Problem;
use super::upstream::Upstream;
use crate::output::{DIM, Output, WARN, printable, without_tokens};
use crate::print::jwt_of;

pub(super) struct Log {
    output: Output,
    verbose: bool,
    /// What was told last, and when: one bad grant need not be told a thousand times.
    told: Mutex<Option<(String, Instant)>>,
}

/// One request.
pub(super) struct Entry {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) start: Instant,
}

impl Log {
    pub(super) fn new(output: &Output, verbose: bool) -> Self {
        Self {
            output: *output,
            verbose,
            told: Mutex::new(None),
        }
    }

    pub(super) fn answered<B>(&self, entry: &Entry, answer: &Response<B>, upstream: &Upstream) {
        if self.verbose {
            self.request(entry, answer.status());
        }
        if let Some(refusal) = refusal(answer, upstream) {
            self.trouble(entry, answer.status(), &refusal);
        }
    }

    pub(super) fn failed(&self, entry: &Entry, problem: &Problem) {
        self.trouble(entry, problem.status(), &problem.line());
    }

    pub(super) fn turned_away(&self, entry: &Entry, why: &str) {
        self.trouble(entry, StatusCode::FORBIDDEN, why);
    }

    fn request(&self, entry: &Entry, status: StatusCode) {
        let milliseconds = entry.start.elapsed().as_millis();
        if self.output.is_json() {
            self.event(&json!({
                "event": "request",
                "method": entry.method.as_str(),
                "milliseconds": u64::try_from(milliseconds).unwrap_or(u64::MAX),
                "path": without_tokens(&entry.path),
                "status": status.as_u16(),
            }));
        } else {
            let (method, path) = (&entry.method, printable(&entry.path));
            self.output.tell_raw(&format!(
                "{method} {path} {} {DIM}{milliseconds} ms{DIM:#}",
                status.as_u16()
            ));
        }
    }

    fn trouble(&self, entry: &Entry, status: StatusCode, why: &str) {
        if !self.is_news(why) {
            return;
        }
        if self.output.is_json() {
            self.event(&json!({
                "event": "trouble",
                "method": entry.method.as_str(),
                "path": without_tokens(&entry.path),
                "status": status.as_u16(),
                "why": without_tokens(why),
            }));
        } else {
            let (method, path, why) = (&entry.method, printable(&entry.path), printable(why));
            self.output.tell_raw(&format!(
                "{WARN}{method} {path} {}{WARN:#}: {why}",
                status.as_u16()
            ));
        }
    }

    fn is_news(&self, why: &str) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let again = told
            .as_ref()
            .is_some_and(|(last, when)| last == why && when.elapsed() < QUIET);
        if !again {
            *told = Some((why.to_owned(), Instant::now()));
        }
        !again
    }

    fn event(&self, event: &serde_json::Value) {
        // The proxy serves on when nobody reads its log any more.
        let _ = self.output.write(&format!("{event}\n"));
    }
}

/// What the front end may have meant. An application's own 404 is its own business.
fn refusal<B>(answer: &Response<B>, upstream: &Upstream) -> Option<String> {
    let bearer = upstream.handle().try_bearer();
    let claims = bearer
        .as_ref()
        .and_then(|bearer| jwt_of(bearer).ok())
        .and_then(|jwt| UnverifiedClaims::read_without_verifying(jwt).ok());
    let refusal = explain_refusal(
        answer.status(),
        answer.headers().get(WWW_AUTHENTICATE),
        upstream.origin().host(),
        claims.as_ref(),
        SystemClock.now(),
    )?;
    (refusal.kind() != RefusalKind::NotReachable).then(|| refusal.to_string())
}

const QUIET: Duration = Duration::from_secs(60);
