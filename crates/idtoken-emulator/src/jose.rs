//! The compact serialization of JSON Web Signatures (RFC 7515 §7.1), both ways.

use serde_json::{Map, Value};

use crate::encode::{base64url, from_base64url};

/// A JSON object.
pub(crate) type Object = Map<String, Value>;

/// A compact JWS taken apart. Nothing has been checked.
pub(crate) struct Unverified<'a> {
    pub(crate) header: Object,
    pub(crate) claims: Object,
    pub(crate) signed: &'a str,
    pub(crate) signature: Vec<u8>,
}

impl<'a> Unverified<'a> {
    pub(crate) fn parse(jwt: &'a str) -> Option<Self> {
        let (signed, signature) = jwt.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        Some(Self {
            header: serde_json::from_slice(&from_base64url(header)?).ok()?,
            claims: serde_json::from_slice(&from_base64url(claims)?).ok()?,
            signed,
            signature: from_base64url(signature)?,
        })
    }

    pub(crate) fn header_text(&self, name: &str) -> Option<&str> {
        self.header.get(name)?.as_str()
    }

    pub(crate) fn claim_text(&self, name: &str) -> Option<&str> {
        self.claims.get(name)?.as_str()
    }

    pub(crate) fn claim_seconds(&self, name: &str) -> Option<u64> {
        self.claims.get(name)?.as_u64()
    }

    /// Whether it is valid now and was made for an hour at most, as Google wants what others sign.
    pub(crate) fn is_timely(&self, now: u64) -> bool {
        let times = self.claim_seconds("iat").zip(self.claim_seconds("exp"));
        times.is_some_and(|(issued_at, expires_at)| {
            issued_at <= now.saturating_add(CLOCK_SKEW_S)
                && expires_at > now
                && expires_at > issued_at
                && expires_at - issued_at <= LONGEST_LIFE_S
        })
    }
}

/// Joins header and payload, and appends what `sign` makes of them.
pub(crate) fn compact(
    header: &[u8],
    payload: &[u8],
    sign: impl FnOnce(&[u8]) -> Vec<u8>,
) -> String {
    let signed = format!("{}.{}", base64url(header), base64url(payload));
    let signature = base64url(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// How far ahead of ours the signer's clock may be.
const CLOCK_SKEW_S: u64 = 300;
/// An hour, and the seconds by which clients back-date `iat` and round `exp` up.
const LONGEST_LIFE_S: u64 = 3_620;
