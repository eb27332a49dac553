//! The called side: from a token to the claims of a caller who may call.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest;
use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Request;
use http::header::AUTHORIZATION;
use idtoken::{Issuer, KeySet, Principal, Verifier};
use idtoken_emulator::{Emulator, Shape, SigningKey, TokenRequest};
use serde_json::Value;
use tokio::runtime::Runtime;
use tower::BoxError;

use crate::fixtures::{AUDIENCE, EMAIL};
use crate::measure::{Case, Effort, Row, at_once, measure};
use crate::report::{Bound, Report};

mod peers;

pub fn run(effort: Effort, report: &mut Report) {
    let runtime = Runtime::new().expect("a runtime");
    let _inside = runtime.enter();
    let world = match World::new(&runtime) {
        Ok(world) => world,
        Err(error) => return report.fail("inbound", error),
    };
    let google = first_seen(effort, report, &runtime, &world);
    es256(effort, report, &world);
    seen(effort, report, &world, google.as_ref());
    refusals(effort, report, &world);
    headers(effort, report, &world);
}

/// An issuer, and tokens of its making.
pub struct World {
    pub emulator: Emulator,
    pub jwks: String,
    iap_jwks: String,
    /// Different tokens, all good.
    pub tokens: Arc<[String]>,
    /// As good, and ending later than any of those: see [`World::forgetful`].
    lasting: Vec<String>,
    iap: Arc<[String]>,
}

impl World {
    pub fn new(runtime: &Runtime) -> Result<Self, BoxError> {
        runtime.block_on(async {
            let emulator = Emulator::start().await?;
            let jwks = reqwest::get(emulator.jwks_url()).await?.text().await?;
            let iap_jwks = reqwest::get(emulator.iap_jwks_url()).await?.text().await?;
            let now = SystemTime::now();
            let token = |age| {
                TokenRequest::new(AUDIENCE)
                    .account(EMAIL)
                    .issued_at(now - Duration::from_secs(age))
            };
            let mint = |age| emulator.mint(&token(age));
            let iap = |age| emulator.mint(&token(age).shape(Shape::Iap));
            Ok(Self {
                jwks,
                iap_jwks,
                tokens: (0..64).map(|age| mint(60 + age)).collect(),
                lasting: (0..8).map(mint).collect(),
                iap: (0..64).map(iap).collect(),
                emulator,
            })
        })
    }

    pub fn verifier(&self) -> idtoken::VerifierBuilder {
        Verifier::builder()
            .audience(AUDIENCE)
            .allow(Principal::service_account(EMAIL))
            .keys(KeySet::from_json(self.jwks.as_bytes()).expect("a key set"))
    }

    /// A verifier that remembers as any, but has room for so few that our tokens are new each time:
    /// tokens which last longer hold all places but one.
    fn forgetful(&self) -> Verifier {
        let verifier = self.verifier().remember_tokens(4).build().expect("sound");
        for token in &self.lasting {
            at_once(verifier.verify(token)).expect("a good token");
        }
        verifier
    }
}

/// RS256 tokens that were never seen before.
fn first_seen(
    effort: Effort,
    report: &mut Report,
    runtime: &Runtime,
    world: &World,
) -> Option<Row> {
    let floor = raw(&world.tokens, &world.jwks);
    let jsonwebtoken = peers::jsonwebtoken(world);
    let mut cases = vec![
        Case::new(
            "raw: RS256 check by a parsed key, signature decoded before",
            floor,
        ),
        verify("idtoken: first seen", world.forgetful(), &world.tokens),
        verify(
            "idtoken: remembering switched off",
            world.verifier().remember_tokens(0).build().expect("sound"),
            &world.tokens,
        ),
        jsonwebtoken,
    ];
    match peers::verifiers(runtime, world) {
        Ok(peers) => cases.extend(peers),
        Err(error) => report.fail("verifiers of the peers", error),
    }
    let rows = measure(effort, &cases);
    report.add("first-seen RS256 token to claims", &rows);
    let work = "first-seen RS256 / raw check by a parsed key";
    report.goal(work, &rows[1], &rows[0], Bound::AtMost(1.1));
    let google = rows
        .iter()
        .find(|row| row.name.starts_with("google-cloud-auth"))
        .cloned();
    if let Some(google) = &google {
        let work = "google-cloud-auth's verifier / first-seen RS256";
        report.goal(work, google, &rows[1], Bound::AtLeast(1.3));
    }
    report.goal_allocations(&rows[1], 4.0);
    google
}

/// ES256 tokens, as of Identity-Aware Proxy.
fn es256(effort: Effort, report: &mut Report, world: &World) {
    let keys = KeySet::from_json(world.iap_jwks.as_bytes()).expect("a key set");
    let issuer = Issuer::iap().with_keys(keys);
    let verifier = Verifier::builder()
        .audience(AUDIENCE)
        .allow(Principal::anyone_of(&issuer))
        .issuer(issuer)
        .remember_tokens(0)
        .build()
        .expect("sound");
    let probe = at_once(verifier.verify(&world.iap[0]));
    if let Err(error) = probe {
        return report.fail("ES256", error);
    }
    let rows = measure(
        effort,
        &[
            Case::new(
                "raw: ES256 check by a parsed key, signature decoded before",
                raw(&world.iap, &world.iap_jwks),
            ),
            verify(
                "idtoken: first seen, remembering switched off",
                verifier,
                &world.iap,
            ),
            peers::jsonwebtoken_es256(world),
        ],
    );
    report.add("first-seen ES256 token to claims", &rows);
    let work = "first-seen ES256 / raw check by a parsed key";
    report.goal(work, &rows[1], &rows[0], Bound::AtMost(1.1));
}

/// The same token again.
fn seen(effort: Effort, report: &mut Report, world: &World, google: Option<&Row>) {
    let token: Arc<str> = world.tokens[0].as_str().into();
    let verifier = world.verifier().build().expect("sound");
    let (same, hashed) = (Arc::clone(&token), Arc::clone(&token));
    let rows = measure(
        effort,
        &[
            Case::new(
                format!("SHA-256 of the token, {} bytes", token.len()),
                move |n| {
                    for _ in 0..n {
                        black_box(digest::digest(
                            &digest::SHA256,
                            black_box(hashed.as_bytes()),
                        ));
                    }
                },
            ),
            Case::new("idtoken: seen before, one token", {
                let verifier = verifier.clone();
                move |n| {
                    for _ in 0..n {
                        black_box(at_once(verifier.verify(&same))).expect("good");
                    }
                }
            }),
            verify(
                "idtoken: seen before, 64 tokens in turn",
                verifier,
                &world.tokens,
            ),
        ],
    );
    report.add("token seen before to claims", &rows);
    let work = "seen before / one SHA-256 of the token";
    report.goal(work, &rows[1], &rows[0], Bound::AtMost(1.25));
    if let Some(google) = google {
        let work = "google-cloud-auth's verifier / seen before";
        report.goal(work, google, &rows[1], Bound::AtLeast(35.0));
    }
    report.goal_allocations(&rows[1], 0.0);
}

/// Tokens that are refused, each for one reason.
fn refusals(effort: Effort, report: &mut Report, world: &World) {
    let now = SystemTime::now();
    let token = || TokenRequest::new(AUDIENCE).account(EMAIL);
    let mint = |request: &TokenRequest| world.emulator.mint(request);
    let mut broken = mint(&token());
    let middle = broken.len() - 20;
    let other = if &broken[middle..=middle] == "A" {
        "B"
    } else {
        "A"
    };
    broken.replace_range(middle..=middle, other);
    let hostile = format!("e30.{}.e30", "A".repeat(8_000));
    let refused = [
        (
            "expired",
            mint(&token().issued_at(now - Duration::from_secs(7_200))),
        ),
        (
            "wrong audience",
            mint(&TokenRequest::new("https://elsewhere.a.run.app").account(EMAIL)),
        ),
        (
            "somebody else",
            mint(&token().account("mallory@evil.iam.gserviceaccount.com")),
        ),
        (
            "unknown key",
            mint(&token().header("kid", "nobody-knows-me")),
        ),
        (
            "signed by a stranger",
            mint(&token().key(SigningKey::Unknown)),
        ),
        ("broken signature", broken),
        ("alg none", mint(&token().header("alg", "none"))),
        ("garbage", "x".repeat(900)),
        ("garbage of 8 kB in three parts", hostile),
        ("empty", String::new()),
    ];
    let verifier = world.forgetful();
    let cases: Vec<_> = refused
        .into_iter()
        .map(|(name, token)| {
            let verifier = verifier.clone();
            let error = at_once(verifier.verify(&token)).expect_err("a bad token");
            Case::new(format!("{name}: {error}"), move |n| {
                for _ in 0..n {
                    let _ = black_box(at_once(verifier.verify(&token)));
                }
            })
        })
        .collect();
    let mut cases = cases;
    cases.insert(
        0,
        verify("accepted, first seen", world.forgetful(), &world.tokens),
    );
    let rows = measure(effort, &cases);
    report.add("refusals", &rows);
    let refused = rows.iter().skip(1);
    if let Some(dearest) = refused.max_by(|a, b| a.min.total_cmp(&b.min)) {
        let work = format!("dearest refusal ({}) / first-seen acceptance", dearest.name);
        // Two that do the same work differ by the noise of the machine.
        report.goal(&work, dearest, &rows[0], Bound::AtMost(1.02));
    }
}

/// From a request's headers, with the layers that peers offer.
fn headers(effort: Effort, report: &mut Report, world: &World) {
    let request = Request::get("https://hello-abc.a.run.app/")
        .header(AUTHORIZATION, format!("Bearer {}", world.tokens[0]))
        .body(())
        .expect("a request");
    let headers = request.headers().clone();
    let of = |name: &str, verifier: Verifier| {
        let headers = headers.clone();
        Case::new(name, move |n| {
            for _ in 0..n {
                black_box(at_once(verifier.verify_headers(&headers))).expect("good");
            }
        })
    };
    let not_remembering = world.verifier().remember_tokens(0).build().expect("sound");
    let mut cases = vec![
        of(
            "idtoken: headers to claims, seen before",
            world.verifier().build().expect("sound"),
        ),
        of(
            "idtoken: headers to claims, remembering switched off",
            not_remembering,
        ),
    ];
    match peers::layer(world, request) {
        Ok(peer) => cases.push(peer),
        Err(error) => report.fail("tower-oauth2-resource-server", error),
    }
    let rows = measure(effort, &cases);
    report.add("headers of a request to claims", &rows);
}

fn verify(name: &str, verifier: Verifier, tokens: &Arc<[String]>) -> Case {
    let tokens = Arc::clone(tokens);
    in_turn(name, tokens, move |token| {
        black_box(at_once(verifier.verify(token))).expect("a good token");
    })
}

/// One token after the other; the next round goes on where the last one stopped.
fn in_turn(
    name: &str,
    tokens: Arc<[String]>,
    operation: impl Fn(&str) + Send + Sync + 'static,
) -> Case {
    let next = AtomicUsize::new(0);
    Case::new(name, move |n| {
        let first = next.fetch_add(n as usize, Ordering::Relaxed);
        for number in first..first + n as usize {
            operation(&tokens[number % tokens.len()]);
        }
    })
}

/// The signature check alone, which no verifier can do without.
fn raw(tokens: &[String], jwks: &str) -> impl Fn(u64) + Send + Sync + use<> {
    let kid = |token: &str| -> String {
        let header = token.split('.').next().unwrap_or_default();
        let header = URL_SAFE_NO_PAD.decode(header).expect("base64url");
        let header: Value = serde_json::from_slice(&header).expect("JSON");
        header["kid"].as_str().unwrap_or_default().to_owned()
    };
    let key = parsed_key(jwks, &kid(&tokens[0]));
    let split = |token: &String| {
        let (message, signature) = token.rsplit_once('.').expect("a token");
        let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
        (message.to_owned(), signature)
    };
    let split: Vec<_> = tokens.iter().map(split).collect();
    let next = AtomicUsize::new(0);
    move |n| {
        let first = next.fetch_add(n as usize, Ordering::Relaxed);
        for number in first..first + n as usize {
            let (message, signature) = &split[number % split.len()];
            black_box(key.verify_sig(message.as_bytes(), signature)).expect("good");
        }
    }
}

fn parsed_key(jwks: &str, kid: &str) -> ParsedPublicKey {
    let jwks: Value = serde_json::from_str(jwks).expect("a key set");
    let keys = jwks["keys"].as_array().expect("keys");
    let key = keys.iter().find(|key| key["kid"] == kid).expect("the key");
    let part = |name: &str| {
        let text = key[name].as_str().expect("a part of a key");
        URL_SAFE_NO_PAD.decode(text).expect("base64url")
    };
    if key["kty"] == "RSA" {
        let components = PublicKeyComponents {
            n: part("n"),
            e: part("e"),
        };
        let parsed = components.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256);
        parsed.expect("an RSA key")
    } else {
        let point = [vec![4], part("x"), part("y")].concat();
        ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).expect("a P-256 key")
    }
}
