//! Issuers other than Google, several at once, and Cloud Run's removed signature.

use http::HeaderName;
use http::header::AUTHORIZATION;

use super::*;
use crate::danger::CloudRunService;
use crate::inbound::X_SERVERLESS_AUTHORIZATION;

const OWN: &str = "https://sts.test";

fn own() -> Issuer {
    Issuer::new(OWN, "http://127.0.0.1:1/").with_keys(key_set(&[Signer::rsa(1).jwk("k0")]))
}

fn google() -> Issuer {
    Issuer::google().with_keys(key_set(&[Signer::rsa(0).jwk("k0")]))
}

fn of_two() -> VerifierBuilder {
    builder().issuer(google()).issuer(own())
}

#[test]
fn one_verifier_holds_several_issuers_each_with_its_own_keys() {
    let verifier = of_two()
        .allow(Principal::service_account(EMAIL).issued_by(&own()))
        .build()
        .unwrap();
    let verdict = |signer: usize, iss: &str| {
        let jwt = Signer::rsa(signer).token("k0", &claims_with(&json!({ "iss": iss })));
        judge(&verifier, &jwt).map(|claims| claims.iss().to_owned())
    };
    assert_eq!(
        verdict(0, "accounts.google.com"),
        Ok("accounts.google.com".into())
    );
    assert_eq!(verdict(1, OWN), Ok(OWN.into()));
    // The same key id, but the other issuer's key.
    assert_eq!(verdict(1, "accounts.google.com"), Err(Kind::BadSignature));
    assert_eq!(verdict(0, OWN), Err(Kind::BadSignature));
    assert_eq!(verdict(0, "https://x"), Err(Kind::WrongIssuer));
    let nameless = Signer::rsa(0).token("k0", &claims_with(&json!({"iss": null})));
    assert_eq!(
        judge(&verifier, &nameless).unwrap_err(),
        Kind::MissingClaim("iss")
    );
}

#[test]
fn what_one_issuer_says_of_an_email_opens_no_door_to_another() {
    let verifier = of_two().build().unwrap();
    let jwt = Signer::rsa(1).token("k0", &claims_with(&json!({ "iss": OWN })));
    assert_eq!(judge(&verifier, &jwt).unwrap_err(), Kind::NotAllowed);
}

#[test]
fn the_waiver_speaks_of_google_only() {
    let verifier = of_two().danger_any_google_identity().build().unwrap();
    let verdict = |signer: usize, iss: &str| {
        let claims = claims_with(&json!({"iss": iss, "email": "a@gmail.com"}));
        judge(&verifier, &Signer::rsa(signer).token("k0", &claims)).map(drop)
    };
    assert_eq!(verdict(0, "https://accounts.google.com"), Ok(()));
    assert_eq!(verdict(1, OWN), Err(Kind::NotAllowed));
    // Where there is no Google it waives nothing.
    let nobody = Verifier::builder()
        .audience(AUDIENCE)
        .issuer(own())
        .danger_any_google_identity()
        .build();
    assert_eq!(nobody.unwrap_err(), BuildError::NoIdentityRule);
}

#[test]
fn subject_patterns_are_for_a_predicate() {
    let verifier = Verifier::builder()
        .audience(AUDIENCE)
        .issuer(own())
        .allow_if(|claims| claims.sub() == "job-7")
        .allow_if(|claims| claims.sub().starts_with("repo:ours/"))
        .allow_if(|claims| claims.sub().ends_with(":ref:refs/heads/main"))
        .clock(ManualClock::new(at(NOW)))
        .build()
        .unwrap();
    for (sub, expected) in [
        ("job-7", Ok(())),
        ("repo:ours/tools", Ok(())),
        ("repo:theirs/tools:ref:refs/heads/main", Ok(())),
        ("job-77", Err(Kind::NotAllowed)),
        ("repo:ours-not/tools", Err(Kind::NotAllowed)),
        ("x:repo:ours/tools", Err(Kind::NotAllowed)),
    ] {
        let jwt = Signer::rsa(1).token("k0", &claims_with(&json!({"iss": OWN, "sub": sub})));
        assert_eq!(judge(&verifier, &jwt).map(drop), expected, "{sub}");
    }
}

#[test]
fn firebase_users_of_a_project() {
    let issuer = Issuer::firebase("my-project").with_keys(keys());
    let verifier = Verifier::builder()
        .audience("my-project")
        .allow(Principal::anyone_of(&issuer))
        .issuer(issuer)
        .clock(ManualClock::new(at(NOW)))
        .build()
        .unwrap();
    let verdict = |iss: &str| {
        let claims = claims_with(&json!({"iss": iss, "aud": "my-project", "email": null}));
        judge(&verifier, &Signer::rsa(0).token("k0", &claims)).map(drop)
    };
    assert_eq!(verdict("https://securetoken.google.com/my-project"), Ok(()));
    assert_eq!(
        verdict("https://securetoken.google.com/other"),
        Err(Kind::WrongIssuer)
    );
    assert_eq!(
        verdict("https://accounts.google.com"),
        Err(Kind::WrongIssuer)
    );
}

#[test]
fn iap_lives_ten_minutes_and_takes_its_audience_forms() {
    let aud = [
        "/projects/1/apps/p",
        "/projects/1/global/backendServices/2",
        "/projects/1/europe-west1/backendServices/2",
        "/projects/1/locations/europe-west1/services/f",
    ];
    let issuer = Issuer::iap().with_keys(keys());
    let verifier = Verifier::builder()
        .audiences(aud)
        .allow(Principal::anyone_of(&issuer))
        .issuer(issuer)
        .leeway(Duration::from_secs(30))
        .clock(ManualClock::new(at(NOW)))
        .build()
        .unwrap();
    let verdict = |changes: Value| {
        let iap = json!({"iss": "https://cloud.google.com/iap", "iat": NOW, "exp": NOW + 600,
            "sub": "accounts.google.com:1029", "aud": aud[0]});
        let mut claims = claims_with(&iap);
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        judge(&verifier, &Signer::p256().token("ec", &claims)).map(drop)
    };
    for aud in aud {
        assert_eq!(verdict(json!({ "aud": aud })), Ok(()));
    }
    assert_eq!(
        verdict(json!({"aud": "/projects/1/apps/q"})),
        Err(Kind::WrongAudience)
    );
    // Thirty seconds of skew at either end.
    assert_eq!(verdict(json!({"iat": NOW + 30, "exp": NOW + 630})), Ok(()));
    assert_eq!(
        verdict(json!({"iat": NOW + 31, "exp": NOW + 631})),
        Err(Kind::IssuedInFuture)
    );
    assert_eq!(verdict(json!({"iat": NOW - 629, "exp": NOW - 29})), Ok(()));
    assert_eq!(
        verdict(json!({"iat": NOW - 630, "exp": NOW - 30})),
        Err(Kind::Expired)
    );
    assert_eq!(
        verdict(json!({"exp": NOW + 3600})),
        Err(Kind::LifetimeTooLong)
    );
}

fn unsigned(header: &Value, claims: &Value) -> String {
    let (header, payload) = (b64(header.to_string()), b64(claims.to_string()));
    format!("{header}.{payload}.SIGNATURE_REMOVED_BY_GOOGLE")
}

fn trusting() -> VerifierBuilder {
    builder()
        .keys(keys())
        .danger_trust_cloud_run_iam(CloudRunService::for_tests())
}

/// The verdict on a request with these headers.
fn received(verifier: &Verifier, headers: &[(HeaderName, &str)]) -> Result<Claims, Kind> {
    let headers = headers.iter().map(|(name, jwt)| {
        let value = http::HeaderValue::from_str(&format!("Bearer {jwt}")).unwrap();
        (name.clone(), value)
    });
    match verifier.start(&headers.collect()) {
        Verification::Done(verdict) => {
            verdict.map_err(|rejection| rejection.verify_error().unwrap().kind())
        }
        Verification::Waiting(_) => panic!("waits for keys"),
    }
}

#[test]
fn a_removed_signature_is_accepted_only_by_explicit_opt_in() {
    let header = json!({"alg": "RS256", "kid": "whichever", "typ": "JWT"});
    let trusting = trusting().build().unwrap();
    let of_both = |verifier: &Verifier, jwt: &str| {
        let verdict = received(verifier, &[(AUTHORIZATION, jwt)]);
        let other = received(verifier, &[(X_SERVERLESS_AUTHORIZATION, jwt)]);
        assert_eq!(verdict.is_ok(), other.is_ok());
        verdict
    };
    let jwt = unsigned(&header, &good_claims());
    assert_eq!(
        of_both(&verifier(), &jwt).unwrap_err(),
        Kind::SignatureRemoved
    );
    assert_eq!(of_both(&trusting, &jwt).unwrap().sub(), SUB);
    let hash = trusting.inner.seen.hash(jwt.as_bytes()).unwrap();
    assert!(
        trusting.inner.seen.get(&hash).is_none(),
        "it is not remembered"
    );

    // All else is still checked.
    for (changes, kind) in [
        (json!({"aud": "https://x"}), Kind::WrongAudience),
        (json!({"iss": "https://x"}), Kind::WrongIssuer),
        (json!({"exp": NOW - 100}), Kind::Expired),
        (json!({"email": "x@y"}), Kind::NotAllowed),
        (json!({"sub": null}), Kind::MissingClaim("sub")),
    ] {
        let jwt = unsigned(&header, &claims_with(&changes));
        assert_eq!(of_both(&trusting, &jwt).unwrap_err(), kind);
    }
    let none = unsigned(&json!({"alg": "none"}), &good_claims());
    assert_eq!(
        of_both(&trusting, &none).unwrap_err(),
        Kind::AlgorithmNotAllowed
    );
    // Any other third part is a signature, and a wrong one.
    let near = jwt
        .replace(
            "SIGNATURE_REMOVED_BY_GOOGLE",
            &b64("SIGNATURE_REMOVED_BY_GOOGLE"),
        )
        .replace("whichever", "k0");
    assert!(of_both(&trusting, &near).is_err());
    let signed = Signer::rsa(1).token("k0", &good_claims());
    assert_eq!(of_both(&trusting, &signed).unwrap_err(), Kind::BadSignature);
}

#[test]
fn a_note_in_a_header_that_the_front_end_did_not_check_is_refused() {
    let forged = unsigned(&json!({"alg": "RS256", "kid": "k0"}), &good_claims());
    let own = unsigned(
        &json!({"alg": "RS256", "kid": "k0"}),
        &claims_with(&json!({"email": "mallory@p.iam.gserviceaccount.com"})),
    );
    let custom = HeaderName::from_static("x-token");
    let of = |header: TokenHeader, headers: &[(HeaderName, &str)]| {
        let verifier = trusting().token_header(header).build().unwrap();
        received(&verifier, headers).map(drop)
    };
    let serverless = || TokenHeader::bearer(X_SERVERLESS_AUTHORIZATION);

    // With both there, the front end looked at the first alone.
    let both = [
        (X_SERVERLESS_AUTHORIZATION, own.as_str()),
        (AUTHORIZATION, forged.as_str()),
    ];
    let gone = Err(Kind::SignatureRemoved);
    assert_eq!(of(TokenHeader::authorization(), &both), gone);
    assert_eq!(
        of(TokenHeader::cloud_run(), &both),
        Err(Kind::NotAllowed),
        "the caller's own token counts"
    );
    assert_eq!(of(serverless(), &both), Err(Kind::NotAllowed));
    // Nor does it look anywhere else.
    let elsewhere = [(custom.clone(), forged.as_str())];
    assert_eq!(of(TokenHeader::bearer(custom), &elsewhere), gone);
    let verifier = trusting().build().unwrap();
    assert_eq!(judge(&verifier, &forged).map(drop), gone);

    for header in [TokenHeader::authorization(), TokenHeader::cloud_run()] {
        assert_eq!(of(header, &[(AUTHORIZATION, &forged)]), Ok(()));
    }
    assert_eq!(
        of(serverless(), &[(X_SERVERLESS_AUTHORIZATION, &forged)]),
        Ok(())
    );
}

#[test]
fn only_googles_own_tokens_pass_without_signature() {
    let trusting = Verifier::builder()
        .audience(AUDIENCE)
        .allow(Principal::anyone_of(&own()))
        .issuer(own())
        .danger_trust_cloud_run_iam(CloudRunService::for_tests())
        .clock(ManualClock::new(at(NOW)))
        .build()
        .unwrap();
    let claims = claims_with(&json!({ "iss": OWN }));
    let jwt = unsigned(&json!({"alg": "RS256", "kid": "k0"}), &claims);
    let verdict = received(&trusting, &[(AUTHORIZATION, &jwt)]);
    assert_eq!(verdict.unwrap_err(), Kind::SignatureRemoved);
}
