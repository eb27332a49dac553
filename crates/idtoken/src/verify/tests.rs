//! The verifier as a whole, without sockets: each rule has a token that breaks only that rule.

use std::time::Duration;

use serde_json::{Value, json};

use super::VerifyErrorKind as Kind;
use super::testing::*;
use super::*;
use crate::clock::ManualClock;

mod attacks;
mod corpora;
mod differential;
mod explain;
mod issuers;
mod properties;
mod seen;

/// A verifier that knows RSA key 0 as `k0`, key 1 as `k1`, and a P-256 key as `ec`.
fn verifier() -> Verifier {
    builder().keys(keys()).build().unwrap()
}

fn keys() -> KeySet {
    key_set(&[
        Signer::rsa(0).jwk("k0"),
        Signer::rsa(1).jwk("k1"),
        Signer::p256().jwk("ec"),
    ])
}

fn good_token() -> String {
    Signer::rsa(0).token("k0", &good_claims())
}

/// The verdict on a token. Keys are fixed, so nothing is ever waited for.
fn judge(verifier: &Verifier, jwt: &str) -> Result<Claims, Kind> {
    match verifier.inner.attempt(jwt, false, Patience::Fresh) {
        Attempt::Done(verdict) => verdict.map_err(|error| error.kind()),
        Attempt::Wait(_) => panic!("waits for keys"),
    }
}

#[track_caller]
fn refused(jwt: &str, kind: Kind) {
    assert_eq!(
        judge(&verifier(), jwt).map(|claims| claims.as_json().to_owned()),
        Err(kind)
    );
}

#[track_caller]
fn refused_with(changes: &Value, kind: Kind) {
    refused(&Signer::rsa(0).token("k0", &claims_with(changes)), kind);
}

#[track_caller]
fn accepted_with(changes: &Value) {
    let jwt = Signer::rsa(0).token("k0", &claims_with(changes));
    if let Err(kind) = judge(&verifier(), &jwt) {
        panic!("{changes}: {kind:?}");
    }
}

fn with_header(header: &Value) -> String {
    Signer::rsa(0).compact(&header.to_string(), &good_claims().to_string())
}

#[test]
fn rs256_good() {
    let claims = judge(&verifier(), &good_token()).unwrap();
    assert_eq!((claims.sub(), claims.email()), (SUB, Some(EMAIL)));
}

#[test]
fn es256_good_for_an_es256_issuer() {
    let verifier = builder()
        .audience("/projects/1/apps/p")
        .issuer(Issuer::iap().with_keys(keys()))
        .build()
        .unwrap();
    let claims = claims_with(&json!({
        "iss": "https://cloud.google.com/iap", "aud": "/projects/1/apps/p",
        "iat": NOW - 10, "exp": NOW + 590,
    }));
    assert!(judge(&verifier, &Signer::p256().token("ec", &claims)).is_ok());
    let rs256 = Signer::rsa(0).token("k0", &claims);
    assert_eq!(
        judge(&verifier, &rs256).unwrap_err(),
        Kind::AlgorithmNotAllowed
    );
}

#[test]
fn not_three_parts_of_base64_json_is_malformed() {
    let good = good_token();
    let parts: Vec<&str> = good.split('.').collect();
    for jwt in [
        String::new(),
        parts[..2].join("."),
        format!("{good}.{}", parts[2]),
        format!("{good}="),
        format!("{good} "),
        "a".repeat(10_240),
        format!("{}.{}.{}", parts[0], b64("[]"), parts[2]),
        format!("{}.{}.{}", b64("7"), parts[1], parts[2]),
    ] {
        let kind = judge(&verifier(), &jwt).unwrap_err();
        assert!(matches!(kind, Kind::Malformed(_)), "{kind:?} for {jwt}");
    }
}

#[test]
fn alg_other_than_the_issuers_is_refused_before_key_lookup() {
    for alg in [
        json!("none"),
        json!("None"),
        json!("HS256"),
        json!("RS384"),
        json!("RS512"),
        json!("PS256"),
        json!("ES256"),
        json!(""),
        json!(7),
        json!(["RS256"]),
        Value::Null,
    ] {
        // The key is unknown as well: the algorithm is named first.
        refused(
            &with_header(&json!({"alg": alg, "kid": "no such key"})),
            Kind::AlgorithmNotAllowed,
        );
    }
    refused(
        &with_header(&json!({"kid": "k0"})),
        Kind::AlgorithmNotAllowed,
    );
}

#[test]
fn hs256_with_the_rsa_key_as_secret_is_refused() {
    use aws_lc_rs::hmac;
    let n = Signer::rsa(0).jwk("k0")["n"].as_str().unwrap().to_owned();
    let input = format!(
        "{}.{}",
        b64(json!({"alg": "HS256", "kid": "k0"}).to_string()),
        b64(good_claims().to_string())
    );
    let tag = hmac::sign(
        &hmac::Key::new(hmac::HMAC_SHA256, n.as_bytes()),
        input.as_bytes(),
    );
    refused(&format!("{input}.{}", b64(tag)), Kind::AlgorithmNotAllowed);
}

#[test]
fn crit_is_refused() {
    refused(
        &with_header(&json!({"alg": "RS256", "kid": "k0", "crit": ["exp"], "exp": 1})),
        Kind::CriticalHeader,
    );
}

#[test]
fn typ_is_jwt_or_absent() {
    assert!(
        judge(
            &verifier(),
            &with_header(&json!({"alg": "RS256", "kid": "k0"}))
        )
        .is_ok()
    );
    let other = with_header(&json!({"alg": "RS256", "kid": "k0", "typ": "at+jwt"}));
    refused(&other, Kind::WrongType);
}

#[test]
fn kid_missing_and_kid_not_a_string() {
    refused(&with_header(&json!({"alg": "RS256"})), Kind::MissingKeyId);
    refused(
        &with_header(&json!({"alg": "RS256", "kid": 7})),
        Kind::MissingKeyId,
    );
    refused(
        &with_header(&json!({"alg": "RS256", "kid": ""})),
        Kind::MissingKeyId,
    );
}

#[test]
fn kid_unknown_and_kid_known_for_another_alg() {
    refused(
        &with_header(&json!({"alg": "RS256", "kid": "k7"})),
        Kind::UnknownKey,
    );
    refused(
        &with_header(&json!({"alg": "RS256", "kid": "ec"})),
        Kind::UnknownKey,
    );
    refused(
        &with_header(&json!({"alg": "RS256", "kid": "K0"})),
        Kind::UnknownKey,
    );
}

#[test]
fn keys_that_the_token_brings_along_are_ignored() {
    let header = json!({
        "alg": "RS256", "kid": "k0", "jwk": Signer::rsa(2).jwk("k0"),
        "jku": "https://evil.example/keys", "x5u": "https://evil.example/x", "x5c": ["AAAA"],
    });
    let forged = Signer::rsa(2).compact(&header.to_string(), &good_claims().to_string());
    refused(&forged, Kind::BadSignature);
    assert!(judge(&verifier(), &with_header(&header)).is_ok());
}

#[test]
fn every_flipped_byte_of_the_signature_is_refused() {
    let good = good_token();
    let (input, signature) = good.rsplit_once('.').unwrap();
    let signature = unb64(signature);
    let verifier = verifier();
    for index in 0..signature.len() {
        let mut flipped = signature.clone();
        flipped[index] ^= 1 << (index % 8);
        let jwt = format!("{input}.{}", b64(flipped));
        assert_eq!(
            judge(&verifier, &jwt).unwrap_err(),
            Kind::BadSignature,
            "byte {index}"
        );
    }
}

#[test]
fn signatures_of_odd_lengths_are_refused_without_panic() {
    let good = good_token();
    let (input, _) = good.rsplit_once('.').unwrap();
    for len in [1, 3, 63, 64, 65, 100, 255, 257, 512, 1024] {
        refused(
            &format!("{input}.{}", b64(vec![0; len])),
            Kind::BadSignature,
        );
    }
    for len in [1027, 4000] {
        let kind = judge(&verifier(), &format!("{input}.{}", b64(vec![0; len]))).unwrap_err();
        assert!(matches!(kind, Kind::Malformed(_)));
    }
}

#[test]
fn a_signature_by_another_key_or_from_another_token_is_refused() {
    refused(
        &Signer::rsa(1).token("k0", &good_claims()),
        Kind::BadSignature,
    );
    let other = Signer::rsa(0).token("k0", &claims_with(&json!({"sub": "2"})));
    let good = good_token();
    let mixed = format!(
        "{}.{}",
        good.rsplit_once('.').unwrap().0,
        other.rsplit_once('.').unwrap().1
    );
    refused(&mixed, Kind::BadSignature);
}

#[test]
fn iss_wrong_absent_bare_and_with_trailing_slash() {
    accepted_with(&json!({"iss": "https://accounts.google.com"}));
    accepted_with(&json!({"iss": "accounts.google.com"}));
    for iss in [
        "https://accounts.google.com/",
        "http://accounts.google.com",
        "https://evil",
        "",
    ] {
        refused_with(&json!({ "iss": iss }), Kind::WrongIssuer);
    }
    refused_with(&json!({"iss": null}), Kind::MissingClaim("iss"));
    refused_with(
        &json!({"iss": ["https://accounts.google.com"]}),
        Kind::MistypedClaim("iss"),
    );
}

#[test]
fn aud_wrong_absent_array_with_ours_array_without() {
    accepted_with(&json!({"aud": ["https://x", AUDIENCE]}));
    refused_with(
        &json!({"aud": ["https://x", "https://y"]}),
        Kind::WrongAudience,
    );
    refused_with(&json!({"aud": []}), Kind::WrongAudience);
    refused_with(&json!({"aud": "https://x"}), Kind::WrongAudience);
    refused_with(&json!({"aud": ""}), Kind::WrongAudience);
    refused_with(&json!({"aud": null}), Kind::MissingClaim("aud"));
    refused_with(&json!({"aud": 7}), Kind::MistypedClaim("aud"));
    refused_with(&json!({"aud": [AUDIENCE, 7]}), Kind::MistypedClaim("aud"));
    refused_with(&json!({"aud": {"0": AUDIENCE}}), Kind::MistypedClaim("aud"));
}

#[test]
fn aud_differs_by_scheme_case_or_trailing_slash() {
    for aud in [
        "https://f.a.run.app/",
        "http://f.a.run.app",
        "f.a.run.app",
        "https://F.a.run.app",
    ] {
        refused_with(&json!({ "aud": aud }), Kind::WrongAudience);
    }
}

#[test]
fn the_normal_form_of_audiences_is_an_opt_in() {
    let with = |ours: &str| {
        let builder = builder().audiences(["https://g.a.run.app:443/push/", "Word/", ours]);
        let builder = builder.compare_audiences_as_urls().keys(keys());
        builder.build().unwrap()
    };
    let verdict = |ours: &str, aud: &str| {
        let jwt = Signer::rsa(0).token("k0", &claims_with(&json!({ "aud": aud })));
        judge(&with(ours), &jwt).map(drop)
    };
    for (ours, aud, expected) in [
        ("x", AUDIENCE, Ok(())),
        ("x", "HTTPS://F.a.run.app:443/", Ok(())),
        ("x", "https://G.a.run.app/push", Ok(())),
        ("HTTPS://H.a.run.app/", "https://h.a.run.app", Ok(())),
        ("x", "Word/", Ok(())),
        ("x", "Word", Err(Kind::WrongAudience)),
        ("x", "word/", Err(Kind::WrongAudience)),
        ("x", "http://f.a.run.app", Err(Kind::WrongAudience)),
        ("x", "https://f.a.run.app//", Err(Kind::WrongAudience)),
        ("x", "https://g.a.run.app/Push", Err(Kind::WrongAudience)),
        ("x", "https://g.a.run.app", Err(Kind::WrongAudience)),
        ("x", "https://f.a.run.app:8443", Err(Kind::WrongAudience)),
        ("x", "f.a.run.app", Err(Kind::WrongAudience)),
    ] {
        assert_eq!(verdict(ours, aud), expected, "{aud}");
    }
}

#[test]
fn one_of_several_audiences_is_enough() {
    let verifier = builder()
        .audiences(["https://g", "h"])
        .keys(keys())
        .build()
        .unwrap();
    for aud in [AUDIENCE, "https://g", "h"] {
        let jwt = Signer::rsa(0).token("k0", &claims_with(&json!({ "aud": aud })));
        assert!(judge(&verifier, &jwt).is_ok(), "{aud}");
    }
}

#[test]
fn exp_past_now_and_in_leeway() {
    refused_with(&json!({"exp": NOW - 10}), Kind::Expired);
    refused_with(
        &json!({"exp": NOW - 3600, "iat": NOW - 7200}),
        Kind::Expired,
    );
    accepted_with(&json!({"exp": NOW - 9}));
    accepted_with(&json!({"exp": NOW}));
    let strict = builder()
        .leeway(Duration::ZERO)
        .keys(keys())
        .build()
        .unwrap();
    let at_exp = Signer::rsa(0).token("k0", &claims_with(&json!({"exp": NOW})));
    assert_eq!(judge(&strict, &at_exp).unwrap_err(), Kind::Expired);
}

#[test]
fn exp_missing_string_float_negative_and_2_to_the_64() {
    refused_with(&json!({"exp": null}), Kind::MissingClaim("exp"));
    for exp in [
        json!("1700003600"),
        json!(1700003600.5),
        json!(-1),
        json!(true),
        json!([1]),
    ] {
        refused_with(&json!({ "exp": exp }), Kind::MistypedClaim("exp"));
    }
    accepted_with(&json!({"exp": 1700003540.0}));
    let huge = good_claims()
        .to_string()
        .replace("1700003540", "18446744073709551616");
    let header = json!({"alg": "RS256", "kid": "k0"}).to_string();
    refused(
        &Signer::rsa(0).compact(&header, &huge),
        Kind::MistypedClaim("exp"),
    );
}

#[test]
fn exp_at_or_before_iat_is_refused_even_within_the_leeway() {
    accepted_with(&json!({"iat": NOW + 5, "exp": NOW + 6}));
    refused_with(&json!({"iat": NOW + 5, "exp": NOW + 5}), Kind::Expired);
    refused_with(&json!({"iat": NOW + 5, "exp": NOW + 1}), Kind::Expired);
}

#[test]
fn exp_too_far_is_refused_unless_the_issuer_says_otherwise() {
    let day = json!({"iat": NOW, "exp": NOW + 86_400});
    refused_with(&day, Kind::LifetimeTooLong);
    accepted_with(&json!({"iat": NOW, "exp": NOW + 3610}));
    refused_with(
        &json!({"iat": NOW, "exp": NOW + 3611}),
        Kind::LifetimeTooLong,
    );
    let patient = builder()
        .issuer(
            Issuer::google()
                .with_max_lifetime(Duration::from_secs(86_400))
                .with_keys(keys()),
        )
        .build()
        .unwrap();
    assert!(judge(&patient, &Signer::rsa(0).token("k0", &claims_with(&day))).is_ok());
}

#[test]
fn iat_missing_future_and_not_a_number() {
    refused_with(&json!({"iat": null}), Kind::MissingClaim("iat"));
    refused_with(&json!({"iat": "1"}), Kind::MistypedClaim("iat"));
    refused_with(&json!({"iat": NOW + 11}), Kind::IssuedInFuture);
    accepted_with(&json!({"iat": NOW + 10}));
}

#[test]
fn nbf_is_honoured_when_present() {
    refused_with(&json!({"nbf": NOW + 11}), Kind::NotYetValid);
    refused_with(&json!({"nbf": "soon"}), Kind::MistypedClaim("nbf"));
    accepted_with(&json!({"nbf": NOW + 10}));
    accepted_with(&json!({"nbf": 0}));
}

#[test]
fn sub_missing_empty_and_not_a_string() {
    refused_with(&json!({"sub": null}), Kind::MissingClaim("sub"));
    refused_with(&json!({"sub": ""}), Kind::MissingClaim("sub"));
    refused_with(&json!({"sub": 1.1e20}), Kind::MistypedClaim("sub"));
}

#[test]
fn email_pinned() {
    accepted_with(&json!({"email": "Caller@P.iam.gserviceaccount.com"}));
    refused_with(
        &json!({"email": "other@p.iam.gserviceaccount.com"}),
        Kind::NotAllowed,
    );
    refused_with(&json!({"email": null}), Kind::NotAllowed);
    refused_with(&json!({"email": 7}), Kind::MistypedClaim("email"));
    for unverified in [json!(false), Value::Null, json!("true"), json!(1)] {
        refused_with(&json!({ "email_verified": unverified }), Kind::NotAllowed);
    }
    refused_with(
        &json!({"email": format!("{EMAIL}.attacker.org")}),
        Kind::NotAllowed,
    );
    refused_with(&json!({"email": format!(" {EMAIL}")}), Kind::NotAllowed);
}

#[test]
fn sub_azp_and_hd_pins() {
    let jwt = |changes: Value| Signer::rsa(0).token("k0", &claims_with(&changes));
    let anonymous = json!({"email": null, "email_verified": null, "hd": "example.com"});
    for (principal, good, bad) in [
        (
            Principal::subject(SUB),
            anonymous.clone(),
            json!({"sub": "2"}),
        ),
        (
            Principal::azp("1029"),
            anonymous.clone(),
            json!({"azp": "10290"}),
        ),
        (
            Principal::domain("Example.com"),
            anonymous.clone(),
            json!({"hd": "example.com.evil.org"}),
        ),
        (
            Principal::domain("example.com"),
            anonymous,
            json!({"email": "a@example.com"}),
        ),
        (
            Principal::project("p"),
            json!({}),
            json!({"email": "a@q.iam.gserviceaccount.com"}),
        ),
    ] {
        let verifier = Verifier::builder()
            .audience(AUDIENCE)
            .allow(principal.clone())
            .clock(ManualClock::new(at(NOW)))
            .keys(keys())
            .build()
            .unwrap();
        assert!(judge(&verifier, &jwt(good)).is_ok(), "{principal:?}");
        assert_eq!(
            judge(&verifier, &jwt(bad)).unwrap_err(),
            Kind::NotAllowed,
            "{principal:?}"
        );
    }
}

#[test]
fn domain_suffix_tricks_do_not_pass_as_the_project() {
    let verifier = Verifier::builder()
        .audience(AUDIENCE)
        .allow(Principal::project("p"))
        .clock(ManualClock::new(at(NOW)))
        .keys(keys())
        .build()
        .unwrap();
    for email in [
        "a@p.iam.gserviceaccount.com.attacker.org",
        "a@xp.iam.gserviceaccount.com",
        "a@x.p.iam.gserviceaccount.com",
        "a@attacker.org@p.iam.gserviceaccount.com",
        "@p.iam.gserviceaccount.com",
        "p.iam.gserviceaccount.com",
        "a@p.iam.gserviceaccount.co",
        "a@p",
    ] {
        let jwt = Signer::rsa(0).token("k0", &claims_with(&json!({ "email": email })));
        assert_eq!(
            judge(&verifier, &jwt).unwrap_err(),
            Kind::NotAllowed,
            "{email}"
        );
    }
}

#[test]
fn any_of_the_principals_or_predicates_will_do() {
    let verifier = builder()
        .allow(Principal::subject("2"))
        .allow_if(|claims| claims.get::<u32>("tenant").ok().flatten() == Some(7))
        .keys(keys())
        .build()
        .unwrap();
    let verdict = |changes: Value| {
        judge(
            &verifier,
            &Signer::rsa(0).token("k0", &claims_with(&changes)),
        )
        .map(drop)
    };
    assert_eq!(verdict(json!({})), Ok(()));
    assert_eq!(verdict(json!({"email": null, "sub": "2"})), Ok(()));
    assert_eq!(verdict(json!({"email": null, "tenant": 7})), Ok(()));
    assert_eq!(
        verdict(json!({"email": null, "tenant": 8})),
        Err(Kind::NotAllowed)
    );
    assert_eq!(
        verdict(json!({"email": null, "tenant": "7"})),
        Err(Kind::NotAllowed)
    );
}

#[test]
fn the_waiver_lets_in_any_google_identity_but_no_bad_token() {
    let verifier = Verifier::builder()
        .audience(AUDIENCE)
        .danger_any_google_identity()
        .clock(ManualClock::new(at(NOW)))
        .keys(keys())
        .build()
        .unwrap();
    let anonymous = claims_with(&json!({"email": null, "email_verified": null}));
    assert!(judge(&verifier, &Signer::rsa(0).token("k0", &anonymous)).is_ok());
    let forged = Signer::rsa(1).token("k0", &anonymous);
    assert_eq!(judge(&verifier, &forged).unwrap_err(), Kind::BadSignature);
}

#[test]
fn a_removed_signature_is_recognised_exactly_and_explained() {
    let good = good_token();
    let input = good.rsplit_once('.').unwrap().0;
    refused(
        &format!("{input}.SIGNATURE_REMOVED_BY_GOOGLE"),
        Kind::SignatureRemoved,
    );
    for near in [
        "SIGNATURE_REMOVED_BY_GOOGL",
        "signature_removed_by_google",
        "SIGNATURE_REMOVED",
    ] {
        let kind = judge(&verifier(), &format!("{input}.{near}")).unwrap_err();
        assert_ne!(kind, Kind::SignatureRemoved, "{near}");
    }
    let error = VerifyError::from(Kind::SignatureRemoved);
    assert!(
        error
            .advice()
            .unwrap()
            .contains("X-Serverless-Authorization")
    );
    assert_eq!(error.status().as_u16(), 401);
}

#[test]
fn a_caller_without_a_verified_email_is_told_to_include_it() {
    let advice = |builder: VerifierBuilder, changes: &Value| {
        let verifier = builder.keys(keys()).build().unwrap();
        let jwt = Signer::rsa(0).token("k0", &claims_with(changes));
        match verifier.inner.attempt(&jwt, false, Patience::Fresh) {
            Attempt::Done(Err(error)) => error.advice().unwrap(),
            _ => panic!("accepted"),
        }
    };
    let by_subject = || {
        Verifier::builder()
            .audience(AUDIENCE)
            .allow(Principal::subject("7"))
            .clock(ManualClock::new(at(NOW)))
    };
    for lacking in [json!({"email": null}), json!({"email_verified": false})] {
        assert!(advice(builder(), &lacking).contains("includeEmail"));
        assert!(advice(by_subject(), &lacking).contains("`allow("));
    }
    assert!(advice(builder(), &json!({"email": "x@y"})).contains("`allow("));
}

#[test]
fn of_two_faults_the_earlier_check_names_its_own() {
    let all_wrong = json!({"iss": "x", "aud": "x", "exp": 1, "iat": NOW * 2, "sub": null});
    refused(
        &Signer::rsa(1).token("k0", &claims_with(&all_wrong)),
        Kind::BadSignature,
    );
    refused_with(&all_wrong, Kind::WrongIssuer);
    refused_with(
        &json!({"aud": "x", "exp": 1, "iat": NOW * 2, "sub": null}),
        Kind::WrongAudience,
    );
    refused_with(
        &json!({"exp": 1, "iat": NOW * 2, "sub": null}),
        Kind::Expired,
    );
    refused_with(&json!({"iat": NOW * 2, "sub": null}), Kind::IssuedInFuture);
    refused_with(
        &json!({"sub": null, "email": null}),
        Kind::MissingClaim("sub"),
    );
}

#[test]
fn no_error_text_holds_the_token() {
    let good = good_token();
    let parts: Vec<&str> = good.split('.').collect();
    let removed = format!("{}.{}.SIGNATURE_REMOVED_BY_GOOGLE", parts[0], parts[1]);
    let tokens = [
        Signer::rsa(1).token("k0", &good_claims()),
        Signer::rsa(0).token("k9", &good_claims()),
        Signer::rsa(0).token("k0", &claims_with(&json!({"exp": 1}))),
        Signer::rsa(0).token("k0", &claims_with(&json!({"email": "x@y"}))),
        removed,
        format!("{good}x!"),
    ];
    for jwt in &tokens {
        let Attempt::Done(Err(error)) = verifier().inner.attempt(jwt, false, Patience::Fresh)
        else {
            panic!("accepted");
        };
        let mut shown = format!("{error:?} {error} {:?}", error.advice());
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            shown.push_str(&format!(" {error} {error:?}"));
            cause = error.source();
        }
        for part in jwt.split('.') {
            assert!(
                part == "SIGNATURE_REMOVED_BY_GOOGLE" || !shown.contains(part),
                "{shown}"
            );
        }
    }
    let shown = format!("{:?} {:?}", verifier(), judge(&verifier(), &good).unwrap());
    assert!(parts.iter().all(|part| !shown.contains(part)));
}

#[test]
fn the_builder_refuses_what_cannot_be_right() {
    let with = |principal: Principal| {
        Verifier::builder()
            .audience(AUDIENCE)
            .allow(principal)
            .keys(keys())
            .build()
            .map(drop)
    };
    let no_audience = Verifier::builder()
        .allow(Principal::subject("1"))
        .keys(keys())
        .build();
    assert_eq!(no_audience.unwrap_err(), BuildError::NoAudience);
    let empty = builder().audience("").keys(keys()).build();
    assert_eq!(empty.unwrap_err(), BuildError::EmptyAudience);
    let no_rule = Verifier::builder().audience(AUDIENCE).keys(keys()).build();
    assert_eq!(no_rule.unwrap_err(), BuildError::NoIdentityRule);
    let lax = builder()
        .leeway(Duration::from_secs(301))
        .keys(keys())
        .build();
    assert_eq!(lax.unwrap_err(), BuildError::LeewayTooLong);
    for (principal, fault) in [
        (Principal::subject(""), PrincipalFault::Empty),
        (Principal::azp(""), PrincipalFault::Empty),
        (Principal::email("example.com"), PrincipalFault::NotAnEmail),
        (Principal::email("a@b@c"), PrincipalFault::NotAnEmail),
        (
            Principal::domain("a@example.com"),
            PrincipalFault::NotADomain,
        ),
        (Principal::project(""), PrincipalFault::NotADomain),
        (
            Principal::project("example.com:p"),
            PrincipalFault::NotADomain,
        ),
        (
            Principal::service_account("a@gmail.com"),
            PrincipalFault::NotAServiceAccount,
        ),
        (
            Principal::anyone_of(&Issuer::google()),
            PrincipalFault::OpenIssuer,
        ),
        (
            Principal::subject("1").issued_by(&Issuer::iap()),
            PrincipalFault::UnknownIssuer,
        ),
    ] {
        assert_eq!(
            with(principal.clone()),
            Err(BuildError::Principal(fault)),
            "{principal:?}"
        );
    }
    let twice = builder()
        .issuer(Issuer::google())
        .issuer(Issuer::google())
        .build();
    assert!(matches!(twice.unwrap_err(), BuildError::RepeatedIssuer(_)));
}

#[test]
fn keys_come_over_https_or_from_this_machine() {
    for url in [
        "",
        "keys",
        "ftp://x/y",
        "/keys",
        "http://keys.example.com/",
        "http://127.0.0.1.example.com/",
    ] {
        let built = builder()
            .jwks_url(url)
            .transport(Endpoint::new(Answer::Refused))
            .build();
        assert_eq!(
            built.unwrap_err(),
            BuildError::InvalidKeyUrl(url.to_owned())
        );
    }
    let built = builder()
        .jwks_url("http://localhost:9000/certs")
        .transport(Endpoint::new(Answer::Refused))
        .build();
    assert!(built.is_ok());
}

#[tokio::test(start_paused = true)]
async fn no_duration_is_too_long_for_a_setter() {
    type Set = fn(VerifierBuilder, Duration) -> VerifierBuilder;
    let sets: [(&str, Set); 4] = [
        ("pause", VerifierBuilder::key_refetch_pause),
        ("stale", VerifierBuilder::stale_keys_for),
        ("leeway", VerifierBuilder::leeway),
        ("lifetime", |builder, longest| {
            let longest = longest.max(Duration::from_secs(3600));
            builder.issuer(Issuer::google().with_max_lifetime(longest))
        }),
    ];
    for (what, set) in sets {
        for duration in [Duration::MAX, Duration::ZERO] {
            let endpoint = Endpoint::new(Answer::keys(&[Signer::rsa(0).jwk("k0")]));
            let clock = ManualClock::new(at(NOW));
            let builder = builder().transport(endpoint.clone()).clock(clock.clone());
            let Ok(verifier) = set(builder, duration).build() else {
                assert_eq!((what, duration), ("leeway", Duration::MAX));
                continue;
            };
            assert!(verifier.verify(&good_token()).await.is_ok(), "{what}");
            let unknown = Signer::rsa(1).token("k1", &good_claims());
            endpoint.set(Answer::status(404));
            for _ in 0..3 {
                let verdict = verifier.verify(&unknown).await;
                let mut headers = HeaderMap::new();
                Rejection::from(verdict.unwrap_err()).write_headers(&mut headers);
                clock.advance(Duration::from_secs(3 * 3600));
            }
        }
    }
}

#[test]
fn building_needs_no_runtime() {
    assert!(
        builder()
            .transport(Endpoint::new(Answer::Refused))
            .build()
            .is_ok()
    );
}

#[test]
fn futures_can_cross_threads() {
    fn send<T: Send>(_: T) {}
    send(verifier().verify("a.b.c"));
    send(verifier().verify_headers(&http::HeaderMap::new()));
}

#[test]
fn an_error_has_one_status() {
    for (kind, status) in [
        (Kind::NotAllowed, 403),
        (Kind::KeysUnavailable, 503),
        (Kind::Expired, 401),
        (Kind::UnknownKey, 401),
        (Kind::Malformed(Malformed::TooLong), 401),
    ] {
        assert_eq!(VerifyError::from(kind).status().as_u16(), status);
    }
}
