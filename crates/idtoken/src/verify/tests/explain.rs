//! The explanation says what the verdict says, and more.

use super::*;

fn names(explanation: &Explanation) -> Vec<&'static str> {
    explanation.checks().iter().map(Check::name).collect()
}

#[test]
fn every_check_is_listed_for_a_good_token() {
    let (verifier, jwt) = (verifier(), good_token());
    let explanation = verifier.explain(&jwt, at(NOW));
    assert_eq!(
        names(&explanation),
        [
            "grammar",
            "alg",
            "crit",
            "typ",
            "kid",
            "key",
            "signature",
            "iss",
            "aud",
            "exp",
            "iat",
            "nbf",
            "lifetime",
            "sub",
            "types",
            "identity",
        ]
    );
    assert!(explanation.is_accepted());
    let shown = explanation.to_string();
    assert!(shown.contains(AUDIENCE) && shown.contains(EMAIL), "{shown}");
    assert_eq!(shown.lines().count(), 16);
}

#[test]
fn all_faults_are_listed_with_the_values_compared() {
    let changes = json!({"aud": "https://x", "iat": NOW - 200, "exp": NOW - 100, "email": "x@y"});
    let jwt = Signer::rsa(1).token("k0", &claims_with(&changes));
    let explanation = verifier().explain(&jwt, at(NOW));
    let failed: Vec<_> = explanation
        .checks()
        .iter()
        .filter(|check| check.passed() == Some(false))
        .map(Check::name)
        .collect();
    assert_eq!(failed, ["signature", "aud", "exp", "identity"]);
    assert_eq!(explanation.failure(), Some(Kind::BadSignature));
    assert!(
        explanation
            .to_string()
            .contains(r#"FAIL  aud        ["https://x"], wanted"#)
    );
}

#[test]
fn the_signature_is_never_shown() {
    let jwt = good_token();
    let shown = format!("{0} {0:?}", verifier().explain(&jwt, at(NOW)));
    assert!(jwt.split('.').all(|part| !shown.contains(part)), "{shown}");
}

#[test]
fn the_first_failure_is_the_verdict() {
    let removed = format!(
        "{}.SIGNATURE_REMOVED_BY_GOOGLE",
        good_token().rsplit_once('.').unwrap().0
    );
    let mut jwts = vec![String::new(), "a.b.c".to_owned(), removed, good_token()];
    for header in [
        json!({"alg": "none"}),
        json!({"alg": "RS256", "kid": "k0", "crit": []}),
        json!({"alg": "RS256", "kid": "k0", "typ": "x"}),
        json!({"alg": "RS256"}),
        json!({"alg": "RS256", "kid": "k9"}),
        json!({"alg": "RS256", "kid": "k1"}),
    ] {
        jwts.push(with_header(&header));
    }
    for changes in [
        json!({"iss": "x"}),
        json!({"iss": null}),
        json!({"aud": "x"}),
        json!({"aud": 7}),
        json!({"exp": 1}),
        json!({"exp": null}),
        json!({"iat": NOW * 2}),
        json!({"iat": "x"}),
        json!({"nbf": NOW * 2}),
        json!({"nbf": "x"}),
        json!({"exp": NOW * 2}),
        json!({"sub": ""}),
        json!({"azp": 7}),
        json!({"email": "x@y"}),
        json!({"iss": "x", "aud": "x", "sub": null}),
    ] {
        jwts.push(Signer::rsa(0).token("k0", &claims_with(&changes)));
    }
    for jwt in jwts {
        let verifier = verifier();
        let verdict = judge(&verifier, &jwt).err();
        let explanation = verifier.explain(&jwt, at(NOW));
        assert_eq!(explanation.failure(), verdict, "{explanation}");
        assert_eq!(explanation.is_accepted(), verdict.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn keys_that_are_not_held_are_said_so() {
    let endpoint = Endpoint::new(Answer::keys(&[Signer::rsa(0).jwk("k0")]));
    let verifier = builder().transport(endpoint).build().unwrap();
    let explanation = verifier.explain(&good_token(), at(NOW));
    assert_eq!(explanation.failure(), Some(Kind::KeysUnavailable));
    verifier.verify(&good_token()).await.unwrap();
    assert!(verifier.explain(&good_token(), at(NOW)).is_accepted());
}
