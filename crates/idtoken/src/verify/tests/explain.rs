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
async fn explain_fetches_nothing_whatever_the_time() {
    let endpoint = Endpoint::new(Answer::keys(&[Signer::rsa(0).jwk("k0")]));
    let verifier = builder().transport(endpoint.clone()).build().unwrap();
    for now in [0, NOW, NOW * 2] {
        let explanation = verifier.explain(&good_token(), at(now));
        assert_eq!(explanation.failure(), Some(Kind::KeysUnavailable));
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(endpoint.hits(), 0);

    verifier.verify(&good_token()).await.unwrap();
    assert!(verifier.explain(&good_token(), at(NOW)).is_accepted());
    let unknown = with_header(&json!({"alg": "RS256", "kid": "k9"}));
    for jwt in [good_token(), unknown] {
        for now in [0, NOW, NOW + 20_000, NOW * 2] {
            let _ = verifier.explain(&jwt, at(now));
        }
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(endpoint.hits(), 1);
}

#[test]
fn a_key_id_cannot_forge_a_line_of_the_explanation() {
    let header = json!({"alg": "RS256", "kid": "k\nINFO forged\u{1b}[2J"});
    let shown = verifier()
        .explain(&with_header(&header), at(NOW))
        .to_string();
    assert!(shown.contains(r"k\nINFO forged"), "{shown}");
    assert!(shown.lines().all(|line| !line.starts_with("INFO")));
    assert!(!shown.contains('\u{1b}'));
}
