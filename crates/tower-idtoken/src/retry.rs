//! Sending a request again when its token was refused.

use std::future::{Ready, ready};

use tower::retry::Policy;

use crate::distrust::Distrusted;
use crate::response::HttpResponse;

/// A policy for tower's retry middleware: a request whose token was refused with 401 is sent once
/// more, with a fresh token.
///
/// It goes around a layer made with
/// [`distrust_on_401`](crate::AddIdTokenLayer::distrust_on_401), and retries only what that has
/// marked: a 401 to a request that carried no token of ours, or whose token has only just come, is
/// passed on. A 401 of the application, say about an `Authorization` of the caller's own, looks like
/// any other and is tried once more too. Requests are cloned before they are sent; one that cannot be (a `reqwest::Request`
/// with a stream for a body) is sent once. For `http::Request` the body must be `Clone`.
///
/// ```
/// use idtoken::TokenHandle;
/// use tower::{ServiceBuilder, retry::RetryLayer};
/// use tower_idtoken::{AddIdTokenLayer, retry::RetryOn401};
///
/// # fn example<C>(hello: TokenHandle, http_client: C) {
/// let client = ServiceBuilder::new()
///     .layer(RetryLayer::new(RetryOn401::new()))
///     .layer(AddIdTokenLayer::new(hello).distrust_on_401())
///     .service(http_client);
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct RetryOn401 {
    spent: bool,
}

impl RetryOn401 {
    /// The policy.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn again<Res: HttpResponse, E>(&mut self, result: &Result<Res, E>) -> Option<Ready<()>> {
        let refused = result
            .as_ref()
            .is_ok_and(|response| response.extensions().get::<Distrusted>().is_some());
        if !refused || self.spent {
            return None;
        }
        self.spent = true;
        Some(ready(()))
    }
}

impl<B: Clone, Res: HttpResponse, E> Policy<http::Request<B>, Res, E> for RetryOn401 {
    type Future = Ready<()>;

    fn retry(
        &mut self,
        _: &mut http::Request<B>,
        result: &mut Result<Res, E>,
    ) -> Option<Self::Future> {
        self.again(result)
    }

    fn clone_request(&mut self, request: &http::Request<B>) -> Option<http::Request<B>> {
        Some(request.clone())
    }
}

#[cfg(feature = "reqwest")]
impl<Res: HttpResponse, E> Policy<reqwest::Request, Res, E> for RetryOn401 {
    type Future = Ready<()>;

    fn retry(
        &mut self,
        _: &mut reqwest::Request,
        result: &mut Result<Res, E>,
    ) -> Option<Self::Future> {
        self.again(result)
    }

    fn clone_request(&mut self, request: &reqwest::Request) -> Option<reqwest::Request> {
        request.try_clone()
    }
}
