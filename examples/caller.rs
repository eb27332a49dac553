//! A service that calls the function of `examples/function.rs`; `deploy/` puts it into a container.
//!
//! ```text
//! HELLO_URL=https://hello-abc.a.run.app cargo run --example caller
//! ```
//!
//! It listens on `PORT`, answers `/health` by itself and `/` with what the function says, and on
//! SIGTERM finishes what it has begun. `HELLO_AUDIENCE` is for functions with a custom audience.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::routing::get;
use idtoken::{Audience, TokenCache, source};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tower::{ServiceBuilder, ServiceExt};
use tower_idtoken::{AddIdToken, AddIdTokenLayer, Fixed, Header, redirect};
use tracing_subscriber::EnvFilter;

type BoxError = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .init();
    let service = Router::new()
        .route("/", get(pass_on))
        .route("/health", get(|| async { "ok" }))
        .with_state(Hello::from_environment().await?);
    let port = variable("PORT").map_or(Ok(8080), |port| port.parse())?;
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).await?;
    println!("listening on port {}", listener.local_addr()?.port());
    let mut stop = signal(SignalKind::terminate())?;
    axum::serve(listener, service)
        .with_graceful_shutdown(async move {
            stop.recv().await;
        })
        .await?;
    println!("stopped");
    Ok(())
}

/// The function that is called.
#[derive(Clone)]
struct Hello {
    http: reqwest::Client,
    client: AddIdToken<reqwest::Client, Fixed>,
    url: String,
}

impl Hello {
    async fn from_environment() -> Result<Self, BoxError> {
        let url = variable("HELLO_URL").ok_or("HELLO_URL is where the function is")?;
        let uri: Uri = url.parse()?;
        let audience = match variable("HELLO_AUDIENCE") {
            Some(audience) => Audience::new(audience)?,
            None => Audience::origin_of(&uri)?,
        };
        let tokens = TokenCache::new(source::default().await?);
        // A custom audience does not say where its tokens may go.
        let policy = Fixed::new(tokens.handle(&audience)).for_hosts(uri.host())?;
        let layer = AddIdTokenLayer::with_policy(tokens, policy)
            // One for Google's front end, which takes its signature off, and one for the function.
            .header(Header::Both)
            .assume_no_cross_host_redirects();
        let http = reqwest::Client::builder()
            .redirect(redirect::same_host())
            .timeout(Duration::from_secs(30))
            .build()?;
        let client = ServiceBuilder::new().layer(layer).service(http.clone());
        Ok(Self { http, client, url })
    }

    async fn say(self) -> Result<(StatusCode, String), BoxError> {
        let request = self.http.get(self.url).build()?;
        let answer = self.client.oneshot(request).await?;
        Ok((answer.status(), answer.text().await?))
    }
}

async fn pass_on(State(hello): State<Hello>) -> (StatusCode, String) {
    match hello.say().await {
        Ok((StatusCode::OK, text)) => (StatusCode::OK, text),
        Ok((status, _)) => (StatusCode::BAD_GATEWAY, format!("hello said {status}\n")),
        Err(error) => {
            tracing::error!(error = &*error, "no answer from hello");
            (StatusCode::BAD_GATEWAY, "no answer from hello\n".to_owned())
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "a program's own settings")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
