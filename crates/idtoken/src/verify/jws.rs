//! The strict compact form of RFC 7515: three base64url parts and no room for a second reading.
//!
//! Everything here is pure and works on untrusted text; nothing is verified yet.

use std::fmt;

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::json::{self, Value};

/// A token that keeps to the grammar, taken apart but not verified.
#[derive(Clone)]
pub(crate) struct Jws<'t> {
    signing_input: &'t str,
    payload: &'t str,
    signature: &'t str,
    header: Header,
}

impl<'t> Jws<'t> {
    /// Takes `token` apart and reads its header.
    pub(crate) fn parse(token: &'t str) -> Result<Self, Malformed> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Malformed::TooLong);
        }
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Malformed::NotThreeParts);
        };
        // An empty payload is a JWS, if no JWT: that is found when it is read as claims.
        if header.is_empty() || signature.is_empty() {
            return Err(Malformed::NotThreeParts);
        }
        let signing_input = token
            .get(..header.len() + 1 + payload.len())
            .ok_or(Malformed::NotThreeParts)?;
        let header = decode(header, Header::parse)??;
        Ok(Self {
            signing_input,
            payload,
            signature,
            header,
        })
    }

    /// What the signature is over: the first two parts as they were sent.
    pub(crate) fn signing_input(&self) -> &'t [u8] {
        self.signing_input.as_bytes()
    }

    /// The protected header.
    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    /// Hands the decoded payload to `read`, from the stack when it is of ordinary size.
    pub(crate) fn payload<R>(&self, read: impl FnOnce(&str) -> R) -> Result<R, Malformed> {
        decode(self.payload, |bytes| {
            let text = std::str::from_utf8(bytes).map_err(|_| Malformed::PayloadNotObject)?;
            Ok(read(text))
        })?
    }

    /// Whether Google's front end took the signature off and left its note.
    pub(crate) fn is_signature_removed(&self) -> bool {
        self.signature == REMOVED_SIGNATURE
    }

    /// Decodes the signature into `buffer`.
    pub(crate) fn signature<'b>(
        &self,
        buffer: &'b mut [u8; MAX_SIGNATURE_BYTES],
    ) -> Result<&'b [u8], Malformed> {
        let len = STRICT_BASE64URL
            .decode_slice(self.signature, buffer)
            .map_err(|_| Malformed::NotBase64Url)?;
        buffer.get(..len).ok_or(Malformed::NotBase64Url)
    }
}

impl fmt::Debug for Jws<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jws")
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

/// What a verifier needs of a protected header (RFC 7515 §4.1).
///
/// `jku`, `jwk`, `x5u` and `x5c` are not here: a token must not bring its own key.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    algorithm: Option<Algorithm>,
    has_critical: bool,
    is_jwt: bool,
    key_id: Option<KeyId>,
}

impl Header {
    fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let text = std::str::from_utf8(bytes).map_err(|_| Malformed::HeaderNotObject)?;
        let mut header = Self {
            algorithm: None,
            has_critical: false,
            is_jwt: true,
            key_id: None,
        };
        let mut is_mistyped = false;
        json::read_object(text, MAX_HEADER_MEMBERS, |name, value| {
            match (name, value) {
                ("alg", Value::Text(alg)) => header.algorithm = Algorithm::from_name(&alg),
                ("crit", _) => header.has_critical = true,
                ("kid", Value::Text(kid)) => header.key_id = KeyId::new(&kid),
                // A media type, so its case says nothing (RFC 7519 §5.1).
                ("typ", Value::Text(typ)) => header.is_jwt = typ.eq_ignore_ascii_case("JWT"),
                ("typ", _) => header.is_jwt = false,
                // Ignored, but when they are no text the header is none that RFC 7515 knows.
                ("cty" | "jku" | "x5t" | "x5t#S256" | "x5u", value) => {
                    is_mistyped |= !matches!(value, Value::Text(_));
                }
                _ => {}
            }
        })
        .ok_or(Malformed::HeaderNotObject)?;
        if is_mistyped {
            return Err(Malformed::HeaderMistyped);
        }
        Ok(header)
    }

    /// The algorithm, when it is one that some issuer could use.
    pub(crate) fn algorithm(&self) -> Option<Algorithm> {
        self.algorithm
    }

    /// Whether the header asks for extensions to be understood (RFC 7515 §4.1.11). None is.
    pub(crate) fn has_critical(&self) -> bool {
        self.has_critical
    }

    /// Whether `typ` is `JWT` or absent.
    pub(crate) fn is_jwt(&self) -> bool {
        self.is_jwt
    }

    /// The key id; `None` when it is absent, no string, empty or longer than any key's.
    pub(crate) fn key_id(&self) -> Option<&str> {
        self.key_id.as_ref().and_then(KeyId::as_str)
    }
}

/// A signature algorithm that issuers of Google's use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256, as `r || s` (RFC 7518 §3.4).
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518 §3.3).
    Rs256,
}

impl Algorithm {
    /// The name that tokens and keys give it in `alg`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Es256, Self::Rs256]
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
    }
}

/// A key id, held without an allocation.
#[derive(Clone)]
struct KeyId {
    bytes: [u8; MAX_KEY_ID_BYTES],
    len: usize,
}

impl KeyId {
    fn new(text: &str) -> Option<Self> {
        let mut bytes = [0; MAX_KEY_ID_BYTES];
        bytes
            .get_mut(..text.len())?
            .copy_from_slice(text.as_bytes());
        (!text.is_empty()).then_some(Self {
            bytes,
            len: text.len(),
        })
    }

    fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self.bytes.get(..self.len)?).ok()
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

/// Why a text is no compact JWS, or its payload no set of claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Malformed {
    /// A header field that RFC 7515 §4.1 wants to be text is not.
    HeaderMistyped,
    /// The first part is not one JSON object with each name once.
    HeaderNotObject,
    /// A part is not base64url without padding and without stray bits.
    NotBase64Url,
    /// There are not exactly three parts, or header or signature is empty.
    NotThreeParts,
    /// The second part is not one JSON object with each name once.
    PayloadNotObject,
    /// More than 8 KiB.
    TooLong,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HeaderMistyped => "a header field is not of its type",
            Self::HeaderNotObject => "header is not a JSON object with distinct names",
            Self::NotBase64Url => "a part is not unpadded base64url",
            Self::NotThreeParts => "not three parts separated by dots",
            Self::PayloadNotObject => "payload is not a JSON object with distinct names",
            Self::TooLong => "longer than 8 KiB",
        })
    }
}

impl std::error::Error for Malformed {}

/// Whether `token` ends in the note that Google's front end leaves in place of a signature.
pub(crate) fn is_signature_removed(token: &[u8]) -> bool {
    token
        .strip_suffix(REMOVED_SIGNATURE.as_bytes())
        .is_some_and(|rest| rest.ends_with(b"."))
}

/// Whether `token` has three parts, and a signature for the last of them.
pub(crate) fn is_whole(token: &str) -> bool {
    token.split('.').count() == 3
        && token.split('.').all(|part| !part.is_empty())
        && !is_signature_removed(token.as_bytes())
}

/// Decodes one part, on the stack when it is of ordinary size.
fn decode<R>(part: &str, read: impl FnOnce(&[u8]) -> R) -> Result<R, Malformed> {
    // The engine wants room for whole groups of three bytes.
    let room = part.len().div_ceil(4) * 3;
    if room <= STACK_BYTES {
        decode_into(part, &mut [0; STACK_BYTES], read)
    } else {
        decode_into(part, &mut vec![0; room], read)
    }
}

fn decode_into<R>(
    part: &str,
    buffer: &mut [u8],
    read: impl FnOnce(&[u8]) -> R,
) -> Result<R, Malformed> {
    let len = STRICT_BASE64URL
        .decode_slice(part, buffer)
        .map_err(|_| Malformed::NotBase64Url)?;
    buffer.get(..len).map(read).ok_or(Malformed::NotBase64Url)
}

/// The longest token read. Google's are 750 to 1,300 bytes, and servers commonly allow a header
/// of 8 to 16 KiB.
pub(crate) const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Room for the signature of an RSA key of 8,192 bits, in whole groups of three.
pub(crate) const MAX_SIGNATURE_BYTES: usize = 1026;

/// The longest key id. Google's have 40 and 6 characters.
pub(crate) const MAX_KEY_ID_BYTES: usize = 128;

/// What Cloud Run's IAM check leaves in place of the signature that it checked.
const REMOVED_SIGNATURE: &str = "SIGNATURE_REMOVED_BY_GOOGLE";

const MAX_HEADER_MEMBERS: usize = 32;
const STACK_BYTES: usize = 1536;

/// RFC 7515 §2: the URL-safe alphabet, no padding. Bits that a decoder would drop are refused, so
/// that a token has one spelling only.
pub(crate) const STRICT_BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_allow_trailing_bits(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

#[cfg(test)]
mod tests {
    use super::*;

    fn part(text: &str) -> String {
        STRICT_BASE64URL.encode(text)
    }

    fn with_header(header: &str) -> String {
        format!("{}.{}.c2ln", part(header), part("{}"))
    }

    fn refusal(token: &str) -> Malformed {
        let parsed = Jws::parse(token).and_then(|jws| {
            jws.payload(|text| json::read_object(text, 128, |_, _| {}))?
                .ok_or(Malformed::PayloadNotObject)?;
            jws.signature(&mut [0; MAX_SIGNATURE_BYTES]).map(drop)
        });
        parsed.expect_err(token)
    }

    #[test]
    fn takes_a_token_apart() {
        let token = with_header(r#"{"alg":"RS256","kid":"a1","typ":"JWT"}"#);
        let jws = Jws::parse(&token).unwrap();
        assert_eq!(jws.header().algorithm(), Some(Algorithm::Rs256));
        assert_eq!(jws.header().key_id(), Some("a1"));
        assert!(jws.header().is_jwt());
        assert!(!jws.header().has_critical());
        assert_eq!(jws.payload(str::to_owned).unwrap(), "{}");
        assert_eq!(
            jws.signature(&mut [0; MAX_SIGNATURE_BYTES]).unwrap(),
            b"sig"
        );
        assert_eq!(
            jws.signing_input(),
            token.rsplit_once('.').unwrap().0.as_bytes()
        );
    }

    #[test]
    fn empty_string_two_four_and_five_segments_are_malformed() {
        for token in [
            "",
            ".",
            "..",
            "...",
            "a.b",
            "e30.e30",
            ".e30.c2ln",
            "e30.e30.",
        ] {
            assert_eq!(refusal(token), Malformed::NotThreeParts, "{token}");
        }
        for more in [
            "e30.e30.c2ln.",
            "e30.e30.c2ln.c2ln",
            "e30.e30.c2ln.c2ln.c2ln",
        ] {
            assert_eq!(refusal(more), Malformed::NotThreeParts, "{more}");
        }
    }

    #[test]
    fn ten_kilobytes_of_junk_are_malformed() {
        assert_eq!(refusal(&"a".repeat(10_240)), Malformed::TooLong);
        let filler = part(&format!("{{\"x\":\"{}\"}}", "y".repeat(MAX_TOKEN_BYTES)));
        assert_eq!(refusal(&format!("e30.{filler}.c2ln")), Malformed::TooLong);
    }

    #[test]
    fn a_large_token_within_the_bound_is_read() {
        let payload = format!("{{\"x\":\"{}\"}}", "y".repeat(5_000));
        let token = format!("e30.{}.c2ln", part(&payload));
        assert_eq!(
            Jws::parse(&token).unwrap().payload(str::to_owned).unwrap(),
            payload
        );
    }

    #[test]
    fn a_segment_that_is_not_strict_base64url_is_malformed() {
        for bad in [
            "e30=", "e3 0", "e3\n0", "e3+0", "e3/0", "é30", "e30\0", "e3*0", "e",
        ] {
            for token in [
                format!("{bad}.e30.c2ln"),
                format!("e30.{bad}.c2ln"),
                format!("e30.e30.{bad}"),
            ] {
                assert_eq!(refusal(&token), Malformed::NotBase64Url, "{token:?}");
            }
        }
    }

    #[test]
    fn stray_bits_are_malformed() {
        // `e30` is `{}`; `e31` decodes to the same two bytes when the last bits are dropped.
        assert_eq!(refusal("e31.e30.c2ln"), Malformed::NotBase64Url);
        assert_eq!(refusal("e30.e31.c2ln"), Malformed::NotBase64Url);
        assert_eq!(refusal("e30.e30.c2lnMB"), Malformed::NotBase64Url);
    }

    #[test]
    fn a_header_that_is_no_object_is_malformed() {
        for header in [
            "",
            "7",
            "null",
            "[]",
            r#""x""#,
            "{",
            "{}{}",
            r#"{"alg":"a","alg":"a"}"#,
        ] {
            let token = with_header(header);
            let expected = if header.is_empty() {
                Malformed::NotThreeParts
            } else {
                Malformed::HeaderNotObject
            };
            assert_eq!(refusal(&token), expected, "{header}");
        }
        let many: Vec<_> = (0..33).map(|i| format!("\"h{i}\":0")).collect();
        assert_eq!(
            refusal(&with_header(&format!("{{{}}}", many.join(",")))),
            Malformed::HeaderNotObject
        );
        assert_eq!(refusal("_w.e30.c2ln"), Malformed::HeaderNotObject);
    }

    #[test]
    fn a_payload_that_is_no_object_is_malformed() {
        for payload in ["7", "null", "[]", r#""x""#, "{", "{}{}", r#"{"a":1,"a":2}"#] {
            let token = format!("e30.{}.c2ln", part(payload));
            assert_eq!(refusal(&token), Malformed::PayloadNotObject, "{payload}");
        }
        assert_eq!(refusal("e30._w.c2ln"), Malformed::PayloadNotObject);
        assert_eq!(refusal("e30..c2ln"), Malformed::PayloadNotObject);
    }

    #[test]
    fn only_known_algorithms_are_told_apart() {
        for header in [
            "{}",
            r#"{"alg":null}"#,
            r#"{"alg":["RS256"]}"#,
            r#"{"alg":"none"}"#,
            r#"{"alg":"HS256"}"#,
            r#"{"alg":"rs256"}"#,
            r#"{"alg":"RS256 "}"#,
            r#"{"ALG":"RS256"}"#,
        ] {
            assert_eq!(
                Jws::parse(&with_header(header))
                    .unwrap()
                    .header()
                    .algorithm(),
                None,
                "{header}"
            );
        }
    }

    #[test]
    fn a_key_id_is_a_short_string_or_nothing() {
        let key_id = |header: &str| {
            Jws::parse(&with_header(header))
                .unwrap()
                .header()
                .key_id()
                .map(str::to_owned)
        };
        assert_eq!(key_id(r#"{"kid":"\u0061/é"}"#).as_deref(), Some("a/é"));
        assert_eq!(key_id("{}"), None);
        assert_eq!(key_id(r#"{"kid":7}"#), None);
        assert_eq!(key_id(r#"{"kid":""}"#), None);
        let longest = "k".repeat(MAX_KEY_ID_BYTES);
        assert_eq!(
            key_id(&format!(r#"{{"kid":"{longest}"}}"#)),
            Some(longest.clone())
        );
        assert_eq!(key_id(&format!(r#"{{"kid":"{longest}k"}}"#)), None);
    }

    #[test]
    fn typ_is_jwt_in_any_case_or_absent() {
        let is_jwt = |header: &str| Jws::parse(&with_header(header)).unwrap().header().is_jwt();
        assert!(is_jwt("{}"));
        assert!(is_jwt(r#"{"typ":"jwt"}"#));
        assert!(!is_jwt(r#"{"typ":"at+jwt"}"#));
        assert!(!is_jwt(r#"{"typ":null}"#));
    }

    #[test]
    fn registered_fields_that_are_ignored_must_be_texts_all_the_same() {
        for name in ["cty", "jku", "x5t", "x5t#S256", "x5u"] {
            assert!(Jws::parse(&with_header(&format!(r#"{{"{name}":"x"}}"#))).is_ok());
            let mistyped = with_header(&format!(r#"{{"{name}":["x"]}}"#));
            assert_eq!(refusal(&mistyped), Malformed::HeaderMistyped, "{name}");
        }
    }

    #[test]
    fn crit_is_noticed_whatever_it_holds() {
        for crit in ["[]", r#"["b64"]"#, "null", "1"] {
            let token = with_header(&format!(r#"{{"crit":{crit}}}"#));
            assert!(
                Jws::parse(&token).unwrap().header().has_critical(),
                "{crit}"
            );
        }
    }

    #[test]
    fn debug_shows_no_token() {
        let token = with_header(r#"{"alg":"RS256"}"#);
        let shown = format!("{:?}", Jws::parse(&token).unwrap());
        assert!(!shown.contains("c2ln") && !shown.contains("e30"), "{shown}");
    }
}
