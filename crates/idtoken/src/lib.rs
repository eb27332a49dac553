//! Google-signed OIDC ID tokens.

pub mod clock;
