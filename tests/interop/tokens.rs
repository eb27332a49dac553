//! The same files for Google's clients and for our sources, and their tokens claim by claim.

use idtoken_emulator::{Endpoint, Role};
use serde_json::{Value, json};

use crate::counterpart::{Counterpart, outcomes, printed};
use crate::world::{AUDIENCE, TARGET, World};

#[tokio::test]
async fn google_auth_of_python_and_our_sources_get_the_same_claims() {
    compare(Counterpart::Python).await;
}

#[tokio::test]
async fn google_auth_library_of_node_and_our_sources_get_the_same_claims() {
    compare(Counterpart::Node).await;
}

#[tokio::test]
async fn google_cloud_auth_of_rust_and_our_sources_get_the_same_claims() {
    compare(Counterpart::Rust).await;
}

/// Each of its tokens says what ours says, and our verifier accepts it.
async fn compare(client: Counterpart) {
    let Some(mut command) = client.command("tokens") else {
        return;
    };
    let world = World::new().await;
    world.describe(&mut command);
    command.args(client.exchanges()).env("INTEROP_VERIFY", "1");
    let outcomes = outcomes(&printed(&mut command).await);
    let name = client.name();
    for exchange in client.exchanges() {
        let outcome = &outcomes[*exchange];
        let Some(token) = &outcome.token else {
            panic!("{name}: {exchange}: {:?}", outcome.errors)
        };
        let their_claims = claims(token);
        let audience = their_claims["aud"].as_str().unwrap();
        let mut our_claims = claims(&world.our_token(exchange, audience).await);
        let differs = differs(client, exchange);
        for (claim, _) in differs {
            assert_ne!(our_claims[claim], their_claims[claim], "{name}: {exchange}");
            our_claims[claim] = their_claims[claim].clone();
        }
        assert_eq!(our_claims, their_claims, "{name}: {exchange}");
        let account = world.account_of(exchange);
        world.accepts(token, audience, account).await;
        let but: String = differs
            .iter()
            .map(|(_, why)| format!(", but for {why}"))
            .collect();
        println!("\n| {name} | {exchange} | the same claims as ours{but} |");
    }
    if client == Counterpart::Rust {
        println!(
            "\n| {name} | external_account | does not apply: it has no ID tokens for external \
             accounts, nor a source to build them from |"
        );
    }
}

/// For them the file is for access tokens, and that is how they read it.
#[tokio::test]
async fn the_file_of_an_external_account_is_one_for_their_access_tokens_too() {
    for client in Counterpart::ALL {
        let Some(mut command) = client.command("tokens") else {
            continue;
        };
        let world = World::new().await;
        world.describe(&mut command);
        let exchange = "external_access_token";
        let outcome = outcomes(&printed(command.arg(exchange)).await).remove(exchange);
        let token = outcome.unwrap().token.unwrap();
        let (name, hits) = (client.name(), |endpoint| world.google.hits(endpoint));
        assert_eq!(hits(Endpoint::Sts), 1, "{name}");
        assert_eq!(hits(Endpoint::GenerateAccessToken), 1, "{name}");

        // Only the target may ask for this.
        world.google.grant(TARGET, Role::OpenIdTokenCreator, TARGET);
        let url = world.google.iam_url(TARGET, "generateIdToken");
        let request = json!({"audience": AUDIENCE, "includeEmail": true});
        let answer = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = answer
            .post(url)
            .bearer_auth(token)
            .body(request.to_string());
        let answer = answer.send().await.unwrap().bytes().await.unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        let token = answer["token"].as_str().unwrap();
        world.accepts(token, AUDIENCE, TARGET).await;
        println!(
            "\n| {name} | external_account, the file as it is | an access token of the account \
             that the file impersonates |"
        );
    }
}

/// An audience may hold what ends a query's field.
#[tokio::test]
async fn what_clients_make_of_an_audience_that_must_be_escaped() {
    for client in Counterpart::ALL {
        let Some(mut command) = client.command("tokens") else {
            continue;
        };
        let world = World::new().await;
        world.describe(&mut command);
        command.arg("metadata").env("INTEROP_AUDIENCE", ESCAPED);
        let outcome = outcomes(&printed(&mut command).await).remove("metadata");
        let token = outcome.unwrap().token.unwrap();
        let aud = claims(&token)["aud"].as_str().unwrap().to_owned();
        let got = match aud.as_str() {
            ESCAPED => "all of it",
            _ if ESCAPED.starts_with(&aud) => "cut short, for it is not escaped",
            other => panic!("{other}"),
        };
        println!(
            "\n| {} | metadata, an audience with `&` and `#` | {got} |",
            client.name()
        );
        let ours = world.our_token("metadata", ESCAPED).await;
        assert_eq!(claims(&ours)["aud"], ESCAPED);
    }
}

/// The claims that differ, and how they do.
fn differs(client: Counterpart, exchange: &str) -> &'static [(&'static str, &'static str)] {
    match (client, exchange) {
        // It asks for `useEmailAzp`, as recorded in `wire`: the same account, by its name.
        (Counterpart::Node, "impersonated" | "external_account") => &[("azp", "azp")],
        _ => &[],
    }
}

/// All claims but those that say when the token was made.
fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    let json = base64::Engine::decode(
        &base64::engine::general_purpose::URL_SAFE_NO_PAD,
        payload.as_bytes(),
    );
    let mut claims: Value = serde_json::from_slice(&json.unwrap()).unwrap();
    let lasts = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
    claims["exp"] = lasts.into();
    for fleeting in ["iat", "at_hash"] {
        claims.as_object_mut().unwrap().remove(fleeting);
    }
    claims
}

const ESCAPED: &str = "https://hello-abc.a.run.app/?tenant=a&b=c#d";
