//! What bad weather at start costs the first request, in real time.

#![allow(clippy::unwrap_used, reason = "a failed test is what it is for")]

use std::time::Duration;

use idtoken::source::MetadataServer;
use idtoken::{Audience, TokenCache, TokenErrorKind};
use idtoken_emulator::{Emulator, Endpoint, Fault};
use tokio::time::Instant;

fn metadata(google: &Emulator) -> MetadataServer {
    MetadataServer::builder()
        .host(google.host())
        .build()
        .unwrap()
}

fn hello() -> Audience {
    Audience::new("https://hello-abc.a.run.app").unwrap()
}

#[tokio::test]
async fn a_single_503_at_start_costs_less_than_300_ms() {
    let google = Emulator::start().await.unwrap();
    // The client's connector and the emulator's keys are made at first use: not what is measured.
    let tokens = TokenCache::new(metadata(&google));
    tokens
        .warm([&Audience::new("other").unwrap()])
        .await
        .unwrap();
    google.fail_times(Endpoint::Identity, 1, Fault::Status(503));
    let start = Instant::now();
    tokens.handle(&hello()).bearer().await.unwrap();
    let took = start.elapsed();
    assert!(took < Duration::from_millis(300), "{took:?}");
    assert_eq!(google.hits(Endpoint::Identity), 3);
}

#[tokio::test]
async fn a_metadata_server_that_never_answers_costs_the_fetch_timeout_and_no_more() {
    let google = Emulator::start().await.unwrap();
    google.fail(Endpoint::Identity, Fault::Hang);
    let limit = Duration::from_millis(400);
    let tokens = TokenCache::builder(metadata(&google))
        .fetch_timeout(limit)
        .build();
    let start = Instant::now();
    let error = tokens.handle(&hello()).bearer().await.unwrap_err();
    let took = start.elapsed();
    assert_eq!(error.kind(), TokenErrorKind::Timeout);
    assert!(took >= limit && took < limit * 2, "{took:?}");
}
