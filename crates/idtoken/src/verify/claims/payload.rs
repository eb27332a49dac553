//! The claims of a payload while it is being judged: borrowed, and with their faults kept.

use std::borrow::Cow;

use super::super::json::{self, Value};

/// The claims of a payload, borrowed from it until they are accepted.
#[derive(Debug)]
pub(crate) struct Payload<'a> {
    pub(super) text: &'a str,
    pub(super) known: [Claim<Cow<'a, str>>; Known::COUNT],
    pub(crate) aud: Claim<Audiences<'a>>,
    pub(crate) email_verified: bool,
    pub(crate) exp: Claim<u64>,
    pub(crate) iat: Claim<u64>,
    pub(crate) nbf: Claim<u64>,
}

impl<'a> Payload<'a> {
    /// `None` when `text` is no JSON object with distinct names. A known claim of the wrong type
    /// is kept as [`Claim::Mistyped`]: which of a token's faults to name first is the judge's.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let mut payload = Self {
            text,
            known: [const { Claim::Absent }; Known::COUNT],
            aud: Claim::Absent,
            email_verified: false,
            exp: Claim::Absent,
            iat: Claim::Absent,
            nbf: Claim::Absent,
        };
        json::read_object(text, MAX_MEMBERS, |name, value| payload.take(name, value))?;
        Some(payload)
    }

    pub(crate) fn get(&self, known: Known) -> Claim<&str> {
        match self.known.get(known as usize) {
            Some(Claim::Present(text)) => Claim::Present(text),
            Some(Claim::Mistyped) => Claim::Mistyped,
            Some(Claim::Absent) | None => Claim::Absent,
        }
    }

    fn take(&mut self, name: &str, value: Value<'a>) {
        match name {
            "aud" => self.aud = Audiences::from_value(value),
            "email_verified" => self.email_verified = value == Value::Bool(true),
            "exp" => self.exp = time(&value),
            "iat" => self.iat = time(&value),
            "nbf" => self.nbf = time(&value),
            _ => {
                let slot =
                    Known::from_name(name).and_then(|known| self.known.get_mut(known as usize));
                if let Some(slot) = slot {
                    *slot = match value {
                        Value::Text(text) => Claim::Present(text),
                        _ => Claim::Mistyped,
                    };
                }
            }
        }
    }
}

/// One known claim, before anyone has said whether it must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim<T> {
    Absent,
    Mistyped,
    Present(T),
}

impl<T> Claim<T> {
    pub(crate) fn as_ref(&self) -> Claim<&T> {
        match self {
            Self::Absent => Claim::Absent,
            Self::Mistyped => Claim::Mistyped,
            Self::Present(value) => Claim::Present(value),
        }
    }

    pub(super) fn present(self) -> Option<T> {
        match self {
            Self::Present(value) => Some(value),
            Self::Absent | Self::Mistyped => None,
        }
    }
}

/// The known claims that are strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Azp,
    Email,
    Hd,
    Iss,
    Sub,
}

impl Known {
    pub(super) const COUNT: usize = 5;
    const ALL: [Self; Self::COUNT] = [Self::Azp, Self::Email, Self::Hd, Self::Iss, Self::Sub];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Azp => "azp",
            Self::Email => "email",
            Self::Hd => "hd",
            Self::Iss => "iss",
            Self::Sub => "sub",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }
}

/// `aud` is a string or a list of strings (RFC 7519 §4.1.3).
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Audiences<'a> {
    Many(Vec<Cow<'a, str>>),
    One(Cow<'a, str>),
}

impl<'a> Audiences<'a> {
    fn from_value(value: Value<'a>) -> Claim<Self> {
        match value {
            Value::Text(text) => Claim::Present(Self::One(text)),
            Value::Texts(texts) => Claim::Present(Self::Many(texts)),
            _ => Claim::Mistyped,
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        let (one, many): (Option<&str>, &[Cow<'a, str>]) = match self {
            Self::Many(texts) => (None, texts),
            Self::One(text) => (Some(text), &[]),
        };
        one.into_iter().chain(many.iter().map(AsRef::as_ref))
    }
}

/// Seconds since 1970 as RFC 7519 §2 has them, up to the end of the year 9999.
fn time(value: &Value<'_>) -> Claim<u64> {
    match value {
        Value::Integer(seconds) if *seconds <= MAX_SECONDS => Claim::Present(*seconds),
        _ => Claim::Mistyped,
    }
}

const MAX_MEMBERS: usize = 128;
const MAX_SECONDS: u64 = 253_402_300_799;
