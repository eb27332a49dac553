//! A service calls a function, and the function knows who called.
//!
//! ```text
//! cargo run --example function_to_function
//! ```
//!
//! Everything runs on this machine: a stand-in for Google, a *function* that greets only callers it
//! knows, and *services* that call it. They speak HTTP over real sockets, and the tokens are signed
//! with real keys. The program succeeds only if every answer was as expected.
//!
//! With `IDTOKEN_AUDIENCE` set to the URL of a real Cloud Run function, it calls that one instead:
//! with the key file that `GOOGLE_APPLICATION_CREDENTIALS` names, or else as the service account
//! that the metadata server speaks for. `RUST_LOG=debug` shows what happens underneath.

use std::error::Error;
use std::io;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, Uri};
use axum::response::IntoResponse;
use axum::routing::get;
use axum_idtoken::Caller;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use idtoken::source::{MetadataServer, ServiceAccountKey};
use idtoken::{Audience, Principal, TokenCache, TokenHandle, Verifier};
use idtoken_emulator::{Emulator, Endpoint};
use tokio::net::TcpListener;
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, ServiceExt};
use tower_http::trace::TraceLayer;
use tower_idtoken::AddIdTokenLayer;
use tracing_subscriber::EnvFilter;

type BoxError = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .init();
    let outcome = match variable("IDTOKEN_AUDIENCE") {
        Some(function) => call_the_real_thing(function).await,
        None => play_it_through().await,
    };
    let Err(error) = outcome else {
        return ExitCode::SUCCESS;
    };
    eprintln!("failed: {error}");
    let mut next = error.source();
    while let Some(cause) = next {
        eprintln!("  because: {cause}");
        next = cause.source();
    }
    ExitCode::FAILURE
}

async fn play_it_through() -> Result<(), BoxError> {
    let google = Emulator::start().await?;
    google.attach(FRONTEND);
    google.set_metadata_cache(false);
    println!("A stand-in for Google signs tokens at {}", google.url());

    let (listener, function) = listen().await?;
    let verifier = Verifier::builder()
        .audience(&function)
        .allow(Principal::service_account(FRONTEND))
        .jwks_url(google.jwks_url())
        // Google publishes a key long before it signs with it; below there is no such notice.
        .key_refetch_pause(Duration::ZERO)
        .build()?;
    serve(listener, the_function(verifier));
    println!("The function waits at {function} and lets in only {FRONTEND}");

    let audience = Audience::new(&function)?;
    let as_frontend = || -> Result<TokenHandle, BoxError> {
        let identity = MetadataServer::builder().host(google.host()).build()?;
        Ok(TokenCache::new(identity).handle(&audience))
    };
    let greeting = format!("hello {FRONTEND}");

    println!("\nThe frontend calls. Its token says who it is, and that is on the function's list.");
    let frontend = start_service(&function, Some(as_frontend()?)).await?;
    expect(&frontend, StatusCode::OK, &greeting).await?;

    println!("\nA stranger calls. Its token is just as genuine, but it is not on the list.");
    let identity = ServiceAccountKey::from_json(&google.key_file(STRANGER))?;
    let token = TokenCache::new(identity).handle(&audience);
    let stranger = start_service(&function, Some(token)).await?;
    expect(&stranger, StatusCode::FORBIDDEN, "not allowed").await?;

    println!("\nSomebody calls without a token.");
    let nobody = start_service(&function, None).await?;
    expect(
        &nobody,
        StatusCode::UNAUTHORIZED,
        "valid credentials are required",
    )
    .await?;

    println!(
        "\nGoogle changes its signing key. A new frontend starts, and the old one calls again."
    );
    google.rotate_keys();
    let new_frontend = start_service(&function, Some(as_frontend()?)).await?;
    expect(&new_frontend, StatusCode::OK, &greeting).await?;
    expect(&frontend, StatusCode::OK, &greeting).await?;

    let fetches = google.hits(Endpoint::Jwks);
    println!(
        "\nThe function fetched Google's public keys {fetches} times: at first, and for the new one."
    );
    if fetches != 2 {
        return Err("it should have been twice".into());
    }
    println!("All of it went as it should.");
    Ok(())
}

/// The called side. There is a `Caller` only if the token was verified and its bearer is allowed.
fn the_function(verifier: Verifier) -> Router {
    async fn hello(caller: Caller) -> String {
        format!("hello {}", caller.email().unwrap_or_else(|| caller.sub()))
    }
    Router::new().route("/", get(hello)).with_state(verifier)
}

/// The calling side: it asks the function and hands on the answer. A layer adds the token.
fn the_service(function: Uri, token: Option<TokenHandle>) -> Router {
    let http = Client::builder(TokioExecutor::new()).build_http();
    let stack = ServiceBuilder::new()
        .timeout(Duration::from_secs(10))
        .layer(TraceLayer::new_for_http());
    let client = match token {
        Some(token) => {
            BoxCloneSyncService::new(stack.layer(AddIdTokenLayer::new(token)).service(http))
        }
        None => BoxCloneSyncService::new(stack.service(http)),
    };
    let ask_the_function = move || async move {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = function;
        match client.oneshot(request).await {
            Ok(answer) => answer.map(Body::new).into_response(),
            Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
        }
    };
    Router::new().route("/", get(ask_the_function))
}

async fn start_service(function: &str, token: Option<TokenHandle>) -> Result<Uri, BoxError> {
    let (listener, url) = listen().await?;
    serve(listener, the_service(function.parse()?, token));
    Ok(url.parse()?)
}

/// Asks a service, as a browser would, and compares what comes back.
async fn expect(service: &Uri, status: StatusCode, text: &str) -> Result<(), BoxError> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    let answer = client.get(service.clone()).await?.map(Body::new);
    let seen = answer.status();
    let body = to_bytes(answer.into_body(), 1024).await?;
    let body = String::from_utf8_lossy(&body);
    println!("  the function answers {seen}: {body}");
    if (seen, &*body) != (status, text) {
        return Err(format!("it should have answered {status}: {text}").into());
    }
    Ok(())
}

/// Calls a function on Cloud Run, whose audience is its URL.
async fn call_the_real_thing(function: String) -> Result<(), BoxError> {
    let tokens = match variable("GOOGLE_APPLICATION_CREDENTIALS") {
        Some(path) => TokenCache::new(ServiceAccountKey::from_file(path)?),
        None => TokenCache::new(match variable("GCE_METADATA_HOST") {
            Some(host) => MetadataServer::builder().host(host).build()?,
            None => MetadataServer::new()?,
        }),
    };
    let token = tokens.handle(&Audience::new(&function)?);
    let client = ServiceBuilder::new()
        .timeout(Duration::from_secs(30))
        .layer(AddIdTokenLayer::new(token))
        .service(reqwest::Client::new());
    let request = reqwest::Request::new(reqwest::Method::GET, function.parse()?);
    let answer = client.oneshot(request).await?;
    println!("{function} answers {}", answer.status());
    answer.error_for_status()?;
    Ok(())
}

async fn listen() -> io::Result<(TcpListener, String)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let url = format!("http://{}", listener.local_addr()?);
    Ok((listener, url))
}

fn serve(listener: TcpListener, app: Router) {
    tokio::spawn(async move { axum::serve(listener, app).await });
}

#[allow(
    clippy::disallowed_methods,
    reason = "a program may read its environment"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Who may call. A service account is the identity that Google gives to a service.
const FRONTEND: &str = "frontend@shop.iam.gserviceaccount.com";

/// A service account of somebody else.
const STRANGER: &str = "somebody@elsewhere.iam.gserviceaccount.com";
