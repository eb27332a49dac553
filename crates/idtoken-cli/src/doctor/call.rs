//! One real call.

use std::time::Duration;

use http::header::{AUTHORIZATION, LOCATION, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, Uri};
use idtoken::UnverifiedClaims;
use idtoken::loopback::is_loopback;
use reqwest::Client;
use reqwest::redirect::Policy;
use tower_idtoken::error::BoxError;
use tower_idtoken::explain_refusal;

use super::now;
use super::report::Finding;
use crate::exit::{Exit, Failure};

pub(super) async fn make(target: Option<Uri>, token: Option<&str>) -> Finding {
    let Some(target) = target else {
        return Finding::bad("call", Exit::Usage, "the audience is no URL")
            .with_advice("say with --url where the service is");
    };
    let Some(token) = token else {
        return Finding::bad("call", Exit::Finding, "not made, for want of a token");
    };
    let host = target.host().unwrap_or_default().to_owned();
    if target.scheme_str() != Some("https") && !is_loopback(&host) {
        return Finding::bad(
            "call",
            Exit::Usage,
            "not made: a token does not travel over plain http",
        );
    }
    match tokio::time::timeout(TIMEOUT, send(target, token)).await {
        Ok(Ok(answer)) => judge(&answer, &host, token),
        Ok(Err(error)) => {
            let failure = Failure::new(Exit::Unavailable, "no answer").with_source(error);
            Finding::bad("call", failure.exit(), failure.line())
        }
        Err(_) => Finding::bad(
            "call",
            Exit::Unavailable,
            format!("no answer in {} s", TIMEOUT.as_secs()),
        ),
    }
}

/// The head says it all; what follows it is not read. Proxy variables count, as for most clients,
/// but what is on this machine is called directly: a proxy would get to see the token.
async fn send(target: Uri, token: &str) -> Result<Response<()>, BoxError> {
    let mut bearer = HeaderValue::try_from(format!("Bearer {token}"))?;
    bearer.set_sensitive(true);
    let mut client = Client::builder().redirect(Policy::none());
    if target.host().is_some_and(is_loopback) {
        client = client.no_proxy();
    }
    let client = client.build()?;
    let mut request = client.get(target.to_string()).build()?;
    request.headers_mut().insert(AUTHORIZATION, bearer);
    let answer = client.execute(request).await;
    let answer: Response<_> = answer.map_err(reqwest::Error::without_url)?.into();
    Ok(answer.map(drop))
}

fn judge(answer: &Response<()>, host: &str, token: &str) -> Finding {
    let (status, text) = (
        answer.status(),
        format!("status {}", answer.status().as_u16()),
    );
    let claims = UnverifiedClaims::read_without_verifying(token).ok();
    let refusal = explain_refusal(
        status,
        answer.headers().get(WWW_AUTHENTICATE),
        host,
        claims.as_ref(),
        now(),
    );
    if let Some(refusal) = refusal {
        return Finding::bad("call", Exit::CallRefused, text).with_advice(refusal.to_string());
    }
    let elsewhere = redirected_to(answer).filter(|to| !to.eq_ignore_ascii_case(host));
    match (status.as_u16(), elsewhere) {
        (200..300, _) => Finding::good("call", format!("{text}: the caller was let in")),
        (300..400, Some(to)) => Finding::bad(
            "call",
            Exit::CallRefused,
            format!("{text}: redirected to {to}"),
        )
        .with_advice(
            "is Identity-Aware Proxy in front, or is this another address than the service's own? \
             A token goes along to no other host",
        ),
        (429 | 500.., _) => Finding::bad("call", Exit::Unavailable, text).with_advice(
            "the service is too busy, fails, or does not start: its logs know, and no token helps",
        ),
        _ => Finding::note(
            "call",
            text,
            "the caller was probably let in, and this is the service's own answer to a GET here",
        ),
    }
}

/// The host that a redirect leads to, if it names one.
fn redirected_to<B>(answer: &Response<B>) -> Option<String> {
    let location = answer.headers().get(LOCATION)?.to_str().ok()?;
    // A scheme may be left out, but `//` tells that a host follows.
    let (_, rest) = location
        .split_once("//")
        .filter(|(scheme, _)| !scheme.contains(['/', '?', '#']))?;
    let authority: http::uri::Authority = rest.split(['/', '?', '#']).next()?.parse().ok()?;
    Some(authority.host().to_owned())
}

const TIMEOUT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_is_told_from_the_others() {
        let iap = "https://accounts.google.com/o/oauth2/v2/auth?client_id=x";
        for (status, location, told) in [
            (200, "", "good: status 200: the caller was let in"),
            (204, "", "good: status 204"),
            (
                302,
                iap,
                "bad: status 302: redirected to accounts.google.com |",
            ),
            (
                307,
                "//other.example/x",
                "bad: status 307: redirected to other.example |",
            ),
            (
                302,
                "/login?next=https://other.example/",
                "note: status 302 |",
            ),
            (302, "https://A.run.app/login", "note: status 302 |"),
            (304, "", "note: status 304 |"),
            (400, "", "note: status 400 |"),
            (401, "", "bad: status 401 |"),
            (403, "", "bad: status 403 |"),
            (404, "", "bad: status 404 |"),
            (405, "", "note: status 405 |"),
            (429, "", "bad: status 429 |"),
            (500, "", "bad: status 500 |"),
            (503, "", "bad: status 503 |"),
        ] {
            let mut answer = Response::builder().status(status);
            if !location.is_empty() {
                answer = answer.header(LOCATION, location);
            }
            let finding = judge(&answer.body(()).unwrap(), "a.run.app", "");
            let summary = finding.summary();
            assert!(summary.starts_with(told), "{status} {location}: {summary}");
            let exit = match status {
                429 | 500 | 503 => Exit::Unavailable,
                _ if told.starts_with("bad") => Exit::CallRefused,
                _ => Exit::Success,
            };
            assert_eq!(finding.exit(), exit, "{status}");
        }
    }
}
