//! The one service that requests go to, and the clients that take them there.

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, Uri, Version};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use idtoken::{Audience, TokenCache, TokenHandle};
use tower_idtoken::distrust::DistrustOn401;
use tower_idtoken::error::BoxError;
use tower_idtoken::{AddIdTokenLayer, Existing, Fixed, Header};
use tower_layer::Layer;
use tower_service::Service;

use crate::exit::{Exit, Failure};
use crate::proxy::server::MAX_HEADER_BYTES;

/// Scheme, host and port of the upstream.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    scheme: Scheme,
    authority: Authority,
    text: String,
}

impl Origin {
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn host(&self) -> &str {
        self.authority.host()
    }

    /// What Cloud Run expects in tokens.
    pub(super) fn audience(&self) -> Result<Audience, Failure> {
        Audience::new(&self.text)
            .map_err(|error| Failure::new(Exit::Usage, "the upstream").with_source(error))
    }

    /// The same path here.
    pub(super) fn uri(&self, path: Option<&PathAndQuery>) -> Result<Uri, http::Error> {
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(path.map_or("/", PathAndQuery::as_str))
            .build()
    }

    pub(super) fn is_at(&self, address: SocketAddr) -> bool {
        let host = self.host().trim_start_matches('[').trim_end_matches(']');
        let same_host = match host.parse::<IpAddr>() {
            Ok(ip) => ip.to_canonical() == address.ip().to_canonical(),
            Err(_) => host.eq_ignore_ascii_case("localhost") && address.ip().is_loopback(),
        };
        same_host && address.port() != 0 && self.authority.port_u16() == Some(address.port())
    }
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|_| "it is no URL".to_owned())?;
        let audience = Audience::origin_of(&uri).map_err(|error| error.to_string())?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err("it has a path; only scheme, host and port belong here".to_owned());
        }
        let uri: Uri = audience
            .as_str()
            .parse()
            .map_err(|_| "it is no URL".to_owned())?;
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return Err("it has no scheme or no host".to_owned());
        };
        if *scheme != Scheme::HTTPS && !idtoken::loopback::is_loopback(authority.host()) {
            return Err(
                "a token does not travel over plain http, except to this machine".to_owned(),
            );
        }
        Ok(Self {
            scheme: scheme.clone(),
            authority: authority.clone(),
            text: audience.as_str().to_owned(),
        })
    }
}

/// The way to the upstream. Clones share connections.
#[derive(Clone)]
pub(super) struct Upstream {
    origin: Origin,
    handle: TokenHandle,
    /// HTTP/1.1 and nothing else; on a plain connection, for what came as HTTP/1.
    http1: Attaching,
    /// Whatever TLS agrees on; on a plain connection HTTP/2 and nothing else.
    http2: Attaching,
}

type Attaching = DistrustOn401<Client<HttpsConnector<HttpConnector>, Incoming>, Fixed>;

impl Upstream {
    pub(super) fn new(
        origin: &Origin,
        tokens: TokenCache,
        audience: &Audience,
        header: Header,
        existing: Existing,
    ) -> Result<Self, Failure> {
        let tls = || {
            HttpsConnectorBuilder::new()
                .try_with_platform_verifier()
                .map_err(|error| {
                    Failure::new(Exit::Internal, "TLS cannot be set up").with_source(error)
                })
        };
        let only1 = tls()?
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector());
        let negotiating = tls()?
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(connector());
        let prior_knowledge = origin.scheme == Scheme::HTTP;
        let handle = tokens.handle(audience);
        let policy = Fixed::new(handle.clone())
            .for_hosts([origin.host()])
            .map_err(|error| Failure::new(Exit::Usage, "the upstream").with_source(error))?;
        let layer = AddIdTokenLayer::with_policy(tokens, policy)
            .header(header)
            .existing(existing)
            .distrust_on_401();
        Ok(Self {
            origin: origin.clone(),
            handle,
            http1: layer.layer(client(false).build(only1)),
            http2: layer.layer(client(prior_knowledge).build(negotiating)),
        })
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    pub(super) fn handle(&self) -> &TokenHandle {
        &self.handle
    }

    /// Sends a request that came in with `version`; one that asks for an upgrade needs HTTP/1.1.
    pub(super) async fn send(
        &self,
        request: Request<Incoming>,
        version: Version,
        upgrade: bool,
    ) -> Result<Response<Incoming>, BoxError> {
        let plain = self.origin.scheme == Scheme::HTTP;
        let needs_http1 = upgrade || (plain && version != Version::HTTP_2);
        let mut client = if needs_http1 {
            self.http1.clone()
        } else {
            self.http2.clone()
        };
        poll_fn(|cx| Service::<Request<Incoming>>::poll_ready(&mut client, cx)).await?;
        client.call(request).await
    }
}

fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector.set_keepalive(Some(KEEP_ALIVE));
    connector
}

fn client(prior_knowledge: bool) -> hyper_util::client::legacy::Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .http2_only(prior_knowledge)
        .http1_max_buf_size(MAX_HEADER_BYTES as usize)
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        // A machine that vanished sends no goodbye: ask now and then whether it is still there.
        .http2_keep_alive_interval(KEEP_ALIVE)
        .http2_adaptive_window(true);
    builder
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const KEEP_ALIVE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_an_origin_that_tokens_may_travel_to() {
        for (text, origin) in [
            ("https://A.run.app", "https://a.run.app"),
            ("https://a.run.app:443/", "https://a.run.app"),
            ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
            ("http://localhost:9000", "http://localhost:9000"),
        ] {
            assert_eq!(text.parse::<Origin>().unwrap().as_str(), origin);
        }
        for text in [
            "",
            "a.run.app",
            "http://a.run.app",
            "https://a.run.app/path",
            "https://a.run.app/?q",
            "https://user@a.run.app",
            "ftp://a.run.app",
        ] {
            assert!(text.parse::<Origin>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_path_never_changes_where_a_request_goes() {
        let origin: Origin = "https://a.run.app".parse().unwrap();
        for path in ["/x?y=z", "//evil.example/x", "/@evil.example", "/.."] {
            let uri = origin.uri(Some(&path.parse().unwrap())).unwrap();
            assert_eq!(uri.host(), Some("a.run.app"), "{path}");
            assert_eq!(uri.path_and_query().unwrap().as_str(), path);
        }
    }

    #[test]
    fn an_upstream_that_is_the_proxy_itself_is_noticed() {
        let here: SocketAddr = "127.0.0.1:8080".parse().unwrap();
        for (text, same) in [
            ("http://127.0.0.1:8080", true),
            ("http://localhost:8080", true),
            ("http://127.0.0.1:8081", false),
            ("https://a.run.app:8080", false),
        ] {
            assert_eq!(text.parse::<Origin>().unwrap().is_at(here), same, "{text}");
        }
    }
}
