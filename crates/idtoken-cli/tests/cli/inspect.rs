use std::time::{Duration, SystemTime};

use idtoken_emulator::TokenRequest;

use crate::support::{SERVICE, World};

#[tokio::test]
async fn what_a_token_says_and_that_nothing_was_verified() {
    let world = World::new().await;
    let token = world
        .google
        .mint(&TokenRequest::new(SERVICE).lifetime(Duration::from_secs(2_490)));
    let shown = world
        .idtoken("inspect")
        .stdin(token)
        .end()
        .await
        .ok()
        .stdout;
    assert!(shown.starts_with("NOT VERIFIED"), "{shown}");
    for part in [
        "RS256",
        SERVICE,
        "expires in 41 min",
        "service account default@emulated-project.iam.gserviceaccount.com",
        "256 bytes, not shown",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[tokio::test]
async fn times_are_local() {
    let world = World::new().await;
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let token = world.google.mint(&TokenRequest::new(SERVICE).issued_at(at));
    let run = world
        .idtoken("inspect")
        .env("TZ", "Asia/Kolkata")
        .stdin(token);
    let shown = run.end().await.ok().stdout;
    assert!(shown.contains("2023-11-15 03:43:20 +05:30"), "{shown}");
    assert!(shown.contains("EXPIRED"), "{shown}");
}

#[tokio::test]
async fn json_for_programs() {
    let world = World::new().await;
    let token = world.google.mint(&TokenRequest::new("my-api"));
    let json = world
        .idtoken("inspect --json -")
        .stdin(token)
        .end()
        .await
        .ok()
        .json();
    assert_eq!(json["verified"], false);
    assert_eq!(json["signature"], "not shown");
    assert_eq!(json["claims"]["aud"], "my-api");
    assert_eq!(json["header"]["alg"], "RS256");
    assert_eq!(json["expired"], false);
}

#[tokio::test]
async fn a_stripped_signature_is_recognised() {
    let world = World::new().await;
    let token = world.google.mint(&TokenRequest::new("my-api"));
    let (signed, _) = token.rsplit_once('.').unwrap();
    let run = world
        .idtoken("inspect")
        .stdin(format!("{signed}.SIGNATURE_REMOVED_BY_GOOGLE"));
    let shown = run.end().await.ok().stdout;
    assert!(shown.contains("removed by Google's front end"), "{shown}");
}

#[tokio::test]
async fn claims_cannot_steer_a_terminal() {
    let world = World::new().await;
    let token = TokenRequest::new("my-api").claim("note", "\u{1b}[2J\u{202e}gone");
    let token = world.google.mint(&token);
    let shown = world
        .idtoken("inspect")
        .stdin(token)
        .end()
        .await
        .ok()
        .stdout;
    assert!(
        !shown.contains('\u{1b}') && !shown.contains('\u{202e}'),
        "{shown}"
    );
    assert!(shown.contains("\\u{1b}[2J"), "{shown}");
}
