//! Claims that outlive their token.

use std::fmt;
use std::ops::Range;
use std::time::{Duration, SystemTime};

use super::payload::{Audiences, Claim, Known, Payload};

/// Claims that outlive their token: the text once, and where in it the known strings lie.
pub(super) struct Inner {
    pub(super) text: Box<str>,
    known: [Option<Text>; Known::COUNT],
    aud: Option<Text>,
    more_aud: Box<[Text]>,
    pub(super) email_verified: bool,
    pub(super) exp: Option<u64>,
    pub(super) iat: Option<u64>,
    pub(super) nbf: Option<u64>,
}

impl Inner {
    pub(super) fn new(payload: &Payload<'_>) -> Self {
        let keep = |text: &str| Text::new(text, payload.text);
        let (aud, more_aud) = match &payload.aud {
            Claim::Present(Audiences::One(one)) => (Some(keep(one)), Box::default()),
            Claim::Present(Audiences::Many(many)) => {
                (None, many.iter().map(|text| keep(text)).collect())
            }
            Claim::Absent | Claim::Mistyped => (None, Box::default()),
        };
        Self {
            text: payload.text.into(),
            known: payload.known.each_ref().map(|claim| match claim {
                Claim::Present(text) => Some(keep(text)),
                Claim::Absent | Claim::Mistyped => None,
            }),
            aud,
            more_aud,
            email_verified: payload.email_verified,
            exp: payload.exp.present(),
            iat: payload.iat.present(),
            nbf: payload.nbf.present(),
        }
    }

    pub(super) fn known(&self, known: Known) -> Option<&str> {
        self.known.get(known as usize)?.as_ref()?.within(&self.text)
    }

    pub(super) fn aud(&self) -> impl Iterator<Item = &str> {
        self.aud
            .iter()
            .chain(&self.more_aud)
            .filter_map(|text| text.within(&self.text))
    }

    pub(super) fn time(&self, seconds: Option<u64>) -> Option<SystemTime> {
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds?))
    }

    pub(super) fn debug(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name)
            .field("iss", &self.known(Known::Iss))
            .field("sub", &self.known(Known::Sub))
            .field("email", &self.known(Known::Email))
            .field("aud", &self.aud().collect::<Vec<_>>())
            .field("exp", &self.exp)
            .finish_non_exhaustive()
    }
}

/// A string of the payload: a range of its text, or apart when it was written with escapes.
enum Text {
    Apart(Box<str>),
    Within(Range<usize>),
}

impl Text {
    /// Keeps `value` as a range of `text` when it lies there, which it does unless JSON escapes
    /// made the parser write it anew.
    fn new(value: &str, text: &str) -> Self {
        let start = (value.as_ptr() as usize).wrapping_sub(text.as_ptr() as usize);
        let range = start..start.wrapping_add(value.len());
        match text.get(range.clone()) {
            Some(found) if found == value => Self::Within(range),
            _ => Self::Apart(value.into()),
        }
    }

    fn within<'a>(&'a self, text: &'a str) -> Option<&'a str> {
        match self {
            Self::Apart(apart) => Some(apart),
            Self::Within(range) => text.get(range.clone()),
        }
    }
}
