//! What is remembered of tokens, and when it stops to count.

use super::*;
use crate::inbound::{HeaderFault, Verification};

fn world(endpoint: &Endpoint) -> (Verifier, ManualClock) {
    let clock = ManualClock::new(at(NOW));
    let verifier = builder()
        .clock(clock.clone())
        .transport(endpoint.clone())
        .build()
        .unwrap();
    (verifier, clock)
}

fn both() -> Answer {
    Answer::keys(&[Signer::rsa(0).jwk("k0"), Signer::rsa(1).jwk("k1")])
}

async fn verdict(verifier: &Verifier, jwt: &str) -> Result<(), Kind> {
    verifier
        .verify(jwt)
        .await
        .map(drop)
        .map_err(|error| error.kind())
}

/// Whether the next verification of `jwt` would be spared its signature check.
fn is_remembered(verifier: &Verifier, jwt: &str) -> bool {
    let hash = verifier.inner.seen.hash(jwt.as_bytes()).unwrap();
    verifier
        .inner
        .recall(&hash, verifier.inner.clock.now())
        .is_some()
}

#[test]
fn a_token_seen_before_gives_the_same_claims() {
    let (verifier, jwt) = (verifier(), good_token());
    assert!(!is_remembered(&verifier, &jwt));
    let first = judge(&verifier, &jwt).unwrap();
    assert!(is_remembered(&verifier, &jwt));
    assert_eq!(judge(&verifier, &jwt).unwrap().as_json(), first.as_json());
}

#[test]
fn a_header_is_looked_over_unless_all_of_it_was_accepted_before() {
    let (verifier, jwt) = (verifier(), good_token());
    judge(&verifier, &jwt).unwrap();
    let of = |value: &[u8]| {
        let value = http::HeaderValue::from_bytes(value).unwrap();
        let headers = http::HeaderMap::from_iter([(http::header::AUTHORIZATION, value)]);
        match verifier.start(&headers) {
            Verification::Done(verdict) => verdict,
            Verification::Waiting(_) => panic!("had to wait"),
        }
    };
    assert!(of(format!("Bearer {jwt}").as_bytes()).is_ok());
    for junk in [" x", "\u{e9}", ",", "\t."] {
        let rejection = of(format!("Bearer {jwt}{junk}").as_bytes()).unwrap_err();
        let fault = rejection.header_fault();
        assert_eq!(fault, Some(HeaderFault::NotAToken), "{junk:?}");
    }
    let rejection = of(b"Bearer ").unwrap_err();
    assert_eq!(rejection.header_fault(), Some(HeaderFault::Empty));
}

#[test]
fn verified_token_cache_honours_exp() {
    let clock = ManualClock::new(at(NOW));
    let verifier = builder().clock(clock.clone()).keys(keys()).build().unwrap();
    let jwt = good_token();
    assert!(judge(&verifier, &jwt).is_ok());
    clock.set(at(NOW + 3540 + 9));
    assert!(judge(&verifier, &jwt).is_ok());
    clock.set(at(NOW + 3540 + 10));
    assert!(!is_remembered(&verifier, &jwt));
    assert_eq!(judge(&verifier, &jwt).unwrap_err(), Kind::Expired);
    // A clock that steps back far makes it a token from the future.
    clock.set(at(NOW - 7200));
    assert_eq!(judge(&verifier, &jwt).unwrap_err(), Kind::IssuedInFuture);
}

#[tokio::test(start_paused = true)]
async fn verified_token_cache_honours_key_removal() {
    let endpoint = Endpoint::new(both());
    let (verifier, clock) = world(&endpoint);
    let claims = claims_with(&json!({"exp": NOW + 6 * 3600, "iat": NOW + 6 * 3600 - 3600}));
    clock.set(at(NOW + 6 * 3600 - 3600));
    let jwt = Signer::rsa(1).token("k1", &claims);
    assert_eq!(verdict(&verifier, &jwt).await, Ok(()));
    endpoint.set(Answer::keys(&[Signer::rsa(0).jwk("k0")]));
    // Another's unknown key brings the new set in.
    clock.advance(Duration::from_secs(11));
    assert_eq!(
        verdict(&verifier, &Signer::rsa(2).token("k2", &claims)).await,
        Err(Kind::UnknownKey)
    );
    assert!(!is_remembered(&verifier, &jwt));
    assert_eq!(verdict(&verifier, &jwt).await, Err(Kind::UnknownKey));
}

#[tokio::test(start_paused = true)]
async fn another_key_under_the_same_id_does_not_revive_a_token() {
    let endpoint = Endpoint::new(both());
    let (verifier, clock) = world(&endpoint);
    let jwt = Signer::rsa(1).token("k1", &good_claims());
    assert_eq!(verdict(&verifier, &jwt).await, Ok(()));
    endpoint.set(Answer::keys(&[Signer::rsa(0).jwk("k1")]));
    clock.advance(Duration::from_secs(11));
    let other = Signer::rsa(2).token("k2", &good_claims());
    assert_eq!(verdict(&verifier, &other).await, Err(Kind::UnknownKey));
    assert_eq!(verdict(&verifier, &jwt).await, Err(Kind::BadSignature));
}

#[tokio::test(start_paused = true)]
async fn tokens_seen_before_still_drive_the_refresh() {
    let endpoint = Endpoint::new(Answer::Body(
        200,
        jwks(&[Signer::rsa(0).jwk("k0")]),
        vec![("cache-control", "max-age=300".into())],
    ));
    let (verifier, clock) = world(&endpoint);
    let jwt = good_token();
    for _ in 0..10 {
        assert_eq!(verdict(&verifier, &jwt).await, Ok(()));
        tokio::time::sleep(Duration::from_secs(15)).await;
        clock.advance(Duration::from_secs(299));
    }
    assert_eq!(endpoint.hits(), 10);
}

#[test]
fn a_policy_change_counts_from_the_next_token_on() {
    let (verifier, jwt) = (verifier(), good_token());
    let clone = verifier.clone();
    assert!(judge(&verifier, &jwt).is_ok());
    clone
        .set_policy(Policy::new([Principal::subject("2")]))
        .unwrap();
    assert_eq!(judge(&verifier, &jwt).unwrap_err(), Kind::NotAllowed);
    assert_eq!(
        clone.set_policy(Policy::default()),
        Err(BuildError::NoIdentityRule)
    );
    let other = Principal::subject("1").issued_by(&Issuer::iap());
    assert!(matches!(
        clone.set_policy(Policy::new([other])),
        Err(BuildError::Principal(_))
    ));
    assert_eq!(judge(&verifier, &jwt).unwrap_err(), Kind::NotAllowed);
    clone
        .set_policy(Policy::new([]).allow_if(|claims| claims.sub() == SUB))
        .unwrap();
    assert!(judge(&verifier, &jwt).is_ok());
}

#[test]
fn a_policy_change_under_load_drops_no_request() {
    let (verifier, jwt) = (verifier(), good_token());
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut count = 0_u32;
                    while !done.load(std::sync::atomic::Ordering::SeqCst) {
                        assert!(judge(&verifier, &jwt).is_ok());
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        for _ in 0..200 {
            verifier
                .set_policy(Policy::new([Principal::email(EMAIL)]))
                .unwrap();
            std::thread::yield_now();
        }
        done.store(true, std::sync::atomic::Ordering::SeqCst);
        assert!(callers.into_iter().all(|caller| caller.join().is_ok()));
    });
}

#[test]
fn bad_tokens_are_never_remembered() {
    let verifier = verifier();
    for jwt in [
        Signer::rsa(1).token("k0", &good_claims()),
        Signer::rsa(0).token("k0", &claims_with(&json!({"email": "x@y"}))),
        Signer::rsa(0).token("k0", &claims_with(&json!({"exp": 1}))),
        "a.b.c".to_owned(),
    ] {
        assert!(judge(&verifier, &jwt).is_err());
        assert!(
            verifier
                .inner
                .seen
                .get(&verifier.inner.seen.hash(jwt.as_bytes()).unwrap())
                .is_none()
        );
    }
}

#[test]
fn a_flipped_byte_of_a_remembered_token_is_refused() {
    let (verifier, jwt) = (verifier(), good_token());
    assert!(judge(&verifier, &jwt).is_ok());
    for index in 0..jwt.len() {
        let mut bytes = jwt.clone().into_bytes();
        bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
        let flipped = String::from_utf8(bytes).unwrap();
        assert!(judge(&verifier, &flipped).is_err(), "byte {index}");
    }
}

#[test]
fn it_can_be_switched_off() {
    let verifier = builder().remember_tokens(0).keys(keys()).build().unwrap();
    let jwt = good_token();
    assert!(judge(&verifier, &jwt).is_ok());
    assert!(judge(&verifier, &jwt).is_ok());
    assert!(verifier.inner.seen.hash(jwt.as_bytes()).is_none());
}
