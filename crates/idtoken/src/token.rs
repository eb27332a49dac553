//! One ID token, ready to be sent.

use std::error::Error;
use std::fmt;
use std::time::SystemTime;

use base64::Engine as _;
use bytes::Bytes;
use http::HeaderValue;

use crate::audience::Audience;
use crate::error::{SourceError, SourceErrorKind};
use crate::verify::jws::STRICT_BASE64URL;
use crate::verify::{Malformed, UnverifiedClaims};

/// An ID token as its holder sees it: a header value ready to be sent, and when it expires.
///
/// What it says is read from the token itself. Nothing is verified: that is the receiver's part.
/// The token's text is in no `Debug` output.
///
/// ```
/// use idtoken::IdToken;
///
/// // {"alg":"none"} . {"iss":"me","exp":1700000000} . sig
/// let jwt = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJtZSIsImV4cCI6MTcwMDAwMDAwMH0.c2ln";
/// let token = IdToken::new(jwt)?;
/// assert!(token.bearer().is_sensitive());
/// assert_eq!(token.bearer(), &format!("Bearer {jwt}"));
/// assert_eq!(token.claims().iss(), Some("me"));
/// # Ok::<(), idtoken::InvalidToken>(())
/// ```
#[derive(Clone)]
pub struct IdToken {
    bearer: HeaderValue,
    claims: UnverifiedClaims,
    expires_at: SystemTime,
    any_audience: bool,
}

impl IdToken {
    /// Takes the compact form of a token, which must say when it expires.
    ///
    /// # Errors
    ///
    /// [`InvalidToken`] when `jwt` is not three base64url parts of at most 8 KiB with a JSON
    /// object in the second, or has no whole number of seconds as `exp`. A token without an end
    /// could not be cached safely.
    pub fn new(jwt: &str) -> Result<Self, InvalidToken> {
        let malformed = |source| InvalidToken {
            source: Some(source),
        };
        let claims = UnverifiedClaims::read_without_verifying(jwt).map_err(malformed)?;
        let not_base64 = || malformed(Malformed::NotBase64Url);
        let signature = jwt.rsplit('.').next().unwrap_or_default();
        STRICT_BASE64URL
            .decode(signature)
            .map_err(|_| not_base64())?;
        let expires_at = claims.exp().ok_or(InvalidToken { source: None })?;
        let text = Bytes::from([b"Bearer ", jwt.as_bytes()].concat());
        let mut bearer = HeaderValue::from_maybe_shared(text).map_err(|_| not_base64())?;
        bearer.set_sensitive(true);
        // The first clone of bytes made from a vector allocates; here it is off the hot path.
        drop(bearer.clone());
        Ok(Self {
            bearer,
            claims,
            expires_at,
            any_audience: false,
        })
    }

    /// Lets the cache hand this token out for an audience that it does not name.
    ///
    /// The cache otherwise refuses such a token, since a mix-up would send one service the
    /// credential for another. Only for sources whose tokens have an audience nobody can choose,
    /// such as a user's, which Cloud Run accepts by special arrangement.
    #[must_use]
    pub fn danger_for_any_audience(mut self) -> Self {
        self.any_audience = true;
        self
    }

    /// `Bearer ` and the token, marked sensitive (RFC 6750 §2.1).
    #[must_use]
    pub fn bearer(&self) -> &HeaderValue {
        &self.bearer
    }

    /// When the token expires: its own `exp`.
    #[must_use]
    pub fn expires_at(&self) -> SystemTime {
        self.expires_at
    }

    /// When the token was issued: its own `iat`, if it has one.
    #[must_use]
    pub fn issued_at(&self) -> Option<SystemTime> {
        self.claims.iat()
    }

    /// What the token says of itself, **unverified**.
    #[must_use]
    pub fn claims(&self) -> &UnverifiedClaims {
        &self.claims
    }

    /// Whether the token may be handed out for `audience`.
    pub(crate) fn serves(&self, audience: &Audience) -> bool {
        self.any_audience || self.claims.aud().any(|named| named == audience.as_str())
    }
}

impl fmt::Debug for IdToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdToken")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// The text is not a token that can be sent and cached.
#[derive(Clone, Debug)]
pub struct InvalidToken {
    source: Option<Malformed>,
}

impl fmt::Display for InvalidToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.source {
            Some(_) => "not a compact JWT",
            None => "the token has no usable \"exp\", so nobody knows when it ends",
        })
    }
}

impl Error for InvalidToken {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

impl From<InvalidToken> for SourceError {
    fn from(error: InvalidToken) -> Self {
        Self::new(
            SourceErrorKind::InvalidAnswer,
            "token source",
            "what came is no ID token",
        )
        .with_cause(error)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    /// A token with these claims and a signature that nobody checks.
    pub(crate) fn unsigned(claims: &str) -> String {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!(
            "{}.{}.{}",
            part(r#"{"alg":"RS256"}"#),
            part(claims),
            part("signature")
        )
    }

    #[test]
    fn reads_its_own_times_and_audience() {
        let token = IdToken::new(&unsigned(r#"{"aud":"a","iat":5,"exp":10}"#)).unwrap();
        let at = |seconds| SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        assert_eq!(
            (token.issued_at(), token.expires_at()),
            (Some(at(5)), at(10))
        );
        assert!(token.serves(&Audience::new("a").unwrap()));
        assert!(!token.serves(&Audience::new("b").unwrap()));
        assert!(
            token
                .danger_for_any_audience()
                .serves(&Audience::new("b").unwrap())
        );
    }

    #[test]
    fn needs_an_exp_that_is_a_time() {
        for claims in [
            r#"{"aud":"a"}"#,
            r#"{"exp":"10"}"#,
            r#"{"exp":-1}"#,
            r#"{"exp":1e300}"#,
        ] {
            let error = IdToken::new(&unsigned(claims)).unwrap_err();
            assert!(error.to_string().contains("exp"), "{claims}: {error}");
        }
    }

    #[test]
    fn refuses_what_is_no_jwt() {
        let bearer = format!("Bearer {}", unsigned(r#"{"exp":10}"#));
        for text in ["", "a.b", "<html>", "a.b.c.d", bearer.as_str()] {
            assert!(IdToken::new(text).is_err(), "{text:?}");
        }
        let good = unsigned(r#"{"exp":10}"#);
        for more in ["\n", "\r\nX-Forged: 1", " ", "=", "!", "é"] {
            let error = IdToken::new(&format!("{good}{more}")).unwrap_err();
            assert_eq!(error.to_string(), "not a compact JWT", "{more:?}");
        }
    }

    #[test]
    fn debug_shows_no_token() {
        let jwt = unsigned(r#"{"exp":10}"#);
        let token = IdToken::new(&jwt).unwrap();
        let shown = format!("{token:?} {:?}", token.bearer());
        for part in jwt.split('.') {
            assert!(!shown.contains(part), "{shown}");
        }
    }
}
