use std::time::Duration;

use idtoken::Clock as _;
use idtoken_emulator::{SigningKey, TokenRequest};

use crate::support::{Ended, SERVICE, World};

async fn verify(world: &World, token: &str, rest: &str) -> Ended {
    let line = format!(
        "verify -a {SERVICE} --jwks-url {} {rest}",
        world.google.jwks_url()
    );
    world.idtoken(&line).stdin(token).end().await
}

const CALLER: &str = "default@emulated-project.iam.gserviceaccount.com";

#[tokio::test]
async fn every_check_is_told() {
    let world = World::new().await;
    let token = world.google.mint(&TokenRequest::new(SERVICE));
    let ended = verify(&world, &token, &format!("--allow {CALLER}"))
        .await
        .ok();
    for check in ["signature", "iss", "aud", "exp", "identity"] {
        let line = format!("pass  {check}");
        assert!(ended.stdout.contains(&line), "{line}: {}", ended.stdout);
    }
    assert!(ended.stdout.ends_with(&format!("accepted: {CALLER}\n")));
}

#[tokio::test]
async fn what_fails_is_told_with_its_code() {
    let world = World::new().await;
    let allow = format!("--allow {CALLER}");
    let base = || TokenRequest::new(SERVICE);
    let long_ago = world.google.clock().now() - Duration::from_secs(7_200);
    for (request, allow, check, code) in [
        (base().issued_at(long_ago), &*allow, "exp", 20),
        (base().key(SigningKey::Unknown), &*allow, "key", 20),
        (TokenRequest::new("other"), &*allow, "aud", 20),
        (base(), "--allow sub:1", "identity", 21),
        (base(), "--allow domain:example.com", "identity", 21),
    ] {
        let ended = verify(&world, &world.google.mint(&request), allow)
            .await
            .failed(code);
        assert!(
            ended.stdout.contains(&format!("FAIL  {check}")),
            "{}",
            ended.stdout
        );
        assert!(!ended.stdout.contains("\naccepted"), "{}", ended.stdout);
    }
}

#[tokio::test]
async fn json_for_programs() {
    let world = World::new().await;
    let token = world.google.mint(&TokenRequest::new(SERVICE));
    let rest = "--danger-any-google-identity --json";
    let json = verify(&world, &token, rest).await.ok().json();
    assert_eq!(json["accepted"], true);
    assert_eq!(json["claims"]["email"], CALLER);

    let refused = verify(&world, &token, "--allow sub:1 --json")
        .await
        .failed(21);
    assert_eq!(refused.json()["accepted"], false);
    assert_eq!(refused.json()["status"], 403);
    assert_eq!(refused.error()["kind"], "not-allowed");
}

#[tokio::test]
async fn an_identity_rule_is_not_optional() {
    let world = World::new().await;
    let token = world.google.mint(&TokenRequest::new(SERVICE));
    let ended = verify(&world, &token, "").await.failed(2);
    assert!(ended.stderr.contains("--allow"), "{}", ended.stderr);
}
