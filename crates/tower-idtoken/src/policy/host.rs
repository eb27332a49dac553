//! One normal form for hosts and origins, and patterns over them.

use std::error::Error;
use std::fmt;
use std::net::Ipv6Addr;

use super::RequestHead;

/// A host pattern: an exact host, or `*.` and a domain for every host below that domain.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum HostPattern {
    Below(Box<str>),
    Exactly(Box<str>),
}

impl HostPattern {
    pub(super) fn parse(text: &str) -> Result<Self, InvalidHostPattern> {
        let invalid = || InvalidHostPattern(text.to_owned());
        let (domain, below) = match text.strip_prefix("*.") {
            Some(domain) => (domain, true),
            None => (text, false),
        };
        let domain = domain
            .strip_suffix('.')
            .unwrap_or(domain)
            .to_ascii_lowercase();
        let is_name = !domain.is_empty()
            && domain.len() <= MAX_HOST_BYTES
            && domain.split('.').all(is_label)
            // `*.app` would take in every customer of a whole top-level domain.
            && (!below || domain.contains('.'));
        let is_ipv6 = !below && ipv6(&domain).is_some();
        if !is_name && !is_ipv6 {
            return Err(invalid());
        }
        Ok(if below {
            Self::Below(domain.into())
        } else {
            Self::Exactly(domain.into())
        })
    }

    /// The host, or the domain above the hosts that are meant.
    pub(super) fn domain(&self) -> &str {
        match self {
            Self::Below(domain) | Self::Exactly(domain) => domain,
        }
    }

    /// Whether a request goes to a host that is meant, and carries no user information.
    #[inline]
    pub(super) fn is_target(&self, head: RequestHead<'_>) -> bool {
        let is_exactly_it =
            matches!(self, Self::Exactly(exact) if head.authority() == Some(&**exact));
        is_exactly_it || Target::of(head).is_some_and(|target| target.is_meant_by(self))
    }

    /// Whether a request names a host that is meant, whatever stands before it.
    pub(super) fn is_named(&self, head: RequestHead<'_>) -> bool {
        head.host().is_some_and(|host| self.matches(host))
    }

    /// Whether `host`, in any case and with or without its trailing dot, is meant.
    pub(super) fn matches(&self, host: &str) -> bool {
        let host = without_trailing_dot(host);
        match self {
            Self::Exactly(exact) => host.eq_ignore_ascii_case(exact),
            Self::Below(domain) => {
                let Some(cut) = host.len().checked_sub(domain.len() + 1) else {
                    return false;
                };
                // Compared as bytes, so that no cut can fall inside a character.
                let (below, end) = host.as_bytes().split_at(cut);
                !below.is_empty()
                    && end[0] == b'.'
                    && end[1..].eq_ignore_ascii_case(domain.as_bytes())
            }
        }
    }
}

/// The pattern given is neither a host nor `*.` and a domain of at least two labels.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InvalidHostPattern(String);

impl fmt::Display for InvalidHostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is no host pattern: write a host without scheme and port, or \"*.\" and a domain \
             of at least two labels",
            self.0
        )
    }
}

impl Error for InvalidHostPattern {}

/// The host that a request goes to, if there is no user information before it: that is another
/// credential, and the oldest way to make one host look like another.
#[derive(Clone, Copy)]
pub(super) enum Target<'a> {
    /// In normal form, and all that there is beside the scheme: what nearly all of them are, and
    /// what need not be taken apart.
    Normal(&'a str),
    Other(&'a str),
}

impl<'a> Target<'a> {
    #[inline]
    pub(super) fn of(head: RequestHead<'a>) -> Option<Self> {
        match head.authority() {
            Some(whole) if is_normal_host(whole) => Some(Self::Normal(whole)),
            _ if head.has_user_info() => None,
            _ => head.host().map(Self::Other),
        }
    }

    pub(super) fn is_meant_by(self, pattern: &HostPattern) -> bool {
        match (self, pattern) {
            // Patterns are in lower case as well.
            (Self::Normal(host), HostPattern::Exactly(exact)) => host == &**exact,
            (Self::Normal(host), HostPattern::Below(domain)) => {
                let below = host.strip_suffix(&**domain);
                below.is_some_and(|below| below.len() > 1 && below.ends_with('.'))
            }
            (Self::Other(host), pattern) => pattern.matches(host),
        }
    }
}

/// The origin of a request in normal form, made on the stack.
pub(super) struct Origin {
    text: [u8; MAX_ORIGIN_BYTES],
    len: usize,
}

impl Origin {
    /// Hands the origin of a request to `target` to `read`; `None` without an http or https scheme.
    pub(super) fn with<R>(
        head: RequestHead<'_>,
        target: Target<'_>,
        read: impl FnOnce(&str) -> R,
    ) -> Option<R> {
        let scheme = head.scheme()?;
        let default_port = match scheme {
            "https" => 443,
            "http" => 80,
            _ => return None,
        };
        let mut origin = Self::empty();
        origin.push(scheme);
        origin.push("://");
        match target {
            Target::Normal(host) => origin.push(host),
            Target::Other(host) => {
                let host = without_trailing_dot(host);
                if host.is_empty() || host.len() > MAX_HOST_BYTES {
                    return None;
                }
                let start = origin.len;
                origin.push(host);
                origin.text[start..origin.len].make_ascii_lowercase();
                if let Some(port) = head.port().filter(|port| *port != default_port) {
                    origin.push(":");
                    origin.push_number(port);
                }
            }
        }
        Some(read(origin.as_str()))
    }

    fn empty() -> Self {
        Self {
            text: [0; MAX_ORIGIN_BYTES],
            len: 0,
        }
    }

    fn as_str(&self) -> &str {
        // Made of whole strings, and lower-casing ASCII keeps UTF-8 whole.
        std::str::from_utf8(&self.text[..self.len]).unwrap_or_default()
    }

    fn push(&mut self, text: &str) {
        let end = self.len + text.len();
        self.text[self.len..end].copy_from_slice(text.as_bytes());
        self.len = end;
    }

    fn push_number(&mut self, number: u16) {
        if number >= 10 {
            self.push_number(number / 10);
        }
        self.text[self.len] = b'0' + (number % 10) as u8;
        self.len += 1;
    }
}

/// The host of an audience that is a URL, found without allocating.
pub(crate) fn host_of_audience(audience: &str) -> Option<&str> {
    let rest = audience
        .strip_prefix("https://")
        .or_else(|| audience.strip_prefix("http://"))?;
    let authority = rest.split(['/', '?', '#']).next()?;
    if authority.contains('@') {
        return None;
    }
    let host = match authority.rfind(']') {
        Some(end) => authority.get(..=end)?,
        None => authority.split(':').next()?,
    };
    Some(host).filter(|host| !host.is_empty())
}

/// Whether two hosts are one, in any case and with or without the trailing dot.
pub(crate) fn same_host(a: &str, b: &str) -> bool {
    without_trailing_dot(a).eq_ignore_ascii_case(without_trailing_dot(b))
}

/// Whether an authority is a host and nothing else, in normal form.
fn is_normal_host(authority: &str) -> bool {
    let normal = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
    authority.len() <= MAX_HOST_BYTES
        && !authority.is_empty()
        && !authority.ends_with('.')
        // To stop at the first that is not would be dearer for all those that are.
        && authority.bytes().fold(true, |all, byte| all & normal(byte))
}

pub(super) fn without_trailing_dot(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

fn ipv6(host: &str) -> Option<Ipv6Addr> {
    host.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// The longest name that DNS has (RFC 1035 §2.3.4).
const MAX_HOST_BYTES: usize = 255;

/// `https://`, a host, `:65535`.
const MAX_ORIGIN_BYTES: usize = 8 + MAX_HOST_BYTES + 6;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::HttpRequest;

    #[test]
    fn patterns_match_whole_labels_in_any_case() {
        for (pattern, host, matches) in [
            ("*.run.app", "hello-abc.a.run.app", true),
            ("*.run.app", "HELLO.Run.App.", true),
            ("*.run.app", "run.app", false),
            ("*.run.app", ".run.app", false),
            ("*.run.app", "evilrun.app", false),
            ("*.run.app", "hello.run.app.evil.com", false),
            ("*.run.app", "éé.run.app", true),
            ("hello.example.com", "hello.example.com", true),
            ("Hello.Example.com.", "hello.example.COM", true),
            ("hello.example.com", "a.hello.example.com", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("[::1]", "[::1]", true),
        ] {
            let parsed = HostPattern::parse(pattern).unwrap();
            assert_eq!(parsed.matches(host), matches, "{pattern} {host}");
            if is_normal_host(host) {
                let target = Target::Normal(host);
                assert_eq!(target.is_meant_by(&parsed), matches, "{pattern} {host}");
            }
        }
    }

    #[test]
    fn a_pattern_too_wide_or_malformed_is_refused() {
        for pattern in [
            "",
            "*",
            "*.",
            "*.app",
            "a.*.com",
            "https://a.run.app",
            "a.run.app:443",
            "a..b",
            "[x]",
        ] {
            assert!(HostPattern::parse(pattern).is_err(), "{pattern:?}");
        }
    }

    #[test]
    fn the_host_of_an_audience_is_that_of_the_uri() {
        for (audience, host) in [
            ("https://a.run.app", Some("a.run.app")),
            ("https://a.run.app:8443/x?y", Some("a.run.app")),
            ("http://[::1]:80", Some("[::1]")),
            ("https://a.run.app?@evil", Some("a.run.app")),
            ("https://user@a.run.app", None),
            ("https://a.run.app:80@evil.example", None),
            ("https://", None),
            ("reports", None),
            ("ftp://a.run.app", None),
        ] {
            assert_eq!(host_of_audience(audience), host, "{audience}");
        }
    }

    #[test]
    fn origins_agree_with_those_of_an_audience() {
        for uri in [
            "https://hello.a.run.app/x?y",
            "http://hello.a.run.app",
            "ftp://hello.a.run.app",
            "https://Hello.a.run.app/x?y",
            "https://hello.a.run.app.:443/",
            "https://hello.a.run.app:65535/",
            "http://127.0.0.1:80/",
            "http://[::1]:8080/",
            "https://user@a.run.app/",
            "ftp://a.run.app/",
            "/path",
        ] {
            let request = http::Request::get(uri).body(()).unwrap();
            let head = request.head();
            let target = Target::of(head);
            let origin = target.and_then(|target| Origin::with(head, target, str::to_owned));
            let audience = idtoken::Audience::origin_of(request.uri()).ok();
            assert_eq!(
                origin.as_deref(),
                audience.as_ref().map(|a| a.as_str()),
                "{uri}"
            );
        }
    }
}
