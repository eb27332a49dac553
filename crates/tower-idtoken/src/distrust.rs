//! The outbound layer with an eye on answers: a token refused with 401 is not used again.
//!
//! Made by [`AddIdTokenLayer::distrust_on_401`](crate::AddIdTokenLayer::distrust_on_401). Its future
//! carries the token it sent, which the plain layer's does not; the body of the response is left
//! alone, so streams pass as they are.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{HeaderValue, StatusCode};
use idtoken::TokenHandle;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::error::BoxError;
use crate::future::ResponseFuture;
use crate::outbound::Attach;
use crate::policy::{Fixed, TokenPolicy};
use crate::request::HttpRequest;
use crate::response::HttpResponse;

/// [`AddIdTokenLayer`](crate::AddIdTokenLayer) that distrusts tokens refused with 401.
#[derive(Clone)]
pub struct DistrustOn401Layer<P = Fixed> {
    attach: Attach<P>,
}

impl<P> DistrustOn401Layer<P> {
    pub(crate) fn new(attach: Attach<P>) -> Self {
        Self { attach }
    }
}

impl<S, P: Clone> Layer<S> for DistrustOn401Layer<P> {
    type Service = DistrustOn401<S, P>;

    fn layer(&self, inner: S) -> Self::Service {
        DistrustOn401 {
            inner,
            attach: self.attach.clone(),
        }
    }
}

impl<P> fmt::Debug for DistrustOn401Layer<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DistrustOn401Layer")
            .field("placement", &self.attach.placement)
            .finish_non_exhaustive()
    }
}

/// The service made by [`DistrustOn401Layer`]; all that is said of
/// [`AddIdToken`](crate::AddIdToken) holds for it too.
#[derive(Clone)]
pub struct DistrustOn401<S, P = Fixed> {
    inner: S,
    attach: Attach<P>,
}

impl<S, P> DistrustOn401<S, P> {
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

impl<S, P, R> Service<R> for DistrustOn401<S, P>
where
    S: Service<R> + Clone,
    S::Error: Into<BoxError>,
    S::Response: HttpResponse,
    P: TokenPolicy,
    R: HttpRequest,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = WatchedFuture<S, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let mut sent = None;
        let response = self
            .attach
            .call(&mut self.inner, request, |handle, bearer| {
                sent = Some((handle.clone(), bearer.cloned()));
            });
        WatchedFuture { response, sent }
    }
}

impl<S: fmt::Debug, P> fmt::Debug for DistrustOn401<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DistrustOn401")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// The response future of [`DistrustOn401`].
    pub struct WatchedFuture<S, R>
    where
        S: Service<R>,
    {
        #[pin]
        response: ResponseFuture<S, R>,
        // None when it goes without a token of ours; a token that is waited for is found in the
        // response future.
        sent: Option<(TokenHandle, Option<HeaderValue>)>,
    }
}

impl<S, R> Future for WatchedFuture<S, R>
where
    S: Service<R>,
    S::Error: Into<BoxError>,
    S::Response: HttpResponse,
    R: HttpRequest,
{
    type Output = Result<S::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let mut response = ready!(this.response.as_mut().poll(cx))?;
        if response.status() == StatusCode::UNAUTHORIZED {
            let late = this.response.sent_after_waiting();
            if let Some((handle, bearer)) = this.sent
                && let Some(bearer) = bearer.as_ref().or(late)
                && handle.distrust(bearer)
            {
                response.extensions_mut().insert(Distrusted(()));
            }
        }
        Poll::Ready(Ok(response))
    }
}

impl<S: Service<R>, R> fmt::Debug for WatchedFuture<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchedFuture").finish_non_exhaustive()
    }
}

/// In the extensions of a 401 response: the token that the request carried is distrusted by now,
/// so that the same request sent again may carry another.
#[derive(Clone, Copy, Debug)]
pub struct Distrusted(());
