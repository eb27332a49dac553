//! Tower middleware for Google-signed ID tokens.
//!
//! [`AddIdTokenLayer`] attaches the right token to each outbound request. It goes around any HTTP
//! client that is a tower service: hyper-util's legacy client, a tonic channel, and, with the
//! feature `reqwest`, `reqwest::Client`.
//!
//! ```
//! use idtoken::{Audience, TokenCache};
//! use tower::ServiceBuilder;
//! use tower_idtoken::AddIdTokenLayer;
//!
//! # fn example<C>(tokens: TokenCache, http_client: C)
//! # -> Result<tower_idtoken::AddIdToken<C>, Box<dyn std::error::Error>> {
//! let hello = Audience::new("https://hello-abc.a.run.app")?;
//! let client = ServiceBuilder::new()
//!     .layer(AddIdTokenLayer::new(tokens.handle(&hello)))
//!     .service(http_client);
//! # Ok(client)
//! # }
//! ```
//!
//! [`RequireIdTokenLayer`] is the other side: it goes around any HTTP server that is a tower
//! service, lets in only callers whose token was verified, and leaves their claims in the request's
//! extensions. gRPC requests are refused in gRPC's own way. With the feature `tower-http` the same
//! check serves tower-http's `AsyncRequireAuthorizationLayer`.
//!
//! # Layer order
//!
//! Put the layer *inside* retries, so that a retried request gets a token that is fresh then, and
//! *inside* redirects, so that each hop is judged by its own host. Put timeouts *outside*, so that
//! they count the wait for a token too.
//!
//! A redirect-following middleware *inside* this layer gets requests that carry a token already.
//! tower-http's `FollowRedirect` drops `Authorization` on the way to another host, but no header of
//! another name. `reqwest::Client` does the same by itself: see
//! [`AddIdTokenLayer::assume_no_cross_host_redirects`].
//!
//! # When the upstream says no
//!
//! [`AddIdTokenLayer::distrust_on_401`] has the next request get a fresh token; with the feature
//! `retry`, `retry::RetryOn401` sends the same one again. [`explain_refusal`] says what Cloud Run
//! means by its 401, 403 and 404.
//!
//! # Features
//!
//! None is on by default.
//!
//! | feature | adds |
//! |---|---|
//! | `reqwest` | the layer around `reqwest::Client` |
//! | `reqwest-middleware` | the layer as a middleware of that crate |
//! | `retry` | a policy for tower's retry: once more, with a fresh token, after a 401 |
//! | `tower-http` | the inbound check for tower-http's own auth layer |

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod distrust;
pub mod error;
pub mod future;
pub mod header;
pub mod inbound;
pub mod outbound;
pub mod policy;
#[cfg(feature = "reqwest")]
pub mod redirect;
pub mod refusal;
#[cfg(feature = "retry")]
pub mod retry;

#[cfg(feature = "reqwest-middleware")]
mod middleware;
mod request;
mod response;

pub use self::error::{NotSent, NotSentKind, token_error};
pub use self::header::{Existing, Header};
pub use self::inbound::{RequireIdToken, RequireIdTokenLayer};
pub use self::outbound::{AddIdToken, AddIdTokenLayer};
pub use self::policy::{ByHost, ByOrigin, Fixed, FromExtension, Selection, TokenPolicy};
pub use self::refusal::explain_refusal;
pub use self::request::HttpRequest;
pub use self::response::HttpResponse;
