//! How this crate speaks HTTP, behind a seam.
//!
//! Token and key exchanges are small: one request, one answer of at most [`MAX_BODY_BYTES`]. A
//! [`Transport`] carries them whole. With the default feature `reqwest` a ready one is used;
//! [`FromService`] makes one of any tower service, and a test can hand in its own.
//!
//! ```
//! use bytes::Bytes;
//! use idtoken::transport::{Transport, TransportError};
//!
//! /// Answers every request with the same text.
//! struct Canned(&'static str);
//!
//! impl Transport for Canned {
//!     async fn send(
//!         &self,
//!         _: http::Request<Bytes>,
//!     ) -> Result<http::Response<Bytes>, TransportError> {
//!         Ok(http::Response::new(Bytes::from_static(self.0.as_bytes())))
//!     }
//! }
//! ```

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};

pub use self::from_service::FromService;
#[cfg(feature = "reqwest")]
pub use self::reqwest::ReqwestTransport;

mod from_service;
#[cfg(feature = "reqwest")]
mod reqwest;

/// Carries one small HTTP exchange.
///
/// An implementation must not follow redirects, must not add credentials of its own, and must give
/// up on an answer longer than [`MAX_BODY_BYTES`]. Time limits and retries are the caller's: a
/// future that is dropped ends its exchange.
pub trait Transport: Send + Sync + 'static {
    /// Sends `request`, whose URI is absolute, and reads the answer whole.
    ///
    /// An answer with an error status is an answer, not an error.
    ///
    /// # Errors
    ///
    /// [`TransportError`] when there was no complete answer.
    fn send(
        &self,
        request: Request<Bytes>,
    ) -> impl Future<Output = Result<Response<Bytes>, TransportError>> + Send;
}

impl<T: Transport> Transport for Arc<T> {
    fn send(
        &self,
        request: Request<Bytes>,
    ) -> impl Future<Output = Result<Response<Bytes>, TransportError>> + Send {
        (**self).send(request)
    }
}

/// There was no complete answer.
#[derive(Debug)]
pub struct TransportError {
    kind: TransportErrorKind,
    source: Option<BoxError>,
}

impl TransportError {
    /// An error of this `kind`, caused by `source`.
    ///
    /// The source's text must hold neither tokens nor secrets: it is shown to people.
    pub fn new(kind: TransportErrorKind, source: impl Into<BoxError>) -> Self {
        Self {
            kind,
            source: Some(source.into()),
        }
    }

    /// The answer was longer than [`MAX_BODY_BYTES`].
    #[must_use]
    pub fn too_large() -> Self {
        Self {
            kind: TransportErrorKind::TooLarge,
            source: None,
        }
    }

    /// What went wrong, to branch on.
    #[must_use]
    pub fn kind(&self) -> TransportErrorKind {
        self.kind
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            TransportErrorKind::Connect => "could not connect",
            TransportErrorKind::Exchange => "the connection failed before the answer was complete",
            TransportErrorKind::TooLarge => "the answer is longer than 64 KiB",
            TransportErrorKind::Unusable => "the HTTP client cannot send this request",
        })
    }
}

impl Error for TransportError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}

/// What kept an answer away.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum TransportErrorKind {
    /// No connection: refused, unreachable, name not found, TLS not agreed.
    Connect,
    /// Connected, but the answer did not come whole.
    Exchange,
    /// The answer was longer than [`MAX_BODY_BYTES`].
    TooLarge,
    /// The request itself or the client's setup is at fault; trying again cannot help.
    Unusable,
}

/// A boxed error that can cross threads.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// The longest answer read, in bytes. The real ones are one to eight kibibytes.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// A transport whose type is forgotten, so that caches and verifiers have no type parameter.
#[derive(Clone)]
pub(crate) struct SharedTransport(Arc<dyn DynTransport>);

impl SharedTransport {
    pub(crate) fn new(transport: impl Transport) -> Self {
        Self(Arc::new(transport))
    }

    /// Sends `request`; an answer over the bound is an error whatever the transport did about it.
    pub(crate) async fn send(
        &self,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, TransportError> {
        let response = self.0.send_boxed(request).await?;
        if response.body().len() > MAX_BODY_BYTES {
            return Err(TransportError::too_large());
        }
        Ok(response)
    }
}

impl fmt::Debug for SharedTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedTransport")
    }
}

trait DynTransport: Send + Sync {
    fn send_boxed(&self, request: Request<Bytes>) -> BoxedExchange<'_>;
}

impl<T: Transport> DynTransport for T {
    fn send_boxed(&self, request: Request<Bytes>) -> BoxedExchange<'_> {
        Box::pin(self.send(request))
    }
}

type BoxedExchange<'a> =
    Pin<Box<dyn Future<Output = Result<Response<Bytes>, TransportError>> + Send + 'a>>;
