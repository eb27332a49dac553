//! Public keys, parsed once.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest;
use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256};
use base64::Engine as _;
use serde::Deserialize;

use super::json::{self, Value};
use super::jws::{Algorithm, MAX_KEY_ID_BYTES, STRICT_BASE64URL};

mod pem;

/// The public keys of an issuer.
///
/// ```
/// let jwks = br#"{"keys":[{
///     "kty":"EC","crv":"P-256","alg":"ES256","use":"sig","kid":"mpf0DA",
///     "x":"fHEdeT3a6KaC1kbwov73ZwB_SiUHEyKQwUUtMCEn0aI",
///     "y":"QWOjwPhInNuPlqjxLQyhveXpWqOFcQPhZ3t-koMNbZI"
/// }]}"#;
/// let keys = idtoken::KeySet::from_json(jwks)?;
/// assert_eq!(keys.key_ids().collect::<Vec<_>>(), ["mpf0DA"]);
/// # Ok::<(), idtoken::verify::KeySetError>(())
/// ```
#[derive(Clone)]
pub struct KeySet {
    keys: Arc<[Key]>,
    skipped: usize,
}

impl KeySet {
    /// Reads a JSON Web Key Set (RFC 7517 §5), or an object from key id to PEM text, of X.509
    /// certificates or of bare public keys, as Google's older endpoints have it.
    ///
    /// A key that cannot be used is skipped, so that one broken or newfangled key does not take the
    /// others with it: no `kid`, a `use` other than `sig`, another algorithm than RS256 or ES256 on
    /// P-256, an RSA key under 2,048 bits, two keys of one id.
    ///
    /// # Errors
    ///
    /// When the text is no key set, or no usable key is left, or it holds more than 256.
    pub fn from_json(json: &[u8]) -> Result<Self, KeySetError> {
        match serde_json::from_slice::<JwkSet>(json) {
            Ok(set) if set.keys.len() > MAX_KEYS => Err(KeySetError::TooManyKeys),
            Ok(set) => Self::from_keys(set.keys.into_iter().map(|jwk| {
                let jwk: Jwk = serde_json::from_value(jwk).ok()?;
                Key::from_jwk(&jwk)
            })),
            Err(_) => Self::from_pem_by_id(json),
        }
    }

    fn from_pem_by_id(json: &[u8]) -> Result<Self, KeySetError> {
        let text = std::str::from_utf8(json).map_err(|_| KeySetError::NotAKeySet)?;
        let (mut keys, mut holds_pem) = (Vec::new(), false);
        json::read_object(text, MAX_KEYS, |id, value| {
            let Value::Text(text) = value else {
                return keys.push(None);
            };
            holds_pem |= text.contains("-----BEGIN");
            keys.push(pem::key(id, &text));
        })
        .ok_or(KeySetError::NotAKeySet)?;
        if !holds_pem {
            return Err(KeySetError::NotAKeySet);
        }
        Self::from_keys(keys.into_iter())
    }

    /// The ids of the keys that can be used.
    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| &*key.id)
    }

    /// How many keys of the text could not be used.
    #[must_use]
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    pub(crate) fn find(&self, id: &str, algorithm: Algorithm) -> Option<&Key> {
        self.keys
            .iter()
            .find(|key| *key.id == *id && key.algorithm == algorithm)
    }

    /// Whether each key of `other` is held here too.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        other.keys.iter().all(|key| self.contains(&key.fingerprint))
    }

    pub(crate) fn contains(&self, fingerprint: &[u8; 32]) -> bool {
        self.keys.iter().any(|key| key.fingerprint == *fingerprint)
    }

    fn from_keys(candidates: impl Iterator<Item = Option<Key>>) -> Result<Self, KeySetError> {
        let mut keys: Vec<Key> = Vec::new();
        let mut ambiguous: Vec<(Box<str>, Algorithm)> = Vec::new();
        let mut total = 0;
        for candidate in candidates {
            total += 1;
            let Some(key) = candidate else { continue };
            let same = |other: &Key| other.id == key.id && other.algorithm == key.algorithm;
            if keys.iter().any(same) {
                ambiguous.push((key.id, key.algorithm));
            } else {
                keys.push(key);
            }
        }
        // Which of two was meant is not ours to guess.
        keys.retain(|key| !ambiguous.contains(&(key.id.clone(), key.algorithm)));
        if keys.is_empty() {
            return Err(KeySetError::NoUsableKey);
        }
        Ok(Self {
            skipped: total - keys.len(),
            keys: keys.into(),
        })
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet")
            .field("key_ids", &self.key_ids().collect::<Vec<_>>())
            .field("skipped", &self.skipped)
            .finish()
    }
}

/// Why a text gave no keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeySetError {
    /// There are keys, or none at all, but not one that can be used.
    NoUsableKey,
    /// The text is not a JSON key set.
    NotAKeySet,
    /// More than 256 keys.
    TooManyKeys,
}

impl fmt::Display for KeySetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoUsableKey => "the key set has no usable key",
            Self::NotAKeySet => "the text is not a JSON key set",
            Self::TooManyKeys => "the key set has more than 256 keys",
        })
    }
}

impl std::error::Error for KeySetError {}

/// One key, ready to check signatures.
pub(crate) struct Key {
    id: Box<str>,
    algorithm: Algorithm,
    public: ParsedPublicKey,
    /// SHA-256 over the key itself: tells whether two sets hold the same key.
    fingerprint: [u8; 32],
}

impl Key {
    /// Whether `signature` over `message` is by this key.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.public.verify_sig(message, signature).is_ok()
    }

    pub(crate) fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    fn from_jwk(jwk: &Jwk) -> Option<Self> {
        let for_signatures = jwk
            .key_use
            .as_deref()
            .is_none_or(|key_use| key_use == "sig");
        let may_verify = jwk
            .key_ops
            .as_ref()
            .is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if !for_signatures || !may_verify {
            return None;
        }
        let is_for =
            |algorithm: Algorithm| jwk.alg.as_deref().is_none_or(|alg| alg == algorithm.name());
        let id = jwk.kid.as_deref()?;
        match jwk.kty.as_str() {
            "RSA" if is_for(Algorithm::Rs256) => {
                let n = STRICT_BASE64URL.decode(jwk.n.as_deref()?).ok()?;
                let e = STRICT_BASE64URL.decode(jwk.e.as_deref()?).ok()?;
                Self::rsa(id, &n, &e)
            }
            "EC" if is_for(Algorithm::Es256) && jwk.crv.as_deref() == Some("P-256") => {
                let x = STRICT_BASE64URL.decode(jwk.x.as_deref()?).ok()?;
                let y = STRICT_BASE64URL.decode(jwk.y.as_deref()?).ok()?;
                (x.len() == 32 && y.len() == 32).then_some(())?;
                Self::p256(id, &[&[4], &*x, &*y].concat())
            }
            _ => None,
        }
    }

    /// An RSA key of 2,048 to 8,192 bits, with an odd exponent of 3 to 2^32.
    fn rsa(id: &str, n: &[u8], e: &[u8]) -> Option<Self> {
        let (n, e) = (without_leading_zeros(n), without_leading_zeros(e));
        let bits = n.len() * 8 - usize::try_from(n.first()?.leading_zeros()).ok()?;
        let exponent = e
            .iter()
            .fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
        let sound = (2048..=8192).contains(&bits)
            && n.last()? % 2 == 1
            && e.len() <= 4
            && exponent >= 3
            && exponent % 2 == 1;
        if !sound {
            return None;
        }
        let public = PublicKeyComponents { n, e }
            .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
            .ok()?;
        Self::new(id, Algorithm::Rs256, public, &[n, e])
    }

    /// A P-256 key from its uncompressed point.
    fn p256(id: &str, point: &[u8]) -> Option<Self> {
        let public = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).ok()?;
        Self::new(id, Algorithm::Es256, public, &[point])
    }

    fn new(
        id: &str,
        algorithm: Algorithm,
        public: ParsedPublicKey,
        material: &[&[u8]],
    ) -> Option<Self> {
        if id.is_empty() || id.len() > MAX_KEY_ID_BYTES {
            return None;
        }
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(algorithm.name().as_bytes());
        material.iter().for_each(|part| hash.update(part));
        let fingerprint = hash.finish().as_ref().try_into().ok()?;
        Some(Self {
            id: id.into(),
            algorithm,
            public,
            fingerprint,
        })
    }
}

/// A key set whose keys are read one by one, later.
#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<serde_json::Value>,
}

/// The members that matter here (RFC 7517 §4, RFC 7518 §6).
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    alg: Option<String>,
    crv: Option<String>,
    e: Option<String>,
    key_ops: Option<Vec<String>>,
    kid: Option<String>,
    n: Option<String>,
    #[serde(rename = "use")]
    key_use: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

const MAX_KEYS: usize = 256;

#[cfg(test)]
mod tests;
