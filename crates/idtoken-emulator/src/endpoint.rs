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
    /// Where an account may be used from, which newer clients ask.
    AllowedLocations,
    /// A request for a tunnel, made by a client that takes the emulator for its proxy.
    Connect,
    /// OpenID Connect discovery.
    Discovery,
    /// IAM Credentials: an access token for a service account.
    GenerateAccessToken,
    /// IAM Credentials: an ID token for a service account.
    GenerateIdToken,
    /// Keys of Identity-Aware Proxy, as JWKS.
    IapJwks,
    /// Keys of Identity-Aware Proxy, as PEM.
    IapPem,
    /// The metadata server's ID tokens.
    Identity,
    /// AWS's instance metadata service.
    Imds,
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
    /// IAM Credentials: a service account's signature of some bytes.
    SignBlob,
    /// IAM Credentials: a service account's signature of a JWT.
    SignJwt,
    /// The security token service of workload identity federation.
    Sts,
    /// Where a workload elsewhere gets its own platform's token.
    SubjectToken,
    /// The OAuth 2.0 token endpoint.
    Token,
    /// The debugging endpoint that reads a token for you.
    TokenInfo,
    /// A path that is none of these: answered with 404.
    Unknown,
}

impl Endpoint {
    /// All of them, in the order of their names.
    pub(crate) const ALL: [Self; 23] = [
        Self::AccountJwks,
        Self::AccountPem,
        Self::AllowedLocations,
        Self::Connect,
        Self::Discovery,
        Self::GenerateAccessToken,
        Self::GenerateIdToken,
        Self::IapJwks,
        Self::IapPem,
        Self::Identity,
        Self::Imds,
        Self::Jwks,
        Self::Metadata,
        Self::MetadataToken,
        Self::Pem,
        Self::Ping,
        Self::SignBlob,
        Self::SignJwt,
        Self::Sts,
        Self::SubjectToken,
        Self::Token,
        Self::TokenInfo,
        Self::Unknown,
    ];

    /// Its name in `world.toml` and on the emulator's page: `generate-id-token`, say.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AccountJwks => "account-jwks",
            Self::AccountPem => "account-pem",
            Self::AllowedLocations => "allowed-locations",
            Self::Connect => "connect",
            Self::Discovery => "discovery",
            Self::GenerateAccessToken => "generate-access-token",
            Self::GenerateIdToken => "generate-id-token",
            Self::IapJwks => "iap-jwks",
            Self::IapPem => "iap-pem",
            Self::Identity => "identity",
            Self::Imds => "imds",
            Self::Jwks => "jwks",
            Self::Metadata => "metadata",
            Self::MetadataToken => "metadata-token",
            Self::Pem => "pem",
            Self::Ping => "ping",
            Self::SignBlob => "sign-blob",
            Self::SignJwt => "sign-jwt",
            Self::Sts => "sts",
            Self::SubjectToken => "subject-token",
            Self::Token => "token",
            Self::TokenInfo => "token-info",
            Self::Unknown => "unknown",
        }
    }

    /// The endpoint of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|endpoint| endpoint.name() == name)
    }

    /// The endpoint that serves `path`.
    pub(crate) fn of(path: &str) -> Self {
        match path {
            "/" => Self::Ping,
            "/.well-known/openid-configuration" => Self::Discovery,
            "/iap/verify/public_key" => Self::IapPem,
            "/iap/verify/public_key-jwk" => Self::IapJwks,
            "/oauth2/v1/certs" => Self::Pem,
            "/oauth2/v3/certs" => Self::Jwks,
            "/subject-token" => Self::SubjectToken,
            "/v1/token" => Self::Sts,
            "/o/oauth2/token" | "/oauth2/v4/token" | "/token" => Self::Token,
            "/oauth2/v3/tokeninfo" | "/tokeninfo" => Self::TokenInfo,
            _ if path.starts_with("/latest/") => Self::Imds,
            _ if path.starts_with("/computeMetadata") => Self::of_metadata(path),
            _ if path.starts_with(ACCOUNT_JWKS) => Self::AccountJwks,
            _ if path.starts_with(ACCOUNT_PEM) => Self::AccountPem,
            _ if path.ends_with("/allowedLocations") => Self::AllowedLocations,
            _ if path.starts_with(SERVICE_ACCOUNTS) => Self::of_iam(path),
            _ => Self::Unknown,
        }
    }

    fn of_iam(path: &str) -> Self {
        match path.rsplit_once(':') {
            Some((_, "generateAccessToken")) => Self::GenerateAccessToken,
            Some((_, "generateIdToken")) => Self::GenerateIdToken,
            Some((_, "signBlob")) => Self::SignBlob,
            Some((_, "signJwt")) => Self::SignJwt,
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

    /// Whether this is one of the APIs that word their errors alike.
    pub(crate) fn is_api(self) -> bool {
        matches!(
            self,
            Self::AllowedLocations
                | Self::GenerateAccessToken
                | Self::GenerateIdToken
                | Self::SignBlob
                | Self::SignJwt
        )
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
pub(crate) const SERVICE_ACCOUNTS: &str = "/v1/projects/-/serviceAccounts/";
pub(crate) const ACCOUNT_PEM: &str = "/robot/v1/metadata/x509/";
