//! From a request's headers to its caller: what the axum and tower crates share.
//!
//! A server that is neither can use it directly:
//!
//! ```
//! use http::HeaderMap;
//! use idtoken::Verifier;
//! use idtoken::inbound::Rejection;
//!
//! async fn greet(verifier: &Verifier, headers: &HeaderMap) -> Result<String, Rejection> {
//!     let caller = verifier.verify_headers(headers).await?;
//!     Ok(format!("hello {}", caller.email().unwrap_or(caller.sub())))
//! }
//! ```

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

pub use self::rejection::Rejection;
pub use self::token_header::{HeaderFault, TokenHeader, X_SERVERLESS_AUTHORIZATION};
use crate::verify::Claims;

mod rejection;
mod token_header;

/// How far the verification of a request's token got without waiting.
#[derive(Debug)]
pub enum Verification {
    /// It is done.
    Done(Result<Claims, Rejection>),
    /// The issuer's keys are being fetched.
    Waiting(Waiting),
}

/// The rest of a verification: a future that owns what it needs, for middleware that cannot borrow
/// the request while it waits.
#[must_use = "a future does nothing unless it is polled"]
pub struct Waiting(Pin<Box<dyn Future<Output = Result<Claims, Rejection>> + Send>>);

impl Waiting {
    pub(crate) fn new(
        rest: impl Future<Output = Result<Claims, Rejection>> + Send + 'static,
    ) -> Self {
        Self(Box::pin(rest))
    }
}

impl Future for Waiting {
    type Output = Result<Claims, Rejection>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
