//! Google-signed OIDC ID tokens.

pub mod clock;

mod verify;

pub use verify::{ClaimError, Claims, ComputeEngine, GoogleClaims, Malformed, UnverifiedClaims};
