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

pub mod error;
pub mod future;
pub mod header;
pub mod inbound;
pub mod outbound;
pub mod policy;

mod request;

pub use self::error::{NotSent, NotSentKind, token_error};
pub use self::header::{Existing, Header};
pub use self::inbound::{RequireIdToken, RequireIdTokenLayer};
pub use self::outbound::{AddIdToken, AddIdTokenLayer};
pub use self::policy::{ByOrigin, Fixed, Selection, TokenPolicy};
pub use self::request::HttpRequest;
