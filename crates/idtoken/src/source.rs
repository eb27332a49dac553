//! Where tokens come from.
//!
//! A [`TokenSource`] makes one token for one audience when asked; it neither caches nor shares:
//! that is [`TokenCache`](crate::TokenCache)'s job. Each ready source is a pure pair of "request"
//! and "parse" with a little glue around it.
//!
//! [`default`] finds what fits the surroundings. By hand:
//!
//! | source | where it works | `aud` | `azp` | `email` | permission needed |
//! |---|---|---|---|---|---|
//! | [`MetadataServer`] | Compute Engine, Cloud Run and its functions, App Engine | yours | the account's number | yes, with [`Format::Full`] | none |
//! | the same for a workload of GKE | GKE | yours | the account's number | yes | on the account ⁴ |
//! | [`ServiceAccountKey`] | anywhere, with a downloaded key | yours | the account's e-mail | yes | none |
//! | the same in another universe | there | yours | the account's number | yes | on itself ¹ |
//! | [`Impersonated`] | anywhere, on top of another identity | yours | the account's number | yes, unless left out | on the target ¹ |
//! | [`ExternalAccount`] | AWS, Azure, GitHub Actions, any OIDC provider | yours | the account's number | yes | on the target ³ |
//! | [`AuthorizedUser`] | a laptop after `gcloud auth … login` | **the OAuth client's** | the OAuth client's | with the `email` scope | none |
//! | `Gcloud` (feature `process`) | wherever gcloud is logged in | yours for service accounts | as for the account's kind | with impersonation | ² |
//! | [`StaticToken`], [`TokenFile`], [`TokenVariable`], [`from_fn`] | where something else makes the token | whatever is in it | | | |
//!
//! ¹ `gcloud iam service-accounts add-iam-policy-binding TARGET --member=CALLER
//! --role=roles/iam.serviceAccountOpenIdTokenCreator`; a grant takes minutes to work.
//! ² With impersonation, as in ¹ but `roles/iam.serviceAccountTokenCreator`, since gcloud asks for
//! an access token as well; a person's own token takes none.
//! ³ `gcloud iam service-accounts add-iam-policy-binding TARGET
//! --role=roles/iam.workloadIdentityUser
//! --member=principal://iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/POOL/subject/SUBJECT`;
//! that role is enough for ID tokens.
//! ⁴ The same role for `--member="serviceAccount:PROJECT.svc.id.goog[NAMESPACE/NAME]"`, and
//! `kubectl annotate serviceaccount NAME --namespace=NAMESPACE
//! iam.gke.io/gcp-service-account=ACCOUNT`.
//!
//! The metadata server's mutual TLS (`GCE_METADATA_MTLS_MODE`) is not spoken; plain HTTP is what
//! its default mode falls back to.
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

pub use self::adc::{DefaultSource, DefaultSourceBuilder, Environment};
#[cfg(feature = "reqwest")]
pub use self::adc::{default, impersonating};
pub use self::authorized_user::AuthorizedUser;
pub use self::external_account::{
    ExternalAccount, ExternalAccountBuilder, SubjectContext, SubjectTokenSupplier,
};
pub use self::fixed::{FromFn, StaticToken, TokenFile, TokenVariable, from_fn};
#[cfg(feature = "process")]
pub use self::gcloud::Gcloud;
pub use self::impersonated::{Base, Impersonated, ImpersonatedBuilder};
pub use self::metadata::{Format, MetadataServer, MetadataServerBuilder};
pub use self::service_account::ServiceAccountKey;
use crate::audience::Audience;
use crate::error::SourceError;
use crate::token::IdToken;

mod access;
mod adc;
mod answer;
mod authorized_user;
mod endpoint;
mod external_account;
mod file;
mod fixed;
#[cfg(feature = "process")]
mod gcloud;
mod iam;
mod impersonated;
mod metadata;
mod oauth;
mod presence;
#[cfg(feature = "process")]
mod program;
mod service_account;
mod universe;
mod wire;

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
