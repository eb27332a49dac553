//! Which header the token travels in, and what happens to one that is there already.

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHORIZATION};

pub use idtoken::inbound::X_SERVERLESS_AUTHORIZATION;

use crate::error::NotSentKind;

/// The header that the token travels in, always as `Bearer …` (RFC 6750 §2.1), marked sensitive.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Header {
    /// `Authorization`.
    #[default]
    Authorization,
    /// `Authorization` and `X-Serverless-Authorization`, with the same token.
    ///
    /// Cloud Run's front end checks one header only, the second if it is there, and takes the
    /// signature out of the token in it before the container sees it. So with both set, the front
    /// end checks its copy and the receiver gets the other whole, to verify for itself who calls.
    /// Choose this when the receiver is behind IAM and verifies tokens too.
    Both,
    /// A header of this name, for gateways of one's own.
    Custom(HeaderName),
    /// `Proxy-Authorization`, which Identity-Aware Proxy checks and removes, for applications
    /// behind it that need `Authorization` themselves.
    ProxyAuthorization,
    /// `X-Serverless-Authorization`, which Cloud Run checks before `Authorization`, and which
    /// leaves `Authorization` to the application.
    XServerlessAuthorization,
}

/// What happens when the request already has the header that the token was to go into.
///
/// Nothing else is ever overwritten, but for `X-Serverless-Authorization`, which is there for this
/// purpose alone: where the token goes into that, it replaces what was there, unless this is
/// [`Keep`](Self::Keep).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Existing {
    /// It is left alone, and no token is added.
    Keep,
    /// The token takes its place, and an `Authorization` moves to `X-Forwarded-Authorization`.
    ///
    /// An `X-Forwarded-Authorization` that the request came with is removed in any case: the
    /// receiver must be able to believe that we put it there.
    MoveToForwarded,
    /// It is removed, and the token takes its place.
    Replace,
    /// It is left alone, and the token goes into `X-Serverless-Authorization`.
    #[default]
    UseServerless,
}

/// Where to put the token of one request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Placement {
    pub(crate) header: Header,
    pub(crate) existing: Existing,
    /// Somebody vouches that the client takes no header to another host.
    pub(crate) no_cross_host_redirects: bool,
}

impl Placement {
    /// Whether there is a place for a token among `headers`; if not, none need be had.
    ///
    /// `may_be_redirected` says that the client may follow redirects by itself, in which case it
    /// can be relied on to drop only the headers that HTTP itself knows as credentials. Neither our
    /// token may go into another, nor what the caller had in one of these be moved to another.
    #[inline]
    pub(crate) fn wants_token(
        &self,
        headers: &HeaderMap,
        may_be_redirected: bool,
    ) -> Result<bool, NotSentKind> {
        if self.existing != Existing::Keep && !may_be_redirected {
            return Ok(true);
        }
        let taken = self.is_taken(headers);
        if taken && self.existing == Existing::Keep {
            return Ok(false);
        }
        let dropped_elsewhere = match self.header {
            Header::Authorization | Header::ProxyAuthorization => {
                !taken || self.existing == Existing::Replace
            }
            Header::Both | Header::Custom(_) | Header::XServerlessAuthorization => false,
        };
        if may_be_redirected && !dropped_elsewhere && !self.no_cross_host_redirects {
            return Err(NotSentKind::MayBeRedirected);
        }
        Ok(true)
    }

    /// Puts `bearer`, which is marked sensitive, where it belongs.
    #[inline]
    pub(crate) fn put(&self, headers: &mut HeaderMap, bearer: HeaderValue) {
        if self.existing == Existing::MoveToForwarded {
            headers.remove(X_FORWARDED_AUTHORIZATION);
        }
        let main = self.main_header();
        let second = (self.header == Header::Both).then(|| bearer.clone());
        let may_replace = *main == X_SERVERLESS_AUTHORIZATION
            || matches!(self.existing, Existing::MoveToForwarded | Existing::Replace);
        if may_replace {
            let own = headers.insert(main, bearer);
            if let Some(mut own) = own
                && self.existing == Existing::MoveToForwarded
                && *main == AUTHORIZATION
            {
                own.set_sensitive(true);
                headers.insert(X_FORWARDED_AUTHORIZATION, own);
            }
        } else if let Some(bearer) = insert_if_vacant(headers, main, bearer) {
            if self.existing == Existing::UseServerless {
                headers.insert(X_SERVERLESS_AUTHORIZATION, bearer);
            }
            return;
        }
        if let Some(second) = second {
            headers.insert(X_SERVERLESS_AUTHORIZATION, second);
        }
    }

    fn is_taken(&self, headers: &HeaderMap) -> bool {
        headers.contains_key(self.main_header())
            || (self.header == Header::Both && headers.contains_key(&SERVERLESS))
    }

    /// The header that an existing value of which matters.
    fn main_header(&self) -> &HeaderName {
        match &self.header {
            Header::Authorization | Header::Both => &AUTHORIZATION,
            Header::Custom(name) => name,
            Header::ProxyAuthorization => &PROXY_AUTHORIZATION,
            Header::XServerlessAuthorization => &SERVERLESS,
        }
    }
}

/// Gives `value` back when the header is there already.
fn insert_if_vacant(
    headers: &mut HeaderMap,
    name: &HeaderName,
    value: HeaderValue,
) -> Option<HeaderValue> {
    // Where no header has two values, all that `insert` takes out can be put back: on the common
    // path one look where `entry` takes more than one.
    if headers.len() > headers.keys_len() && headers.contains_key(name) {
        return Some(value);
    }
    let own = headers.insert(name, value)?;
    headers.insert(name, own)
}

/// The same, with an address.
static SERVERLESS: HeaderName = X_SERVERLESS_AUTHORIZATION;

/// The header that gateways move a caller's own `Authorization` to.
pub const X_FORWARDED_AUTHORIZATION: HeaderName =
    HeaderName::from_static("x-forwarded-authorization");

#[cfg(test)]
mod tests {
    use http::header::ACCEPT;

    use super::*;

    const OURS: HeaderValue = HeaderValue::from_static("Bearer ours");

    /// What the request carries afterwards, as sorted `name: value` lines.
    fn put(header: Header, existing: Existing, before: &[(HeaderName, &'static str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in before {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let placement = Placement {
            header,
            existing,
            no_cross_host_redirects: false,
        };
        if placement.wants_token(&headers, false).unwrap() {
            placement.put(&mut headers, OURS);
        }
        let mut lines: Vec<_> = headers
            .iter()
            .map(|(name, value)| {
                let short = name.as_str().replace("authorization", "a");
                format!("{short}: {}", value.to_str().unwrap())
            })
            .collect();
        lines.sort();
        lines.join(", ")
    }

    #[test]
    fn an_authorization_of_the_callers_own_is_treated_as_chosen() {
        let own = [(AUTHORIZATION, "Basic theirs")];
        let ours = "a: Bearer ours";
        let kept = "a: Basic theirs";
        let beside = "a: Basic theirs, x-serverless-a: Bearer ours";
        let moved = "a: Bearer ours, x-forwarded-a: Basic theirs";
        for (existing, without, with) in [
            (Existing::Keep, ours, kept),
            (Existing::MoveToForwarded, ours, moved),
            (Existing::Replace, ours, ours),
            (Existing::UseServerless, ours, beside),
        ] {
            assert_eq!(put(Header::Authorization, existing, &[]), without);
            assert_eq!(put(Header::Authorization, existing, &own), with);
        }
    }

    #[test]
    fn what_is_left_alone_stays_as_it_was_even_when_there_are_two_of_it() {
        let mut own = HeaderValue::from_static("Basic theirs");
        own.set_sensitive(true);
        for more in [
            None,
            Some((AUTHORIZATION, "Basic more")),
            Some((ACCEPT, "*/*")),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(ACCEPT, HeaderValue::from_static("text/plain"));
            headers.append(AUTHORIZATION, own.clone());
            if let Some((name, value)) = more {
                headers.append(name, HeaderValue::from_static(value));
            }
            let mut expected = headers.clone();
            expected.insert(X_SERVERLESS_AUTHORIZATION, OURS);
            Placement::default().put(&mut headers, OURS);
            assert_eq!(headers, expected);
            assert!(headers[AUTHORIZATION].is_sensitive());
        }
    }

    #[test]
    fn both_headers_carry_the_token_unless_one_is_the_callers_own() {
        let both = "a: Bearer ours, x-serverless-a: Bearer ours";
        let own = [(AUTHORIZATION, "Basic theirs")];
        for (existing, with) in [
            (Existing::Keep, "a: Basic theirs"),
            (
                Existing::MoveToForwarded,
                "a: Bearer ours, x-forwarded-a: Basic theirs, x-serverless-a: Bearer ours",
            ),
            (Existing::Replace, both),
            (
                Existing::UseServerless,
                "a: Basic theirs, x-serverless-a: Bearer ours",
            ),
        ] {
            assert_eq!(put(Header::Both, existing, &[]), both);
            assert_eq!(put(Header::Both, existing, &own), with);
        }
    }

    #[test]
    fn to_keep_one_of_both_headers_is_to_add_nothing() {
        let own = [(X_SERVERLESS_AUTHORIZATION, "Bearer theirs")];
        let kept = put(Header::Both, Existing::Keep, &own);
        assert_eq!(kept, "x-serverless-a: Bearer theirs");
        let both = "a: Bearer ours, x-serverless-a: Bearer ours";
        assert_eq!(put(Header::Both, Existing::UseServerless, &own), both);
    }

    #[test]
    fn what_is_moved_is_marked_sensitive() {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Basic theirs"));
        let placement = Placement {
            existing: Existing::MoveToForwarded,
            ..Placement::default()
        };
        placement.put(&mut headers, OURS);
        assert!(headers[X_FORWARDED_AUTHORIZATION].is_sensitive());
    }

    #[test]
    fn other_headers_leave_authorization_alone_and_are_not_clobbered_either() {
        let custom = || Header::Custom(HeaderName::from_static("x-gate"));
        let own = [(AUTHORIZATION, "Basic theirs")];
        for (header, name) in [
            (Header::ProxyAuthorization, "proxy-a"),
            (custom(), "x-gate"),
            (Header::XServerlessAuthorization, "x-serverless-a"),
        ] {
            let line = put(header.clone(), Existing::UseServerless, &own);
            assert_eq!(line, format!("a: Basic theirs, {name}: Bearer ours"));
        }
        let gate = [(HeaderName::from_static("x-gate"), "theirs")];
        for (existing, after) in [
            (Existing::Keep, "x-gate: theirs"),
            (Existing::MoveToForwarded, "x-gate: Bearer ours"),
            (Existing::Replace, "x-gate: Bearer ours"),
            (
                Existing::UseServerless,
                "x-gate: theirs, x-serverless-a: Bearer ours",
            ),
        ] {
            assert_eq!(put(custom(), existing, &gate), after);
        }
        let serverless = [(X_SERVERLESS_AUTHORIZATION, "theirs")];
        let header = Header::XServerlessAuthorization;
        let line = put(header, Existing::UseServerless, &serverless);
        assert_eq!(line, "x-serverless-a: Bearer ours");
    }

    #[test]
    fn a_spoofed_forwarded_header_is_removed_first() {
        let spoofed = (X_FORWARDED_AUTHORIZATION, "Basic spoofed");
        let own = (AUTHORIZATION, "Basic theirs");
        for (before, after) in [
            (vec![spoofed.clone()], "a: Bearer ours"),
            (
                vec![spoofed, own],
                "a: Bearer ours, x-forwarded-a: Basic theirs",
            ),
        ] {
            let line = put(Header::Authorization, Existing::MoveToForwarded, &before);
            assert_eq!(line, after);
        }
    }

    #[test]
    fn a_client_that_follows_redirects_gets_only_headers_that_it_drops_on_the_way() {
        let mut own = HeaderMap::new();
        own.insert(AUTHORIZATION, HeaderValue::from_static("Basic theirs"));
        for (header, existing, headers, allowed) in [
            (
                Header::Authorization,
                Existing::default(),
                HeaderMap::new(),
                true,
            ),
            (
                Header::Authorization,
                Existing::default(),
                own.clone(),
                false,
            ),
            (
                Header::Authorization,
                Existing::MoveToForwarded,
                HeaderMap::new(),
                true,
            ),
            (
                Header::Authorization,
                Existing::MoveToForwarded,
                own.clone(),
                false,
            ),
            (Header::Authorization, Existing::Replace, own.clone(), true),
            (Header::ProxyAuthorization, Existing::default(), own, true),
            (Header::Both, Existing::default(), HeaderMap::new(), false),
            (
                Header::XServerlessAuthorization,
                Existing::default(),
                HeaderMap::new(),
                false,
            ),
        ] {
            let mut placement = Placement {
                header,
                existing,
                no_cross_host_redirects: false,
            };
            assert_eq!(placement.wants_token(&headers, true).is_ok(), allowed);
            placement.no_cross_host_redirects = true;
            assert_eq!(placement.wants_token(&headers, true), Ok(true));
        }
    }
}
