//! What each client puts on the wire: as it was recorded, and how ours differs and why.

mod reading;
mod reasons;

use std::collections::BTreeMap;
use std::path::PathBuf;

use http::header::HOST;
use idtoken_emulator::Endpoint;

use self::reading::Request;
use self::reasons::why;
use crate::counterpart::{Counterpart, outcomes, printed, variable};
use crate::world::{AUDIENCE, World};

#[tokio::test]
async fn what_we_send_is_as_recorded_and_beside_what_googles_clients_send() {
    for exchange in EXCHANGES {
        let ours = sent_by_us(exchange).await;
        is_as_recorded(exchange, "idtoken", &ours);
        for client in Counterpart::ALL {
            if !client.exchanges().contains(&exchange) {
                continue;
            }
            let Some(theirs) = sent_by(client, exchange).await else {
                continue;
            };
            is_as_recorded(exchange, client.name(), &theirs);
            for (reason, fields) in differences(client.name(), exchange, &ours, &theirs) {
                let (name, fields) = (client.name(), fields.join(", "));
                println!("\n| wire | {exchange} | {name} | {fields} | {reason} |");
            }
        }
    }
}

async fn sent_by_us(exchange: &str) -> Vec<Request> {
    let world = World::new().await;
    let audience = match exchange {
        "user" => world.user_client_id(),
        _ => AUDIENCE.to_owned(),
    };
    world.our_token(exchange, &audience).await;
    sent(&world)
}

async fn sent_by(client: Counterpart, exchange: &str) -> Option<Vec<Request>> {
    let mut command = client.command("tokens")?;
    let world = World::new().await;
    world.describe(&mut command);
    command.arg(exchange);
    let outcome = outcomes(&printed(&mut command).await).remove(exchange);
    let outcome = outcome.unwrap();
    assert!(outcome.token.is_some(), "{exchange}: {outcome:?}");
    Some(sent(&world))
}

/// What reached the emulator: by endpoint, then in order.
fn sent(world: &World) -> Vec<Request> {
    let unknown = world.google.requests(Endpoint::Unknown);
    assert!(unknown.is_empty(), "{unknown:?}");
    // What is not for the emulator's own address comes by HTTPS, through a tunnel.
    let elsewhere = ENDPOINTS.iter().any(|endpoint| {
        let requests = world.google.requests(*endpoint);
        requests
            .iter()
            .any(|request| request.headers()[HOST] != world.google.host())
    });
    assert_eq!(world.google.hits(Endpoint::Connect) > 0, elsewhere);
    let to = |endpoint| {
        let requests = world.google.requests(endpoint).into_iter();
        requests.map(move |request| Request::read(&world.google, endpoint, &request))
    };
    ENDPOINTS.into_iter().flat_map(to).collect()
}

/// Compares with the golden file, or writes it.
fn is_as_recorded(exchange: &str, client: &str, sent: &[Request]) {
    let text: Vec<_> = sent.iter().map(ToString::to_string).collect();
    let text = text.join("\n");
    // How JSON begins in base64: no token is ever recorded.
    assert!(!text.contains("eyJ"), "{exchange}: {client}: a token");
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/interop/wire")
        .join(exchange)
        .join(client)
        .with_extension("txt");
    if variable("IDTOKEN_BLESS").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, &text).unwrap();
    }
    let recorded = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(
        text,
        recorded,
        "not as in {}; if that is right: tests/interop/run --bless",
        file.display()
    );
}

/// The fields that differ, by why they do.
fn differences(
    client: &str,
    exchange: &str,
    ours: &[Request],
    theirs: &[Request],
) -> BTreeMap<&'static str, Vec<String>> {
    let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for endpoint in ENDPOINTS.map(Endpoint::name) {
        let of = |all: &[Request]| -> Vec<Request> {
            all.iter()
                .filter(|request| request.endpoint == endpoint)
                .cloned()
                .collect()
        };
        let (ours, theirs) = (of(ours), of(theirs));
        let mut fields = Vec::new();
        for (ours, theirs) in ours.iter().zip(&theirs) {
            fields.extend(ours.differences(theirs));
        }
        if ours.len() > theirs.len() {
            fields.push("fewer requests".to_owned());
        }
        if ours.len() < theirs.len() {
            fields.push("more requests".to_owned());
        }
        for field in fields {
            let reason = why(client, exchange, endpoint, &field);
            let named = format!("{endpoint}: {field}");
            found.entry(reason).or_default().push(named);
        }
    }
    found
}

const EXCHANGES: [&str; 5] = [
    "metadata",
    "key_file",
    "impersonated",
    "external_account",
    "user",
];
/// All that can be asked on the way to a token, but for the allowed locations: google-auth asks for
/// them beside it, and may or may not be done in time.
const ENDPOINTS: [Endpoint; 11] = [
    Endpoint::Ping,
    Endpoint::Metadata,
    Endpoint::MetadataToken,
    Endpoint::Identity,
    Endpoint::SubjectToken,
    Endpoint::Sts,
    Endpoint::Token,
    Endpoint::GenerateAccessToken,
    Endpoint::GenerateIdToken,
    Endpoint::SignBlob,
    Endpoint::SignJwt,
];
