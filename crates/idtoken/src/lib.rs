//! Google-signed OIDC ID tokens: one for each audience you call, and who is behind each that you get.
//!
//! A Cloud Run service or function that is protected by IAM is called with an ID token that Google
//! signed *for that service*. This crate gets such tokens, keeps them, and verifies them. Two more
//! put it where requests are: `tower-idtoken` around HTTP clients and servers, `axum-idtoken` into
//! handlers.
//!
//! Calling: a [source] makes tokens, a [`TokenCache`] keeps one for each audience.
//!
//! ```
//! use idtoken::{Audience, TokenCache};
//!
//! # #[cfg(feature = "reqwest")]
//! async fn hello_header() -> Result<http::HeaderValue, Box<dyn std::error::Error>> {
//!     let tokens = TokenCache::new(idtoken::source::default().await?);
//!     let hello = tokens.handle(&Audience::new("https://hello-abc.a.run.app")?);
//!     Ok(hello.bearer().await?)
//! }
//! ```
//!
//! Being called: a [`Verifier`] knows whom tokens must be for, and whom they may be from.
//!
//! ```
//! use idtoken::{Principal, Verifier};
//!
//! # #[cfg(feature = "reqwest")]
//! async fn who(jwt: &str) -> Result<String, Box<dyn std::error::Error>> {
//!     let verifier = Verifier::builder()
//!         .audience("https://hello-abc.a.run.app")
//!         .allow(Principal::service_account("caller@project.iam.gserviceaccount.com"))
//!         .build()?;
//!     let claims = verifier.verify(jwt).await?;
//!     Ok(claims.sub().to_owned())
//! }
//! ```
//!
//! The [manual] says why it is so, what can go wrong, and which knob does what.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `reqwest` (default) | a ready HTTP client on rustls with aws-lc-rs; without it, bring any tower HTTP service: [`transport::FromService`] |
//! | `aws` | external accounts on AWS |
//! | `process` | sources that run a program: gcloud, and executables of external accounts |
//! | `metrics` | the cache's counters and histograms, through the `metrics` facade |

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod audience;
pub mod cache;
pub mod clock;
pub mod danger;
pub mod error;
pub mod inbound;
pub mod loopback;
pub mod manual;
pub mod preset;
pub mod source;
pub mod transport;
pub mod verify;

mod chain;
mod exchange;
mod flight;
mod jitter;
mod scrub;
mod sync;
mod token;

pub use self::audience::Audience;
pub use self::cache::{TokenCache, TokenHandle};
pub use self::clock::Clock;
pub use self::error::{SourceError, SourceErrorKind, TokenError, TokenErrorKind};
pub use self::source::TokenSource;
pub use self::token::{IdToken, InvalidToken};
pub use self::transport::Transport;
pub use self::verify::{
    Claims, Issuer, KeySet, Policy, Principal, UnverifiedClaims, Verifier, VerifierBuilder,
    VerifyError, VerifyErrorKind,
};
