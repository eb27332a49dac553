use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::support::{World, holds_jwt};

#[tokio::test]
async fn a_command_finds_it_and_its_code_is_passed_on() {
    let world = World::new().await;
    let me = env!("CARGO_BIN_EXE_idtoken");
    let script = format!(
        "test -z \"$GOOGLE_APPLICATION_CREDENTIALS\" && test \"$GCE_METADATA_HOST\" != {} && \
         {me} print -a x | {me} inspect --json && exit 7",
        world.google.host()
    );
    let run = world
        .idtoken("emulate --account me@shop.iam.gserviceaccount.com -- sh -c")
        .arg(&script)
        .env("GOOGLE_APPLICATION_CREDENTIALS", "/real.json");
    let ended = run.end().await;
    assert_eq!(ended.code, Some(7), "{ended:?}");
    assert_eq!(
        ended.json()["claims"]["email"],
        "me@shop.iam.gserviceaccount.com"
    );
}

#[tokio::test]
async fn a_command_that_verifies_is_told_where_the_keys_are() {
    let world = World::new().await;
    let me = env!("CARGO_BIN_EXE_idtoken");
    let script = format!(
        "{me} print -a x | {me} verify -a x --danger-any-google-identity --jwks-url $IDTOKEN_JWKS_URL"
    );
    let ended = world
        .idtoken("emulate -- sh -c")
        .arg(&script)
        .end()
        .await
        .ok();
    assert!(ended.stderr.contains("/oauth2/v3/certs"), "{ended:?}");
}

#[tokio::test]
async fn a_killed_command_is_told_as_shells_do() {
    let world = World::new().await;
    let run = world.idtoken("emulate -- sh -c").arg("kill -KILL $$");
    assert_eq!(run.end().await.code, Some(137));
}

#[tokio::test]
async fn commands_that_cannot_be_run() {
    let world = World::new().await;
    let absent = world.idtoken("emulate -- no-such-command-here").end().await;
    assert_eq!(absent.code, Some(127), "{absent:?}");
    world.home.write("text", "no program").unwrap();
    let text = world
        .idtoken("emulate --")
        .arg(world.path("text").to_str().unwrap());
    let text = text.end().await;
    assert_eq!(text.code, Some(126), "{text:?}");
}

#[tokio::test]
async fn a_real_metadata_server_is_not_hidden_unless_told() {
    let world = World::new().await;
    let real = |line: &str| {
        world
            .idtoken(line)
            .env("GCE_METADATA_HOST", "metadata.example")
    };
    let refused = real("emulate -- true").end().await.failed(41);
    assert!(
        refused.stderr.contains("--allow-shadowing"),
        "{}",
        refused.stderr
    );
    real("emulate --allow-shadowing -- true").end().await.ok();
}

#[tokio::test]
async fn alone_it_says_what_to_export_and_ends_when_told() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_idtoken"));
    let mut child = command
        .args(["emulate", "--json"])
        .env_clear()
        .env("METADATA_SERVER_DETECTION", "none")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap().unwrap();
    assert!(!holds_jwt(&line), "{line}");
    let told: serde_json::Value = serde_json::from_str(&line).unwrap();
    let home = told["env"]["CLOUDSDK_CONFIG"].as_str().unwrap().to_owned();
    assert!(std::path::Path::new(&home).exists());
    assert_eq!(
        told["url"],
        format!(
            "http://{}",
            told["env"]["GCE_METADATA_HOST"].as_str().unwrap()
        )
    );

    terminate(&child);
    assert!(child.wait().await.unwrap().success());
    assert!(
        !std::path::Path::new(&home).exists(),
        "the folder is left behind"
    );
}

#[tokio::test]
async fn a_termination_is_passed_on_to_the_command() {
    let script = "trap 'exit 9' TERM; echo ready; read wait";
    let mut child = Command::new(env!("CARGO_BIN_EXE_idtoken"))
        .args(["emulate", "--", "sh", "-c", script])
        .env("METADATA_SERVER_DETECTION", "none")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    // Holds it open, or the command would end by itself.
    let _stdin = child.stdin.take();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().unwrap(), "ready");
    terminate(&child);
    assert_eq!(child.wait().await.unwrap().code(), Some(9));
}

fn terminate(child: &Child) {
    let pid = rustix::process::Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
}
