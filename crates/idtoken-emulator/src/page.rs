//! A page for people on the emulator's own port: what there is, what happened, and some buttons.
//!
//! A browser carries out requests for every site it shows, so the page answers to loopback names
//! only, and does nothing that another site's page asks for.

mod action;
pub(crate) mod html;
mod view;

use bytes::Bytes;
use http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, LOCATION, ORIGIN, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::uri::Authority;
use http::{Method, Request, StatusCode};

use crate::answer::{self, Answer, METADATA_FLAVOR};
use crate::server::Shared;

/// Whether a request is for the page, or from somebody who looks for one at the root.
pub(crate) fn wants(request: &Request<Bytes>) -> bool {
    let path = request.uri().path();
    path == HOME || path.starts_with("/emulator/") || (path == "/" && is_person(request))
}

/// Answers it. Makes keys when told, which takes some tenths of a second.
pub(crate) fn respond(shared: &Shared, request: &Request<Bytes>) -> Answer {
    let answer = match check(request) {
        Ok(()) => route(shared, request),
        Err((status, why)) => answer::html(status, why),
    };
    [
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, POLICY),
        // Forms need the page's origin, other sites need nothing.
        (REFERRER_POLICY, "same-origin"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
    ]
    .into_iter()
    .fold(answer, |answer, (name, value)| {
        answer::with_header(answer, name, value)
    })
}

fn route(shared: &Shared, request: &Request<Bytes>) -> Answer {
    let path = request.uri().path();
    match (request.method(), path) {
        (&Method::GET | &Method::HEAD, "/") => moved(StatusCode::FOUND),
        (&Method::GET | &Method::HEAD, HOME) => page(shared, None),
        (&Method::GET | &Method::HEAD, "/emulator/style.css") => {
            answer::with_type(StatusCode::OK, "text/css; charset=utf-8", STYLE)
        }
        (&Method::GET | &Method::HEAD, "/emulator/script.js") => {
            answer::with_type(StatusCode::OK, "text/javascript; charset=utf-8", SCRIPT)
        }
        (&Method::POST, _) => match action::perform(shared, path, request.body()) {
            Ok(None) => moved(StatusCode::SEE_OTHER),
            Ok(Some(number)) => page(shared, Some(number)),
            Err(why) => answer::html(StatusCode::BAD_REQUEST, why),
        },
        _ => answer::html(StatusCode::NOT_FOUND, "There is no such page."),
    }
}

fn page(shared: &Shared, revealed: Option<u64>) -> Answer {
    let text = view::page(shared, revealed);
    answer::with_type(StatusCode::OK, "text/html; charset=utf-8", text)
}

fn moved(status: StatusCode) -> Answer {
    answer::with_header(answer::html(status, "It is over there."), LOCATION, HOME)
}

/// Somebody with a browser, and no client of the metadata server.
fn is_person(request: &Request<Bytes>) -> bool {
    let headers = request.headers();
    let accepts = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    accepts.is_some_and(|accept| accept.contains("text/html"))
        && !headers.contains_key(METADATA_FLAVOR)
}

fn check(request: &Request<Bytes>) -> Result<(), (StatusCode, &'static str)> {
    let headers = request.headers();
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    // A name of another site's own that suddenly means this machine (DNS rebinding).
    let authority = host.and_then(|host| host.parse::<Authority>().ok());
    let is_local = authority.is_some_and(|host| idtoken::loopback::is_loopback(host.host()));
    if !is_local || headers.get_all(HOST).iter().count() != 1 {
        return Err((
            StatusCode::MISDIRECTED_REQUEST,
            "This page answers to localhost and loopback addresses only.",
        ));
    }
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(());
    }
    let origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
    let origin = origin.and_then(|origin| origin.split_once("://"));
    let is_own = origin
        .is_some_and(|(scheme, rest)| matches!(scheme, "http" | "https") && Some(rest) == host);
    let elsewhere = headers
        .get("sec-fetch-site")
        .is_some_and(|site| site != "same-origin");
    if !is_own || elsewhere {
        return Err((
            StatusCode::FORBIDDEN,
            "Only this page's own buttons may change anything here.",
        ));
    }
    Ok(())
}

pub(crate) const HOME: &str = "/emulator";
const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/script.js");
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
    img-src data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
