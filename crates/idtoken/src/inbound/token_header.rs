//! Where in a request's headers its token is.

use std::error::Error;
use std::fmt;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};

use crate::verify::{is_signature_removed, is_whole};

/// Where a request carries its token.
///
/// Never the query or a cookie: both end up in logs and histories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenHeader(Place);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Bare(HeaderName),
    Bearer(HeaderName),
    CloudRun,
}

impl TokenHeader {
    /// `Authorization: Bearer`, and nothing else.
    #[must_use]
    pub fn authorization() -> Self {
        Self(Place::Bearer(AUTHORIZATION))
    }

    /// The whole value of the header `name`, without a scheme before it.
    #[must_use]
    pub fn bare(name: HeaderName) -> Self {
        Self(Place::Bare(name))
    }

    /// `Bearer` and the token in the header `name`.
    #[must_use]
    pub fn bearer(name: HeaderName) -> Self {
        Self(Place::Bearer(name))
    }

    /// `X-Serverless-Authorization`, or else `Authorization`, as Cloud Run looks for it. The
    /// default.
    ///
    /// When both are there, the first counts and the second may hold anything: it is the
    /// application's own. One exception: when the first has lost its signature to Cloud Run's IAM
    /// check and the second carries a whole token, three parts with a signature, the second is
    /// judged. So behind that check a JWT of the application's own in the second is refused, unless
    /// its issuer is one of the verifier's; read [`X_SERVERLESS_AUTHORIZATION`] alone there, with
    /// [`bearer`](Self::bearer).
    #[must_use]
    pub fn cloud_run() -> Self {
        Self(Place::CloudRun)
    }

    /// `X-Goog-IAP-JWT-Assertion`, where Identity-Aware Proxy puts its assertion.
    #[must_use]
    pub fn iap() -> Self {
        Self::bare(HeaderName::from_static("x-goog-iap-jwt-assertion"))
    }

    /// The token that `headers` carry; `None` when they carry none.
    ///
    /// # Errors
    ///
    /// When there is something in the token's place that is no token.
    pub fn find<'h>(&self, headers: &'h HeaderMap) -> Result<Option<&'h str>, HeaderFault> {
        self.locate(headers)?.map(Found::token).transpose()
    }

    /// Takes the token that [`find`](Self::find) finds out of `headers`, so that nothing further in
    /// can read it or send it on. It may stand in more than one of them.
    pub fn strip(&self, headers: &mut HeaderMap) {
        let Ok(Some(token)) = self.find(headers) else {
            return;
        };
        let holds_it = |name: &HeaderName| {
            let mut values = headers.get_all(name).iter();
            values.any(|value| value.as_bytes().ends_with(token.as_bytes()))
        };
        let everywhere = [X_SERVERLESS_AUTHORIZATION, AUTHORIZATION];
        let names = self.names().chain(everywhere);
        for name in names.filter(holds_it).collect::<Vec<_>>() {
            headers.remove(name);
        }
    }

    /// As [`find`](Self::find), but what was found need not be a token yet.
    pub(crate) fn locate<'h>(
        &self,
        headers: &'h HeaderMap,
    ) -> Result<Option<Found<'h>>, HeaderFault> {
        let from = |name: &HeaderName| {
            let bytes = bearer(headers, name)?;
            Ok(bytes.map(|bytes| Found {
                bytes,
                noted_by_front_end: is_signature_removed(bytes)
                    && *name == checked_by_front_end(headers),
            }))
        };
        match &self.0 {
            Place::Bare(name) => Ok(single(headers, name)?.map(|bytes| Found {
                bytes,
                noted_by_front_end: false,
            })),
            Place::Bearer(name) => from(name),
            Place::CloudRun => {
                let Some(first) = from(&SERVERLESS)? else {
                    return from(&AUTHORIZATION);
                };
                if is_signature_removed(first.bytes) {
                    first.token()?;
                    if let Ok(Some(second)) = from(&AUTHORIZATION)
                        && second.token().is_ok_and(is_whole)
                    {
                        return Ok(Some(second));
                    }
                }
                Ok(Some(first))
            }
        }
    }

    /// The headers that may carry a token.
    pub fn names(&self) -> impl Iterator<Item = HeaderName> {
        let (first, second) = match &self.0 {
            Place::Bare(name) | Place::Bearer(name) => (name.clone(), None),
            Place::CloudRun => (X_SERVERLESS_AUTHORIZATION, Some(AUTHORIZATION)),
        };
        std::iter::once(first).chain(second)
    }
}

impl Default for TokenHeader {
    fn default() -> Self {
        Self::cloud_run()
    }
}

/// What stands in a request's headers where the token should be.
#[derive(Clone, Copy)]
pub(crate) struct Found<'h> {
    /// Nobody has looked yet whether they are a token's: who knows all of them from before, as one
    /// hash tells, need not.
    pub(crate) bytes: &'h [u8],
    /// Whether it has the note for a signature, and the note is of Cloud Run's IAM check if there is
    /// such a check at all.
    pub(crate) noted_by_front_end: bool,
}

impl<'h> Found<'h> {
    /// RFC 6750 §2.1: `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`, less strictly
    /// about where `=` stands. What it means is the verifier's business.
    pub(crate) fn token(self) -> Result<&'h str, HeaderFault> {
        if self.bytes.is_empty() {
            return Err(HeaderFault::Empty);
        }
        let is_token_byte = |byte: u8| {
            byte.is_ascii_alphanumeric()
                | matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=')
        };
        // All of them, many at a time: to stop at the first bad one is dearer for all good ones.
        let bytes = self.bytes.iter();
        if !bytes.fold(true, |all, byte| all & is_token_byte(*byte)) {
            return Err(HeaderFault::NotAToken);
        }
        std::str::from_utf8(self.bytes).map_err(|_| HeaderFault::NotAToken)
    }
}

/// What is wrong with the header that should carry the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderFault {
    /// There is a scheme and nothing after it, or nothing at all.
    Empty,
    /// There are characters in it that no token has (RFC 6750 §2.1).
    NotAToken,
    /// The header is there more than once.
    Repeated,
    /// It is longer than 8 KiB.
    TooLong,
    /// Its scheme is not `Bearer`.
    WrongScheme,
}

impl fmt::Display for HeaderFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the header holds no token",
            Self::NotAToken => "the header holds something other than a token",
            Self::Repeated => "the header is there more than once",
            Self::TooLong => "the header is longer than 8 KiB",
            Self::WrongScheme => "the scheme is not Bearer",
        })
    }
}

impl Error for HeaderFault {}

/// The header that Cloud Run looks at before `Authorization`.
pub const X_SERVERLESS_AUTHORIZATION: HeaderName =
    HeaderName::from_static("x-serverless-authorization");

/// The same, with an address.
static SERVERLESS: HeaderName = X_SERVERLESS_AUTHORIZATION;

/// The one header that Cloud Run's IAM check looks at. The other reaches the container as the caller
/// wrote it, whatever it says of its signature.
fn checked_by_front_end(headers: &HeaderMap) -> HeaderName {
    if headers.contains_key(X_SERVERLESS_AUTHORIZATION) {
        X_SERVERLESS_AUTHORIZATION
    } else {
        AUTHORIZATION
    }
}

/// What comes after `Bearer` in the header `name`. The scheme's case says nothing, and there may be
/// more than one space after it (RFC 9110 §11.1, §11.4).
fn bearer<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h [u8]>, HeaderFault> {
    let Some(value) = single(headers, name)? else {
        return Ok(None);
    };
    let (scheme, rest) = match value.iter().position(|byte| *byte == b' ') {
        Some(space) => value.split_at(space),
        None => (value, &[][..]),
    };
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Err(if value.is_empty() {
            HeaderFault::Empty
        } else {
            HeaderFault::WrongScheme
        });
    }
    Ok(Some(rest.trim_ascii_start()))
}

fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h [u8]>, HeaderFault> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(_), Some(_)) => Err(HeaderFault::Repeated),
        (Some(value), None) if value.len() > MAX_HEADER_BYTES => Err(HeaderFault::TooLong),
        (Some(value), None) => Ok(Some(value.as_bytes())),
    }
}

const MAX_HEADER_BYTES: usize = 8 * 1024 + 16; // a token, its scheme and a space
