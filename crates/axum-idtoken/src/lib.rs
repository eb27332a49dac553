//! An axum extractor that says who is calling.
//!
//! Put an [`idtoken::Verifier`] into the router's state and take [`Caller`] as an argument: the
//! handler then runs only for callers who were verified and are allowed.
//!
//! ```
//! use axum::{Router, routing::get};
//! use axum_idtoken::Caller;
//! use idtoken::{Principal, Verifier};
//!
//! fn app() -> Result<Router, Box<dyn std::error::Error>> {
//!     let verifier = Verifier::builder()
//!         .audience("https://hello-abc.a.run.app")
//!         .allow(Principal::service_account("caller@project.iam.gserviceaccount.com"))
//!         .build()?;
//!     Ok(Router::new().route("/", get(hello)).with_state(verifier))
//! }
//!
//! async fn hello(caller: Caller) -> String {
//!     format!("hello {}", caller.email().unwrap_or(caller.sub()))
//! }
//! ```
//!
//! With a state of your own, implement `FromRef<YourState> for Verifier`, or derive `FromRef`.
//!
//! Take `Option<Caller>` where a token is not demanded: a request without one gives `None`, and one
//! with a bad token is still turned away.
//!
//! # Whole routers
//!
//! To close a router as a whole put `tower_idtoken::RequireIdTokenLayer` around it with
//! `Router::route_layer`; its handlers can then take `Extension<idtoken::Claims>`. A `Caller` in
//! such a handler verifies once more by the verifier in the state, so that it always says what that
//! one says; the second time costs a hash. Inside of a layer that strips the token there is nothing
//! left to verify, and a `Caller` there is turned away with 401: take the extension.
//!
//! # Rejections
//!
//! They are those of [`idtoken::inbound::Rejection`]: 400, 401, 403 or 503, with
//! `WWW-Authenticate` as RFC 6750 has it and a body that names no detail. The detail goes to
//! `tracing` at debug level, without the token.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod caller;
mod rejection;

pub use self::caller::{Caller, FromClaims, NoExtra, VerifierOf};
pub use self::rejection::CallerRejection;
