//! The same bad weather for every client: what each makes of it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use idtoken::clock::SystemClock;
use idtoken::source::{DefaultSource, Environment, MetadataServer};
use idtoken::{Audience, Clock, TokenCache, UnverifiedClaims};
use idtoken_emulator::{Endpoint, Fault};
use tokio::time::Instant;

use crate::counterpart::{Counterpart, Outcome, outcomes};
use crate::world::{AUDIENCE, World};

/// What goes wrong, and how often before it is over.
fn faults() -> [(&'static str, u64, Fault); 8] {
    [
        ("503 once", 1, Fault::Status(503)),
        ("reset twice", 2, Fault::Reset),
        ("no answer, once", 1, Fault::Hang),
        ("a page with status 200, once", 1, Fault::Garbage),
        ("404 once", 1, Fault::Status(404)),
        ("an expired token, once", 1, Fault::ExpiredToken),
        (
            "a token for another audience, once",
            1,
            Fault::WrongAudience,
        ),
        ("no Metadata-Flavor, once", 1, Fault::NoFlavor),
    ]
}

#[tokio::test]
async fn in_bad_weather_on_the_metadata_server_we_do_as_well_as_the_best() {
    compare("metadata", Endpoint::Identity, &faults()).await;
}

#[tokio::test]
async fn in_bad_weather_on_the_token_endpoint_we_do_as_well_as_the_best() {
    compare("key_file", Endpoint::Token, &faults()[..7]).await;
}

async fn compare(exchange: &str, endpoint: Endpoint, faults: &[(&str, u64, Fault)]) {
    let mut clients = Counterpart::ALL.iter();
    if clients.all(|client| client.command("tokens").is_none()) {
        return;
    }
    for (fault, times, how) in faults {
        let theirs = Counterpart::ALL.map(async |client| {
            let world = World::new().await;
            world.google.fail_times(endpoint, *times, how.clone());
            let outcome = asked(client, &world, exchange).await?;
            Some((client.name(), outcome, world.google.hits(endpoint)))
        });
        let theirs: Vec<_> = join_all(theirs).await.into_iter().flatten().collect();
        let world = World::new().await;
        world.google.fail_times(endpoint, *times, how.clone());
        let ours = ask_us(&world, exchange).await;
        let row = |client: &str, outcome: &Outcome, hits: u64, why: &str| {
            let (came, seconds) = (came(outcome), outcome.seconds);
            println!(
                "\n| fault | {exchange}: {fault} | {client} | {came} | {hits} in {seconds:.1} s | \
                 {why} |"
            );
        };
        assert!(is_good(&ours), "{exchange}: {fault}: {ours:?}");
        row("idtoken", &ours, world.google.hits(endpoint), "");
        for (client, outcome, hits) in &theirs {
            let is_better = is_good(outcome) && outcome.errors.len() < ours.errors.len();
            let why = if is_better {
                why(client, exchange, fault)
            } else {
                ""
            };
            row(client, outcome, *hits, why);
        }
    }
}

/// Why it does better than we do, and why we leave it at that.
fn why(client: &str, exchange: &str, fault: &str) -> &'static str {
    match (client, exchange) {
        ("google-auth-library", "metadata") => {
            "luck: it always asks twice and throws the first answer away"
        }
        (_, "metadata") if fault.starts_with("no Metadata-Flavor") => {
            "it takes a token from whoever answers; the header tells the metadata server from others"
        }
        _ => panic!("{client} does better than we do: {exchange}: {fault}"),
    }
}

fn is_good(outcome: &Outcome) -> bool {
    outcome
        .token
        .as_deref()
        .is_some_and(|token| kind(token) == "a token")
}

fn kind(token: &str) -> &'static str {
    let claims = UnverifiedClaims::read_without_verifying(token).unwrap();
    if claims.aud().all(|aud| aud != AUDIENCE) {
        "a token for another audience"
    } else if claims.exp() <= Some(SystemClock.now()) {
        "an expired token"
    } else {
        "a token"
    }
}

fn came(outcome: &Outcome) -> String {
    let came = outcome.token.as_deref().map_or("no token", kind);
    let Some(first) = outcome.errors.first() else {
        return came.to_owned();
    };
    // What differs from run to run ends it: an address, a number of seconds.
    let mut text = first.lines().next().unwrap().replace('|', "/");
    for end in [" http", " (host", " 360"] {
        text.truncate(text.find(end).unwrap_or(text.len()));
    }
    if let Some((end, _)) = text.char_indices().nth(TEXT) {
        text.truncate(end);
        text.push('…');
    }
    match outcome.errors.len() {
        1 => format!("{came}, after an error: {text}"),
        more => format!("{came}, after {more} errors: {text}"),
    }
}

/// Asks a client, as often as it takes.
async fn asked(client: Counterpart, world: &World, exchange: &str) -> Option<Outcome> {
    let mut command = client.command("tokens")?;
    world.describe(&mut command);
    command
        .arg(exchange)
        .env("INTEROP_ASKS", ASKS.to_string())
        .kill_on_drop(true);
    let Ok(output) = tokio::time::timeout(PATIENCE, command.output()).await else {
        return Some(Outcome {
            token: None,
            errors: vec!["none within our patience".to_owned()],
            seconds: PATIENCE.as_secs_f64(),
        });
    };
    let output = output.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let printed = String::from_utf8(output.stdout).unwrap();
    outcomes(&printed).remove(exchange)
}

/// The same of us.
async fn ask_us(world: &World, exchange: &str) -> Outcome {
    let tokens = match exchange {
        "metadata" => {
            let source = MetadataServer::builder().host(world.google.host());
            TokenCache::new(Arc::new(source.build().unwrap()))
        }
        _ => {
            let file = world.files["KEY_FILE"].to_str().unwrap();
            let environment = Environment::default().set("GOOGLE_APPLICATION_CREDENTIALS", file);
            let source = DefaultSource::builder().environment(environment).build();
            TokenCache::new(Arc::new(source.await.unwrap()))
        }
    };
    let handle = tokens.handle(&Audience::new(AUDIENCE).unwrap());
    let started = Instant::now();
    let mut errors = Vec::new();
    let mut token = None;
    while token.is_none() && errors.len() < ASKS {
        if !errors.is_empty() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        match handle.bearer().await {
            Ok(bearer) => {
                let bearer = bearer.to_str().unwrap();
                token = bearer.strip_prefix("Bearer ").map(str::to_owned);
            }
            Err(error) => errors.push(with_causes(&error)),
        }
    }
    Outcome {
        token,
        errors,
        seconds: started.elapsed().as_secs_f64(),
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<_> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}

const ASKS: usize = 3;
/// Some clients wait for ever.
const PATIENCE: Duration = Duration::from_secs(30);
/// How much of an error's text makes it to the page.
const TEXT: usize = 90;
