//! Which header the token travels in, and what happens to one that is there already.

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

/// The header that the token travels in.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Header {
    /// `Authorization: Bearer …` (RFC 6750 §2.1).
    #[default]
    Authorization,
    /// `X-Serverless-Authorization: Bearer …`, which Cloud Run checks before `Authorization`, and
    /// which leaves `Authorization` to the application.
    XServerlessAuthorization,
}

/// What happens when a request has an `Authorization` of its own and the token was to go there.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Existing {
    /// It is left alone, and no token is added.
    Keep,
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
}

impl Placement {
    /// Whether there is a place for a token among `headers`; if not, none need be had.
    pub(crate) fn wants_token(&self, headers: &HeaderMap) -> bool {
        self.existing != Existing::Keep
            || self.header != Header::Authorization
            || !headers.contains_key(AUTHORIZATION)
    }

    /// Puts `bearer`, which is marked sensitive, where it belongs.
    pub(crate) fn put(&self, headers: &mut HeaderMap, bearer: HeaderValue) {
        let name = match self.header {
            Header::XServerlessAuthorization => X_SERVERLESS_AUTHORIZATION,
            Header::Authorization => match self.existing {
                Existing::Replace => AUTHORIZATION,
                _ if !headers.contains_key(AUTHORIZATION) => AUTHORIZATION,
                Existing::Keep => return,
                Existing::UseServerless => X_SERVERLESS_AUTHORIZATION,
            },
        };
        headers.insert(name, bearer);
    }
}

/// The header that Cloud Run checks before `Authorization`.
pub const X_SERVERLESS_AUTHORIZATION: HeaderName =
    HeaderName::from_static("x-serverless-authorization");

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: HeaderValue = HeaderValue::from_static("Bearer ours");
    const THEIRS: HeaderValue = HeaderValue::from_static("Basic theirs");

    fn put(header: Header, existing: Existing, theirs: bool) -> (Option<String>, Option<String>) {
        let mut headers = HeaderMap::new();
        if theirs {
            headers.insert(AUTHORIZATION, THEIRS);
        }
        let placement = Placement { header, existing };
        if placement.wants_token(&headers) {
            placement.put(&mut headers, OURS);
        }
        let text = |name| {
            headers
                .get(name)
                .map(|v: &HeaderValue| v.to_str().unwrap().to_owned())
        };
        (text(AUTHORIZATION), text(X_SERVERLESS_AUTHORIZATION))
    }

    #[test]
    fn the_callers_own_authorization_is_treated_as_chosen() {
        let ours = || Some("Bearer ours".to_owned());
        let theirs = || Some("Basic theirs".to_owned());
        for (header, existing, has_own, expected) in [
            (
                Header::Authorization,
                Existing::UseServerless,
                false,
                (ours(), None),
            ),
            (
                Header::Authorization,
                Existing::UseServerless,
                true,
                (theirs(), ours()),
            ),
            (Header::Authorization, Existing::Keep, false, (ours(), None)),
            (
                Header::Authorization,
                Existing::Keep,
                true,
                (theirs(), None),
            ),
            (
                Header::Authorization,
                Existing::Replace,
                true,
                (ours(), None),
            ),
            (
                Header::XServerlessAuthorization,
                Existing::Keep,
                false,
                (None, ours()),
            ),
            (
                Header::XServerlessAuthorization,
                Existing::Replace,
                true,
                (theirs(), ours()),
            ),
        ] {
            assert_eq!(
                put(header.clone(), existing, has_own),
                expected,
                "{header:?} {existing:?}"
            );
        }
    }
}
