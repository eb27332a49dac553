//! Who may use the proxy: programs on this machine, and none that are led here by a web page.
//!
//! A browser carries out requests for every page it shows. Two ways lead from a foreign page to a
//! local port: a request across sites, and a name of the page's own that suddenly means this
//! machine (DNS rebinding). Both are told by headers that the page cannot change: `Origin`, which
//! comes with whatever changes something and with every WebSocket, and Fetch Metadata, which comes
//! with all the rest.

use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Request};

/// Why a request is turned away.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Trespass {
    CrossSite,
    ForeignHost,
    Tunnel,
}

impl Trespass {
    pub(super) fn message(self) -> &'static str {
        match self {
            Self::CrossSite => "a page of another site may not call through this proxy",
            Self::ForeignHost => "this proxy answers to localhost and loopback addresses only",
            Self::Tunnel => "this is a gateway to one service, and tunnels nowhere",
        }
    }
}

pub(super) fn check<B>(request: &Request<B>, allow_remote: bool) -> Result<(), Trespass> {
    if request.method() == Method::CONNECT {
        return Err(Trespass::Tunnel);
    }
    if !allow_remote && !is_local(request) {
        return Err(Trespass::ForeignHost);
    }
    if is_cross_site(request.headers()) || !is_own_origin(request) {
        return Err(Trespass::CrossSite);
    }
    Ok(())
}

/// Whether the client believes that it talks to this machine.
fn is_local<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return false;
    }
    let named = host.map(authority_of);
    match (named, request.uri().authority()) {
        (Some(None), _) => false,
        (Some(Some(host)), None) => is_loopback(&host),
        (Some(Some(host)), Some(authority)) => is_loopback(&host) && is_loopback(authority),
        (None, Some(authority)) => is_loopback(authority),
        // HTTP/1.0 needs no host, and no browser speaks it.
        (None, None) => true,
    }
}

/// Whether the page that asks, if one does, is one of this proxy's own, or one that another
/// program on this machine serves. A page that has no origin to show says `null`.
fn is_own_origin<B>(request: &Request<B>) -> bool {
    let host = match request.uri().authority() {
        Some(authority) => Some(authority.clone()),
        None => request.headers().get(HOST).and_then(authority_of),
    };
    let mut origins = request.headers().get_all(ORIGIN).iter();
    origins.all(|origin| {
        let origin = origin.to_str().ok().and_then(|origin| {
            let (scheme, rest) = origin.split_once("://")?;
            let authority = rest.parse::<Authority>().ok()?;
            matches!(scheme, "http" | "https").then_some(authority)
        });
        match (origin, &host) {
            (Some(origin), Some(host)) => {
                origin == *host || (is_loopback(&origin) && is_loopback(host))
            }
            _ => false,
        }
    })
}

fn authority_of(value: &HeaderValue) -> Option<Authority> {
    value.to_str().ok()?.parse().ok()
}

fn is_loopback(authority: &Authority) -> bool {
    idtoken::loopback::is_loopback(authority.host())
}

/// What browsers say of themselves (Fetch Metadata), of links and redirects from elsewhere as well.
/// An address that somebody types in comes from no site, and says `none`.
fn is_cross_site(headers: &HeaderMap) -> bool {
    let mut sites = headers.get_all("sec-fetch-site").iter();
    sites.any(|site| site == "cross-site")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, uri: &str, headers: &[(&str, &str)]) -> Request<()> {
        let mut builder = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(()).unwrap()
    }

    #[test]
    fn only_its_own_names_are_answered_to() {
        for (uri, host, allowed) in [
            ("/", Some("127.0.0.1:8080"), true),
            ("/", Some("localhost:8080"), true),
            ("/", Some("app.localhost"), true),
            ("/", Some("[::1]:8080"), true),
            ("/", None, true),
            ("http://localhost/", None, true),
            ("/", Some("evil.example"), false),
            ("/", Some("127.0.0.1.evil.example"), false),
            ("/", Some(""), false),
            ("http://evil.example/", Some("localhost"), false),
            ("http://evil.example/", None, false),
        ] {
            let headers: Vec<_> = host.map(|host| ("host", host)).into_iter().collect();
            let request = request("GET", uri, &headers);
            assert_eq!(check(&request, false).is_ok(), allowed, "{uri} {host:?}");
            assert!(check(&request, true).is_ok());
        }
        let twice = request("GET", "/", &[("host", "localhost"), ("host", "localhost")]);
        assert_eq!(check(&twice, false), Err(Trespass::ForeignHost));
    }

    #[test]
    fn pages_of_other_sites_are_turned_away() {
        let cross = ("sec-fetch-site", "cross-site");
        let typed = ("sec-fetch-site", "none");
        let navigate = ("sec-fetch-mode", "navigate");
        let document = ("sec-fetch-dest", "document");
        for (method, headers, allowed) in [
            ("POST", vec![cross], false),
            ("GET", vec![cross, ("sec-fetch-mode", "websocket")], false),
            ("GET", vec![cross, navigate, document], false),
            ("HEAD", vec![cross, navigate, document], false),
            ("GET", vec![typed, cross], false),
            ("GET", vec![typed, navigate, document], true),
            (
                "GET",
                vec![cross, navigate, ("sec-fetch-dest", "iframe")],
                false,
            ),
            ("POST", vec![cross, navigate, document], false),
            ("POST", vec![("sec-fetch-site", "same-site")], true),
            ("POST", vec![], true),
        ] {
            let request = request(method, "/", &headers);
            assert_eq!(
                check(&request, true).is_ok(),
                allowed,
                "{method} {headers:?}"
            );
        }
    }

    #[test]
    fn an_origin_elsewhere_is_turned_away() {
        for (host, origin, allowed) in [
            ("localhost:8080", "http://localhost:8080", true),
            ("127.0.0.1:8080", "http://localhost:3000", true),
            ("localhost:8080", "https://[::1]:3000", true),
            ("box.example:8080", "http://box.example:8080", true),
            ("localhost:8080", "https://evil.example", false),
            ("localhost:8080", "http://localhost.evil.example", false),
            ("localhost:8080", "null", false),
            ("localhost:8080", "", false),
            ("localhost:8080", "chrome-extension://localhost", false),
            ("box.example:8080", "http://localhost:8080", false),
            ("box.example:8080", "http://box.example", false),
        ] {
            for method in ["GET", "POST"] {
                let request = request(method, "/", &[("host", host), ("origin", origin)]);
                assert_eq!(check(&request, true).is_ok(), allowed, "{host} {origin}");
            }
            // HTTP/2 says its host in the target.
            let request = request("GET", &format!("http://{host}/"), &[("origin", origin)]);
            assert_eq!(check(&request, true).is_ok(), allowed, "{host} {origin}");
        }
        let (own, other) = ("http://localhost", "https://evil.example");
        let headers = [("host", "localhost"), ("origin", own), ("origin", other)];
        let twice = request("GET", "/", &headers);
        assert_eq!(check(&twice, false), Err(Trespass::CrossSite));
    }

    #[test]
    fn there_are_no_tunnels() {
        let request = request("CONNECT", "localhost:443", &[]);
        assert_eq!(check(&request, true), Err(Trespass::Tunnel));
    }
}
