//! One function, and everything of Google's that may call it: a preset for each.
//!
//! ```text
//! cargo run --example senders
//! ```
//!
//! Runs against a stand-in for Google on this machine. Each sender is let in with its own token, and
//! turned away with that of the sender before it: all are signed by Google, and none is the other's.

use std::error::Error;
use std::net::Ipv4Addr;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum_idtoken::Caller;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use idtoken::preset::gateway::{Gateway, Product};
use idtoken::preset::{self, IapAudience};
use idtoken::verify::VerifierBuilder;
use idtoken_emulator::{Emulator, Shape, TokenRequest};
use serde_json::json;
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

type BoxError = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .init();
    let google = Emulator::start().await?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let function = the_function(&google)?;
    tokio::spawn(async move { axum::serve(listener, function).await });

    let minted = |audience: &str, account: &str| {
        let request = TokenRequest::new(audience).account(account);
        ("authorization", format!("Bearer {}", google.mint(&request)))
    };
    let assertion = TokenRequest::new(the_backend().as_str())
        .account("ann@example.com")
        .shape(Shape::Iap);
    let senders = [
        ("another service", "/", minted(FUNCTION, FRONT)),
        ("Pub/Sub", "/orders", minted(ORDERS, PUSH)),
        ("Eventarc", "/events", minted(EVENTS, TRIGGER)),
        ("Cloud Scheduler", "/nightly", minted(NIGHTLY, CRON)),
        ("Cloud Tasks", "/work", minted(WORK, QUEUE)),
        ("API Gateway", "/api", minted(FUNCTION, GATEWAY)),
        (
            "Identity-Aware Proxy",
            "/people",
            ("x-goog-iap-jwt-assertion", google.mint(&assertion)),
        ),
    ];
    let mut another = &senders[senders.len() - 1].2;
    for (sender, path, token) in &senders {
        let answer = send(&format!("{url}{path}"), token).await?;
        println!("{sender} calls {path}: {}", answer.1);
        let other = send(&format!("{url}{path}"), another).await?;
        println!("  with another's token: {}", other.0);
        if answer.0 != StatusCode::OK || other.0.is_success() {
            return Err(format!("{sender} was judged wrongly").into());
        }
        another = token;
    }
    Ok(())
}

/// What stands in the configuration of each sender goes into its preset: an audience, and a service
/// account.
fn the_function(google: &Emulator) -> Result<Router, BoxError> {
    let verified = |preset: VerifierBuilder| preset.jwks_url(google.jwks_url()).build();

    let front = verified(preset::service_to_service(FUNCTION, [FRONT]))?;
    let pubsub = verified(preset::pubsub_push(ORDERS, PUSH))?;
    let eventarc = verified(preset::eventarc(EVENTS, TRIGGER))?;
    let scheduler = verified(preset::cloud_scheduler(NIGHTLY, CRON))?;
    let tasks = verified(preset::cloud_tasks(WORK, QUEUE))?;
    let api_gateway = verified(preset::api_gateway(FUNCTION, GATEWAY))?;
    let iap = preset::iap(&the_backend())
        .jwks_url(google.iap_jwks_url())
        .build()?;

    // A verifier for each route: whoever may push orders may not start the nightly job.
    Ok(Router::new()
        .merge(Router::new().route("/", post(hello)).with_state(front))
        .merge(
            Router::new()
                .route("/orders", post(hello))
                .with_state(pubsub),
        )
        .merge(
            Router::new()
                .route("/events", post(hello))
                .with_state(eventarc),
        )
        .merge(
            Router::new()
                .route("/nightly", post(hello))
                .with_state(scheduler),
        )
        .merge(Router::new().route("/work", post(hello)).with_state(tasks))
        .merge(
            Router::new()
                .route("/api", post(for_whom))
                .with_state(api_gateway),
        )
        .merge(Router::new().route("/people", post(hello)).with_state(iap)))
}

/// What Identity-Aware Proxy stands before.
fn the_backend() -> IapAudience {
    IapAudience::backend_service(1029, 815)
}

async fn hello(caller: Caller) -> String {
    format!("hello {}", caller.email().unwrap_or_else(|| caller.sub()))
}

/// The caller is the gateway. What it says of its own caller counts, since its token was verified.
async fn for_whom(caller: Caller, headers: HeaderMap) -> Result<String, StatusCode> {
    let user = Gateway::new(Product::ApiGateway, GATEWAY)
        .user_info(caller.claims(), &headers)
        .map_err(|_| StatusCode::BAD_REQUEST)?
        .ok_or(StatusCode::FORBIDDEN)?;
    Ok(format!("hello {} for {}", caller.sub(), user["sub"]))
}

async fn send(url: &str, token: &(&str, String)) -> Result<(StatusCode, String), BoxError> {
    let user = URL_SAFE_NO_PAD.encode(json!({"sub": "user-7"}).to_string());
    let request = reqwest::Client::new()
        .post(url)
        .header(token.0, &token.1)
        .header(Product::ApiGateway.user_info_header(), user);
    let answer = request.send().await?;
    Ok((answer.status(), answer.text().await?))
}

const FUNCTION: &str = "https://hello-abc.a.run.app";
const ORDERS: &str = "https://hello-abc.a.run.app/orders";
const EVENTS: &str = "https://hello-abc.a.run.app/events";
const NIGHTLY: &str = "https://hello-abc.a.run.app/nightly";
const WORK: &str = "https://hello-abc.a.run.app/work";

const FRONT: &str = "front@shop.iam.gserviceaccount.com";
const PUSH: &str = "push@shop.iam.gserviceaccount.com";
const TRIGGER: &str = "trigger@shop.iam.gserviceaccount.com";
const CRON: &str = "cron@shop.iam.gserviceaccount.com";
const QUEUE: &str = "queue@shop.iam.gserviceaccount.com";
const GATEWAY: &str = "gateway@shop.iam.gserviceaccount.com";
