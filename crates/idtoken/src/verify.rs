//! Verification of tokens that callers present.

pub(crate) mod claims;
pub(crate) mod json;
pub(crate) mod jws;

pub use claims::{ClaimError, Claims, ComputeEngine, GoogleClaims, UnverifiedClaims};
pub use jws::Malformed;
