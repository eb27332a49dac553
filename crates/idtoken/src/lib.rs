//! Google-signed OIDC ID tokens.

pub mod audience;
pub mod cache;
pub mod clock;
pub mod danger;
pub mod error;
pub mod inbound;
pub mod loopback;
pub mod preset;
pub mod source;
pub mod transport;
pub mod verify;

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
