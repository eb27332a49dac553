//! One list of tokens before every verifier: who accepts what.

use http::header::{AUTHORIZATION, HeaderValue};
use idtoken::Verifier;
use idtoken_emulator::Emulator;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;
use tokio::process::Command;

use crate::attacks::{AUDIENCE, List};
use crate::counterpart::{Counterpart, printed};
use crate::envoy::{Envoy, client, jwt_authn};
use crate::receiver;

#[tokio::test]
async fn we_accept_nothing_that_breaks_a_rule_and_refuse_nothing_that_breaks_none() {
    let list = List::new().await;
    assert!(list.entries.len() >= 150, "{}", list.entries.len());
    let mut judges = vec![
        ("idtoken", ours(&list).await),
        ("jsonwebtoken", jsonwebtoken(&list).await),
    ];
    for client in Counterpart::ALL {
        let Some(command) = client.command("verdicts") else {
            continue;
        };
        let lines = judged(command, &list.google, AUDIENCE, &list.jwts()).await;
        judges.push((client.name(), lines[0].clone()));
        if client == Counterpart::Node {
            judges.push(("jose", lines[1].clone()));
        }
    }
    if let Some(verdicts) = envoy(&list).await {
        judges.push(("Envoy", verdicts));
    }
    for (index, entry) in list.entries.iter().enumerate() {
        let yes = judges.iter().filter(|(_, verdicts)| verdicts[index]);
        let names: Vec<_> = yes.map(|(name, _)| *name).collect();
        let names = match names.len() {
            0 => "nobody".to_owned(),
            all if all == judges.len() => "all".to_owned(),
            _ => names.join(", "),
        };
        println!("\n| token | {:03} | {} | {names} |", index + 1, entry.what);
        assert_eq!(judges[0].1[index], entry.good, "{}: {names}", entry.what);
    }
}

async fn ours(list: &List) -> Vec<bool> {
    let verifier = Verifier::builder()
        .audience(AUDIENCE)
        .danger_any_google_identity()
        .jwks_url(list.google.jwks_url())
        .build()
        .unwrap();
    let mut verdicts = Vec::new();
    for entry in &list.entries {
        verdicts.push(verifier.verify(&entry.jwt).await.is_ok());
    }
    verdicts
}

/// Its verifier in front of a server that lets everybody in.
async fn envoy(list: &List) -> Option<Vec<bool>> {
    let function = receiver::function(&list.google).await;
    let envoy = Envoy::start(&list.google, jwt_authn(&list.google), function).await?;
    let (client, url) = (client(), format!("{}open", envoy.url));
    let mut verdicts = Vec::new();
    for entry in &list.entries {
        // What no header can hold never gets that far.
        let Ok(value) = HeaderValue::from_str(&format!("Bearer {}", entry.jwt)) else {
            verdicts.push(false);
            continue;
        };
        let request = client.get(&url).header(AUTHORIZATION, value);
        verdicts.push(request.send().await.unwrap().status().is_success());
    }
    Some(verdicts)
}

/// As its documentation shows it, with audience and issuer set.
async fn jsonwebtoken(list: &List) -> Vec<bool> {
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
        .map(|entry| judge(&entry.jwt).is_some())
        .collect()
}

/// What a program of verdicts prints: for each of its judges a line with a verdict for each token.
pub(crate) async fn judged(
    mut command: Command,
    google: &Emulator,
    audience: &str,
    tokens: &[&str],
) -> Vec<Vec<bool>> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), serde_json::to_vec(tokens).unwrap()).unwrap();
    command
        .env("INTEROP_TOKENS", file.path())
        .env("INTEROP_AUDIENCE", audience);
    for (name, url) in [
        ("INTEROP_JWKS_URL", google.jwks_url()),
        ("INTEROP_PEM_URL", google.pem_url()),
    ] {
        if !command.as_std().get_envs().any(|(set, _)| set == name) {
            command.env(name, url);
        }
    }
    let text = printed(&mut command).await;
    let verdicts =
        |line: &str| -> Vec<bool> { line.chars().map(|verdict| verdict == '1').collect() };
    let lines: Vec<_> = text.lines().map(verdicts).collect();
    for line in &lines {
        assert_eq!(line.len(), tokens.len(), "a verdict for each");
    }
    lines
}
