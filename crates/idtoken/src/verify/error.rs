//! Why a token was not accepted.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::jws::Malformed;

/// Why a token was not accepted.
///
/// Says what was wrong, never what the token was. Branch on [`kind`](Self::kind): texts may change.
#[derive(Clone, Debug)]
pub struct VerifyError {
    kind: VerifyErrorKind,
    source: Option<Arc<dyn Error + Send + Sync>>,
    retry_after: Option<Duration>,
    /// The identity rules ask for an e-mail address, and the token has none that is verified.
    lacks_email: bool,
}

impl VerifyError {
    pub(crate) fn new(kind: VerifyErrorKind) -> Self {
        Self {
            kind,
            source: None,
            retry_after: None,
            lacks_email: false,
        }
    }

    pub(crate) fn not_allowed(lacks_email: bool) -> Self {
        Self {
            lacks_email,
            ..Self::new(VerifyErrorKind::NotAllowed)
        }
    }

    pub(crate) fn keys_unavailable(
        source: Arc<dyn Error + Send + Sync>,
        retry_after: Duration,
    ) -> Self {
        Self {
            source: Some(source),
            retry_after: Some(retry_after),
            ..Self::new(VerifyErrorKind::KeysUnavailable)
        }
    }

    /// What was wrong, to branch on.
    #[must_use]
    pub fn kind(&self) -> VerifyErrorKind {
        self.kind
    }

    /// The HTTP status for it: 401 when the token is no proof, 403 when it proves a caller who may
    /// not, 503 when we cannot tell.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self.kind {
            VerifyErrorKind::NotAllowed => StatusCode::FORBIDDEN,
            VerifyErrorKind::KeysUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::UNAUTHORIZED,
        }
    }

    /// How long to wait before the same token is worth another try; only when keys are unavailable.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// What usually causes this, and what to do about it; for whoever runs the service.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        Some(match self.kind {
            VerifyErrorKind::AlgorithmNotAllowed => {
                "Google signs with RS256, Identity-Aware Proxy with ES256; an issuer of your own says \
                 which with `Issuer::with_algorithm`"
            }
            VerifyErrorKind::Expired
            | VerifyErrorKind::IssuedInFuture
            | VerifyErrorKind::NotYetValid => {
                "if the caller's token is new, compare both machines' clocks"
            }
            VerifyErrorKind::KeysUnavailable => {
                "the issuer's key endpoint cannot be reached: check egress, DNS and proxy settings"
            }
            VerifyErrorKind::LifetimeTooLong => {
                "if the issuer means its tokens to live that long, say so with \
                 `Issuer::with_max_lifetime`"
            }
            VerifyErrorKind::NotAllowed if self.lacks_email => {
                "the rules ask for an e-mail address and the token has none that is verified; have \
                 the caller's source include it: `includeEmail` for impersonation, `format=full` on \
                 Compute Engine, the scope `email` for users"
            }
            VerifyErrorKind::NotAllowed => {
                "the token is authentic; to let this caller in, add it with `allow(Principal::…)`"
            }
            VerifyErrorKind::SignatureRemoved => {
                "Cloud Run's IAM check strips the signature from the header that it checked; have \
                 the caller send the token in both `X-Serverless-Authorization` and \
                 `Authorization`: only the first is stripped"
            }
            VerifyErrorKind::UnknownKey => {
                "a moment after a rotation it passes; else the token is forged or of another issuer"
            }
            VerifyErrorKind::WrongAudience => {
                "audiences are compared letter by letter: scheme, path and trailing slash count; see \
                 `compare_audiences_as_urls`"
            }
            VerifyErrorKind::WrongIssuer => {
                "the token is Firebase's, Identity-Aware Proxy's or somebody else's; if that is \
                 meant, add it with `issuer(Issuer::…)`"
            }
            _ => return None,
        })
    }
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl Error for VerifyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match (&self.source, &self.kind) {
            (Some(source), _) => Some(&**source),
            (None, VerifyErrorKind::Malformed(malformed)) => Some(malformed),
            (None, _) => None,
        }
    }
}

impl From<VerifyErrorKind> for VerifyError {
    fn from(kind: VerifyErrorKind) -> Self {
        Self::new(kind)
    }
}

impl From<Malformed> for VerifyError {
    fn from(malformed: Malformed) -> Self {
        Self::new(VerifyErrorKind::Malformed(malformed))
    }
}

/// What was wrong with a token. Where two things are, the earlier check of these names its own:
/// grammar, `alg`, `crit`, `typ`, `kid`, key, signature, `iss`, `aud`, `exp`, `iat`, `nbf`,
/// lifetime, `sub`, and last who the caller is. With several issuers `iss` comes before `alg`, for it
/// says whose key to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VerifyErrorKind {
    /// `alg` is not the one that the issuer signs with.
    AlgorithmNotAllowed,
    /// The signature is not by the key that the token names.
    BadSignature,
    /// The header has `crit`: it asks for an extension to be understood, and none is.
    CriticalHeader,
    /// `exp` has passed.
    Expired,
    /// `iat` lies ahead.
    IssuedInFuture,
    /// The issuer's keys cannot be had, so nothing can be said about the token.
    KeysUnavailable,
    /// From `iat` to `exp` is longer than the issuer's tokens live.
    LifetimeTooLong,
    /// Not a compact JWS with JSON claims.
    Malformed(Malformed),
    /// A claim that must be there is not; its name.
    MissingClaim(&'static str),
    /// The header has no usable `kid`.
    MissingKeyId,
    /// A claim is there but not of its type; its name.
    MistypedClaim(&'static str),
    /// The token is authentic, but no identity rule lets its bearer in.
    NotAllowed,
    /// `nbf` lies ahead.
    NotYetValid,
    /// The signature was taken off by Google's front end, which put a note in its place.
    SignatureRemoved,
    /// None of the issuer's keys has the token's `kid`.
    UnknownKey,
    /// `aud` is none of ours.
    WrongAudience,
    /// `iss` is none that is configured.
    WrongIssuer,
    /// `typ` says that this is something other than a JWT.
    WrongType,
}

impl fmt::Display for VerifyErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AlgorithmNotAllowed => "the issuer does not sign with this algorithm",
            Self::BadSignature => "the signature does not match",
            Self::CriticalHeader => "the header demands an unknown extension",
            Self::Expired => "the token has expired",
            Self::IssuedInFuture => "the token was issued in the future",
            Self::KeysUnavailable => "the issuer's keys are unavailable",
            Self::LifetimeTooLong => "the token lives longer than its issuer's do",
            Self::Malformed(_) => "the token is malformed",
            Self::MissingClaim(claim) => return write!(f, "the claim `{claim}` is missing"),
            Self::MissingKeyId => "the token names no key",
            Self::MistypedClaim(claim) => {
                return write!(f, "the claim `{claim}` is not of its type");
            }
            Self::NotAllowed => "the caller is authentic but not allowed",
            Self::NotYetValid => "the token is not valid yet",
            Self::SignatureRemoved => "the signature was removed by Google's front end",
            Self::UnknownKey => "the issuer has no key of this id",
            Self::WrongAudience => "the token is for another audience",
            Self::WrongIssuer => "the token is from another issuer",
            Self::WrongType => "the token is not of type JWT",
        })
    }
}
