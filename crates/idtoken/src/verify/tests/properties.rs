//! What holds for every text, not only for those that somebody thought of.

use proptest::prelude::*;

use super::differential::rules;
use super::*;
use crate::verify::json::read_object;

/// Text that is likely to get past the first checks.
fn tokenish() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        "[A-Za-z0-9_-]{0,40}",
        any_json().prop_map(|json| b64(json.to_string())),
        ".{0,20}",
    ];
    proptest::collection::vec(part, 0..6).prop_map(|parts| parts.join("."))
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::btree_map("[a-z]{1,5}", inner, 0..6).prop_map(Value::from_iter),
        ]
    })
}

/// A claim's value: often nearly right.
fn claim_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any_json(),
        (NOW - 3700..NOW + 3700).prop_map(Value::from),
        (NOW - 3700..NOW + 3700).prop_map(|seconds| Value::from(seconds as f64)),
        Just(json!(AUDIENCE)),
        Just(json!([AUDIENCE])),
        Just(json!("accounts.google.com")),
        Just(json!(EMAIL)),
        Just(json!(true)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_is_a_panic(text in ".*", tokenish in tokenish()) {
        let verifier = verifier();
        for jwt in [&text, &tokenish] {
            prop_assert!(judge(&verifier, jwt).is_err());
            prop_assert!(!verifier.explain(jwt, at(NOW)).is_accepted());
            let _ = UnverifiedClaims::read_without_verifying(jwt);
            let _ = KeySet::from_json(jwt.as_bytes());
        }
    }

    #[test]
    fn a_token_has_one_spelling(header in any_json(), payload in any_json(), signature: Vec<u8>) {
        let jwt = format!("{}.{}.{}", b64(header.to_string()), b64(payload.to_string()), b64(&signature));
        if let Ok(jws) = Jws::parse(&jwt) {
            let mut buffer = [0; MAX_SIGNATURE_BYTES];
            let decoded = jws.signature(&mut buffer).unwrap();
            prop_assert_eq!(b64(decoded), b64(&signature));
            let text = jws.payload(str::to_owned).unwrap();
            prop_assert!(jwt.starts_with(std::str::from_utf8(jws.signing_input()).unwrap()));
            prop_assert_eq!(b64(text), jwt.split('.').nth(1).unwrap());
        }
    }

    #[test]
    fn an_object_is_read_as_serde_json_reads_it(value in any_json()) {
        let text = value.to_string();
        let mut names = Vec::new();
        let read = read_object(&text, 128, |name, _| names.push(name.to_owned()));
        prop_assert_eq!(read.is_some(), value.is_object());
        if let Some(object) = value.as_object() {
            prop_assert_eq!(names, object.keys().cloned().collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_judge_keeps_to_the_written_rules(
        changes in proptest::collection::btree_map(
            prop_oneof![
                Just("exp"), Just("iat"), Just("nbf"), Just("sub"), Just("email"), Just("azp"),
                Just("email_verified"), Just("hd"), Just("iss"), Just("aud"), Just("google"),
            ],
            claim_value(),
            0..4,
        )
    ) {
        let mut claims = good_claims();
        for (name, value) in changes {
            claims[name] = value;
        }
        // Through text, as a token goes: the writer of floats and its reader must agree.
        let claims: Value = serde_json::from_str(&claims.to_string()).unwrap();
        let is_text = |value: &Value, text: &str| value == text;
        let aud = match &claims["aud"] {
            Value::Array(list) => list.iter().all(Value::is_string)
                && list.iter().any(|aud| is_text(aud, AUDIENCE)),
            aud => is_text(aud, AUDIENCE),
        };
        let iss = ["https://accounts.google.com", "accounts.google.com"]
            .iter()
            .any(|iss| is_text(&claims["iss"], iss));
        let verifier = builder()
            .issuer(Issuer::google().with_algorithm(Algorithm::Es256).with_keys(keys()))
            .build()
            .unwrap();
        let verdict = judge(&verifier, &Signer::p256().token("ec", &claims));
        prop_assert_eq!(verdict.is_ok(), aud && iss && rules(&claims), "{}: {:?}", claims, verdict);
    }
}
