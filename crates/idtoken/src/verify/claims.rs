//! What a token says, once somebody has made sure that it may be believed.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use self::stored::Inner;
use super::jws::{Jws, Malformed};

mod google;
mod member;
mod payload;
mod stored;

pub use google::{ComputeEngine, GoogleClaims};
pub(crate) use payload::{Claim, Known, Payload};

/// The claims of a token that was verified.
///
/// Only a [`Verifier`](crate::Verifier) makes one, so holding it means that signature, issuer,
/// audience, times and identity rules were checked. A clone is one reference count.
///
/// ```
/// # fn greet(claims: &idtoken::Claims) -> String {
/// let name = claims.email().unwrap_or(claims.sub());
/// format!("hello {name}")
/// # }
/// ```
#[derive(Clone)]
pub struct Claims {
    inner: Arc<Inner>,
}

impl Claims {
    /// `sub`: the account's unique id. Unlike an e-mail address it is never given to another.
    #[must_use]
    pub fn sub(&self) -> &str {
        self.text(Known::Sub).unwrap_or_default()
    }

    /// `iss`: who signed the token.
    #[must_use]
    pub fn iss(&self) -> &str {
        self.text(Known::Iss).unwrap_or_default()
    }

    /// `aud`: whom the token is for. Google sends exactly one.
    pub fn aud(&self) -> impl Iterator<Item = &str> {
        self.inner.aud()
    }

    /// `azp`: the party that the token was given to; its form depends on the token's source.
    #[must_use]
    pub fn azp(&self) -> Option<&str> {
        self.text(Known::Azp)
    }

    /// `email`. Says nothing unless [`email_verified`](Self::email_verified) is true.
    #[must_use]
    pub fn email(&self) -> Option<&str> {
        self.text(Known::Email)
    }

    /// Whether `email_verified` is the JSON value `true`; the string `"true"` is not.
    #[must_use]
    pub fn email_verified(&self) -> bool {
        self.inner.email_verified
    }

    /// `hd`: the Workspace domain of a user. Service accounts and private users have none.
    #[must_use]
    pub fn hd(&self) -> Option<&str> {
        self.text(Known::Hd)
    }

    /// `iat`: when the token was issued.
    #[must_use]
    pub fn iat(&self) -> SystemTime {
        self.inner
            .time(self.inner.iat)
            .unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// `exp`: when the token stops being valid.
    #[must_use]
    pub fn exp(&self) -> SystemTime {
        self.inner
            .time(self.inner.exp)
            .unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// `nbf`: when the token starts being valid. Google sends none.
    #[must_use]
    pub fn nbf(&self) -> Option<SystemTime> {
        self.inner.time(self.inner.nbf)
    }

    /// Google's own claim: the virtual machine, the organisation, the access levels.
    ///
    /// `None` when it is absent or not as Google writes it. Parses the claims anew on each call.
    #[must_use]
    pub fn google(&self) -> Option<GoogleClaims> {
        self.get("google").ok().flatten()
    }

    /// Any claim by its name. Parses the claims anew on each call.
    ///
    /// # Errors
    ///
    /// When the claim is there but is no `T`.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, ClaimError> {
        member::find(&self.inner.text, name)
    }

    /// All the claims as a type of your own.
    ///
    /// # Errors
    ///
    /// When the claims are no `T`.
    pub fn deserialize<'a, T: Deserialize<'a>>(&'a self) -> Result<T, ClaimError> {
        serde_json::from_str(&self.inner.text).map_err(ClaimError::new)
    }

    /// The claims as JSON, as they were signed.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.inner.text
    }

    /// Keeps claims that the judge accepted.
    pub(crate) fn accepted(payload: &Payload<'_>) -> Self {
        Self {
            inner: Arc::new(Inner::new(payload)),
        }
    }

    /// `iat`, `exp` and `nbf` in seconds since 1970.
    pub(crate) fn seconds(&self) -> (u64, u64, Option<u64>) {
        (
            self.inner.iat.unwrap_or(u64::MAX),
            self.inner.exp.unwrap_or_default(),
            self.inner.nbf,
        )
    }

    fn text(&self, known: Known) -> Option<&str> {
        self.inner.known(known)
    }
}

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.debug("Claims", f)
    }
}

/// What a token says of itself, believed by nobody yet.
///
/// For logs and diagnostics, and for a client that looks at its own token. Anyone can write any
/// claims into a token: never decide who is calling by these.
///
/// ```
/// use idtoken::UnverifiedClaims;
///
/// // {"alg":"none"} . {"iss":"me","exp":1700000000} . sig
/// let jwt = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJtZSIsImV4cCI6MTcwMDAwMDAwMH0.c2ln";
/// let claims = UnverifiedClaims::read_without_verifying(jwt)?;
/// assert_eq!(claims.iss(), Some("me"));
/// assert_eq!(claims.sub(), None);
/// # Ok::<(), idtoken::verify::Malformed>(())
/// ```
#[derive(Clone)]
pub struct UnverifiedClaims {
    inner: Arc<Inner>,
}

impl UnverifiedClaims {
    /// Reads the claims of `jwt`, whose signature may be anything.
    ///
    /// # Errors
    ///
    /// When the text is no compact JWS, or its payload no JSON object with distinct names.
    pub fn read_without_verifying(jwt: &str) -> Result<Self, Malformed> {
        let jws = Jws::parse(jwt)?;
        jws.payload(|text| {
            let payload = Payload::parse(text).ok_or(Malformed::PayloadNotObject)?;
            Ok(Self {
                inner: Arc::new(Inner::new(&payload)),
            })
        })?
    }

    /// `sub`, when it is a string.
    #[must_use]
    pub fn sub(&self) -> Option<&str> {
        self.inner.known(Known::Sub)
    }

    /// `iss`, when it is a string.
    #[must_use]
    pub fn iss(&self) -> Option<&str> {
        self.inner.known(Known::Iss)
    }

    /// `aud`: one, several or none.
    pub fn aud(&self) -> impl Iterator<Item = &str> {
        self.inner.aud()
    }

    /// `email`, when it is a string.
    #[must_use]
    pub fn email(&self) -> Option<&str> {
        self.inner.known(Known::Email)
    }

    /// `iat`, when it is a whole number of seconds that a clock can show.
    #[must_use]
    pub fn iat(&self) -> Option<SystemTime> {
        self.inner.time(self.inner.iat)
    }

    /// `exp`, when it is a whole number of seconds that a clock can show.
    #[must_use]
    pub fn exp(&self) -> Option<SystemTime> {
        self.inner.time(self.inner.exp)
    }

    /// Any claim by its name. Parses the claims anew on each call.
    ///
    /// # Errors
    ///
    /// When the claim is there but is no `T`.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, ClaimError> {
        member::find(&self.inner.text, name)
    }
}

impl fmt::Debug for UnverifiedClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.debug("UnverifiedClaims", f)
    }
}

/// A claim is there but not of the type that was asked for.
#[derive(Clone, Debug)]
pub struct ClaimError {
    source: Arc<serde_json::Error>,
}

impl ClaimError {
    fn new(source: serde_json::Error) -> Self {
        Self {
            source: Arc::new(source),
        }
    }
}

impl fmt::Display for ClaimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("claim is not of the type asked for")
    }
}

impl std::error::Error for ClaimError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}

#[cfg(test)]
mod tests;
