//! Why a request was not sent.

use std::error::Error;
use std::fmt;

use idtoken::TokenError;

/// The request was not sent, since it could not be given the token it should carry.
///
/// Boxed like the errors of tower's own middleware, so that the order of layers does not change
/// types; [`token_error`] finds the cause again.
#[derive(Debug)]
pub struct NotSent {
    kind: NotSentKind,
    host: Option<String>,
    source: Option<TokenError>,
}

impl NotSent {
    pub(crate) fn no_token(source: TokenError) -> Self {
        Self {
            kind: NotSentKind::NoToken,
            host: None,
            source: Some(source),
        }
    }

    pub(crate) fn at(kind: NotSentKind, host: Option<&str>) -> Self {
        Self {
            kind,
            host: host.map(str::to_owned),
            source: None,
        }
    }

    /// Why, to branch on.
    #[must_use]
    pub fn kind(&self) -> NotSentKind {
        self.kind
    }
}

impl fmt::Display for NotSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request was not sent: ")?;
        match self.kind {
            NotSentKind::InsecureScheme => f.write_str(
                "an ID token does not travel over plain http, except to this machine; use https",
            )?,
            NotSentKind::MayBeRedirected => f.write_str(
                "its client may follow a redirect and take a credential to another host in a \
                 header that it does not drop; see `AddIdTokenLayer::assume_no_cross_host_redirects`",
            )?,
            NotSentKind::NoToken => f.write_str("it needs an ID token and none could be had")?,
            NotSentKind::NotAllowed => f.write_str("the token policy has no rule for its host")?,
        }
        match &self.host {
            Some(host) => write!(f, " (host {host:?})"),
            None => Ok(()),
        }
    }
}

impl Error for NotSent {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

/// Why a request was not sent, to branch on.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum NotSentKind {
    /// Plain http to another machine would show the token to everyone in between.
    InsecureScheme,
    /// The client may follow redirects by itself, and would take the token, or an `Authorization`
    /// that was moved out of its way, to another host.
    MayBeRedirected,
    /// No token could be had; the [`TokenError`] is the source.
    NoToken,
    /// The policy refuses this request.
    NotAllowed,
}

/// Finds the [`TokenError`] in an error that came out of a stack with
/// [`AddIdToken`](crate::AddIdToken) somewhere in it.
///
/// ```
/// # fn handle(error: Box<dyn std::error::Error + Send + Sync>) {
/// match tower_idtoken::token_error(&*error) {
///     Some(error) if error.is_transient() => println!("no token just now: {error}"),
///     Some(error) => println!("no token: {error}"),
///     None => println!("the request failed otherwise"),
/// }
/// # }
/// ```
#[must_use]
pub fn token_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a TokenError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<TokenError>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// The error type of the middleware.
pub type BoxError = Box<dyn Error + Send + Sync>;
