use serde_json::{Value, json};

use super::super::testing::*;
use super::*;

fn read(json: &str) -> Result<usize, KeySetError> {
    KeySet::from_json(json.as_bytes()).map(|set| set.keys.len())
}

/// Whether a key that differs from a good one by `changes` is used; `null` takes a member away.
fn is_used(good: &Value, changes: &Value) -> bool {
    let mut key = good.clone();
    let object = key.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap().clone() {
        if value.is_null() {
            object.remove(&name);
        } else {
            object.insert(name, value);
        }
    }
    read(&jwks(&[key])).is_ok()
}

#[test]
fn empty_set_and_keys_not_array() {
    assert_eq!(read(r#"{"keys":[]}"#), Err(KeySetError::NoUsableKey));
    for text in [
        "",
        "{}",
        "[]",
        "null",
        r#"{"keys":{}}"#,
        r#"{"keys":7}"#,
        "<html></html>",
        "{",
    ] {
        assert_eq!(read(text), Err(KeySetError::NotAKeySet), "{text}");
    }
    assert_eq!(
        read(r#"{"keys":[],"keys":[]}"#),
        Err(KeySetError::NotAKeySet)
    );
}

#[test]
fn unsupported_key_in_the_middle_is_ignored() {
    let set = jwks(&[
        Signer::rsa(0).jwk("k0"),
        json!({"kty": "OKP", "crv": "Ed25519", "kid": "okp", "x": "AA"}),
        json!({"kty": "oct", "kid": "secret", "k": "AAAA"}),
        json!(7),
        json!({}),
        Signer::p256().jwk("ec"),
    ]);
    let set = KeySet::from_json(set.as_bytes()).unwrap();
    assert_eq!(set.key_ids().collect::<Vec<_>>(), ["k0", "ec"]);
    assert_eq!(set.skipped(), 4);
}

#[test]
fn broken_rsa_keys_are_skipped() {
    let good = Signer::rsa(0).jwk("k0");
    let n = good["n"].as_str().unwrap().to_owned();
    assert!(is_used(&good, &json!({})));
    assert!(is_used(&good, &json!({"alg": null, "use": null})));
    assert!(is_used(&good, &json!({"key_ops": ["verify"]})));
    assert!(
        is_used(&good, &json!({"e": "AAEAAQ"})),
        "leading zeros say nothing"
    );
    for changes in [
        json!({"kid": null}),
        json!({"kid": ""}),
        json!({"kid": 7}),
        json!({"kid": "k".repeat(129)}),
        json!({"kty": null}),
        json!({"kty": "rsa"}),
        json!({"kty": "EC"}),
        json!({"alg": "RS512"}),
        json!({"alg": "PS256"}),
        json!({"alg": "ES256"}),
        json!({"alg": 7}),
        json!({"use": "enc"}),
        json!({"use": 7}),
        json!({"key_ops": ["encrypt"]}),
        json!({"n": null}),
        json!({"n": 7}),
        json!({"n": ""}),
        json!({"n": "!"}),
        json!({"n": format!("{n}==")}),
        json!({"e": null}),
        json!({"e": 65537}),
        json!({"e": ""}),
        json!({"e": "AQ"}),
        json!({"e": "Ag"}),
        json!({"e": "AQAA"}),
        json!({"e": "AQAAAAE"}),
        // Under 2,048 bits, and of twice too many.
        json!({"n": b64([0xff; 255])}),
        json!({"n": b64([0x7f; 256])}),
        json!({"n": b64([0xff; 1025])}),
        json!({"n": b64([0xfe; 256])}),
    ] {
        assert!(!is_used(&good, &changes), "{changes}");
    }
}

#[test]
fn broken_ec_keys_are_skipped() {
    let good = Signer::p256().jwk("ec");
    assert!(is_used(&good, &json!({})));
    for changes in [
        json!({"crv": "P-384"}),
        json!({"crv": null}),
        json!({"alg": "RS256"}),
        json!({"x": null}),
        json!({"y": null}),
        json!({"x": b64([1; 31])}),
        json!({"x": b64([1; 33])}),
        json!({"x": b64([1; 32])}),
        json!({"x": good["y"].clone(), "y": good["x"].clone()}),
        json!({"kty": "RSA"}),
    ] {
        assert!(!is_used(&good, &changes), "{changes}");
    }
}

#[test]
fn two_keys_of_one_id_are_both_skipped() {
    let set = [
        Signer::rsa(0).jwk("k"),
        Signer::rsa(1).jwk("k"),
        Signer::rsa(2).jwk("other"),
    ];
    assert_eq!(key_set(&set).key_ids().collect::<Vec<_>>(), ["other"]);
    let of_two_kinds = [Signer::rsa(0).jwk("k"), Signer::p256().jwk("k")];
    assert_eq!(key_set(&of_two_kinds).key_ids().count(), 2);
}

#[test]
fn at_most_256_keys() {
    let keys: Vec<_> = (0..257)
        .map(|i| Signer::p256().jwk(&format!("k{i}")))
        .collect();
    assert_eq!(read(&jwks(&keys[..256])), Ok(256));
    assert_eq!(read(&jwks(&keys)), Err(KeySetError::TooManyKeys));
}

#[test]
fn a_fingerprint_tells_keys_apart_and_recognises_them() {
    let fingerprint = |signer: &Signer| {
        let set = key_set(&[signer.jwk("k")]);
        set.keys.first().map(|key| *key.fingerprint()).unwrap()
    };
    assert_eq!(fingerprint(Signer::rsa(0)), fingerprint(Signer::rsa(0)));
    assert_ne!(fingerprint(Signer::rsa(0)), fingerprint(Signer::rsa(1)));
}

/// DER, for keys in PEM.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = content.len();
    let mut out = vec![tag];
    match len {
        0..=0x7f => out.push(len as u8),
        0x80..=0xff => out.extend([0x81, len as u8]),
        _ => out.extend([0x82, (len >> 8) as u8, len as u8]),
    }
    out.extend(content);
    out
}

fn pem_text(label: &str, der: &[u8]) -> String {
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

fn rsa_info(signer: &Signer) -> Vec<u8> {
    let jwk = signer.jwk("k");
    let number = |name: &str| {
        let mut bytes = vec![0];
        bytes.extend(unb64(jwk[name].as_str().unwrap()));
        der(2, &bytes)
    };
    let key = der(0x30, &[number("n"), number("e")].concat());
    let oid = [0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
    der(
        0x30,
        &[der(0x30, &oid), der(3, &[&[0][..], &key].concat())].concat(),
    )
}

fn certificate(info: &[u8]) -> Vec<u8> {
    let fields = [
        der(0xa0, &der(2, &[2])),
        der(2, &[1]),
        der(0x30, &[]),
        der(0x30, &[]),
        der(0x30, &[]),
        der(0x30, &[]),
        info.to_vec(),
    ];
    der(
        0x30,
        &[der(0x30, &fields.concat()), der(0x30, &[]), der(3, &[0])].concat(),
    )
}

#[test]
fn x509_json_and_pem_public_keys_are_read_as_the_same_keys() {
    let info = rsa_info(Signer::rsa(0));
    let from_jwks = key_set(&[Signer::rsa(0).jwk("k")]);
    let key = from_jwks.keys.first().unwrap().fingerprint();
    for pem in [
        pem_text("CERTIFICATE", &certificate(&info)),
        pem_text("PUBLIC KEY", &info),
    ] {
        let set = KeySet::from_json(json!({ "k": pem }).to_string().as_bytes()).unwrap();
        assert!(set.contains(key));
        assert_eq!(set.key_ids().collect::<Vec<_>>(), ["k"]);
    }
}

#[test]
fn x509_broken_is_skipped_and_never_a_panic() {
    let whole = certificate(&rsa_info(Signer::rsa(0)));
    for len in 0..whole.len() - 8 {
        let set = json!({ "k": pem_text("CERTIFICATE", &whole[..len]) }).to_string();
        assert_eq!(read(&set), Err(KeySetError::NoUsableKey), "cut at {len}");
    }
    for index in 0..whole.len() {
        let mut broken = whole.clone();
        broken[index] ^= 0x81;
        let set = json!({
            "k": pem_text("CERTIFICATE", &broken), "good": pem_text("CERTIFICATE", &whole),
        });
        assert!(KeySet::from_json(set.to_string().as_bytes()).is_ok());
    }
    for text in [
        "",
        "-----BEGIN CERTIFICATE-----",
        "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----",
    ] {
        assert!(read(&json!({ "k": text }).to_string()).is_err());
    }
    let rsa_1024 = json!({"kty": "RSA"});
    assert_eq!(
        read(&json!({ "k": rsa_1024 }).to_string()),
        Err(KeySetError::NotAKeySet)
    );
}
