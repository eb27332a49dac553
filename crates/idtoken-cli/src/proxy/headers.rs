//! Which headers a request or an answer may take along.

use http::Version;
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION,
    PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE, VIA,
};

/// Makes the headers of a request fit to be sent on. Gives the protocol that it asks to switch to,
/// if it does.
pub(super) fn prepare_request(headers: &mut HeaderMap, version: Version) -> Option<HeaderValue> {
    let upgrade = upgrade_of(headers, version);
    let trailers = accepts_trailers(headers);
    strip_hop_by_hop(headers);
    headers.remove(HOST);
    // The client has been told to go on already.
    headers.remove(EXPECT);
    // For the next proxy, which this is (RFC 9110 §11.7.2).
    headers.remove(PROXY_AUTHORIZATION);
    headers.remove(HTTP2_SETTINGS);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if let Some(protocol) = &upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol.clone());
    } else if trailers && version != Version::HTTP_2 {
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    headers.append(VIA, via(version));
    upgrade
}

/// Makes the headers of an answer fit to be sent back. `origin` is where it comes from: a redirect
/// to there becomes one to here, or the next request would go without a token.
pub(super) fn prepare_answer(headers: &mut HeaderMap, origin: &str) {
    strip_hop_by_hop(headers);
    let here = headers
        .get(LOCATION)
        .and_then(|location| location.to_str().ok())
        .and_then(|location| location.strip_prefix(origin))
        // Neither another host that starts alike, nor `//`, which would name a host again.
        .filter(|path| path.starts_with('/') && !path.starts_with("//"))
        .and_then(|path| HeaderValue::try_from(path).ok());
    if let Some(here) = here {
        headers.insert(LOCATION, here);
    }
}

/// Whether a header decides how a message is read, so that no token may take its place.
pub(super) fn is_reserved(name: &HeaderName) -> bool {
    HOP_BY_HOP.contains(name) || [CONTENT_LENGTH, EXPECT, HOST, VIA].contains(name)
}

/// RFC 9110 §7.6.1: what `Connection` names, and what is known to be for one connection only.
fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// HTTP/2 over an upgrade is for one connection too, and would hide requests from whoever stands
/// in between.
fn upgrade_of(headers: &HeaderMap, version: Version) -> Option<HeaderValue> {
    if version != Version::HTTP_11 || !lists(headers, &CONNECTION, "upgrade") {
        return None;
    }
    let mut protocols = headers.get_all(UPGRADE).iter();
    let (protocol, None) = (protocols.next()?, protocols.next()) else {
        return None;
    };
    let text = protocol.to_str().ok()?;
    let is_http = text
        .split(',')
        .any(|name| name.trim().to_ascii_lowercase().starts_with("h2c"));
    (!is_http && !text.is_empty()).then(|| protocol.clone())
}

fn accepts_trailers(headers: &HeaderMap) -> bool {
    lists(headers, &TE, "trailers")
}

fn lists(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|listed| listed.trim().eq_ignore_ascii_case(word))
}

/// RFC 9110 §7.6.3.
fn via(version: Version) -> HeaderValue {
    HeaderValue::from_static(match version {
        Version::HTTP_2 => "2 idtoken",
        Version::HTTP_10 => "1.0 idtoken",
        _ => "1.1 idtoken",
    })
}

const HOP_BY_HOP: [HeaderName; 6] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn shown(headers: &HeaderMap) -> Vec<String> {
        let mut lines: Vec<_> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort();
        lines
    }

    #[test]
    fn what_is_for_one_connection_goes_no_further() {
        let mut request = headers(&[
            ("host", "localhost:8080"),
            ("connection", "close, X-Mine"),
            ("connection", "keep-alive"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic x"),
            ("transfer-encoding", "chunked"),
            ("te", "gzip, trailers"),
            ("expect", "100-continue"),
            ("x-mine", "1"),
            ("x-other", "2"),
            ("trailer", "x-sum"),
        ]);
        assert_eq!(prepare_request(&mut request, Version::HTTP_11), None);
        assert_eq!(
            shown(&request),
            [
                "connection: te",
                "te: trailers",
                "trailer: x-sum",
                "via: 1.1 idtoken",
                "x-other: 2"
            ]
        );
    }

    #[test]
    fn http2_keeps_te_and_gets_no_connection() {
        let mut request = headers(&[("te", "trailers"), ("content-type", "application/grpc")]);
        prepare_request(&mut request, Version::HTTP_2);
        assert_eq!(
            shown(&request),
            [
                "content-type: application/grpc",
                "te: trailers",
                "via: 2 idtoken"
            ]
        );
    }

    #[test]
    fn an_upgrade_passes_but_not_to_another_http() {
        for (protocol, version, passes) in [
            ("websocket", Version::HTTP_11, true),
            ("echo", Version::HTTP_11, true),
            ("websocket", Version::HTTP_10, false),
            ("h2c", Version::HTTP_11, false),
            ("websocket, H2C", Version::HTTP_11, false),
        ] {
            let mut request = headers(&[
                ("connection", "Upgrade, HTTP2-Settings"),
                ("http2-settings", "AAMAAABk"),
            ]);
            request.insert(UPGRADE, HeaderValue::from_static(protocol));
            let upgrade = prepare_request(&mut request, version);
            assert_eq!(upgrade.is_some(), passes, "{protocol}");
            assert_eq!(request.contains_key(UPGRADE), passes, "{protocol}");
            assert!(!request.contains_key(HTTP2_SETTINGS));
        }
        let mut unasked = headers(&[("upgrade", "websocket")]);
        assert_eq!(prepare_request(&mut unasked, Version::HTTP_11), None);
    }

    #[test]
    fn a_redirect_to_the_upstream_leads_back_here() {
        let origin = "https://a.run.app";
        for (location, sent) in [
            ("https://a.run.app/x?y", "/x?y"),
            ("https://a.run.app", "https://a.run.app"),
            (
                "https://a.run.app.evil.example/x",
                "https://a.run.app.evil.example/x",
            ),
            (
                "https://a.run.app//evil.example",
                "https://a.run.app//evil.example",
            ),
            ("https://b.run.app/x", "https://b.run.app/x"),
            ("/x", "/x"),
        ] {
            let mut answer = HeaderMap::new();
            answer.insert(LOCATION, HeaderValue::from_static(location));
            prepare_answer(&mut answer, origin);
            assert_eq!(answer[LOCATION], sent);
        }
    }
}
