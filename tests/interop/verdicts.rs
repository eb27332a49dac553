//! One list of tokens before every verifier: who accepts what.

use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderValue};
use idtoken::{Principal, Verifier, VerifierBuilder, VerifyErrorKind};
use idtoken_emulator::{Emulator, Endpoint};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;
use tokio::process::Command;

use crate::attacks::{AUDIENCE, EMAIL, Entry, Expected, List};
use crate::counterpart::{Counterpart, printed_within};
use crate::envoy::{Envoy, client, jwt_authn};
use crate::receiver;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    Accepts,
    Refuses,
    Panics,
    /// It comes in a header, and none can hold it.
    CannotBeSent,
}

struct Judge {
    name: &'static str,
    verdicts: Vec<Verdict>,
}

#[tokio::test]
async fn we_accept_nothing_that_breaks_a_rule_and_refuse_nothing_that_breaks_none() {
    let list = List::new().await;
    assert!(list.entries.len() >= 200, "{}", list.entries.len());
    let verifier = || builder(&list).danger_any_google_identity().build().unwrap();
    let fetched =
        || list.google.hits(Endpoint::AccountJwks) + list.google.hits(Endpoint::AccountPem);
    let before = fetched();
    let ours = ours(&verifier(), &list.entries).await;
    assert_eq!(fetched(), before, "we fetch no key that a token names");

    let axum = receiver::serve(verifier()).await;
    let axum = through(&format!("http://127.0.0.1:{axum}/"), &list.entries).await;
    for ((entry, ours), axum) in list.entries.iter().zip(&ours).zip(&axum) {
        let ours = match ours {
            Ok(()) => Verdict::Accepts,
            // Blanks there belong to the header (RFC 9110 §5.5 and §11.4), not to the token.
            Err(_) if ["a space before", "a space after"].contains(&entry.what.as_str()) => {
                Verdict::Accepts
            }
            Err(_) => Verdict::Refuses,
        };
        let same = *axum == ours || *axum == Verdict::CannotBeSent;
        assert!(same, "{}: {axum:?} instead of {ours:?}", entry.what);
    }
    let mut judges = vec![
        Judge {
            name: "idtoken",
            verdicts: ours.iter().map(|verdict| said(verdict.is_ok())).collect(),
        },
        Judge {
            name: "axum-idtoken",
            verdicts: axum,
        },
        Judge {
            name: "jsonwebtoken",
            verdicts: jsonwebtoken(&list).await,
        },
    ];
    for client in Counterpart::ALL {
        let Some(command) = client.command("verdicts") else {
            continue;
        };
        let lines = judged(command, &list.google, AUDIENCE, &jwts(&list.entries)).await;
        let named = client.judges().iter().zip(lines);
        judges.extend(named.map(|(name, verdicts)| Judge { name, verdicts }));
    }
    if let Some(verdicts) = envoy(&list).await {
        judges.push(Judge {
            name: "Envoy",
            verdicts,
        });
    }
    rows("token", &list.entries, &ours, &judges);
}

#[tokio::test]
async fn a_good_token_of_somebody_else_is_refused() {
    let list = List::new().await;
    let allowed = Principal::service_account(EMAIL);
    let ours = ours(
        &builder(&list).allow(allowed).build().unwrap(),
        &list.identities,
    )
    .await;
    let mut judges = vec![Judge {
        name: "idtoken",
        verdicts: ours.iter().map(|verdict| said(verdict.is_ok())).collect(),
    }];
    let client = Counterpart::Rust;
    if let Some(mut command) = client.command("verdicts") {
        command.env("INTEROP_EMAIL", EMAIL);
        let mut lines = judged(command, &list.google, AUDIENCE, &jwts(&list.identities)).await;
        judges.push(Judge {
            name: client.name(),
            verdicts: lines.remove(0),
        });
    }
    rows("bearer", &list.identities, &ours, &judges);
}

/// A row for each token, after making sure that our verdict and those of stricter peers are as
/// expected.
fn rows(table: &str, entries: &[Entry], ours: &[Result<(), VerifyErrorKind>], judges: &[Judge]) {
    let mut wrong = Vec::new();
    for (index, (entry, ours)) in entries.iter().zip(ours).enumerate() {
        let who = who(judges, index);
        match says(entry, *ours, judges, index) {
            Ok(says) => {
                let (number, what) = (index + 1, &entry.what);
                println!("\n| {table} | {number:03} | {what} | {who} | {says} |");
            }
            Err(found) => wrong.push(format!("{}: {found}", entry.what)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Who accepts a token, and who cannot say.
fn who(judges: &[Judge], index: usize) -> String {
    let accepting = with(judges, index, Verdict::Accepts);
    let panicking = with(judges, index, Verdict::Panics);
    let mut who = match accepting.len() {
        0 => "nobody".to_owned(),
        all if all == judges.len() => "all".to_owned(),
        _ => accepting.join(", "),
    };
    for judge in panicking {
        who.push_str(&format!("; {judge} panics"));
    }
    if !with(judges, index, Verdict::CannotBeSent).is_empty() {
        who.push_str("; no header can hold it");
    }
    who
}

/// Why we refuse it, or why others do; or what is not as expected.
fn says(
    entry: &Entry,
    ours: Result<(), VerifyErrorKind>,
    judges: &[Judge],
    index: usize,
) -> Result<String, String> {
    match (entry.expected, ours) {
        (Expected::Bad(kind), Err(found)) if kind == found => Ok(match kind {
            VerifyErrorKind::Malformed(why) => format!("malformed: {why}"),
            kind => kind.to_string(),
        }),
        (Expected::Good(stricter), Ok(())) => {
            let mut refusing = with(judges, index, Verdict::Refuses);
            refusing.extend(with(judges, index, Verdict::Panics));
            let asked = |name| judges.iter().any(|judge| judge.name == name);
            let stricter: Vec<_> = stricter.iter().filter(|(name, _)| asked(*name)).collect();
            let names: Vec<_> = stricter.iter().map(|(name, _)| *name).collect();
            if names != refusing {
                return Err(format!("refused by {refusing:?}, not by {names:?}"));
            }
            let whys = stricter.iter().map(|(name, why)| format!("{name}: {why}"));
            Ok(whys.collect::<Vec<_>>().join("; "))
        }
        (_, found) => Err(format!("{found:?}")),
    }
}

fn with(judges: &[Judge], index: usize, verdict: Verdict) -> Vec<&str> {
    judges
        .iter()
        .filter(|judge| judge.verdicts[index] == verdict)
        .map(|judge| judge.name)
        .collect()
}

fn builder(list: &List) -> VerifierBuilder {
    Verifier::builder()
        .audience(AUDIENCE)
        .jwks_url(list.google.jwks_url())
}

fn jwts(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.jwt.as_str()).collect()
}

fn said(yes: bool) -> Verdict {
    if yes {
        Verdict::Accepts
    } else {
        Verdict::Refuses
    }
}

async fn ours(verifier: &Verifier, entries: &[Entry]) -> Vec<Result<(), VerifyErrorKind>> {
    let mut verdicts = Vec::new();
    for entry in entries {
        let verdict = verifier.verify(&entry.jwt).await;
        verdicts.push(verdict.map(drop).map_err(|error| error.kind()));
    }
    verdicts
}

/// Its verifier in front of a server that lets everybody in.
async fn envoy(list: &List) -> Option<Vec<Verdict>> {
    let function = receiver::function(&list.google).await;
    let envoy = Envoy::start(&list.google, jwt_authn(&list.google), function).await?;
    Some(through(&format!("{}open", envoy.url), &list.entries).await)
}

/// Each token as the header of a request.
async fn through(url: &str, entries: &[Entry]) -> Vec<Verdict> {
    let client = client();
    let mut verdicts = Vec::new();
    for entry in entries {
        let Ok(value) = HeaderValue::from_str(&format!("Bearer {}", entry.jwt)) else {
            verdicts.push(Verdict::CannotBeSent);
            continue;
        };
        let request = client.get(url).header(AUTHORIZATION, value);
        let answer = request.send().await.unwrap();
        verdicts.push(said(answer.status().is_success()));
    }
    verdicts
}

/// As its documentation shows it, with audience and issuer set.
async fn jsonwebtoken(list: &List) -> Vec<Verdict> {
    let keys = reqwest::get(list.google.jwks_url()).await.unwrap();
    let keys: JwkSet = serde_json::from_slice(&keys.bytes().await.unwrap()).unwrap();
    let mut rules = Validation::new(Algorithm::RS256);
    rules.set_audience(&[AUDIENCE]);
    rules.set_issuer(&["https://accounts.google.com", "accounts.google.com"]);
    let judge = |jwt: &str| -> Option<()> {
        let header = jsonwebtoken::decode_header(jwt).ok()?;
        let key = DecodingKey::from_jwk(keys.find(&header.kid?)?).ok()?;
        jsonwebtoken::decode::<Value>(jwt, &key, &rules)
            .ok()
            .map(drop)
    };
    list.entries
        .iter()
        .map(|entry| said(judge(&entry.jwt).is_some()))
        .collect()
}

/// What a program of verdicts prints: for each of its judges a line with a verdict for each token.
pub(crate) async fn judged(
    mut command: Command,
    google: &Emulator,
    audience: &str,
    tokens: &[&str],
) -> Vec<Vec<Verdict>> {
    let home = google.home().unwrap();
    let file = home.write("tokens", &serde_json::to_string(tokens).unwrap());
    command
        .envs(google.proxy_env(home.ca_file()))
        .env("INTEROP_TOKENS", file.unwrap())
        .env("INTEROP_AUDIENCE", audience);
    for (name, url) in [
        ("INTEROP_JWKS_URL", google.jwks_url()),
        ("INTEROP_PEM_URL", google.pem_url()),
    ] {
        if !command.as_std().get_envs().any(|(set, _)| set == name) {
            command.env(name, url);
        }
    }
    let text = printed_within(LIMIT, &mut command).await;
    let verdict = |letter| match letter {
        '1' => Verdict::Accepts,
        '0' => Verdict::Refuses,
        'p' => Verdict::Panics,
        other => panic!("{other} is no verdict"),
    };
    let lines: Vec<Vec<_>> = text
        .lines()
        .map(|line| line.chars().map(verdict).collect())
        .collect();
    for line in &lines {
        assert_eq!(line.len(), tokens.len(), "a verdict for each");
    }
    lines
}

/// For as many tokens as there may be.
const LIMIT: Duration = Duration::from_secs(300);
