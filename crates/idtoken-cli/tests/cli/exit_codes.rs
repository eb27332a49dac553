//! One way to each code; a change here is a break of the interface.

use std::time::Duration;

use idtoken::clock::ManualClock;
use idtoken_emulator::{Emulator, Endpoint, Fault, TokenRequest};

use crate::support::{SERVICE, World};

#[tokio::test]
async fn wrong_words_are_2() {
    let world = World::new().await;
    for line in [
        "explode",
        "print",
        "print --audience",
        "print -a x --source nowhere",
        "print -a x --timeout 0",
        "verify -a x --allow nobody",
        "verify -a x --danger-any-google-identity --issuer me",
        "proxy --upstream http://hello.example",
        "proxy --upstream https://hello.example/path",
        "proxy --upstream https://hello.example --listen 0.0.0.0:0",
        "proxy --upstream https://hello.example --header transfer-encoding",
        "emulate --port 70000",
    ] {
        let ended = world.idtoken(line).end().await.failed(2);
        assert!(
            ended.stderr.starts_with("idtoken: "),
            "{line}: {}",
            ended.stderr
        );
        assert_eq!(ended.stdout, "", "{line}");
        let ended = world
            .idtoken(&format!("{line} --json"))
            .end()
            .await
            .failed(2);
        assert_eq!(ended.error()["exit_code"], 2, "{line}");
    }
}

/// The scan in `Run::end` looks at both outputs.
#[tokio::test]
async fn a_token_in_the_wrong_place_is_not_repeated() {
    let world = World::new().await;
    let token = world.google.mint(&TokenRequest::new("x"));
    for (line, code) in [
        (format!("inspect Bearer {token}"), 2),
        (token.clone(), 2),
        (format!("verify -a x --allow {token}"), 2),
        (format!("verify -a {token} --allow Bearer={token}"), 2),
        (format!("doctor --{token}"), 2),
        (format!("print -a x --source file:{token}"), 3),
        (format!("emulate --config {token}"), 3),
        (format!("emulate -- {token}"), 126),
        (format!("proxy --upstream https://{token}"), 2),
    ] {
        for line in [format!("--json {line}"), line] {
            let ended = world.idtoken(&line).end().await;
            assert_eq!(ended.code, Some(code), "{ended:?}");
            assert!(ended.stderr.contains("[redacted]"), "{ended:?}");
        }
    }
    let line = format!("verify -a x --danger-any-google-identity --jwks-url {token}");
    let ended = world.idtoken(&line).stdin(token).end().await;
    assert_ne!(ended.code, Some(0));
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_3() {
    let world = World::new().await;
    let ended = world
        .idtoken("print -a x --source file:absent.json")
        .end()
        .await
        .failed(3);
    assert!(ended.stderr.contains("absent.json"), "{}", ended.stderr);
}

#[tokio::test]
async fn what_is_no_token_is_4() {
    let world = World::new().await;
    for (text, told) in [
        ("", "there is no token"),
        ("ya29.a0Af", "an OAuth access token"),
        ("{\"a\": 1}", "JSON"),
        ("a.b.c.d.e", "encrypted"),
        ("a.b", "no ID token"),
    ] {
        let ended = world.idtoken("inspect").stdin(text).end().await.failed(4);
        assert!(ended.stderr.contains(told), "{text}: {}", ended.stderr);
    }
    let much = "x".repeat(70_000);
    world.idtoken("inspect").stdin(much).end().await.failed(4);
}

#[tokio::test]
async fn no_credentials_are_10() {
    let world = World::new().await;
    let mut run = world
        .idtoken("print -a x")
        .env("METADATA_SERVER_DETECTION", "none");
    for name in ["GCE_METADATA_HOST", "GCE_METADATA_IP", "GCE_METADATA_ROOT"] {
        run = run.env_remove(name);
    }
    run.end().await.failed(10);
    world
        .home
        .write("odd.json", "{\"type\": \"gdch_service_account\"}")
        .unwrap();
    world
        .idtoken("print -a x --source file:odd.json")
        .end()
        .await
        .failed(10);
}

#[tokio::test]
async fn a_missing_grant_is_11() {
    let world = World::new().await;
    let url = world.google.url();
    let line = format!("print -a x --impersonate b@p.iam.gserviceaccount.com --iam-endpoint {url}");
    let ended = world
        .idtoken(&format!("{line} --json"))
        .end()
        .await
        .failed(11);
    assert_eq!(ended.error()["kind"], "refused");
}

#[tokio::test]
async fn nobody_there_is_12() {
    let world = World::new().await;
    let run = world.idtoken("print -a x --timeout 1");
    run.env("GCE_METADATA_HOST", "127.0.0.1:1")
        .end()
        .await
        .failed(12);
}

#[tokio::test]
async fn an_answer_that_is_no_token_is_13() {
    let world = World::new().await;
    world.google.fail(Endpoint::Identity, Fault::WrongAudience);
    world.idtoken("print -a x").end().await.failed(13);
    world
        .google
        .fail(Endpoint::Identity, Fault::Body("hello".to_owned()));
    world.idtoken("print -a x").end().await.failed(13);
}

#[tokio::test]
async fn clocks_that_disagree_are_14() {
    let clock = ManualClock::starting_now();
    clock.step_back(Duration::from_secs(7_200));
    let google = Emulator::builder().clock(clock).start().await.unwrap();
    let world = World::around(google);
    world.idtoken("print -a x").end().await.failed(14);
}

#[tokio::test]
async fn keys_that_cannot_be_had_are_22() {
    let world = World::new().await;
    let token = world.google.mint(&TokenRequest::new("x"));
    world.google.fail(Endpoint::Jwks, Fault::Status(404));
    let keys = world.google.jwks_url();
    let line = format!("verify -a x --danger-any-google-identity --jwks-url {keys}");
    world.idtoken(&line).stdin(token).end().await.failed(22);
}

#[tokio::test]
async fn a_refused_call_is_31() {
    let world = World::new().await;
    // This part of a metadata server turns away whoever does not say that it means one.
    let refusing = format!("{}/computeMetadata/v1/", world.google.url());
    let keys = world.google.jwks_url();
    let line = format!("doctor -a {SERVICE} --call --url {refusing} --jwks-url {keys}");
    let ended = world.idtoken(&line).end().await.failed(31);
    assert!(
        ended.stdout.contains("FAIL  call         status 403"),
        "{}",
        ended.stdout
    );
}

#[tokio::test]
async fn an_address_in_use_is_40() {
    let world = World::new().await;
    let taken = world.google.host();
    let (_, port) = taken.split_once(':').unwrap();
    world
        .idtoken(&format!("emulate --port {port}"))
        .end()
        .await
        .failed(40);
    let line = format!("proxy --upstream {SERVICE} --listen {taken}");
    world.idtoken(&line).end().await.failed(40);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn output_that_cannot_be_written_is_1() {
    let world = World::new().await;
    let line = format!(
        "emulate -- sh -c '{} exit-codes >/dev/full'",
        env!("CARGO_BIN_EXE_idtoken")
    );
    let (flags, script) = line.split_once('\'').unwrap();
    let run = world.idtoken(flags).arg(script.trim_end_matches('\''));
    assert_eq!(run.end().await.code, Some(1));
}
