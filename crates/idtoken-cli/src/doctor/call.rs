//! One real call.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderValue, Request, Response, Uri};
use idtoken::transport::{ReqwestTransport, TransportErrorKind};
use idtoken::{Transport, UnverifiedClaims};
use tower_idtoken::explain_refusal;

use super::now;
use super::report::Finding;
use crate::exit::Exit;

pub(super) async fn make(target: Option<Uri>, token: Option<&str>) -> Finding {
    let Some(target) = target else {
        return Finding::bad("call", Exit::Usage, "the audience is no URL")
            .with_advice("say with --url where the service is");
    };
    let Some(token) = token else {
        return Finding::bad("call", Exit::Finding, "not made, for want of a token");
    };
    let host = target.host().unwrap_or_default().to_owned();
    if target.scheme_str() != Some("https") && !idtoken::loopback::is_loopback(&host) {
        return Finding::bad(
            "call",
            Exit::Usage,
            "not made: a token does not travel over plain http",
        );
    }
    match send(target, token).await {
        Ok(answer) => judge(&answer, &host, token),
        Err(text) => text,
    }
}

async fn send(target: Uri, token: &str) -> Result<Response<Bytes>, Finding> {
    let failed = |error: &dyn std::error::Error| {
        let mut line = error.to_string();
        if let Some(cause) = error.source() {
            line.push_str(&format!(": {cause}"));
        }
        Finding::bad("call", Exit::Unavailable, line)
    };
    let mut bearer =
        HeaderValue::try_from(format!("Bearer {token}")).map_err(|error| failed(&error))?;
    bearer.set_sensitive(true);
    let request = Request::get(target)
        .header(AUTHORIZATION, bearer)
        .body(Bytes::new())
        .map_err(|error| failed(&error))?;
    let transport = ReqwestTransport::new().map_err(|error| failed(&error))?;
    match tokio::time::timeout(TIMEOUT, transport.send(request)).await {
        Ok(Ok(answer)) => Ok(answer),
        // The front end's refusals are short.
        Ok(Err(error)) if error.kind() == TransportErrorKind::TooLarge => {
            Err(Finding::good("call", "answered, at length"))
        }
        Ok(Err(error)) => Err(failed(&error)),
        Err(_) => Err(Finding::bad(
            "call",
            Exit::Unavailable,
            format!("no answer in {} s", TIMEOUT.as_secs()),
        )),
    }
}

fn judge(answer: &Response<Bytes>, host: &str, token: &str) -> Finding {
    let status = answer.status().as_u16();
    let claims = UnverifiedClaims::read_without_verifying(token).ok();
    let refusal = explain_refusal(
        answer.status(),
        answer.headers().get(WWW_AUTHENTICATE),
        host,
        claims.as_ref(),
        now(),
    );
    match refusal {
        Some(refusal) => Finding::bad("call", Exit::CallRefused, format!("status {status}"))
            .with_advice(refusal.to_string()),
        None => Finding::good("call", format!("status {status}: the caller was let in")),
    }
}

const TIMEOUT: Duration = Duration::from_secs(60);
