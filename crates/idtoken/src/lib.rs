//! Google-signed OIDC ID tokens.

pub mod audience;
pub mod clock;
pub mod transport;

mod flight;
mod jitter;

pub use self::audience::Audience;
