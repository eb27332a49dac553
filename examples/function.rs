//! A function as Cloud Run wants it: `deploy/` puts it into a container.
//!
//! ```text
//! AUDIENCE=https://hello-abc.a.run.app \
//! CALLERS=front@project.iam.gserviceaccount.com \
//! cargo run --example function
//! ```
//!
//! It listens on `PORT`, answers `/health` to everybody and `/` to the callers named, and on SIGTERM
//! finishes what it has begun. `IDTOKEN_JWKS_URL` names other keys than Google's,
//! such as those of `idtoken emulate`.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::routing::get;
use axum_idtoken::Caller;
use idtoken::{Principal, Verifier};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

type BoxError = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .init();
    let verifier = verifier()?;
    let function = Router::new()
        .route("/", get(hello))
        // Whoever asks whether it is alive has no token.
        .route("/health", get(|| async { "ok" }))
        .with_state(verifier);
    let port = variable("PORT").map_or(Ok(8080), |port| port.parse())?;
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).await?;
    println!("listening on port {}", listener.local_addr()?.port());
    let mut stop = signal(SignalKind::terminate())?;
    axum::serve(listener, function)
        .with_graceful_shutdown(async move {
            stop.recv().await;
        })
        .await?;
    println!("stopped");
    Ok(())
}

/// Needs no network: keys are fetched when the first token comes.
fn verifier() -> Result<Verifier, BoxError> {
    let audience = variable("AUDIENCE").ok_or("AUDIENCE is the URL that callers use")?;
    let callers = variable("CALLERS").ok_or("CALLERS are service accounts, with commas between")?;
    let mut builder = Verifier::builder().audience(audience);
    for caller in callers.split(',') {
        builder = builder.allow(Principal::service_account(caller.trim()));
    }
    if let Some(url) = variable("IDTOKEN_JWKS_URL") {
        builder = builder.jwks_url(url);
    }
    Ok(builder.build()?)
}

async fn hello(caller: Caller) -> String {
    format!("hello {}", caller.email().unwrap_or_else(|| caller.sub()))
}

#[allow(clippy::disallowed_methods, reason = "a program's own settings")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
