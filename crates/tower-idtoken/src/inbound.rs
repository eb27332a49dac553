//! The layer that lets in only callers whose token was verified.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request, Response};
use idtoken::inbound::{Rejection, Verification};
use idtoken::{Claims, Verifier};
use tower_layer::Layer;
use tower_service::Service;

pub use self::answer::Protocol;
#[cfg(feature = "tower-http")]
pub use self::authorize::{AuthorizeIdToken, Authorizing};
pub use self::future::ResponseFuture;
use crate::outbound::take_ready;

mod answer;
#[cfg(feature = "tower-http")]
mod authorize;
mod future;

/// Wraps an HTTP server so that only verified and allowed callers reach it.
///
/// It works around any server that is a tower service: hyper, tonic, axum. The caller's
/// [`Claims`] lie in the request's extensions. Refusals are those of
/// [`Rejection`], with an empty body; a gRPC request gets a gRPC status instead.
///
/// ```
/// use idtoken::Verifier;
/// use tower_idtoken::RequireIdTokenLayer;
///
/// # fn example(verifier: Verifier) {
/// let layer = RequireIdTokenLayer::new(verifier)
///     .bypass_path("/health")
///     .strip_token();
/// # let _: RequireIdTokenLayer = layer;
/// # }
/// ```
///
/// # Layer order
///
/// Put it inside tracing, so that refusals are seen, and outside everything that costs more than a
/// verification: body limits, decompression, the application.
#[derive(Clone, Debug)]
pub struct RequireIdTokenLayer {
    gate: Arc<Gate>,
}

impl RequireIdTokenLayer {
    /// Lets in whom `verifier` accepts.
    #[must_use]
    pub fn new(verifier: Verifier) -> Self {
        Self {
            gate: Arc::new(Gate {
                verifier,
                bypass_paths: Vec::new(),
                lets_missing_pass: false,
                strips_token: false,
            }),
        }
    }

    /// Lets requests without a token pass, without claims. One with a bad token is still refused.
    #[must_use]
    pub fn allow_missing(mut self) -> Self {
        Arc::make_mut(&mut self.gate).lets_missing_pass = true;
        self
    }

    /// Lets requests for exactly this path pass unverified and without claims, as health checks
    /// need it. `/health` is not `/health/`, nor anything that only looks like it when decoded.
    #[must_use]
    pub fn bypass_path(mut self, path: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.gate).bypass_paths.push(path.into());
        self
    }

    /// Takes the token out of accepted requests, from every header that holds it, so that the
    /// application can neither log it nor send it on. Without this it stays, for applications that
    /// do send it on or verify it once more, as `axum_idtoken::Caller` does: it then finds none.
    #[must_use]
    pub fn strip_token(mut self) -> Self {
        Arc::make_mut(&mut self.gate).strips_token = true;
        self
    }
}

impl<S> Layer<S> for RequireIdTokenLayer {
    type Service = RequireIdToken<S>;

    fn layer(&self, inner: S) -> RequireIdToken<S> {
        RequireIdToken {
            inner,
            gate: Arc::clone(&self.gate),
        }
    }
}

/// The service of [`RequireIdTokenLayer`].
#[derive(Clone)]
pub struct RequireIdToken<S> {
    inner: S,
    gate: Arc<Gate>,
}

impl<S> RequireIdToken<S> {
    /// Lets in whom `verifier` accepts. For more choices use the layer.
    #[must_use]
    pub fn new(inner: S, verifier: Verifier) -> Self {
        RequireIdTokenLayer::new(verifier).layer(inner)
    }

    /// The service inside.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service inside, to change.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The service inside, by value.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, B, ResBody> Service<Request<B>> for RequireIdToken<S>
where
    S: Service<Request<B>, Response = Response<ResBody>> + Clone,
    ResBody: Default,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        match self.gate.start(&request) {
            None => ResponseFuture::called(self.inner.call(request)),
            Some(Verification::Done(verdict)) => match self.gate.admit(&mut request, verdict) {
                Ok(()) => ResponseFuture::called(self.inner.call(request)),
                Err(rejection) => ResponseFuture::refused(rejection, Protocol::of(&request)),
            },
            Some(Verification::Waiting(waiting)) => {
                let ready = take_ready(&mut self.inner);
                ResponseFuture::waiting(waiting, ready, request, Arc::clone(&self.gate))
            }
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for RequireIdToken<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireIdToken")
            .field("inner", &self.inner)
            .field("gate", &self.gate)
            .finish()
    }
}

/// Who passes, and in what state.
#[derive(Clone, Debug)]
struct Gate {
    verifier: Verifier,
    bypass_paths: Vec<String>,
    lets_missing_pass: bool,
    strips_token: bool,
}

impl Gate {
    /// Starts the verification; `None` when there is nothing to verify.
    fn start<B>(&self, request: &Request<B>) -> Option<Verification> {
        let path = request.uri().path();
        if self.bypass_paths.iter().any(|bypass| bypass == path) {
            return None;
        }
        Some(self.verifier.start(request.headers()))
    }

    /// Makes `request` ready to go further in.
    fn admit<B>(
        &self,
        request: &mut Request<B>,
        verdict: Result<Claims, Rejection>,
    ) -> Result<(), Rejection> {
        match verdict {
            Ok(claims) => {
                if self.strips_token {
                    self.verifier.token_header().strip(request.headers_mut());
                }
                request.extensions_mut().insert(claims);
                Ok(())
            }
            Err(rejection) if rejection.is_missing() && self.lets_missing_pass => Ok(()),
            Err(rejection) => {
                rejection.log();
                Err(rejection)
            }
        }
    }
}

/// Whether a request speaks gRPC: the media type, alone or with `+proto`, `;charset` and their like.
fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).map(http::HeaderValue::as_bytes);
    content_type
        .and_then(|content_type| content_type.strip_prefix(b"application/grpc"))
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_grpcs_own_media_types_are_grpc() {
        for (content_type, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;charset=utf-8", true),
            ("application/grpcfoo", false),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, http::HeaderValue::from_static(content_type));
            assert_eq!(is_grpc(&headers), expected, "{content_type}");
        }
    }
}
