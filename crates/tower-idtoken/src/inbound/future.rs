//! The response future of the inbound service.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use idtoken::inbound::{Rejection, Waiting};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{Gate, Protocol};

pin_project! {
    /// The response future of [`RequireIdToken`](super::RequireIdToken).
    ///
    /// For a caller who may pass at once this is the inner service's future and nothing else.
    pub struct ResponseFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, B>,
    }
}

impl<S: Service<Request<B>>, B> ResponseFuture<S, B> {
    pub(super) fn called(future: S::Future) -> Self {
        Self {
            state: State::Called { future },
        }
    }

    pub(super) fn refused(rejection: Rejection, protocol: Protocol) -> Self {
        Self::slow(Slow::Refused {
            rejection,
            protocol,
        })
    }

    pub(super) fn waiting(
        waiting: Waiting,
        service: S,
        request: Request<B>,
        gate: Arc<Gate>,
    ) -> Self {
        Self::slow(Slow::Waiting {
            waiting,
            parked: Some((service, request)),
            gate,
        })
    }

    fn slow(slow: Slow<S, B>) -> Self {
        Self {
            state: State::Slow {
                slow: Box::pin(slow),
            },
        }
    }
}

impl<S, B, ResBody> Future for ResponseFuture<S, B>
where
    S: Service<Request<B>, Response = Response<ResBody>>,
    ResBody: Default,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Called { future } => future.poll(cx),
            StateProjection::Slow { slow } => slow.as_mut().poll(cx),
        }
    }
}

impl<S: Service<Request<B>>, B> fmt::Debug for ResponseFuture<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, B>
    where
        S: Service<Request<B>>,
    {
        Called { #[pin] future: S::Future },
        // One thin pointer, so that the rare case costs the common one no space.
        Slow { slow: Pin<Box<Slow<S, B>>> },
    }
}

pin_project! {
    /// All that is not the common case.
    #[project = SlowProjection]
    enum Slow<S, B>
    where
        S: Service<Request<B>>,
    {
        Called { #[pin] future: S::Future },
        Refused { rejection: Rejection, protocol: Protocol },
        Waiting { #[pin] waiting: Waiting, parked: Option<(S, Request<B>)>, gate: Arc<Gate> },
    }
}

impl<S, B, ResBody> Future for Slow<S, B>
where
    S: Service<Request<B>, Response = Response<ResBody>>,
    ResBody: Default,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match self.as_mut().project() {
                SlowProjection::Called { future } => return future.poll(cx),
                SlowProjection::Refused {
                    rejection,
                    protocol,
                } => {
                    return Poll::Ready(Ok(protocol.answer(rejection)));
                }
                SlowProjection::Waiting {
                    waiting,
                    parked,
                    gate,
                } => {
                    let verdict = ready!(waiting.poll(cx));
                    let (mut service, mut request) =
                        parked.take().expect("polled after it was ready");
                    let next = match gate.admit(&mut request, verdict) {
                        Ok(()) => Self::Called {
                            future: service.call(request),
                        },
                        Err(rejection) => Self::Refused {
                            rejection,
                            protocol: Protocol::of(&request),
                        },
                    };
                    self.set(next);
                }
            }
        }
    }
}
