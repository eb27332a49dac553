//! The requests that a token can be attached to, and what a policy sees of them.

use std::fmt;

use http::{Extensions, HeaderMap, Method};
use idtoken::{TokenCache, TokenHandle};

/// A request that a token can be attached to: `http::Request` of any body and, with the feature
/// `reqwest`, `reqwest::Request`.
///
/// Sealed: the middleware's promises rest on what these two do.
pub trait HttpRequest: sealed::Sealed {
    /// Whether a client for such requests may follow redirects by itself.
    #[doc(hidden)]
    const MAY_BE_REDIRECTED: bool;

    #[doc(hidden)]
    fn head(&self) -> RequestHead<'_>;

    #[doc(hidden)]
    fn headers_mut(&mut self) -> &mut HeaderMap;
}

impl<B> HttpRequest for http::Request<B> {
    const MAY_BE_REDIRECTED: bool = false;

    fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: self.method(),
            target: Target::Uri(self.uri()),
            headers: self.headers(),
            extensions: Some(self.extensions()),
            tokens: None,
        }
    }

    fn headers_mut(&mut self) -> &mut HeaderMap {
        self.headers_mut()
    }
}

#[cfg(feature = "reqwest")]
impl HttpRequest for reqwest::Request {
    const MAY_BE_REDIRECTED: bool = true;

    fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: self.method(),
            target: Target::Url(self.url()),
            headers: self.headers(),
            extensions: None,
            tokens: None,
        }
    }

    fn headers_mut(&mut self) -> &mut HeaderMap {
        self.headers_mut()
    }
}

mod sealed {
    #[allow(unnameable_types, reason = "that is what seals it")]
    pub trait Sealed {}

    impl<B> Sealed for http::Request<B> {}

    #[cfg(feature = "reqwest")]
    impl Sealed for reqwest::Request {}
}

/// What a policy sees of a request.
#[derive(Clone, Copy)]
pub struct RequestHead<'a> {
    method: &'a Method,
    target: Target<'a>,
    headers: &'a HeaderMap,
    extensions: Option<&'a Extensions>,
    tokens: Option<&'a TokenCache>,
}

/// Where a request goes. Taken apart only as far as somebody asks: that costs more than all else.
#[derive(Clone, Copy)]
enum Target<'a> {
    Uri(&'a http::Uri),
    #[cfg(feature = "reqwest")]
    Url(&'a reqwest::Url),
}

impl<'a> RequestHead<'a> {
    /// The method.
    #[must_use]
    pub fn method(&self) -> &'a Method {
        self.method
    }

    /// The scheme, in lower case. None when the URI is only a path, as in a client that is bound to
    /// one connection.
    #[must_use]
    pub fn scheme(&self) -> Option<&'a str> {
        match self.target {
            Target::Uri(uri) => uri.scheme_str(),
            #[cfg(feature = "reqwest")]
            Target::Url(url) => Some(url.scheme()),
        }
    }

    /// The host as it stands in the URI: its case is the caller's, an IPv6 address has its
    /// brackets.
    #[must_use]
    pub fn host(&self) -> Option<&'a str> {
        let host = match self.target {
            Target::Uri(uri) => uri.host(),
            #[cfg(feature = "reqwest")]
            Target::Url(url) => url.host_str(),
        };
        host.filter(|host| !host.is_empty())
    }

    /// Host, port and user as they stand in the URI, where that takes no work.
    #[inline]
    pub(crate) fn authority(&self) -> Option<&'a str> {
        match self.target {
            Target::Uri(uri) => uri.authority().map(http::uri::Authority::as_str),
            #[cfg(feature = "reqwest")]
            Target::Url(_) => None,
        }
    }

    /// The port, when the URI names one.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self.target {
            Target::Uri(uri) => uri.port_u16(),
            #[cfg(feature = "reqwest")]
            Target::Url(url) => url.port(),
        }
    }

    /// The path, without the query.
    #[must_use]
    pub fn path(&self) -> &'a str {
        match self.target {
            Target::Uri(uri) => uri.path(),
            #[cfg(feature = "reqwest")]
            Target::Url(url) => url.path(),
        }
    }

    /// Whether the URI carries `user@` or `user:password@`.
    #[must_use]
    pub fn has_user_info(&self) -> bool {
        match self.target {
            Target::Uri(uri) => uri
                .authority()
                .is_some_and(|whole| whole.as_str().contains('@')),
            #[cfg(feature = "reqwest")]
            Target::Url(url) => !url.username().is_empty() || url.password().is_some(),
        }
    }

    /// The headers so far.
    #[must_use]
    pub fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// What the request carries in its extensions. A `reqwest::Request` shows none, but for those
    /// that `reqwest-middleware` keeps beside it.
    #[must_use]
    pub fn extension<T: Send + Sync + 'static>(&self) -> Option<&'a T> {
        self.extensions?.get()
    }

    /// The handle of an audience that the layer's cache holds already, found without allocating.
    #[must_use]
    pub fn held(&self, audience: &str) -> Option<TokenHandle> {
        self.tokens?.get(audience)
    }

    #[cfg(feature = "reqwest-middleware")]
    pub(crate) fn with_extensions(self, extensions: &'a Extensions) -> Self {
        Self {
            extensions: Some(extensions),
            ..self
        }
    }

    pub(crate) fn with_tokens(self, tokens: Option<&'a TokenCache>) -> Self {
        Self { tokens, ..self }
    }
}

impl fmt::Debug for RequestHead<'_> {
    /// Header values are left out: some are secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead")
            .field("method", &self.method)
            .field("scheme", &self.scheme())
            .field("host", &self.host())
            .field("port", &self.port())
            .field("path", &self.path())
            .finish_non_exhaustive()
    }
}
