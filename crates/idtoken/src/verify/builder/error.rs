//! Why a verifier was not built.

use std::fmt;

use crate::verify::policy::PrincipalFault;

/// Why a verifier was not built.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// An audience is empty. There is none that means "any".
    EmptyAudience,
    /// A key URL is not an absolute `https` URL. Plain `http` is for this machine alone: whoever can
    /// change keys on their way can sign for everybody.
    InvalidKeyUrl(String),
    /// The leeway is longer than five minutes.
    LeewayTooLong,
    /// No audience was given.
    NoAudience,
    /// No identity rule was given: `allow` somebody, or waive it with
    /// `danger_any_google_identity`.
    NoIdentityRule,
    /// Keys must be fetched, and there is nothing to fetch them with: feature `reqwest` is off, or
    /// its client could not be set up.
    NoTransport,
    /// An identity rule cannot be right.
    Principal(PrincipalFault),
    /// Two issuers go by one name.
    RepeatedIssuer(String),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptyAudience => f.write_str("an audience is empty"),
            Self::InvalidKeyUrl(url) => write!(
                f,
                "`{url}` is no URL to fetch keys from: it must be https, or http on this machine"
            ),
            Self::LeewayTooLong => f.write_str("the leeway is longer than five minutes"),
            Self::NoAudience => f.write_str("no audience was given"),
            Self::NoIdentityRule => f.write_str(
                "no identity rule was given: use `allow(Principal::…)`, or waive it with \
                 `danger_any_google_identity()`",
            ),
            Self::NoTransport => f.write_str(
                "there is no transport to fetch keys with: turn on the feature `reqwest`, or give \
                 one with `transport(…)`",
            ),
            Self::Principal(fault) => write!(f, "a principal cannot be right: {fault}"),
            Self::RepeatedIssuer(iss) => write!(f, "two issuers are named `{iss}`"),
        }
    }
}

impl std::error::Error for BuildError {}
