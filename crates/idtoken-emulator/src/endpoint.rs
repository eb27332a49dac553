//! Which of Google's endpoints a request is for.

use percent_encoding::percent_decode_str;

/// One of the endpoints that the emulator stands in for: what faults are set on and hits are
/// counted by.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Endpoint {
    /// Public keys of a service account that signs tokens itself, as JWKS.
    AccountJwks,
    /// The same as X.509 certificates.
    AccountPem,
    /// OpenID Connect discovery.
    Discovery,
    /// Keys of Identity-Aware Proxy, as JWKS.
    IapJwks,
    /// Keys of Identity-Aware Proxy, as PEM.
    IapPem,
    /// The metadata server's ID tokens.
    Identity,
    /// Keys of Google's ID tokens, as JWKS.
    Jwks,
    /// Whatever else the metadata server is asked.
    Metadata,
    /// The metadata server's access tokens.
    MetadataToken,
    /// Keys of Google's ID tokens, as X.509 certificates.
    Pem,
    /// The metadata server's root, which clients ask in order to learn whether there is one.
    Ping,
    /// The OAuth 2.0 token endpoint.
    Token,
    /// The debugging endpoint that reads a token for you.
    TokenInfo,
    /// A path that is none of these: answered with 404.
    Unknown,
}

impl Endpoint {
    /// The endpoint that serves `path`.
    pub(crate) fn of(path: &str) -> Self {
        match path {
            "/" => Self::Ping,
            "/.well-known/openid-configuration" => Self::Discovery,
            "/iap/verify/public_key" => Self::IapPem,
            "/iap/verify/public_key-jwk" => Self::IapJwks,
            "/oauth2/v1/certs" => Self::Pem,
            "/oauth2/v3/certs" => Self::Jwks,
            "/o/oauth2/token" | "/oauth2/v4/token" | "/token" => Self::Token,
            "/oauth2/v3/tokeninfo" | "/tokeninfo" => Self::TokenInfo,
            _ if path.starts_with("/computeMetadata") => Self::of_metadata(path),
            _ if path.starts_with(ACCOUNT_JWKS) => Self::AccountJwks,
            _ if path.starts_with(ACCOUNT_PEM) => Self::AccountPem,
            _ => Self::Unknown,
        }
    }

    fn of_metadata(path: &str) -> Self {
        if !path.contains("/instance/service-accounts/") {
            return Self::Metadata;
        }
        match path.rsplit_once('/') {
            Some((_, "identity")) => Self::Identity,
            Some((_, "token")) => Self::MetadataToken,
            _ => Self::Metadata,
        }
    }

    /// Whether the metadata server answers here, and so stamps its flavour on what it says.
    pub(crate) fn is_metadata(self) -> bool {
        matches!(
            self,
            Self::Identity | Self::Metadata | Self::MetadataToken | Self::Ping
        )
    }
}

/// One path segment, percent-decoded; `None` if it is not UTF-8 then.
pub(crate) fn decode_segment(segment: &str) -> Option<String> {
    percent_decode_str(segment)
        .decode_utf8()
        .ok()
        .map(Into::into)
}

pub(crate) const ACCOUNT_JWKS: &str = "/service_accounts/v1/jwk/";
pub(crate) const ACCOUNT_PEM: &str = "/robot/v1/metadata/x509/";
