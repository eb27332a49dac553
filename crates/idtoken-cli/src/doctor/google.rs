//! Google's side: can its keys be had, what time is it there, do they fit the token.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::DATE;
use http::{Request, Response, Uri};
use idtoken::transport::ReqwestTransport;
use idtoken::{Transport, UnverifiedClaims, Verifier};

use super::report::{Finding, Report};
use super::{DoctorArgs, now};
use crate::exit::Exit;
use crate::span;
use crate::verify;

pub(super) async fn examine(args: &DoctorArgs, token: Option<&str>, report: &mut Report) {
    match fetch(&args.jwks_url).await {
        Err(why) => {
            let host = args.jwks_url.host().unwrap_or_default();
            report.add(Finding::note(
                "clock",
                format!("cannot be compared, since {host} does not answer: {why}"),
                "receivers need its keys: check egress, DNS and proxy settings",
            ));
        }
        Ok(answer) => {
            report.add(clock(&answer));
            if let Some(token) = token {
                report.add(signature(args, token).await);
            }
        }
    }
}

async fn fetch(url: &Uri) -> Result<Response<Bytes>, String> {
    let failed = |error: &dyn std::error::Error| {
        let mut line = error.to_string();
        let mut next = error.source();
        while let Some(cause) = next {
            line.push_str(&format!(": {cause}"));
            next = cause.source();
        }
        line
    };
    let transport = ReqwestTransport::new().map_err(|error| failed(&error))?;
    let request = Request::get(url)
        .body(Bytes::new())
        .map_err(|error| failed(&error))?;
    let answer = tokio::time::timeout(TIMEOUT, transport.send(request)).await;
    match answer {
        Err(_) => Err(format!("no answer in {} s", TIMEOUT.as_secs())),
        Ok(Err(error)) => Err(failed(&error)),
        Ok(Ok(answer)) if !answer.status().is_success() => {
            Err(format!("status {}", answer.status().as_u16()))
        }
        Ok(Ok(answer)) => Ok(answer),
    }
}

fn clock(answer: &Response<Bytes>) -> Finding {
    let theirs = answer
        .headers()
        .get(DATE)
        .and_then(|date| date.to_str().ok())
        .and_then(|date| httpdate::parse_http_date(date).ok());
    match theirs {
        None => Finding::good("clock", "cannot be compared: the answer has no date"),
        Some(theirs) => compare(now(), theirs),
    }
}

fn compare(ours: SystemTime, theirs: SystemTime) -> Finding {
    let offset = span::seconds_between(theirs, ours);
    let apart = Duration::from_secs(offset.unsigned_abs());
    let direction = if offset < 0 { "behind" } else { "ahead of" };
    let text = format!("{} {direction} Google's", span::about(apart));
    if apart <= CLOSE {
        Finding::good("clock", format!("within {} s of Google's", CLOSE.as_secs()))
    } else if apart <= BEARABLE {
        Finding::note("clock", text, "synchronise this machine's clock")
    } else {
        Finding::bad("clock", Exit::Clock, text).with_advice("synchronise this machine's clock")
    }
}

/// The token before a receiver that lets everybody in.
async fn signature(args: &DoctorArgs, token: &str) -> Finding {
    let claims = UnverifiedClaims::read_without_verifying(token);
    let audience = claims.iter().flat_map(UnverifiedClaims::aud).next();
    let verifier = Verifier::builder()
        .audience(audience.unwrap_or_default())
        .danger_any_google_identity()
        .jwks_url(args.jwks_url.to_string())
        .build();
    let verifier = match verifier {
        Ok(verifier) => verifier,
        Err(error) => return Finding::bad("signature", Exit::Internal, error.to_string()),
    };
    match verifier.verify(token).await {
        Ok(_) => Finding::good("signature", "verified with Google's keys"),
        Err(error) => {
            let failure = verify::failure(error);
            Finding::bad("signature", failure.exit(), failure.line())
        }
    }
}

const TIMEOUT: Duration = Duration::from_secs(10);
/// What `Date`, in whole seconds, can tell, and a slow answer.
const CLOSE: Duration = Duration::from_secs(5);
/// What verifiers overlook, as a rule.
const BEARABLE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_may_be_a_little_wrong() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        for (ours, told) in [
            (1_000, "good: within 5 s of Google's"),
            (1_005, "good: within 5 s"),
            (990, "note: 10 s behind Google's"),
            (1_030, "note: 30 s ahead of Google's"),
            (1_300, "bad: 5 min ahead of Google's"),
        ] {
            let found = compare(at(ours), at(1_000)).summary();
            assert!(found.starts_with(told), "{found}");
        }
    }
}
