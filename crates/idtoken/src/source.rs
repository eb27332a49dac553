//! Where tokens come from.
//!
//! A [`TokenSource`] makes one token for one audience when asked; it neither caches nor shares:
//! that is [`TokenCache`](crate::TokenCache)'s job. Each ready source is a pure pair of "request"
//! and "parse" with a little glue around it.
//!
//! | source | where it works |
//! |---|---|
//! | [`MetadataServer`] | Compute Engine, Cloud Run, Cloud Run functions, App Engine, GKE |
//! | [`ServiceAccountKey`] | anywhere, with a downloaded key file |
//! | yours | wherever you can write an `async fn` |
//!
//! ```
//! use idtoken::{Audience, IdToken, SourceError, TokenCache, TokenSource};
//!
//! struct Vault;
//!
//! impl TokenSource for Vault {
//!     async fn fetch(&self, audience: &Audience) -> Result<IdToken, SourceError> {
//!         let jwt = ask_vault(audience.as_str()).await;
//!         Ok(IdToken::new(&jwt)?)
//!     }
//! }
//! # async fn ask_vault(_: &str) -> String { String::new() }
//!
//! let tokens = TokenCache::new(Vault);
//! ```

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

pub use self::metadata::{Format, MetadataServer, MetadataServerBuilder};
pub use self::service_account::ServiceAccountKey;
use crate::audience::Audience;
use crate::error::SourceError;
use crate::token::IdToken;

mod metadata;
mod service_account;

/// Makes ID tokens.
///
/// Write it as an `async fn`, as in the [module's example](self).
pub trait TokenSource: Send + Sync + 'static {
    /// Fetches a new token for `audience`.
    ///
    /// The future may be dropped before it is done, when the cache gives up on it.
    ///
    /// # Errors
    ///
    /// [`SourceError`] when no token can be had now. The cache calls again on later demand,
    /// whatever the kind of error.
    fn fetch(
        &self,
        audience: &Audience,
    ) -> impl Future<Output = Result<IdToken, SourceError>> + Send;
}

impl<S: TokenSource + ?Sized> TokenSource for Arc<S> {
    fn fetch(
        &self,
        audience: &Audience,
    ) -> impl Future<Output = Result<IdToken, SourceError>> + Send {
        (**self).fetch(audience)
    }
}

/// The object-safe twin, so that the cache has no type parameter.
pub(crate) trait DynTokenSource: Send + Sync {
    fn fetch_boxed<'a>(&'a self, audience: &'a Audience) -> BoxedFetch<'a>;
}

impl<S: TokenSource> DynTokenSource for S {
    fn fetch_boxed<'a>(&'a self, audience: &'a Audience) -> BoxedFetch<'a> {
        Box::pin(self.fetch(audience))
    }
}

pub(crate) type BoxedFetch<'a> =
    Pin<Box<dyn Future<Output = Result<IdToken, SourceError>> + Send + 'a>>;
