//! Google's Rust client: obtains an ID token in each way that it has (`tokens [EXCHANGE…]`), or judges
//! each token of a file (`verdicts`).
//!
//! The environment is that of `tokens.py` and `verdicts.py`; so is what it prints.

use std::env::var;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use google_cloud_auth::credentials::idtoken::{
    IDTokenCredentials, impersonated, mds, service_account, user_account, verifier,
};
use google_cloud_auth::credentials::{AccessTokenCredentials, external_account};
use serde_json::{Map, Value, json};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const EXCHANGES: [&str; 4] = ["metadata", "key_file", "impersonated", "user"];

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("tokens") => {
            let mut wanted: Vec<_> = arguments.collect();
            if wanted.is_empty() {
                wanted = EXCHANGES.map(String::from).into();
            }
            let mut report = Map::new();
            for exchange in wanted {
                let outcome = asked(&exchange).await;
                report.insert(exchange, outcome);
            }
            println!("{}", Value::from(report));
            Ok(())
        }
        Some("verdicts") => verdicts().await,
        _ => Err("tokens or verdicts?".into()),
    }
}

/// Asks until there is a token, or as often as it may.
async fn asked(exchange: &str) -> Value {
    let asks: u32 = var("INTEROP_ASKS").map_or(1, |asks| asks.parse().expect("a number"));
    let started = Instant::now();
    let mut errors = Vec::new();
    let mut token = None;
    match credentials(exchange) {
        Err(error) => errors.push(error.to_string()),
        Ok(credentials) => {
            for ask in 0..asks {
                if ask > 0 {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                match credentials.token().await {
                    Ok(found) => {
                        token = Some(found);
                        break;
                    }
                    Err(error) => errors.push(error.to_string()),
                }
            }
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    if let (Some(token), Ok(_)) = (&token, var("INTEROP_VERIFY")) {
        verify(exchange, token)
            .await
            .expect("it accepts what it got");
    }
    json!({"token": token, "errors": errors, "seconds": seconds})
}

/// It accepts the token for its audience, and for no other.
async fn verify(exchange: &str, token: &str) -> Result<()> {
    let audience = match exchange {
        "user" => file("USER_FILE")?["client_id"]
            .as_str()
            .ok_or("no client")?
            .to_owned(),
        _ => var("INTEROP_AUDIENCE")?,
    };
    let verifier = |audience: String| -> Result<verifier::Verifier> {
        let jwks = var("INTEROP_JWKS_URL")?;
        Ok(verifier::Builder::new([audience])
            .with_jwks_url(jwks)
            .build())
    };
    verifier(audience)?.verify(token).await?;
    // A verification that says yes to everything would prove nothing.
    match verifier("https://other.example".to_owned())?
        .verify(token)
        .await
    {
        Ok(_) => Err(format!("{exchange}: accepted for another audience").into()),
        Err(_) => Ok(()),
    }
}

/// What gives ID tokens, or access tokens.
enum Source {
    Id(IDTokenCredentials),
    Access(AccessTokenCredentials),
}

impl Source {
    async fn token(&self) -> Result<String> {
        Ok(match self {
            Self::Id(credentials) => credentials.id_token().await?,
            Self::Access(credentials) => credentials.access_token().await?.token,
        })
    }
}

fn credentials(exchange: &str) -> Result<Source> {
    let audience = var("INTEROP_AUDIENCE")?;
    Ok(Source::Id(match exchange {
        "metadata" => mds::Builder::new(audience)
            .with_format(mds::Format::Full)
            .build()?,
        "key_file" => service_account::Builder::new(audience, file("KEY_FILE")?).build()?,
        "impersonated" => impersonated::Builder::new(audience, file("IMPERSONATED_FILE")?)
            .with_include_email()
            .build()?,
        "user" => user_account::Builder::new(file("USER_FILE")?)
            .with_token_uri(var("INTEROP_TOKEN_URL")?)
            .build()?,
        "external_access_token" => {
            let source = external_account::Builder::new(file("EXTERNAL_FILE")?);
            return Ok(Source::Access(source.build_access_token_credentials()?));
        }
        other => return Err(format!("it has no way to {other}").into()),
    }))
}

fn file(name: &str) -> Result<Value> {
    Ok(serde_json::from_slice(&std::fs::read(var(name)?)?)?)
}

/// "1", "0" or "p" for each token, in a line: it accepts it, refuses it, panics. With INTEROP_EMAIL it
/// accepts that account's alone.
async fn verdicts() -> Result<()> {
    let tokens: Vec<String> = serde_json::from_slice(&std::fs::read(var("INTEROP_TOKENS")?)?)?;
    let mut verifier =
        verifier::Builder::new([var("INTEROP_AUDIENCE")?]).with_jwks_url(var("INTEROP_JWKS_URL")?);
    if let Ok(email) = var("INTEROP_EMAIL") {
        verifier = verifier.with_email(email);
    }
    let verifier = Arc::new(verifier.build());
    let mut line = String::new();
    for token in tokens {
        // In a task of its own, for some tokens make it panic.
        let verifier = Arc::clone(&verifier);
        let verdict = tokio::spawn(async move { verifier.verify(&token).await.is_ok() }).await;
        line.push(match verdict {
            Ok(true) => '1',
            Ok(false) => '0',
            Err(_) => 'p',
        });
    }
    println!("{line}");
    Ok(())
}
