//! From a request to its answer: records, faults, and the endpoint itself.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{DATE, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;

use super::Shared;
use super::body::AnswerBody;
use crate::answer::{self, Answer, ApiError, METADATA_FLAVOR};
use crate::endpoint::Endpoint;
use crate::fault::{self, Fault};
use crate::federation::{self, imds};
use crate::journal::Entry;
use crate::record::Recorded;
use crate::world::{Call, Twist, World, http_date};
use crate::{discovery, iam, keys, metadata, page, token};

/// Records the request, lets faults strike, and answers.
pub(super) async fn respond(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Reset> {
    let (parts, body) = request.into_parts();
    let (body, too_large) = match Limited::new(body, MOST_BODY_BYTES).collect().await {
        Ok(body) => (body.to_bytes(), false),
        Err(_) => (Bytes::new(), true),
    };
    let request = Request::from_parts(parts, body);
    if page::wants(&request) {
        // Makes keys, which takes too long for a thread that serves others.
        let made = tokio::task::spawn_blocking(move || page::respond(&shared, &request)).await;
        let made = made.unwrap_or_else(|_| {
            answer::html(
                StatusCode::INTERNAL_SERVER_ERROR,
                "The page cannot be made.",
            )
        });
        return Ok(made.map(AnswerBody::of));
    }
    let endpoint = Endpoint::of(request.uri().path());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let (fault, twist) = begin(&shared, endpoint, &request).await?;

    let now = shared.now();
    let stand_in = fault
        .as_ref()
        .and_then(|fault| fault::stand_in(endpoint, fault));
    let mut answer = match stand_in {
        Some(answer) => answer,
        None if too_large => answer::html(StatusCode::PAYLOAD_TOO_LARGE, "Request too large."),
        None => {
            let call = Call {
                request: &request,
                now,
                twist,
            };
            dispatch(&mut shared.world(), endpoint, call)
        }
    };
    let truncated = matches!(fault, Some(Fault::Truncated));
    if matches!(fault, Some(Fault::NoFlavor)) {
        answer.headers_mut().remove(METADATA_FLAVOR);
    }
    shared.world().journal.note(Entry {
        at: now,
        to: endpoint.name().to_owned(),
        method,
        path,
        status: answer.status().as_u16(),
        verdict: fault.map_or_else(String::new, |fault| format!("fault: {fault:?}")),
    });
    // By our clock and not by the machine's: a client may compare it with its own.
    if let Ok(date) = HeaderValue::from_str(&http_date(now)) {
        answer.headers_mut().entry(DATE).or_insert(date);
    }
    Ok(answer.map(|body| {
        if truncated {
            AnswerBody::half_of(&body)
        } else {
            AnswerBody::of(body)
        }
    }))
}

/// Records the request and goes through what a fault makes of the time before its answer; the
/// fault is handed on, since most of them concern the answer itself.
pub(super) async fn begin(
    shared: &Shared,
    endpoint: Endpoint,
    request: &Request<Bytes>,
) -> Result<(Option<Fault>, Option<Twist>), Reset> {
    let fault = {
        let mut world = shared.world();
        world.records.add(endpoint, Recorded::new(request));
        let fault = world.faults.strike(endpoint);
        // These are never answered, and so never noted with their answer.
        if let Some(fault @ (Fault::Hang | Fault::Reset)) = &fault {
            world.journal.note(Entry {
                at: shared.now(),
                to: endpoint.name().to_owned(),
                method: request.method().clone(),
                path: request.uri().path().to_owned(),
                status: 0,
                verdict: format!("fault: {fault:?}"),
            });
        }
        fault
    };
    shared.recorded.send_replace(());
    tracing::debug!(method = %request.method(), ?endpoint, ?fault, "request");

    let mut twist = None;
    match &fault {
        Some(Fault::Delay(delay)) => tokio::time::sleep(*delay).await,
        Some(Fault::ExpiredToken) => twist = Some(Twist::Expired),
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Hold(gate)) => gate.pass().await,
        Some(Fault::Reset) => return Err(Reset),
        Some(Fault::WrongAudience) => twist = Some(Twist::WrongAudience),
        _ => {}
    }
    Ok((fault, twist))
}

/// The endpoint's own answer: a function of the world and the request.
fn dispatch(world: &mut World, endpoint: Endpoint, call: Call<'_>) -> Answer {
    match endpoint {
        Endpoint::AccountJwks
        | Endpoint::AccountPem
        | Endpoint::IapJwks
        | Endpoint::IapPem
        | Endpoint::Jwks
        | Endpoint::Pem => keys::respond(world, call.now, endpoint, call.request),
        Endpoint::AllowedLocations
        | Endpoint::GenerateAccessToken
        | Endpoint::GenerateIdToken
        | Endpoint::SignBlob
        | Endpoint::SignJwt => iam::respond(world, endpoint, call),
        Endpoint::Discovery => discovery::discovery(world),
        Endpoint::Identity | Endpoint::Metadata | Endpoint::MetadataToken | Endpoint::Ping => {
            metadata::respond(world, endpoint, call)
        }
        Endpoint::Imds => imds::respond(call),
        Endpoint::Sts => federation::exchange(world, call),
        Endpoint::SubjectToken => federation::subject_token(world, call),
        Endpoint::Token => token::respond(world, call),
        Endpoint::TokenInfo => discovery::token_info(world, call),
        Endpoint::Connect | Endpoint::Unknown => not_found(call.request.uri().path()),
    }
}

/// Google's APIs, which have a version in front, answer in JSON even where there is nothing, and
/// some clients count on it.
fn not_found(path: &str) -> Answer {
    if path.starts_with("/v1/") {
        let message = "Requested entity was not found.";
        return ApiError::new(StatusCode::NOT_FOUND, "NOT_FOUND", message).into_answer();
    }
    answer::html(
        StatusCode::NOT_FOUND,
        "The requested URL was not found on this server.",
    )
}

/// Ends a connection without an answer.
#[derive(Debug)]
pub(super) struct Reset;

impl fmt::Display for Reset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is to be reset")
    }
}

impl std::error::Error for Reset {}

/// No request to Google that this crate knows of comes near it.
const MOST_BODY_BYTES: usize = 64 * 1024;
