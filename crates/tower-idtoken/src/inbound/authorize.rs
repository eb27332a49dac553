//! The same check for tower-http's own authorization layer.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use idtoken::Verifier;
use idtoken::inbound::{Verification, Waiting};
use tower_http::auth::AsyncAuthorizeRequest;

use super::{Protocol, RequireIdTokenLayer};

/// Lets a verifier decide in `tower_http::auth::AsyncRequireAuthorizationLayer`, for stacks that
/// have one already. Elsewhere [`RequireIdTokenLayer`] does the same with less: tower-http's layer
/// clones the inner service for each request.
///
/// ```
/// use idtoken::Verifier;
/// use tower_http::auth::AsyncRequireAuthorizationLayer;
/// use tower_idtoken::inbound::AuthorizeIdToken;
///
/// # fn example(verifier: Verifier) {
/// let layer = AsyncRequireAuthorizationLayer::new(AuthorizeIdToken::<String>::new(verifier));
/// # let _ = layer;
/// # }
/// ```
pub struct AuthorizeIdToken<ResBody> {
    layer: RequireIdTokenLayer,
    body: PhantomData<fn() -> ResBody>,
}

impl<ResBody> AuthorizeIdToken<ResBody> {
    /// Lets in whom `verifier` accepts.
    #[must_use]
    pub fn new(verifier: Verifier) -> Self {
        Self::with_layer(RequireIdTokenLayer::new(verifier))
    }

    /// Lets in whom `layer` would.
    #[must_use]
    pub fn with_layer(layer: RequireIdTokenLayer) -> Self {
        Self {
            layer,
            body: PhantomData,
        }
    }
}

impl<B, ResBody: Default> AsyncAuthorizeRequest<B> for AuthorizeIdToken<ResBody> {
    type RequestBody = B;
    type ResponseBody = ResBody;
    type Future = Authorizing<B, ResBody>;

    fn authorize(&mut self, request: Request<B>) -> Self::Future {
        let verification = self.layer.gate.start(&request);
        Authorizing {
            verification,
            parked: Some((request, self.layer.clone())),
            body: PhantomData,
        }
    }
}

impl<ResBody> Clone for AuthorizeIdToken<ResBody> {
    fn clone(&self) -> Self {
        Self::with_layer(self.layer.clone())
    }
}

impl<ResBody> fmt::Debug for AuthorizeIdToken<ResBody> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizeIdToken")
            .field("layer", &self.layer)
            .finish()
    }
}

/// The future of [`AuthorizeIdToken`].
pub struct Authorizing<B, ResBody> {
    verification: Option<Verification>,
    parked: Option<(Request<B>, RequireIdTokenLayer)>,
    body: PhantomData<fn() -> ResBody>,
}

// Nothing in it is pinned but the boxed wait.
impl<B, ResBody> Unpin for Authorizing<B, ResBody> {}

impl<B, ResBody: Default> Future for Authorizing<B, ResBody> {
    type Output = Result<Request<B>, Response<ResBody>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let verdict = match &mut self.verification {
            Some(Verification::Waiting(waiting)) => {
                Some(ready!(Pin::<&mut Waiting>::new(waiting).poll(cx)))
            }
            Some(Verification::Done(_)) | None => match self.verification.take() {
                Some(Verification::Done(verdict)) => Some(verdict),
                _ => None,
            },
        };
        let (mut request, layer) = self.parked.take().expect("polled after it was ready");
        let Some(verdict) = verdict else {
            return Poll::Ready(Ok(request));
        };
        Poll::Ready(match layer.gate.admit(&mut request, verdict) {
            Ok(()) => Ok(request),
            Err(rejection) => Err(Protocol::of(&request).answer(&rejection)),
        })
    }
}

impl<B, ResBody> fmt::Debug for Authorizing<B, ResBody> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorizing").finish_non_exhaustive()
    }
}
