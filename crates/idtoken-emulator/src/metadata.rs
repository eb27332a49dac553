//! The metadata server of Google's virtual machines and of what imitates it.

mod tree;

use std::collections::HashMap;

use http::header::{HeaderName, SERVER};
use http::{Method, Request, StatusCode};

use self::tree::Found;
use crate::access::{CLOUD_PLATFORM, LIFETIME_S};
use crate::account::Account;
use crate::answer::{self, Answer, METADATA_FLAVOR};
use crate::claims::{self, Shape};
use crate::endpoint::{Endpoint, decode_segment};
use crate::fault::flavored;
use crate::mint;
use crate::world::{Call, World};

/// Where the emulated workload runs. It decides what a token says when nobody asks for
/// `format=full`, how long before its end a cached token is replaced, and how a missing account is
/// reported.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Platform {
    /// App Engine.
    AppEngine,
    /// Cloud Run functions.
    CloudFunctions,
    /// Cloud Run.
    CloudRun,
    /// A virtual machine.
    #[default]
    Gce,
    /// Kubernetes Engine with workload identity.
    Gke,
}

impl Platform {
    fn is_serverless(self) -> bool {
        matches!(
            self,
            Self::AppEngine | Self::CloudFunctions | Self::CloudRun
        )
    }

    /// With how much of its life left a cached token is no longer handed out.
    fn rollover_s(self) -> u64 {
        if self.is_serverless() { 240 } else { 300 }
    }

    fn shape(self, full: bool) -> Shape {
        match (self, full) {
            (Self::Gce, true) => Shape::MetadataFull,
            (Self::Gce, false) => Shape::MetadataStandard,
            _ => Shape::Service,
        }
    }
}

/// The tokens that the metadata server keeps and hands out again.
#[derive(Debug)]
pub(crate) struct MetadataCache {
    pub(crate) enabled: bool,
    tokens: HashMap<CacheKey, Cached>,
}

type CacheKey = (String, String, Shape, bool);

#[derive(Debug)]
struct Cached {
    token: String,
    expires_at: u64,
}

impl Default for MetadataCache {
    fn default() -> Self {
        Self {
            enabled: true,
            tokens: HashMap::new(),
        }
    }
}

impl MetadataCache {
    pub(crate) fn clear(&mut self) {
        self.tokens.clear();
    }

    fn find(&self, key: &CacheKey, until: u64) -> Option<&str> {
        let cached = self
            .tokens
            .get(key)
            .filter(|cached| cached.expires_at > until)?;
        self.enabled.then_some(&cached.token)
    }

    fn put(&mut self, key: CacheKey, token: String, expires_at: u64, now: u64) {
        if self.tokens.len() >= MOST_CACHED {
            self.tokens.retain(|_, cached| cached.expires_at > now);
        }
        if self.tokens.len() < MOST_CACHED {
            self.tokens.insert(key, Cached { token, expires_at });
        }
    }
}

/// Answers everything below `/computeMetadata/`, and the root.
pub(crate) fn respond(world: &mut World, endpoint: Endpoint, call: Call<'_>) -> Answer {
    let answer = match refuse(endpoint, call.request) {
        Some(refusal) => refusal,
        None => match endpoint {
            Endpoint::Identity => identity(world, call),
            Endpoint::MetadataToken => access_token(world, call),
            Endpoint::Ping => answer::text(StatusCode::OK, "computeMetadata/\n"),
            _ => lookup(world, call.request),
        },
    };
    let answer = answer::with_header(answer, SERVER, "Metadata Server for VM");
    let answer = answer::with_header(answer, XSS_PROTECTION, "0");
    flavored(answer::with_header(answer, FRAME_OPTIONS, "SAMEORIGIN"))
}

/// The rules that hold for every key.
fn refuse<B>(endpoint: Endpoint, request: &Request<B>) -> Option<Answer> {
    let headers = request.headers();
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Some(answer::html(
            StatusCode::METHOD_NOT_ALLOWED,
            "This method is not allowed.",
        ));
    }
    // A request that was passed on by some proxy was not meant for this machine.
    if headers.contains_key("x-forwarded-for") {
        return Some(answer::html(
            StatusCode::FORBIDDEN,
            "Requests must not be forwarded.",
        ));
    }
    if endpoint == Endpoint::Ping {
        return None;
    }
    match headers.get(METADATA_FLAVOR) {
        None => Some(answer::html(
            StatusCode::FORBIDDEN,
            "Missing required header \"Metadata-Flavor\": \"Google\"",
        )),
        Some(flavor) if flavor != "Google" => Some(not_found()),
        Some(_) => None,
    }
}

fn identity(world: &mut World, call: Call<'_>) -> Answer {
    let Some(account) = account(world, call.request) else {
        return no_account(world);
    };
    let Some(audience) = query(call.request, "audience").filter(|audience| !audience.is_empty())
    else {
        return answer::html(
            StatusCode::BAD_REQUEST,
            "non-empty audience parameter required",
        );
    };
    let full = query(call.request, "format").is_some_and(|format| format == "full");
    let licenses = query(call.request, "licenses").is_some_and(|yes| yes == "TRUE");
    let shape = world.platform.shape(full);
    let licensed = shape == Shape::MetadataFull && licenses;

    let key = (
        account.email().to_owned(),
        audience.clone(),
        shape,
        licensed,
    );
    let until = call.now.saturating_add(world.platform.rollover_s());
    let token = match world.metadata_cache.find(&key, until) {
        Some(token) if call.twist.is_none() => token.to_owned(),
        _ => {
            let mut claims = mint::claims_for(call, shape, &account, &audience);
            if licensed {
                claims::add_licenses(&mut claims);
            }
            let token = mint::sign_claims(world, claims);
            if call.twist.is_none() {
                let expires_at = call.now.saturating_add(shape.lifetime().as_secs());
                world
                    .metadata_cache
                    .put(key, token.clone(), expires_at, call.now);
            }
            token
        }
    };
    answer::with_type(StatusCode::OK, "text/html", token)
}

fn access_token(world: &mut World, call: Call<'_>) -> Answer {
    let Some(account) = account(world, call.request) else {
        return no_account(world);
    };
    let scopes = query(call.request, "scopes")
        .filter(|scopes| !scopes.is_empty())
        .map_or_else(
            || CLOUD_PLATFORM.to_owned(),
            |scopes| scopes.replace(',', " "),
        );
    let until = call.now.saturating_add(world.platform.rollover_s());
    let enabled = world.metadata_cache.enabled;
    let tokens = &mut world.access_tokens;
    let body = match tokens
        .find(account.email(), &scopes, until)
        .filter(|_| enabled)
    {
        Some(token) => token.answer(call.now),
        None => {
            let expires_at = call.now.saturating_add(LIFETIME_S);
            tokens
                .issue(account.email(), &scopes, expires_at)
                .answer(call.now)
        }
    };
    answer::json(StatusCode::OK, &body)
}

/// The account named in the path: `default`, or the attached account's own address.
fn account<B>(world: &World, request: &Request<B>) -> Option<Account> {
    let (_, rest) = request
        .uri()
        .path()
        .split_once("/instance/service-accounts/")?;
    let name = decode_segment(rest.split_once('/')?.0)?;
    world
        .attached()
        .filter(|account| name == "default" || name == account.email())
        .cloned()
}

fn no_account(world: &World) -> Answer {
    match (world.platform, world.attached()) {
        (Platform::Gke, None) => answer::text(StatusCode::NOT_FOUND, NOT_ANNOTATED),
        _ => not_found(),
    }
}

fn lookup<B>(world: &World, request: &Request<B>) -> Answer {
    let path = request.uri().path();
    let Some(key) = path.strip_prefix("/computeMetadata/") else {
        return moved(path);
    };
    if key.is_empty() {
        return answer::text(StatusCode::OK, "v1/\n");
    }
    let recursive = query(request, "recursive").is_some_and(|yes| yes.eq_ignore_ascii_case("true"));
    match key.strip_prefix("v1/").map(|key| tree::find(world, key)) {
        Some(Found::Directory(entry)) if recursive => answer::with_type(
            StatusCode::OK,
            "application/json",
            tree::camel(&entry).to_string(),
        ),
        Some(Found::Directory(entry)) if path.ends_with('/') => {
            answer::text(StatusCode::OK, tree::listing(&entry))
        }
        Some(Found::Directory(_)) => moved(path),
        Some(Found::Leaf(text)) => answer::text(StatusCode::OK, text),
        Some(Found::Nothing) => not_found(),
        None if key == "v1" => moved(path),
        None => not_found(),
    }
}

fn moved(path: &str) -> Answer {
    let answer = answer::html(StatusCode::MOVED_PERMANENTLY, "Moved.");
    answer::with_header(answer, http::header::LOCATION, &format!("{path}/"))
}

fn not_found() -> Answer {
    answer::html(
        StatusCode::NOT_FOUND,
        "The requested URL was not found on this server.",
    )
}

fn query<B>(request: &Request<B>, name: &str) -> Option<String> {
    form_urlencoded::parse(request.uri().query()?.as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

const XSS_PROTECTION: HeaderName = http::header::X_XSS_PROTECTION;
const FRAME_OPTIONS: HeaderName = http::header::X_FRAME_OPTIONS;

const NOT_ANNOTATED: &str = "Your Kubernetes service account (default/default) is not annotated \
    with a target Google service account, which is a requirement for retrieving Identity Tokens \
    using Workload Identity.\nPlease add the iam.gke.io/gcp-service-account=[GSA_NAME]@[PROJECT_ID] \
    annotation to your Kubernetes service account.\n";

/// A client that asks for more audiences than this is testing something else than the cache.
const MOST_CACHED: usize = 10_000;
