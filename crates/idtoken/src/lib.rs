//! Google-signed OIDC ID tokens.

pub mod audience;
pub mod clock;
pub mod transport;

mod flight;
mod jitter;
mod verify;

pub use self::audience::Audience;
pub use self::verify::{ClaimError, Claims, ComputeEngine, GoogleClaims, Malformed, UnverifiedClaims};
