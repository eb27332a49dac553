//! Who signs tokens, and how.

use std::fmt;
use std::time::Duration;

use super::jws::Algorithm;
use super::keys::KeySet;

/// Somebody who signs tokens: their names, their algorithm, and where their keys are published.
///
/// ```
/// use idtoken::Issuer;
/// use idtoken::verify::Algorithm;
///
/// let ours = Issuer::new("https://sts.example.com", "https://sts.example.com/keys")
///     .with_algorithm(Algorithm::Es256);
/// assert_eq!(ours.name(), "https://sts.example.com");
/// ```
#[derive(Clone)]
pub struct Issuer {
    names: Vec<String>,
    algorithm: Algorithm,
    key_source: KeySource,
    max_lifetime: Duration,
}

impl Issuer {
    /// Google itself: the ID tokens of service accounts and of users.
    ///
    /// Anyone with a Google account can have one made for any audience, so these say something only
    /// together with an identity rule. Both spellings of `iss` are Google's.
    #[must_use]
    pub fn google() -> Self {
        Self {
            names: GOOGLE_NAMES.map(str::to_owned).to_vec(),
            ..Self::new("", "https://www.googleapis.com/oauth2/v3/certs")
        }
    }

    /// An issuer of your own: another universe, a test, a federation.
    ///
    /// Its tokens are signed with RS256 and live for an hour unless told otherwise.
    pub fn new(iss: impl Into<String>, jwks_url: impl Into<String>) -> Self {
        Self {
            names: vec![iss.into()],
            algorithm: Algorithm::Rs256,
            key_source: KeySource::Url(jwks_url.into()),
            max_lifetime: Duration::from_secs(3600),
        }
    }

    /// Identity-Aware Proxy: the assertion in `x-goog-iap-jwt-assertion`.
    ///
    /// Signed with ES256; lives ten minutes, and Google's advice is to allow for 30 s of skew on
    /// either side.
    #[must_use]
    pub fn iap() -> Self {
        Self {
            algorithm: Algorithm::Es256,
            max_lifetime: Duration::from_secs(660),
            ..Self::new(
                "https://cloud.google.com/iap",
                "https://www.gstatic.com/iap/verify/public_key-jwk",
            )
        }
    }

    /// End users of Firebase Authentication or Identity Platform in the project `project_id`.
    ///
    /// The audience of their tokens is the project id.
    pub fn firebase(project_id: impl AsRef<str>) -> Self {
        Self::new(
            format!("https://securetoken.google.com/{}", project_id.as_ref()),
            "https://www.googleapis.com/service_accounts/v1/jwk/\
             securetoken@system.gserviceaccount.com",
        )
    }

    /// Signs with `algorithm`.
    #[must_use]
    pub fn with_algorithm(self, algorithm: Algorithm) -> Self {
        Self { algorithm, ..self }
    }

    /// Publishes its keys at `url`, `https` except on this machine: an emulator, a mirror.
    #[must_use]
    pub fn with_jwks_url(self, url: impl Into<String>) -> Self {
        Self {
            key_source: KeySource::Url(url.into()),
            ..self
        }
    }

    /// Has these keys and no others; nothing is fetched.
    #[must_use]
    pub fn with_keys(self, keys: KeySet) -> Self {
        Self {
            key_source: KeySource::Fixed(keys),
            ..self
        }
    }

    /// Signs tokens that live for up to `max_lifetime` from `iat` to `exp`.
    #[must_use]
    pub fn with_max_lifetime(self, max_lifetime: Duration) -> Self {
        Self {
            max_lifetime,
            ..self
        }
    }

    /// Is also known by the name `iss`.
    #[must_use]
    pub fn with_other_name(mut self, iss: impl Into<String>) -> Self {
        self.names.push(iss.into());
        self
    }

    /// The `iss` of its tokens; the first spelling, when there are two.
    #[must_use]
    pub fn name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    pub(crate) fn is_named(&self, iss: &str) -> bool {
        self.names.iter().any(|name| name == iss)
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(crate) fn key_source(&self) -> &KeySource {
        &self.key_source
    }

    pub(crate) fn set_key_source(&mut self, keys: KeySource) {
        self.key_source = keys;
    }

    pub(crate) fn max_lifetime(&self) -> Duration {
        self.max_lifetime
    }

    /// Whether strangers can have it sign a token for any audience.
    pub(crate) fn is_open(&self) -> bool {
        self.names.iter().any(|name| is_google(name))
    }
}

/// Whether `iss` is Google, by either of its names.
pub(crate) fn is_google(iss: &str) -> bool {
    GOOGLE_NAMES.contains(&iss)
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer")
            .field("names", &self.names)
            .field("algorithm", &self.algorithm)
            .field("key_source", &self.key_source)
            .field("max_lifetime", &self.max_lifetime)
            .finish_non_exhaustive()
    }
}

/// Where an issuer's keys come from.
#[derive(Clone, Debug)]
pub(crate) enum KeySource {
    Fixed(KeySet),
    Url(String),
}

/// Both are in use (OpenID Connect Core §2 as Google documents it for itself).
const GOOGLE_NAMES: [&str; 2] = ["https://accounts.google.com", "accounts.google.com"];
