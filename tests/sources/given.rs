//! Tokens that something else made, and gcloud.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use idtoken::clock::ManualClock;
use idtoken::source::{Gcloud, StaticToken, TokenFile, TokenVariable, from_fn};
use idtoken::{IdToken, SourceErrorKind, TokenCache, TokenErrorKind, TokenSource};
use idtoken_emulator::{Emulator, TokenRequest};

use crate::child;
use crate::support::{HELLO, assert_no_secret, audience, google};

#[tokio::test]
async fn a_given_token_serves_its_own_audience_only() {
    let google = google().await;
    let jwt = google.mint(&TokenRequest::new(HELLO));
    let tokens = TokenCache::new(StaticToken::new(&jwt).unwrap());
    tokens.handle(&audience(HELLO)).bearer().await.unwrap();
    let error = tokens
        .handle(&audience("other"))
        .bearer()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), idtoken::TokenErrorKind::WrongAudience);
}

#[tokio::test]
async fn a_token_file_is_read_at_each_fetch() {
    let google = google().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let source = TokenFile::new(&path);
    let error = source.fetch(&audience(HELLO)).await.unwrap_err();
    assert!(error.to_string().contains("cannot be read"), "{error}");
    fs::write(&path, "no token").unwrap();
    assert!(source.fetch(&audience(HELLO)).await.is_err());
    for _ in 0..2 {
        let jwt = google.mint(&TokenRequest::new(HELLO));
        fs::write(&path, format!("{jwt}\n")).unwrap();
        let token = source.fetch(&audience(HELLO)).await.unwrap();
        assert_eq!(token.bearer(), &format!("Bearer {jwt}"));
    }
}

#[tokio::test]
async fn a_variable_that_is_not_set_is_named() {
    let error = TokenVariable::new("IDTOKEN_NOT_SET")
        .fetch(&audience(HELLO))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Misconfigured);
    assert!(
        error.to_string().contains("IDTOKEN_NOT_SET is not set"),
        "{error}"
    );
    assert!(error.advice().is_some(), "{error}");
    // One that is set, and is no token.
    let error = TokenVariable::new("PATH")
        .fetch(&audience(HELLO))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("PATH holds no ID token"),
        "{error}"
    );
}

/// Not a test of its own: what the child below does.
#[tokio::test]
#[ignore = "run by the test below, in a process with the variable"]
async fn child_with_a_variable() {
    let token = TokenVariable::new("HELLO_ID_TOKEN");
    let token = token.fetch(&audience(HELLO)).await.unwrap();
    assert_eq!(token.claims().aud().collect::<Vec<_>>(), [HELLO]);
}

#[tokio::test]
async fn a_token_in_a_variable_is_taken_with_white_space_around_it() {
    let jwt = google().await.mint(&TokenRequest::new(HELLO));
    child::run("given::child_with_a_variable", |child| {
        child.env("HELLO_ID_TOKEN", format!(" {jwt}\n"));
    })
    .await;
}

/// Not a test of its own: what the child below does.
#[tokio::test]
#[ignore = "run by the test below, in a process with the variable"]
async fn child_with_an_old_variable() {
    let tokens = TokenCache::new(TokenVariable::new("HELLO_ID_TOKEN"));
    assert_ended(&tokens, "HELLO_ID_TOKEN holds a token that expired").await;
}

#[tokio::test]
async fn a_given_token_that_has_ended_says_so_and_not_the_clock() {
    let clock = ManualClock::starting_now();
    let google = Emulator::builder()
        .clock(clock.clone())
        .start()
        .await
        .unwrap();
    let jwt = google.mint(&TokenRequest::new(HELLO).lifetime(Duration::from_secs(60)));
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), &jwt).unwrap();
    let given = StaticToken::new(&jwt).unwrap().with_clock(clock.clone());
    let in_file = TokenFile::new(file.path()).with_clock(clock.clone());
    given.fetch(&audience(HELLO)).await.unwrap();
    in_file.fetch(&audience(HELLO)).await.unwrap();

    clock.advance(Duration::from_secs(59 + 3));
    let given = TokenCache::builder(given).clock(clock.clone()).build();
    assert_ended(&given, "the token expired 2 s ago and is not renewed").await;
    let in_file = TokenCache::builder(in_file).clock(clock).build();
    assert_ended(&in_file, "holds a token that expired 2 s ago").await;

    let old = TokenRequest::new(HELLO).lifetime(Duration::ZERO);
    let old = crate::support::google().await.mint(&old);
    child::run("given::child_with_an_old_variable", |child| {
        child.env("HELLO_ID_TOKEN", old);
    })
    .await;
}

async fn assert_ended(tokens: &TokenCache, words: &str) {
    let error = tokens.handle(&audience(HELLO)).bearer().await.unwrap_err();
    let kind = TokenErrorKind::Source(SourceErrorKind::Misconfigured);
    assert_eq!(error.kind(), kind);
    let error = error.source_error().unwrap();
    assert!(error.to_string().contains(words), "{error}");
    assert!(
        error.advice().is_some() && !error.to_string().contains("clock"),
        "{error}"
    );
}

#[tokio::test]
async fn a_closure_is_a_source() {
    let google = std::sync::Arc::new(google().await);
    let source = from_fn(move |audience| {
        let google = std::sync::Arc::clone(&google);
        async move {
            Ok(IdToken::new(
                &google.mint(&TokenRequest::new(audience.as_str())),
            )?)
        }
    });
    TokenCache::new(source)
        .handle(&audience(HELLO))
        .bearer()
        .await
        .unwrap();
}

/// Writes a script that stands in for gcloud.
fn stub(folder: &tempfile::TempDir, script: &str) -> String {
    let path = folder.path().join("gcloud");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_stub_of_gcloud_gets_one_argument_for_each_option_and_no_shell() {
    let google = google().await;
    let folder = tempfile::tempdir().unwrap();
    let hostile = "https://a.run.app/$(touch pwned);`id` --format=x";
    let jwt = google.mint(&TokenRequest::new(hostile));
    let seen = folder.path().join("seen");
    let script = format!("printf '%s\\n' \"$@\" > {}\necho {jwt}", seen.display());
    let source = Gcloud::new()
        .program(stub(&folder, &script))
        .impersonate("sa@p.iam");
    source.fetch(&audience(hostile)).await.unwrap();
    let seen = fs::read_to_string(seen).unwrap();
    let arguments: Vec<_> = seen.lines().collect();
    assert_eq!(
        arguments,
        [
            "auth",
            "print-identity-token",
            "--impersonate-service-account=sa@p.iam",
            "--include-email",
            &format!("--audiences={hostile}"),
            "--quiet",
        ],
    );
}

#[tokio::test]
async fn a_stub_of_gcloud_with_a_persons_token_is_taken_only_where_accepted() {
    let google = google().await;
    let folder = tempfile::tempdir().unwrap();
    let seen = folder.path().join("seen");
    let jwt = google.mint(&TokenRequest::new("32555940559.apps.googleusercontent.com"));
    let script = format!("printf '%s\\n' \"$@\" > {}\necho {jwt}", seen.display());
    let gcloud = Gcloud::new().program(stub(&folder, &script));
    let tokens = TokenCache::new(gcloud.clone());
    let error = tokens.handle(&audience(HELLO)).bearer().await.unwrap_err();
    assert_eq!(error.kind(), TokenErrorKind::WrongAudience);
    assert!(fs::read_to_string(&seen).unwrap().contains("--audiences"));

    let tokens = TokenCache::new(gcloud.danger_accept_client_audience());
    tokens.handle(&audience(HELLO)).bearer().await.unwrap();
    let seen = fs::read_to_string(seen).unwrap();
    assert_eq!(seen, "auth\nprint-identity-token\n--quiet\n");
}

#[tokio::test]
async fn a_stub_of_gcloud_that_fails_has_its_words_surfaced() {
    let folder = tempfile::tempdir().unwrap();
    let words = "ERROR: Invalid account type for `--audiences`. Requires valid service account.";
    let script = format!("cat >&2 <<'END'\n{words}\nEND\nexit 1");
    let source = Gcloud::new().program(stub(&folder, &script));
    let error = source.fetch(&audience(HELLO)).await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Refused);
    assert!(
        error.to_string().contains("Requires valid service account"),
        "{error}"
    );
    assert!(error.advice().unwrap().contains("impersonate"), "{error}");
}

#[tokio::test]
async fn a_stub_of_gcloud_that_hangs_or_babbles_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let source = Gcloud::new().program(stub(&folder, "exec sleep 600"));
    let source = source.timeout(Duration::from_millis(200));
    let error = source.fetch(&audience(HELLO)).await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Transient);
    assert!(error.to_string().contains("killed"), "{error}");

    let source = Gcloud::new().program(stub(&folder, "head -c 70000 /dev/zero | tr '\\0' x"));
    let error = source.fetch(&audience(HELLO)).await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::InvalidAnswer);
    assert!(error.to_string().contains("64 KiB"), "{error}");
    assert_no_secret(&error);

    let error = Gcloud::new()
        .program("/nonexistent/gcloud")
        .fetch(&audience(HELLO))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Misconfigured);
    assert!(error.advice().unwrap().contains("PATH"), "{error}");
}

/// Reads the number that a process has left behind, and whether it is there still.
#[cfg(target_os = "linux")]
fn is_running(pid_file: &std::path::Path) -> bool {
    let pid = fs::read_to_string(pid_file).unwrap();
    // Killed, but not yet waited for, is not running.
    fs::read_to_string(format!("/proc/{}/stat", pid.trim()))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap().trim().starts_with('Z'))
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_program_and_its_children_are_gone_after_the_timeout() {
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    let script = format!(
        "sleep 600 &\necho $! > {0}.new && mv {0}.new {0}\nwait",
        pid.display()
    );
    let program = stub(&folder, &script);
    let gcloud = || Gcloud::new().program(&program);
    let audience = audience(HELLO);
    let until_gone = async || {
        while is_running(&pid) {
            tokio::task::yield_now().await;
        }
    };
    let error = gcloud()
        .timeout(Duration::from_secs(3))
        .fetch(&audience)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("killed"), "{error}");
    let patience = Duration::from_secs(10);
    tokio::time::timeout(patience, until_gone())
        .await
        .expect("its child is killed too");

    // A caller that loses interest ends it as well.
    fs::remove_file(&pid).unwrap();
    let source = gcloud();
    let mut fetch = Box::pin(source.fetch(&audience));
    while !pid.exists() {
        let soon = tokio::time::timeout(Duration::from_millis(1), &mut fetch);
        soon.await.expect_err("it does not end by itself");
    }
    assert!(is_running(&pid));
    drop(fetch);
    tokio::time::timeout(patience, until_gone())
        .await
        .expect("and when it is dropped");
}

#[tokio::test]
async fn an_audience_that_gcloud_would_take_for_two_is_refused() {
    let error = Gcloud::new().fetch(&audience("a,b")).await.unwrap_err();
    assert!(error.to_string().contains("comma"), "{error}");
}
