//! Whom a token is for.

use std::borrow::Borrow;
use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use http::Uri;
use http::uri::{Authority, Scheme};

/// Whom a token is for: the value of its `aud` claim.
///
/// Checked once, when it is made: 1 to 2,048 bytes, no control characters, no white space at
/// either end. There is no empty audience that means "any". Cloning copies a pointer.
///
/// For Cloud Run this is the service's own URL, `https://NAME-HASH-REGION.a.run.app`, without a
/// path, or one of the custom audiences set on the service. Google copies it into the token letter
/// by letter, so `https://a.run.app` and `https://a.run.app/` are two audiences.
///
/// ```
/// use idtoken::Audience;
///
/// let audience = Audience::new("https://hello-abc.a.run.app")?;
/// assert_eq!(audience.as_str(), "https://hello-abc.a.run.app");
/// assert!(Audience::new("").is_err());
/// # Ok::<(), idtoken::audience::InvalidAudience>(())
/// ```
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Audience(Arc<str>);

impl Audience {
    /// Checks `text` and takes it as an audience.
    ///
    /// # Errors
    ///
    /// [`InvalidAudience`] when `text` is empty, longer than [`MAX_BYTES`], has a control character
    /// in it, or white space at an end.
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidAudience> {
        let text = text.as_ref();
        if text.is_empty() {
            return Err(InvalidAudience(Problem::Empty));
        }
        if text.len() > MAX_BYTES {
            return Err(InvalidAudience(Problem::TooLong));
        }
        if text.chars().any(char::is_control) {
            return Err(InvalidAudience(Problem::ControlCharacter));
        }
        if text.trim() != text {
            return Err(InvalidAudience(Problem::WhiteSpaceAtEnd));
        }
        Ok(Self(text.into()))
    }

    /// The origin of `uri` as an audience: scheme, host and any port that is not the scheme's own.
    ///
    /// This is what Cloud Run expects of a caller: path and query are not part of a service's
    /// audience. There is one normal form: the host in lower case, without the trailing dot of an
    /// absolute name, and without a default port.
    ///
    /// ```
    /// use idtoken::Audience;
    ///
    /// let uri = "https://Hello-abc.a.run.app.:443/greet?name=x".parse()?;
    /// assert_eq!(Audience::origin_of(&uri)?.as_str(), "https://hello-abc.a.run.app");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidAudience`] when `uri` has no scheme or host, a scheme other than `http` or `https`,
    /// or carries user information, which has no place in an audience.
    pub fn origin_of(uri: &Uri) -> Result<Self, InvalidAudience> {
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return Err(InvalidAudience(Problem::NoOrigin));
        };
        let default_port = default_port(scheme).ok_or(InvalidAudience(Problem::NoOrigin))?;
        if has_user_info(authority) {
            return Err(InvalidAudience(Problem::UserInfo));
        }
        let host = normal_host(authority.host());
        if host.is_empty() {
            return Err(InvalidAudience(Problem::NoOrigin));
        }
        match authority.port_u16() {
            Some(port) if port != default_port => Self::new(format!("{scheme}://{host}:{port}")),
            _ => Self::new(format!("{scheme}://{host}")),
        }
    }

    /// The audience as text, as it stands in the token.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Audience {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for Audience {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Audience {
    type Err = InvalidAudience;

    fn from_str(text: &str) -> Result<Self, InvalidAudience> {
        Self::new(text)
    }
}

impl TryFrom<&str> for Audience {
    type Error = InvalidAudience;

    fn try_from(text: &str) -> Result<Self, InvalidAudience> {
        Self::new(text)
    }
}

impl TryFrom<String> for Audience {
    type Error = InvalidAudience;

    fn try_from(text: String) -> Result<Self, InvalidAudience> {
        Self::new(text)
    }
}

/// The text or URI given cannot be an audience.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InvalidAudience(Problem);

impl fmt::Display for InvalidAudience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Problem::ControlCharacter => "the audience has a control character in it",
            Problem::Empty => "the audience is empty",
            Problem::NoOrigin => "the URI has no http or https origin to use as audience",
            Problem::TooLong => "the audience is longer than 2048 bytes",
            Problem::UserInfo => "the URI carries user information, which no audience has",
            Problem::WhiteSpaceAtEnd => "the audience starts or ends with white space",
        })
    }
}

impl Error for InvalidAudience {}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Problem {
    ControlCharacter,
    Empty,
    NoOrigin,
    TooLong,
    UserInfo,
    WhiteSpaceAtEnd,
}

/// The longest audience accepted, in bytes.
///
/// Google states no limit for tokens; Cloud Run allows custom audiences of 32 KiB altogether. Two
/// kibibytes hold any URL that servers commonly accept and keep the token within header limits.
pub const MAX_BYTES: usize = 2048;

fn default_port(scheme: &Scheme) -> Option<u16> {
    if *scheme == Scheme::HTTPS {
        Some(443)
    } else if *scheme == Scheme::HTTP {
        Some(80)
    } else {
        None
    }
}

fn has_user_info(authority: &Authority) -> bool {
    authority.as_str().contains('@')
}

fn normal_host(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_any_printable_text_letter_by_letter() {
        for text in [
            "https://a.run.app",
            "myservice",
            "42",
            "a b&c=d?#",
            "grüße 世界",
        ] {
            assert_eq!(Audience::new(text).unwrap().as_str(), text);
        }
        assert!(Audience::new("a".repeat(MAX_BYTES)).is_ok());
    }

    #[test]
    fn refuses_empty_long_unprintable_and_padded_text() {
        for (text, problem) in [
            (String::new(), Problem::Empty),
            ("a".repeat(MAX_BYTES + 1), Problem::TooLong),
            ("a\nb".to_owned(), Problem::ControlCharacter),
            ("a\u{7f}".to_owned(), Problem::ControlCharacter),
            (" a".to_owned(), Problem::WhiteSpaceAtEnd),
            ("a\u{a0}".to_owned(), Problem::WhiteSpaceAtEnd),
        ] {
            assert_eq!(
                Audience::new(&text),
                Err(InvalidAudience(problem)),
                "{text:?}"
            );
        }
    }

    #[test]
    fn origins_have_one_normal_form() {
        for (uri, origin) in [
            ("https://a.run.app", "https://a.run.app"),
            ("https://A.Run.App/x/y?z=1", "https://a.run.app"),
            ("https://a.run.app.:443/", "https://a.run.app"),
            ("https://a.run.app:8443/", "https://a.run.app:8443"),
            ("http://127.0.0.1:80/", "http://127.0.0.1"),
            ("http://[::1]:8080/", "http://[::1]:8080"),
            ("https://[2001:DB8::1]/", "https://[2001:db8::1]"),
        ] {
            let found = Audience::origin_of(&uri.parse().unwrap()).unwrap();
            assert_eq!(found.as_str(), origin, "{uri}");
        }
    }

    #[test]
    fn an_origin_needs_scheme_host_and_no_user() {
        for (uri, problem) in [
            ("/path", Problem::NoOrigin),
            ("a.run.app:443", Problem::NoOrigin),
            ("ftp://a.run.app/", Problem::NoOrigin),
            ("https://user@a.run.app/", Problem::UserInfo),
            ("https://user:pw@a.run.app/", Problem::UserInfo),
        ] {
            let found = Audience::origin_of(&uri.parse().unwrap());
            assert_eq!(found, Err(InvalidAudience(problem)), "{uri}");
        }
    }
}
