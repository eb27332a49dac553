//! What holding much costs: audiences, and tokens that were verified.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use idtoken::verify::Algorithm;
use idtoken::{Issuer, KeySet, Principal, TokenCache, Verifier};
use tokio::runtime::Runtime;

use crate::alloc::Counts;
use crate::fixtures::{self, AUDIENCE, EMAIL};
use crate::measure::{Case, Effort, Row, at_once, measure};
use crate::report::Report;

pub fn run(effort: Effort, report: &mut Report) {
    audiences(effort, report);
    remembered(effort, report);
}

/// Audiences held, each with its token.
fn audiences(effort: Effort, report: &mut Report) {
    // On one thread, so that the counts of this thread are all there is.
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().expect("a runtime");
    let mut held = Vec::new();
    for size in [1, 100, 10_000, 100_000] {
        held.push((size, hold(&runtime, size)));
    }
    let lookups: Vec<_> = held
        .iter()
        .map(|(size, held)| lookup(*size, held))
        .collect();
    let costs = measure(effort, &lookups);
    let rows: Vec<_> = held
        .iter()
        .zip(&costs)
        .map(|((size, held), cost)| {
            vec![
                size.to_string(),
                format!("{:.0}", held.bytes as f64 / *size as f64),
                format!("{:.0}", held.token_bytes as f64),
                held.tasks.to_string(),
                format!("{:.1}", cost.min),
                format!("{:.1}", cost.median),
                format!("{:.2}", cost.min / costs[0].min),
            ]
        })
        .collect();
    let header = [
        "audiences held",
        "bytes each",
        "of them the token",
        "tasks alive",
        "get + try_bearer ns",
        "median",
        "times that of one",
    ];
    report.add_table("audiences, all in turn and far apart", &header, &rows);
}

struct Held {
    tokens: TokenCache,
    bytes: i64,
    token_bytes: usize,
    tasks: usize,
}

fn hold(runtime: &Runtime, size: usize) -> Held {
    let before = Counts::now();
    let tokens = crate::outbound::filled(runtime, size);
    runtime.block_on(tokio::task::yield_now());
    Held {
        tokens,
        bytes: Counts::now().since(before).held,
        token_bytes: "Bearer ".len() + fixtures::unsigned_token(AUDIENCE).len(),
        tasks: runtime.metrics().num_alive_tasks(),
    }
}

fn lookup(size: usize, held: &Held) -> Case {
    let names = (0..size).map(fixtures::audience);
    let names: Vec<String> = names.map(|name| name.as_str().to_owned()).collect();
    let (tokens, walk) = (held.tokens.clone(), Walk::over(size));
    Case::new(size.to_string(), move |n| {
        walk.steps(n, |place| {
            let handle = tokens.get(&names[place]);
            black_box(handle.and_then(|handle| handle.try_bearer())).expect("a token");
        });
    })
}

/// A walk over all places again and again, each step far from the last, that goes on where the last
/// round ended.
struct Walk {
    places: usize,
    next: AtomicUsize,
}

impl Walk {
    fn over(places: usize) -> Self {
        Self {
            places,
            next: AtomicUsize::new(0),
        }
    }

    fn steps(&self, count: u64, mut visit: impl FnMut(usize)) {
        let mut place = self.next.load(Ordering::Relaxed);
        for _ in 0..count {
            visit(place);
            // A prime, so that no place is left out.
            place = (place + 7_919) % self.places;
        }
        self.next.store(place, Ordering::Relaxed);
    }
}

/// Verified tokens remembered.
fn remembered(effort: Effort, report: &mut Report) {
    let sizes: &[usize] = if effort.short {
        &[1, 1_000, 32_768]
    } else {
        &[1, 1_000, 100_000, 1_000_000]
    };
    let signer = Signer::new();
    let mut memories = Vec::new();
    for size in sizes {
        memories.push((*size, signer.remember(*size)));
    }
    let cases: Vec<_> = memories
        .iter()
        .map(|(size, memory)| {
            let (verifier, tokens) = (memory.verifier.clone(), Arc::clone(&memory.sample));
            let walk = Walk::over(tokens.len());
            Case::new(size.to_string(), move |n| {
                walk.steps(n, |place| {
                    black_box(at_once(verifier.verify(&tokens[place]))).expect("good");
                });
            })
        })
        .collect();
    let costs: Vec<Row> = measure(effort, &cases);
    let rows: Vec<_> = memories
        .iter()
        .zip(&costs)
        .map(|((size, memory), cost)| {
            vec![
                size.to_string(),
                memory.empty_bytes.to_string(),
                format!("{:.0}", memory.bytes as f64 / *size as f64),
                format!("{:.1}", cost.min),
                format!("{:.1}", cost.median),
                format!("{:.2}", cost.min / costs[0].min),
                format!("{:.2}", cost.allocations),
            ]
        })
        .collect();
    let header = [
        "tokens verified, up to 32,768 of them in turn",
        "bytes when empty",
        "bytes each",
        "seen before ns",
        "median",
        "times that of one",
        "allocs",
    ];
    let title = "tokens remembered (room for as many; allocations above 0 are tokens evicted)";
    report.add_table(title, &header, &rows);
}

struct Memory {
    verifier: Verifier,
    empty_bytes: i64,
    bytes: i64,
    sample: Arc<[String]>,
}

/// Signs quickly, so that a million tokens can be had: ES256 under Google's name.
struct Signer {
    key: EcdsaKeyPair,
    random: SystemRandom,
}

impl Signer {
    fn new() -> Self {
        Self {
            key: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"),
            random: SystemRandom::new(),
        }
    }

    fn remember(&self, size: usize) -> Memory {
        let before = Counts::now();
        let verifier = self.verifier(size);
        let empty_bytes = Counts::now().since(before).held;
        // More would be a measurement of how long it takes to read so many tokens from memory.
        let stride = (size / SAMPLE).max(1);
        let mut sample = Vec::with_capacity(SAMPLE);
        let mut bytes = 0;
        for number in 0..size {
            let token = self.token(number);
            let before = Counts::now();
            at_once(verifier.verify(&token)).expect("good");
            bytes += Counts::now().since(before).held;
            if number % stride == 0 && sample.len() < SAMPLE {
                sample.push(token);
            }
        }
        Memory {
            verifier,
            empty_bytes,
            bytes,
            sample: sample.into(),
        }
    }

    fn verifier(&self, size: usize) -> Verifier {
        let point = self.key.public_key().as_ref();
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let keys = format!(
            r#"{{"keys":[{{"kty":"EC","crv":"P-256","alg":"ES256","kid":"k","x":"{}","y":"{}"}}]}}"#,
            encode(&point[1..33]),
            encode(&point[33..])
        );
        let keys = KeySet::from_json(keys.as_bytes()).expect("a key set");
        Verifier::builder()
            .audience(AUDIENCE)
            .issuer(
                Issuer::google()
                    .with_algorithm(Algorithm::Es256)
                    .with_keys(keys),
            )
            .allow(Principal::service_account(EMAIL))
            .remember_tokens(size)
            .build()
            .expect("sound")
    }

    fn token(&self, number: usize) -> String {
        let iat = fixtures::unix_seconds();
        let claims = format!(
            r#"{{"aud":"{AUDIENCE}","azp":"{number:021}","email":"{EMAIL}","email_verified":true,"exp":{},"iat":{iat},"iss":"https://accounts.google.com","sub":"{number:021}"}}"#,
            iat + 3_600
        );
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let header = encode(br#"{"alg":"ES256","kid":"k","typ":"JWT"}"#);
        let message = format!("{header}.{}", encode(claims.as_bytes()));
        let signature = self
            .key
            .sign(&self.random, message.as_bytes())
            .expect("a signature");
        format!("{message}.{}", encode(signature.as_ref()))
    }
}

/// How many of the tokens remembered are asked for.
const SAMPLE: usize = 32_768;
