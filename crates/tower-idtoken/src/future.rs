//! The futures of this crate's services.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::HeaderValue;
use idtoken::cache::Acquire;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::error::{BoxError, NotSent};
use crate::header::Placement;
use crate::request::HttpRequest;

pin_project! {
    /// The response future of [`AddIdToken`](crate::AddIdToken).
    ///
    /// When the token is at hand this is the inner service's future and nothing else.
    pub struct ResponseFuture<S, R>
    where
        S: Service<R>,
    {
        #[pin]
        state: State<S, R>,
    }
}

impl<S: Service<R>, R> ResponseFuture<S, R> {
    #[inline]
    pub(crate) fn called(future: S::Future) -> Self {
        Self {
            state: State::Called { future },
        }
    }

    #[cold]
    pub(crate) fn refused(error: NotSent) -> Self {
        Self::slow(Slow::Refused { error: Some(error) })
    }

    #[cold]
    pub(crate) fn waiting(acquire: Acquire, service: S, request: R, placement: Placement) -> Self {
        Self::slow(Slow::Waiting {
            acquire,
            parked: Some((service, request)),
            placement,
        })
    }

    /// The token that a request which had to wait for one was sent with.
    pub(crate) fn sent_after_waiting(&self) -> Option<&HeaderValue> {
        match &self.state {
            State::Slow { slow } => match &**slow {
                Slow::Called { bearer, .. } => Some(bearer),
                _ => None,
            },
            State::Called { .. } => None,
        }
    }

    fn slow(slow: Slow<S, R>) -> Self {
        Self {
            state: State::Slow {
                slow: Box::pin(slow),
            },
        }
    }
}

impl<S, R> Future for ResponseFuture<S, R>
where
    S: Service<R>,
    S::Error: Into<BoxError>,
    R: HttpRequest,
{
    type Output = Result<S::Response, BoxError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Called { future } => future.poll(cx).map_err(Into::into),
            StateProjection::Slow { slow } => slow.as_mut().poll(cx),
        }
    }
}

impl<S: Service<R>, R> fmt::Debug for ResponseFuture<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, R>
    where
        S: Service<R>,
    {
        Called { #[pin] future: S::Future },
        // One thin pointer, so that the rare case costs the common one no space.
        Slow { slow: Pin<Box<Slow<S, R>>> },
    }
}

pin_project! {
    /// All that is not the common case.
    #[project = SlowProjection]
    enum Slow<S, R>
    where
        S: Service<R>,
    {
        Called { #[pin] future: S::Future, bearer: HeaderValue },
        Refused { error: Option<NotSent> },
        Waiting { #[pin] acquire: Acquire, parked: Option<(S, R)>, placement: Placement },
    }
}

impl<S, R> Future for Slow<S, R>
where
    S: Service<R>,
    S::Error: Into<BoxError>,
    R: HttpRequest,
{
    type Output = Result<S::Response, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match self.as_mut().project() {
                SlowProjection::Called { future, .. } => {
                    return future.poll(cx).map_err(Into::into);
                }
                SlowProjection::Refused { error } => {
                    let error = error.take().expect("polled after it was ready");
                    return Poll::Ready(Err(error.into()));
                }
                SlowProjection::Waiting {
                    acquire,
                    parked,
                    placement,
                } => {
                    let outcome = ready!(acquire.poll(cx));
                    let (mut service, mut request) =
                        parked.take().expect("polled after it was ready");
                    let next = match outcome {
                        Ok(bearer) => {
                            placement.put(request.headers_mut(), bearer.clone());
                            Self::Called {
                                future: service.call(request),
                                bearer,
                            }
                        }
                        Err(error) => Self::Refused {
                            error: Some(NotSent::no_token(error)),
                        },
                    };
                    self.set(next);
                }
            }
        }
    }
}
