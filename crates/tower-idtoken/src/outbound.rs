//! The layer that attaches tokens to outbound requests.

use std::borrow::Cow;
use std::fmt;
use std::mem;
use std::task::{Context, Poll};

use http::HeaderValue;
use idtoken::{TokenCache, TokenHandle};
use tower_layer::Layer;
use tower_service::Service;

use crate::distrust::DistrustOn401Layer;
use crate::error::{BoxError, NotSent, NotSentKind};
use crate::future::ResponseFuture;
use crate::header::{Existing, Header, Placement};
use crate::policy::{Fixed, Selection, TokenPolicy};
use crate::request::{HttpRequest, RequestHead};

/// Wraps an HTTP client so that each request carries the ID token it needs.
///
/// By default the token goes into `Authorization`; if the caller has set that header itself, it is
/// left alone and the token goes into `X-Serverless-Authorization`, which Cloud Run checks first.
///
/// ```
/// use idtoken::{Audience, TokenCache};
/// use tower_idtoken::{AddIdTokenLayer, ByOrigin, Header};
///
/// # fn example(tokens: TokenCache) -> Result<(), Box<dyn std::error::Error>> {
/// // One function, one audience.
/// let hello = Audience::new("https://hello-abc.a.run.app")?;
/// let one = AddIdTokenLayer::new(tokens.handle(&hello));
///
/// // Any of our functions; the audience is the origin of the request.
/// let many = AddIdTokenLayer::with_policy(tokens, ByOrigin::refusing_others(["*.run.app"])?)
///     .header(Header::XServerlessAuthorization);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct AddIdTokenLayer<P = Fixed> {
    attach: Attach<P>,
}

impl AddIdTokenLayer {
    /// Attaches the token of `handle` to requests that go to the host in its audience, and refuses
    /// others. For other hosts see [`Fixed`].
    #[must_use]
    pub fn new(handle: TokenHandle) -> Self {
        Self {
            attach: Attach::new(None, Fixed::new(handle)),
        }
    }
}

impl<P> AddIdTokenLayer<P> {
    /// Attaches the token that `policy` chooses, from `tokens`.
    pub fn with_policy(tokens: TokenCache, policy: P) -> Self {
        Self {
            attach: Attach::new(Some(tokens), policy),
        }
    }

    /// Puts the token into this header instead of `Authorization`.
    #[must_use]
    pub fn header(mut self, header: Header) -> Self {
        self.attach.placement.header = header;
        self
    }

    /// What happens to an `Authorization` that the caller has set; by default it is left alone and
    /// the token goes into `X-Serverless-Authorization`.
    #[must_use]
    pub fn existing(mut self, existing: Existing) -> Self {
        self.attach.placement.existing = existing;
        self
    }

    /// Vouches that the client takes no header to another host.
    ///
    /// A `reqwest::Client` follows redirects by itself. It drops `Authorization` and
    /// `Proxy-Authorization` when one leads to another host, but no other header; so by default
    /// this layer does not send a `reqwest::Request` with the token in any other, nor one whose own
    /// `Authorization` it would have to move to another. Say this of a client that was built with
    /// [`redirect::same_host`](crate::redirect::same_host) or with redirects switched off. It changes
    /// nothing for `http::Request`s.
    #[must_use]
    pub fn assume_no_cross_host_redirects(mut self) -> Self {
        self.attach.placement.no_cross_host_redirects = true;
        self
    }

    /// Distrusts a token that the upstream answers with 401, so that the next request gets a fresh
    /// one: see [`TokenHandle::distrust`].
    ///
    /// Nothing is sent again by this alone, so it is right for bodies that can be sent only once.
    /// For the others there is [`RetryOn401`](crate::retry::RetryOn401), put around it.
    #[must_use]
    pub fn distrust_on_401(self) -> DistrustOn401Layer<P> {
        DistrustOn401Layer::new(self.attach)
    }
}

#[cfg(feature = "reqwest-middleware")]
impl<P> AddIdTokenLayer<P> {
    pub(crate) fn attach(&self) -> &Attach<P> {
        &self.attach
    }
}

impl<S, P: Clone> Layer<S> for AddIdTokenLayer<P> {
    type Service = AddIdToken<S, P>;

    fn layer(&self, inner: S) -> Self::Service {
        AddIdToken {
            inner,
            attach: self.attach.clone(),
        }
    }
}

impl<P> fmt::Debug for AddIdTokenLayer<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AddIdTokenLayer")
            .field("placement", &self.attach.placement)
            .finish_non_exhaustive()
    }
}

/// The service made by [`AddIdTokenLayer`].
///
/// # No token, no request
///
/// When no token can be had the inner service is not called and the response is an error with a
/// [`NotSent`] in it. The same goes for plain `http` to another machine.
///
/// What the client then does with the request is out of sight: one that goes through a proxy even to
/// this machine, as reqwest does with `HTTP_PROXY` and without `NO_PROXY`, takes a token over plain
/// `http` there. Build it with `no_proxy()`.
///
/// # Readiness
///
/// A request that has to wait for its token takes the readied inner service with it and leaves a
/// clone behind, as tower's contract asks. The wait is bounded by the cache's fetch timeout.
#[derive(Clone)]
pub struct AddIdToken<S, P = Fixed> {
    inner: S,
    attach: Attach<P>,
}

impl<S, P> AddIdToken<S, P> {
    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service, mutably.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner service, taken out.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, P, R> Service<R> for AddIdToken<S, P>
where
    S: Service<R> + Clone,
    S::Error: Into<BoxError>,
    P: TokenPolicy,
    R: HttpRequest,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = ResponseFuture<S, R>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    #[inline]
    fn call(&mut self, request: R) -> Self::Future {
        self.attach.call(&mut self.inner, request, |_, _| {})
    }
}

impl<S: fmt::Debug, P> fmt::Debug for AddIdToken<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AddIdToken")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

/// Which token, and where it goes.
#[derive(Clone)]
pub(crate) struct Attach<P> {
    tokens: Option<TokenCache>,
    policy: P,
    pub(crate) placement: Placement,
}

impl<P> Attach<P> {
    fn new(tokens: Option<TokenCache>, policy: P) -> Self {
        Self {
            tokens,
            policy,
            placement: Placement::default(),
        }
    }
}

impl<P: TokenPolicy> Attach<P> {
    /// Calls `inner`, which is ready, with `request` and its token; `note` is told which that is,
    /// as far as it is known before the call returns.
    #[inline]
    pub(crate) fn call<S, R>(
        &self,
        inner: &mut S,
        mut request: R,
        note: impl FnOnce(&TokenHandle, Option<&HeaderValue>),
    ) -> ResponseFuture<S, R>
    where
        S: Service<R> + Clone,
        R: HttpRequest,
    {
        let handle = match self.choose::<R>(request.head()) {
            Ok(Some(handle)) => handle,
            Ok(None) => return ResponseFuture::called(inner.call(request)),
            Err(refusal) => return ResponseFuture::refused(refusal),
        };
        if let Some(bearer) = handle.try_bearer() {
            note(&handle, Some(&bearer));
            self.placement.put(request.headers_mut(), bearer);
            return ResponseFuture::called(inner.call(request));
        }
        note(&handle, None);
        let ready = take_ready(inner);
        ResponseFuture::waiting(handle.bearer(), ready, request, self.placement.clone())
    }

    /// The handle whose token a request with this head gets, or none when it is sent as it is.
    #[inline]
    pub(crate) fn choose<'a, R: HttpRequest>(
        &'a self,
        head: RequestHead<'a>,
    ) -> Result<Option<Cow<'a, TokenHandle>>, NotSent> {
        let head = head.with_tokens(self.tokens.as_ref());
        let handle = match self.policy.lend(head) {
            Some(lent) => Cow::Borrowed(lent),
            None => match self.policy.select(head) {
                Selection::Handle(handle) => Cow::Owned(handle),
                Selection::Audience(audience) => match &self.tokens {
                    Some(tokens) => Cow::Owned(tokens.handle(&audience)),
                    None => return Err(NotSent::at(NotSentKind::NotAllowed, head.host())),
                },
                Selection::Refuse => return Err(NotSent::at(NotSentKind::NotAllowed, head.host())),
                Selection::Skip => return Ok(None),
            },
        };
        match self
            .placement
            .wants_token(head.headers(), R::MAY_BE_REDIRECTED)
        {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(kind) => return Err(NotSent::at(kind, head.host())),
        }
        if travels_in_clear(head) {
            return Err(NotSent::at(NotSentKind::InsecureScheme, head.host()));
        }
        Ok(Some(handle))
    }
}

/// Takes the service that was polled ready, and leaves a clone that was not.
pub(crate) fn take_ready<S: Clone>(inner: &mut S) -> S {
    let unready = inner.clone();
    mem::replace(inner, unready)
}

/// Whether a token with this request could be read on its way to another machine.
fn travels_in_clear(head: RequestHead<'_>) -> bool {
    match head.scheme() {
        None | Some("https") => false,
        Some(_) => !head.host().is_some_and(idtoken::loopback::is_loopback),
    }
}
