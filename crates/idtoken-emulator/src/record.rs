//! What was asked of the emulator.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Uri};

use crate::endpoint::Endpoint;

/// A request that the emulator received.
#[derive(Clone)]
pub struct Recorded {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl Recorded {
    pub(crate) fn new(request: &Request<Bytes>) -> Self {
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: request.headers().clone(),
            body: request.body().clone(),
        }
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The request target, as it came.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// All headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The first query parameter of this name, decoded.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<String> {
        first(self.uri.query().unwrap_or_default().as_bytes(), name)
    }

    /// The first form field of this name, decoded.
    #[must_use]
    pub fn form(&self, name: &str) -> Option<String> {
        first(&self.body, name)
    }
}

/// Without headers and body, which hold assertions and tokens.
impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorded")
            .field("method", &self.method)
            .field("path", &self.uri.path())
            .finish_non_exhaustive()
    }
}

/// Counts and keeps requests, by endpoint.
#[derive(Debug, Default)]
pub(crate) struct Records {
    of: BTreeMap<Endpoint, Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    hits: u64,
    latest: VecDeque<Recorded>,
}

impl Records {
    pub(crate) fn add(&mut self, endpoint: Endpoint, request: Recorded) {
        let seen = self.of.entry(endpoint).or_default();
        seen.hits += 1;
        if seen.latest.len() == MOST_KEPT {
            seen.latest.pop_front();
        }
        seen.latest.push_back(request);
    }

    pub(crate) fn hits(&self, endpoint: Endpoint) -> u64 {
        self.of.get(&endpoint).map_or(0, |seen| seen.hits)
    }

    /// The latest requests, oldest first.
    pub(crate) fn requests(&self, endpoint: Endpoint) -> Vec<Recorded> {
        self.of
            .get(&endpoint)
            .map_or_else(Vec::new, |seen| seen.latest.iter().cloned().collect())
    }

    pub(crate) fn forget(&mut self) {
        self.of.clear();
    }
}

fn first(pairs: &[u8], name: &str) -> Option<String> {
    form_urlencoded::parse(pairs)
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

/// How many requests to one endpoint are kept; all are counted.
pub(crate) const MOST_KEPT: usize = 1_000;
