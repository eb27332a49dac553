//! A hundred thousand tokens with something changed, before our verifier and before Google's.

mod mutations;

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use idtoken::verify::Malformed;
use idtoken::{Verifier, VerifyErrorKind as Kind};
use idtoken_emulator::Emulator;
use serde_json::Value;

use self::mutations::mutated;
use crate::attacks::AUDIENCE;
use crate::counterpart::Counterpart;
use crate::verdicts::{Verdict, judged};

#[tokio::test]
async fn no_token_is_accepted_by_us_that_google_auth_refuses() {
    let client = Counterpart::Python;
    if client.command("verdicts").is_none() {
        return;
    }
    let google = Emulator::start().await.unwrap();
    let tokens = mutated(&google, &mut fastrand::Rng::with_seed(SEED), TOKENS);
    let theirs = theirs(client, &google, &tokens).await;
    let verifier = Verifier::builder()
        .audience(AUDIENCE)
        .danger_any_google_identity()
        .jwks_url(google.jwks_url())
        // It has none by default, so with ours a token just past its end would differ.
        .leeway(Duration::ZERO)
        .build()
        .unwrap();
    let (mut by_both, mut by_neither, mut by_us_alone) = (0, 0, 0);
    let mut by_it_alone: BTreeMap<String, (u32, &str)> = BTreeMap::new();
    for (token, theirs) in tokens.iter().zip(theirs) {
        let ours = verifier.verify(token).await.map_err(|error| error.kind());
        match (ours, theirs == Verdict::Accepts) {
            (Ok(_), true) => by_both += 1,
            (Err(_), false) => by_neither += 1,
            // It compares the claim as text.
            (Ok(_), false) if claims(token)["aud"].is_array() => by_us_alone += 1,
            (Ok(_), false) => panic!("with seed {SEED} only we accept {token}"),
            (Err(kind), true) => {
                let Some(why) = why(kind) else {
                    panic!("with seed {SEED} only we refuse, for {kind:?}: {token}")
                };
                by_it_alone.entry(words(kind)).or_insert((0, why)).0 += 1;
            }
        }
    }
    println!(
        "google-auth: {by_both} accepted by both, {by_neither} refused by both, {by_us_alone} with \
         a list of audiences accepted by us alone"
    );
    for (kind, (count, why)) in &by_it_alone {
        println!("  {count} refused by us alone: {kind}");
        println!("\n| differs | google-auth | {kind} | {why} |");
    }
    println!(
        "\n| google-auth | verify_oauth2_token of 100,000 tokens with something changed | it \
         accepts all that we accept, but for lists of audiences with ours among them |"
    );
    let enough = TOKENS / 20;
    assert!(
        by_both > enough && by_neither > enough,
        "both verdicts were put to the test"
    );
}

/// Its verdicts, by as many processes as keep the machine busy.
async fn theirs(client: Counterpart, google: &Emulator, tokens: &[String]) -> Vec<Verdict> {
    let parts = tokens
        .chunks(tokens.len().div_ceil(PROCESSES))
        .map(async |part| {
            let mut command = client.command("verdicts").unwrap();
            command.arg("verify_oauth2_token");
            let part: Vec<&str> = part.iter().map(String::as_str).collect();
            judged(command, google, AUDIENCE, &part).await.remove(0)
        });
    join_all(parts).await.concat()
}

/// Why we refuse what it accepts; there is no reason for anything else.
fn why(kind: Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Malformed(Malformed::HeaderMistyped) => {
            "it looks at no field of the header but `alg` and `kid`"
        }
        Kind::Malformed(Malformed::NotBase64Url) => {
            "Python's decoder takes padding, passes over letters of other alphabets, and drops bits"
        }
        Kind::Malformed(Malformed::PayloadNotObject) => {
            "of a name that comes twice it takes the last"
        }
        Kind::MistypedClaim("exp" | "iat") => "it takes any number, and `true` for 1",
        Kind::MistypedClaim(_) | Kind::MissingClaim("sub") => {
            "it looks at no claim but `iss`, `aud`, `exp` and `iat`"
        }
        Kind::NotYetValid => "it does not look at `nbf`",
        Kind::CriticalHeader => "it does not look at `crit`",
        Kind::WrongType => "it does not look at `typ`",
        Kind::LifetimeTooLong => "it sets no bound to a token's life",
        Kind::MissingKeyId => "it tries all keys",
        _ => return None,
    })
}

/// What it says, verified or not.
fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

fn words(kind: Kind) -> String {
    match kind {
        Kind::Malformed(why) => format!("malformed: {why}"),
        kind => kind.to_string(),
    }
}

const SEED: u64 = 20_261_123;
const TOKENS: usize = 100_000;
const PROCESSES: usize = 2;
