//! The calling side, whole: real sockets, real keys, the emulator in Google's place.

#![allow(clippy::unwrap_used, reason = "a failed test is what it is for")]

use std::sync::Arc;
use std::time::Duration;

use idtoken::clock::ManualClock;
use idtoken::source::{MetadataServer, ServiceAccountKey};
use idtoken::{
    Audience, IdToken, SourceErrorKind, TokenCache, TokenErrorKind, TokenSource, UnverifiedClaims,
};
use idtoken_emulator::{Emulator, Endpoint, Fault, Gate};

fn audience(text: &str) -> Audience {
    Audience::new(text).unwrap()
}

const HELLO: &str = "https://hello-abc.a.run.app";

fn metadata(google: &Emulator) -> MetadataServer {
    MetadataServer::builder()
        .host(google.host())
        .try_timeout(Duration::from_millis(250))
        .total_timeout(Duration::from_secs(2))
        .build()
        .unwrap()
}

fn key_source(google: &Emulator, email: &str) -> ServiceAccountKey {
    ServiceAccountKey::from_json(&google.key_file(email)).unwrap()
}

#[tokio::test]
async fn metadata_tokens_name_audience_and_account() {
    let google = Emulator::start().await.unwrap();
    for text in [
        HELLO,
        "a&format=standard",
        "with space + plus",
        "grüße?#",
        "42",
    ] {
        let token = metadata(&google).fetch(&audience(text)).await.unwrap();
        assert_eq!(token.claims().aud().collect::<Vec<_>>(), [text]);
        assert_eq!(
            token.claims().email(),
            Some(google.default_account().email())
        );
    }
    let request = &google.requests(Endpoint::Identity)[1];
    assert_eq!(request.headers()["metadata-flavor"], "Google");
    assert_eq!(
        request.query("audience").as_deref(),
        Some("a&format=standard")
    );
    assert!(!request.headers().contains_key("x-forwarded-for"));
}

#[tokio::test]
async fn a_key_file_is_exchanged_for_a_token_that_names_its_account() {
    let google = Emulator::start().await.unwrap();
    let source = key_source(&google, "batch@shop.iam.gserviceaccount.com");
    let token = source.fetch(&audience(HELLO)).await.unwrap();
    assert_eq!(
        token.claims().email(),
        Some("batch@shop.iam.gserviceaccount.com")
    );
    assert_eq!(token.claims().aud().collect::<Vec<_>>(), [HELLO]);
    assert_eq!(google.hits(Endpoint::Token), 1);
}

#[tokio::test]
async fn a_revoked_key_is_refused_with_googles_words_and_advice() {
    let google = Emulator::start().await.unwrap();
    let source = key_source(&google, "batch@shop.iam.gserviceaccount.com");
    google.revoke_keys("batch@shop.iam.gserviceaccount.com");
    let error = source.fetch(&audience(HELLO)).await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Refused);
    assert_eq!(error.code(), Some("invalid_grant"));
    assert!(error.advice().is_some(), "{error}");
    assert_eq!(
        google.hits(Endpoint::Token),
        1,
        "a refusal is not tried again"
    );
}

#[tokio::test]
async fn a_clock_that_is_off_is_refused_with_advice_on_the_clock() {
    let google = Emulator::start().await.unwrap();
    let clock = ManualClock::starting_now();
    clock.advance(Duration::from_secs(86_400));
    let source = key_source(&google, "batch@shop.iam.gserviceaccount.com").with_clock(clock);
    let error = source.fetch(&audience(HELLO)).await.unwrap_err();
    assert!(
        error
            .advice()
            .is_some_and(|advice| advice.contains("clock")),
        "{error}"
    );
}

#[tokio::test]
async fn transient_faults_are_ridden_out() {
    for fault in [
        Fault::Status(503),
        Fault::Status(500),
        Fault::Status(429),
        Fault::Reset,
        Fault::Truncated,
        Fault::Hang,
    ] {
        let google = Emulator::start().await.unwrap();
        google.fail_times(Endpoint::Identity, 2, fault.clone());
        let token = metadata(&google).fetch(&audience(HELLO)).await;
        assert!(token.is_ok(), "metadata server, {fault:?}: {token:?}");

        google.fail_times(Endpoint::Token, 2, fault.clone());
        let source = key_source(&google, "batch@shop.iam.gserviceaccount.com")
            .with_timeouts(Duration::from_millis(250), Duration::from_secs(2));
        let token = source.fetch(&audience(HELLO)).await;
        assert!(token.is_ok(), "token endpoint, {fault:?}: {token:?}");
        assert_eq!(google.hits(Endpoint::Token), 3, "{fault:?}");
    }
}

#[tokio::test]
async fn answers_that_make_no_sense_are_errors_and_not_tried_again() {
    for fault in [
        Fault::Garbage,
        Fault::Empty,
        Fault::Oversized(64 * 1024 + 1),
        Fault::NoFlavor,
        Fault::Redirect("http://127.0.0.1:9/".into()),
        Fault::Body("not.a.token".into()),
    ] {
        let google = Emulator::start().await.unwrap();
        google.fail(Endpoint::Identity, fault.clone());
        let error = metadata(&google).fetch(&audience(HELLO)).await.unwrap_err();
        assert_ne!(
            error.kind(),
            SourceErrorKind::Transient,
            "{fault:?}: {error}"
        );
        assert_eq!(google.hits(Endpoint::Identity), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn a_server_that_hangs_costs_the_total_timeout() {
    let google = Emulator::start().await.unwrap();
    google.fail(Endpoint::Identity, Fault::Hang);
    let error = metadata(&google).fetch(&audience(HELLO)).await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Transient);
    assert!(error.to_string().contains("no answer within"), "{error}");
    assert!(error.tries() > 1, "{error}");
}

#[tokio::test]
async fn nobody_home_is_transient_and_says_where() {
    let google = Emulator::start().await.unwrap();
    let source = metadata(&google);
    let host = google.host().to_owned();
    drop(google);
    let error = source.fetch(&audience(HELLO)).await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Transient);
    assert_eq!(error.endpoint(), Some(host.as_str()));
}

#[tokio::test]
async fn no_account_attached_is_said_so() {
    let google = Emulator::start().await.unwrap();
    google.detach();
    let error = metadata(&google).fetch(&audience(HELLO)).await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Refused);
    assert!(
        error.to_string().contains("attach a service account"),
        "{error}"
    );
}

#[tokio::test]
async fn a_thousand_cold_callers_make_one_request() {
    let google = Emulator::start().await.unwrap();
    let gate = Gate::new();
    google.fail_times(Endpoint::Identity, 1, Fault::Hold(gate.clone()));
    let source = MetadataServer::builder()
        .host(google.host())
        .build()
        .unwrap();
    let tokens = TokenCache::new(source);
    let callers: Vec<_> = (0..1000)
        .map(|_| {
            let handle = tokens.handle(&audience(HELLO));
            tokio::spawn(async move { handle.bearer().await })
        })
        .collect();
    google.reached(Endpoint::Identity, 1).await;
    gate.open();
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
    assert_eq!(google.hits(Endpoint::Identity), 1);
}

#[tokio::test]
async fn a_token_for_another_audience_or_one_that_expired_is_not_handed_out() {
    for (fault, kind) in [
        (Fault::WrongAudience, TokenErrorKind::WrongAudience),
        (Fault::ExpiredToken, TokenErrorKind::Clock),
    ] {
        let google = Emulator::start().await.unwrap();
        google.fail(Endpoint::Identity, fault);
        let handle = TokenCache::new(metadata(&google)).handle(&audience(HELLO));
        let error = handle.bearer().await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(handle.try_bearer().is_none());
    }
}

#[tokio::test]
async fn the_same_clock_moves_emulator_and_cache_through_a_day() {
    let clock = ManualClock::starting_now();
    let google = Emulator::builder()
        .clock(clock.clone())
        .start()
        .await
        .unwrap();
    let tokens = TokenCache::builder(metadata(&google))
        .clock(clock.clone())
        .build();
    let handle = tokens.handle(&audience(HELLO));
    let mut last = None;
    let mut changes = 0;
    for _ in 0..24 * 60 {
        let bearer = handle.bearer().await.unwrap();
        let jwt = bearer
            .to_str()
            .unwrap()
            .strip_prefix("Bearer ")
            .unwrap()
            .to_owned();
        let expires = UnverifiedClaims::read_without_verifying(&jwt)
            .unwrap()
            .exp()
            .unwrap();
        assert!(
            expires > idtoken::Clock::now(&clock),
            "an expired token was handed out"
        );
        changes += u32::from(last.replace(jwt.clone()).is_some_and(|last| last != jwt));
        clock.advance(Duration::from_secs(60));
    }
    assert!((22..30).contains(&changes), "{changes} tokens in a day");
    assert!(
        google.hits(Endpoint::Identity) < 60,
        "{}",
        google.hits(Endpoint::Identity)
    );
}

#[tokio::test]
async fn an_outage_in_the_refresh_window_goes_unseen() {
    let clock = ManualClock::starting_now();
    let google = Emulator::builder()
        .clock(clock.clone())
        .start()
        .await
        .unwrap();
    let source = MetadataServer::builder()
        .host(google.host())
        .try_timeout(Duration::from_millis(50))
        .total_timeout(Duration::from_millis(100))
        .build()
        .unwrap();
    let tokens = TokenCache::builder(source).clock(clock.clone()).build();
    let handle = tokens.handle(&audience(HELLO));
    let old = handle.bearer().await.unwrap();
    google.fail(Endpoint::Identity, Fault::Status(503));
    clock.advance(Duration::from_secs(3600 - 100));
    assert_eq!(handle.bearer().await.unwrap(), old);
    google.reached(Endpoint::Identity, 2).await;
    assert_eq!(handle.bearer().await.unwrap(), old);
}

#[tokio::test]
async fn a_user_written_source_works() {
    struct Canned(Arc<Emulator>);
    impl TokenSource for Canned {
        async fn fetch(&self, audience: &Audience) -> Result<IdToken, idtoken::SourceError> {
            let request = idtoken_emulator::TokenRequest::new(audience.as_str());
            Ok(IdToken::new(&self.0.mint(&request))?)
        }
    }
    let google = Arc::new(Emulator::start().await.unwrap());
    let tokens = TokenCache::new(Canned(Arc::clone(&google)));
    tokens.handle(&audience(HELLO)).bearer().await.unwrap();
    assert_eq!(google.hits(Endpoint::Identity), 0);
}
