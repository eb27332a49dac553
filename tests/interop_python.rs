//! Google's own Python client against the emulator, and our verifier on the tokens it was given.
//!
//! `IDTOKEN_PYTHON` names an interpreter that has the packages of `tests/interop/requirements.txt`;
//! without it nothing is run, and the output says so. `tests/interop/run` makes one.

#![allow(clippy::unwrap_used, reason = "a failed test is what it is for")]

use std::ffi::OsString;
use std::io::Write;
use std::time::Duration;

use idtoken::{Principal, Verifier};
use idtoken_emulator::{Emulator, Endpoint, SigningKey, TokenRequest};
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

/// Mutated tokens before both: what we accept google-auth must accept.
#[tokio::test]
async fn no_token_is_accepted_by_us_that_google_auth_refuses() {
    let Some(python) = interpreter() else {
        println!("IDTOKEN_PYTHON is not set: google-auth judged 0 tokens");
        return;
    };
    let google = Emulator::start().await.unwrap();
    let verifier = Verifier::builder()
        .audience(AUDIENCE)
        .danger_any_google_identity()
        .jwks_url(google.jwks_url())
        // It has none by default, so with ours a token just past its end would differ.
        .leeway(Duration::ZERO)
        .build()
        .unwrap();
    let tokens = mutated(&google, &mut fastrand::Rng::with_seed(SEED));
    let mut ours = String::new();
    for token in &tokens {
        ours.push(if verifier.verify(token).await.is_ok() {
            '1'
        } else {
            '0'
        });
    }
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(tokens.join("\n").as_bytes()).unwrap();
    let mut command = script(&google, python);
    command.env("INTEROP_TOKENS", file.path());
    let theirs = String::from_utf8(finished(&mut command).await).unwrap();
    let theirs = theirs.trim_end();
    assert_eq!(ours.len(), theirs.len(), "a verdict for each token");

    let count = |us: char, them: char| {
        ours.chars()
            .zip(theirs.chars())
            .filter(|verdict| *verdict == (us, them))
            .count()
    };
    println!(
        "google-auth judged {} tokens: {} accepted by both, {} refused by both, {} refused by us \
         alone, {} accepted by us alone",
        tokens.len(),
        count('1', '1'),
        count('0', '0'),
        count('0', '1'),
        count('1', '0'),
    );
    assert_eq!(count('1', '0'), 0, "with seed {SEED}");
    assert!(
        count('1', '1') > 100 && count('0', '0') > 100,
        "both verdicts were put to the test"
    );
}

/// Tokens to order, and tokens with a character changed somewhere.
fn mutated(google: &Emulator, random: &mut fastrand::Rng) -> Vec<String> {
    let now = std::time::UNIX_EPOCH + Duration::from_secs(1);
    let orders: [fn(TokenRequest) -> TokenRequest; 12] = [
        |order| order,
        |order| order.key(SigningKey::Unknown),
        |order| order.key(SigningKey::UnknownUnderCurrentId),
        |order| order.key(SigningKey::None),
        |order| order.lifetime(Duration::ZERO),
        |order| order.claim("aud", "https://other.example"),
        |order| order.claim("exp", "soon"),
        |order| order.claim("iat", 4_000_000_000_u64),
        |order| order.without_claim("aud"),
        |order| order.without_claim("exp"),
        |order| order.without_claim("iss"),
        |order| order.header("alg", "RS512"),
    ];
    let mut tokens: Vec<String> = orders
        .iter()
        .map(|order| google.mint(&order(TokenRequest::new(AUDIENCE))))
        .chain([google.mint(&TokenRequest::new(AUDIENCE).issued_at(now))])
        .collect();
    let good = tokens[0].clone();
    tokens.extend(std::iter::repeat_n(good.clone(), 200));
    while tokens.len() < TOKENS {
        let mut bytes = good.clone().into_bytes();
        for _ in 0..random.usize(1..3) {
            let at = random.usize(..bytes.len());
            match random.u8(..4) {
                0 => bytes[at] = random.alphanumeric() as u8,
                1 => bytes[at] = *random.choice(b"-_=.+/").unwrap(),
                2 => {
                    bytes.remove(at);
                }
                _ => bytes.insert(at, random.alphanumeric() as u8),
            }
        }
        tokens.push(String::from_utf8(bytes).unwrap());
    }
    tokens
}

/// What the script prints: for each exchange the token, and the e-mail address it verified.
async fn run_google_auth(google: &Emulator, python: OsString) -> Value {
    let mut key_file = tempfile::NamedTempFile::new().unwrap();
    key_file
        .write_all(google.key_file(KEY_OWNER).as_bytes())
        .unwrap();
    let mut command = script(google, python);
    command.env("INTEROP_KEY_FILE", key_file.path());
    serde_json::from_slice(&finished(&mut command).await).unwrap()
}

fn script(google: &Emulator, python: OsString) -> Command {
    let mut command = Command::new(python);
    command
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/interop/google_auth.py"
        ))
        .env_remove("GOOGLE_APPLICATION_CREDENTIALS")
        .envs(google.env())
        .env("INTEROP_AUDIENCE", AUDIENCE)
        .env("INTEROP_JWKS_URL", google.jwks_url())
        .env("INTEROP_PEM_URL", google.pem_url())
        .kill_on_drop(true);
    command
}

/// What a command prints, when it succeeds within a minute.
async fn finished(command: &mut Command) -> Vec<u8> {
    let output = tokio::time::timeout(Duration::from_secs(60), command.output())
        .await
        .expect("the script took more than a minute")
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    output.stdout
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
const SEED: u64 = 20_261_123;
const TOKENS: usize = 3_000;
