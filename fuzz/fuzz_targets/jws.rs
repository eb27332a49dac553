//! Any text for a token: nothing may panic, nothing may be accepted, and whatever explains the
//! refusal must name the same fault as the verdict.
#![no_main]

use std::future::Future;
use std::pin::pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use idtoken::clock::ManualClock;
use idtoken::verify::Algorithm;
use idtoken::{Issuer, KeySet, UnverifiedClaims, Verifier};
use libfuzzer_sys::fuzz_target;

const KEYS: &[u8] = br#"{"keys":[{
    "kty":"EC","crv":"P-256","alg":"ES256","use":"sig","kid":"mpf0DA",
    "x":"fHEdeT3a6KaC1kbwov73ZwB_SiUHEyKQwUUtMCEn0aI",
    "y":"QWOjwPhInNuPlqjxLQyhveXpWqOFcQPhZ3t-koMNbZI"
}]}"#;

static NOW: LazyLock<SystemTime> =
    LazyLock::new(|| SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000));

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let issuer = Issuer::google()
        .with_algorithm(Algorithm::Es256)
        .with_keys(KeySet::from_json(KEYS).expect("a good key set"));
    Verifier::builder()
        .audience("a")
        .issuer(issuer)
        .danger_any_google_identity()
        .clock(ManualClock::new(*NOW))
        .build()
        .expect("a whole builder")
});

fuzz_target!(|text: &str| {
    // Nobody has the private half of the key, so a token that passes is a find.
    let verify = pin!(VERIFIER.verify(text));
    let Poll::Ready(verdict) = verify.poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("waits although its keys are fixed");
    };
    let error = verdict.expect_err("a forged token was accepted");
    let explanation = VERIFIER.explain(text, *NOW);
    assert_eq!(explanation.failure(), Some(error.kind()), "{explanation}");
    if let Ok(claims) = UnverifiedClaims::read_without_verifying(text) {
        let _ = (claims.sub(), claims.exp(), claims.aud().count());
        let _ = claims.get::<serde_json::Value>("google");
    }
});
