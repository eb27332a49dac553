//! Google's own Python client against the emulator, and our verifier on the tokens it was given.
//!
//! `IDTOKEN_PYTHON` names an interpreter that has the packages of `tests/interop/requirements.txt`;
//! without it nothing is run, and the output says so. `tests/interop/run` makes one.

#![allow(clippy::unwrap_used, reason = "a failed test is what it is for")]

use std::ffi::OsString;
use std::io::Write;
use std::time::Duration;

use idtoken::{Principal, Verifier};
use idtoken_emulator::{Emulator, Endpoint};
use serde_json::Value;
use tokio::process::Command;

#[tokio::test]
async fn google_auth_gets_tokens_that_it_and_we_accept() {
    let Some(python) = interpreter() else {
        println!("IDTOKEN_PYTHON is not set: google-auth: 0 tokens");
        return;
    };
    let google = Emulator::start().await.unwrap();
    google.attach(ATTACHED);
    let report = run_google_auth(&google, python).await;
    assert_eq!(google.hits(Endpoint::Identity), 1);
    assert_eq!(google.hits(Endpoint::Token), 1);

    let verifier = Verifier::builder()
        .audience(AUDIENCE)
        .allow(Principal::service_account(ATTACHED))
        .allow(Principal::service_account(KEY_OWNER))
        .jwks_url(google.jwks_url())
        .build()
        .unwrap();
    for (exchange, email) in [("metadata", ATTACHED), ("key_file", KEY_OWNER)] {
        for form in ["jwks", "pem"] {
            assert_eq!(report[exchange]["emails"][form], email, "{exchange} {form}");
        }
        let token = report[exchange]["token"].as_str().unwrap();
        let claims = verifier.verify(token).await.unwrap();
        assert_eq!(claims.email(), Some(email), "{exchange}");
    }
    println!("google-auth: 2 tokens fetched, each verified by JWKS, by PEM and by us");
}

/// What the script prints: for each exchange the token, and the e-mail address it verified.
async fn run_google_auth(google: &Emulator, python: OsString) -> Value {
    let mut key_file = tempfile::NamedTempFile::new().unwrap();
    key_file
        .write_all(google.key_file(KEY_OWNER).as_bytes())
        .unwrap();
    let child = Command::new(python)
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/interop/google_auth.py"
        ))
        .env_remove("GOOGLE_APPLICATION_CREDENTIALS")
        .envs(google.env())
        .env("INTEROP_AUDIENCE", AUDIENCE)
        .env("INTEROP_JWKS_URL", google.jwks_url())
        .env("INTEROP_KEY_FILE", key_file.path())
        .env("INTEROP_PEM_URL", google.pem_url())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_secs(60), child)
        .await
        .expect("the script took more than a minute")
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[allow(
    clippy::disallowed_methods,
    reason = "says whether and with what to run"
)]
fn interpreter() -> Option<OsString> {
    std::env::var_os("IDTOKEN_PYTHON")
}

const ATTACHED: &str = "frontend@shop.iam.gserviceaccount.com";
const KEY_OWNER: &str = "batch@shop.iam.gserviceaccount.com";
/// With what must be escaped on its way to the metadata server.
const AUDIENCE: &str = "https://hello-abc.a.run.app/?tenant=a&b=c#d";
