//! Thousands of tokens with something changed, before our verifier and before Google's.

use std::time::Duration;

use idtoken::Verifier;
use idtoken_emulator::{Emulator, SigningKey, TokenRequest};

use crate::attacks::AUDIENCE;
use crate::counterpart::Counterpart;
use crate::verdicts::{Verdict, judged};

/// Mutated tokens before both: what we accept google-auth must accept.
#[tokio::test]
async fn no_token_is_accepted_by_us_that_google_auth_refuses() {
    let Some(mut command) = Counterpart::Python.command("verdicts") else {
        return;
    };
    command.arg("verify_token");
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
    let mut ours = Vec::new();
    for token in &tokens {
        ours.push(verifier.verify(token).await.is_ok());
    }
    let texts: Vec<&str> = tokens.iter().map(String::as_str).collect();
    let theirs = judged(command, &google, AUDIENCE, &texts).await.remove(0);
    let theirs: Vec<_> = theirs
        .iter()
        .map(|verdict| *verdict == Verdict::Accepts)
        .collect();
    let count = |us: bool, them: bool| {
        let both = ours.iter().zip(&theirs);
        both.filter(|verdict| *verdict == (&us, &them)).count()
    };
    println!(
        "google-auth judged {} tokens: {} accepted by both, {} refused by both, {} refused by us \
         alone, {} accepted by us alone",
        tokens.len(),
        count(true, true),
        count(false, false),
        count(false, true),
        count(true, false),
    );
    assert_eq!(count(true, false), 0, "with seed {SEED}");
    assert!(
        count(true, true) > 100 && count(false, false) > 100,
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

const SEED: u64 = 20_261_123;
const TOKENS: usize = 3_000;
