//! Other people's vectors, at the layer that they speak of: signature and header, no claims.
//!
//! The data is not part of this repository. `IDTOKEN_VECTORS` names its folder; without it nothing
//! is run, and the output says so.

use std::fs;
use std::path::PathBuf;

use super::*;

/// Keys that are sound by every rule here but that the corpus wants refused for how they were made.
const KNOWN: [&str; 2] = ["json_web_key_test/7", "json_web_crypto_test/46"];

#[allow(clippy::disallowed_methods, reason = "says where the data lies")]
fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("IDTOKEN_VECTORS").map(PathBuf::from);
    if folder.is_none() {
        println!("IDTOKEN_VECTORS is not set: 0 cases run");
    }
    folder
}

fn read(path: &str) -> Option<Value> {
    Some(serde_json::from_slice(&fs::read(folder()?.join(path)).unwrap()).unwrap())
}

/// Whether a verifier for issuers that sign with `algorithms` lets this through, as far as header
/// and signature go.
fn accepts(jws: &str, keys: &KeySet, default_id: Option<&str>, algorithms: &[Algorithm]) -> bool {
    let Ok(jws) = Jws::parse(jws) else {
        return false;
    };
    let mut buffer = [0; MAX_SIGNATURE_BYTES];
    let Ok(signature) = jws.signature(&mut buffer) else {
        return false;
    };
    let header = jws.header();
    algorithms.iter().any(|algorithm| {
        let issuer = Issuer::new("x", "http://x/").with_algorithm(*algorithm);
        let id = match (judge::check_header(header, &issuer), default_id) {
            (Ok(id), _) => id,
            (Err(Kind::MissingKeyId), Some(id)) => id,
            (Err(_), _) => return false,
        };
        let key = keys.find(id, *algorithm);
        key.is_some_and(|key| judge::check_signature(&jws, signature, key).is_ok())
    })
}

struct Counts {
    accepted: u32,
    refused: u32,
    wrong: Vec<String>,
}

impl Counts {
    fn new() -> Self {
        Self {
            accepted: 0,
            refused: 0,
            wrong: Vec::new(),
        }
    }

    fn note(&mut self, name: &str, accepted: bool, expected: bool) {
        *(if accepted {
            &mut self.accepted
        } else {
            &mut self.refused
        }) += 1;
        if accepted != expected {
            self.wrong.push(format!("{name}: accepted is {accepted}"));
        }
    }

    fn print(&self, name: &str) {
        let Self {
            accepted,
            refused,
            wrong,
        } = self;
        println!(
            "{name}: {accepted} accepted, {refused} refused, {} wrong",
            wrong.len()
        );
        assert!(accepted + refused > 0, "nothing was run");
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

const BOTH: [Algorithm; 2] = [Algorithm::Rs256, Algorithm::Es256];

#[test]
fn wycheproof_jws() {
    let Some(corpus) = read("wycheproof/mapped_jws.json") else {
        return;
    };
    let (mut rs256, mut both, mut known) = (Counts::new(), Counts::new(), 0);
    for case in corpus["cases"].as_array().unwrap() {
        let name = case["id"].as_str().unwrap();
        // Some cases give a single key, some name none in the token: the key is handed over.
        let mut jwks = case["jwks"].clone();
        let mut default_id = None;
        if let Some([key]) = jwks["keys"].as_array_mut().map(Vec::as_mut_slice) {
            let id = key["kid"].as_str().unwrap_or("the only key").to_owned();
            key["kid"] = Value::String(id.clone());
            default_id = Some(id);
        }
        let keys = KeySet::from_json(jwks.to_string().as_bytes());
        let jws = case["jws"].as_str().unwrap();
        for (field, algorithms, counts) in [
            ("expect_rs256", &BOTH[..1], &mut rs256),
            ("expect_rs256_es256", &BOTH[..], &mut both),
        ] {
            let accepted = keys
                .as_ref()
                .is_ok_and(|keys| accepts(jws, keys, default_id.as_deref(), algorithms));
            let expected = case[field] == "accept";
            if KNOWN.contains(&name) && accepted != expected {
                known += 1;
            } else {
                counts.note(name, accepted, expected);
            }
        }
    }
    println!("wycheproof jws: {known} verdicts known to differ (ROCA keys)");
    rs256.print("wycheproof jws, RS256");
    both.print("wycheproof jws, RS256 and ES256");
}

#[test]
fn rfc_examples() {
    let Some(corpus) = read("rfc/rfc_examples.json") else {
        return;
    };
    let (mut rs256, mut both) = (Counts::new(), Counts::new());
    for case in corpus["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let mut key = case["jwk"].clone();
        if !key.is_object() {
            key = json!({});
        }
        let id = key["kid"].as_str().unwrap_or("the only key").to_owned();
        key["kid"] = Value::String(id.clone());
        let keys = KeySet::from_json(jwks(&[key]).as_bytes());
        let jws = case["jws"].as_str().unwrap_or_default();
        for (field, algorithms, counts) in [
            ("expect_rs256", &BOTH[..1], &mut rs256),
            ("expect_rs256_es256", &BOTH[..], &mut both),
        ] {
            let accepted = keys
                .as_ref()
                .is_ok_and(|keys| accepts(jws, keys, Some(&id), algorithms));
            counts.note(name, accepted, case[field] == "accept");
        }
    }
    rs256.print("RFC examples, RS256");
    both.print("RFC examples, RS256 and ES256");
}

#[test]
fn wycheproof_signatures() {
    let mut counts = Counts::new();
    for file in [
        "rsa_signature_2048_sha256_test.json",
        "ecdsa_secp256r1_sha256_p1363_test.json",
    ] {
        let Some(corpus) = read(&format!("wycheproof/{file}")) else {
            return;
        };
        for group in corpus["testGroups"].as_array().unwrap() {
            let keys = signature_group_keys(group);
            let algorithm = if file.starts_with("rsa") {
                Algorithm::Rs256
            } else {
                Algorithm::Es256
            };
            for test in group["tests"].as_array().unwrap() {
                let (message, signature) = (unhex(&test["msg"]), unhex(&test["sig"]));
                let key = keys
                    .as_ref()
                    .ok()
                    .and_then(|keys| keys.find("k", algorithm));
                let accepted = key.is_some_and(|key| key.verifies(&message, &signature));
                // "acceptable" marks encodings of PKCS #1 that a strict verifier refuses.
                let expected = test["result"] == "valid";
                counts.note(&format!("{file}/{}", test["tcId"]), accepted, expected);
            }
        }
    }
    counts.print("wycheproof signatures");
}

fn signature_group_keys(group: &Value) -> Result<KeySet, KeySetError> {
    let pem = group["publicKeyPem"].as_str().unwrap_or_default();
    KeySet::from_json(json!({ "k": pem }).to_string().as_bytes())
}

fn unhex(text: &Value) -> Vec<u8> {
    let text = text.as_str().unwrap();
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
        .collect()
}

#[test]
fn key_sets_that_google_published() {
    let Some(folder) = folder() else { return };
    let mut counts = Counts::new();
    for entry in fs::read_dir(folder.join("google")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if ["real_tokens.json", "google_v3_certs_sources.json"].contains(&name.as_str()) {
            continue;
        }
        let read = KeySet::from_json(&fs::read(&path).unwrap());
        if let Ok(set) = &read {
            assert_eq!(set.skipped(), 0, "{name}");
        }
        counts.note(&name, read.is_ok(), true);
    }
    counts.print("published key sets");
}

#[test]
fn seeds_for_key_set_parsers() {
    let Some(folder) = folder() else { return };
    let mut counts = Counts::new();
    for entry in fs::read_dir(folder.join("jwks-fuzz")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let jwks = text.split_once("jwks:").unwrap().1.trim();
        let jwks = jwks.trim_matches('\'').trim_matches('"');
        let read = KeySet::from_json(jwks.as_bytes());
        println!("{name}: {read:?}");
        // Secrets, Edwards curves and a bare PEM text are no key sets of ours.
        let expected = !["hmac", "okp", "pem"]
            .iter()
            .any(|kind| name.contains(kind));
        counts.note(&name, read.is_ok(), expected);
        // Nothing of it may panic, however it is cut.
        for len in 0..jwks.len() {
            let _ = KeySet::from_json(&jwks.as_bytes()[..len]);
        }
    }
    counts.print("key set seeds");
}
