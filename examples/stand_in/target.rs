//! What the examples of clients call: the service that is named, or a stand-in on this machine.

use std::error::Error;
use std::net::Ipv4Addr;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONNECTION, UPGRADE};
use axum::http::{StatusCode, Uri};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Extension, Router};
use hyper_util::rt::TokioIo;
use idtoken::source::MetadataServer;
use idtoken::{Claims, Principal, TokenCache, Verifier, source};
use idtoken_emulator::Emulator;
use tokio::net::TcpListener;
use tonic::service::Routes;
use tower_idtoken::RequireIdTokenLayer;

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

pub(crate) struct Target {
    pub(crate) origin: Uri,
    pub(crate) tokens: TokenCache,
    /// Stops when it is dropped.
    _google: Option<Emulator>,
}

/// The service named on the command line, called as whoever this machine can be; without a name a
/// stand-in for it, and for Google.
pub(crate) async fn target() -> Result<Target, BoxError> {
    let Some(origin) = std::env::args().nth(1) else {
        return stand_in().await;
    };
    Ok(Target {
        origin: origin.parse()?,
        tokens: TokenCache::new(source::default().await?),
        _google: None,
    })
}

async fn stand_in() -> Result<Target, BoxError> {
    let google = Emulator::start().await?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let origin = format!("http://{}", listener.local_addr()?);
    let account = google.default_account();
    let verifier = Verifier::builder()
        .audience(&origin)
        .allow(Principal::service_account(account.email()))
        .jwks_url(google.jwks_url())
        .build()?;
    let (_, health) = tonic_health::server::health_reporter();
    let service = Router::new()
        .route("/", get(greet))
        .route("/echo", post(echo))
        .route("/upgrade", get(upgrade))
        .merge(Routes::new(health).prepare().into_axum_router())
        .layer(RequireIdTokenLayer::new(verifier));
    tokio::spawn(async move { axum::serve(listener, service).await });
    Ok(Target {
        origin: origin.parse()?,
        tokens: TokenCache::new(MetadataServer::builder().host(google.host()).build()?),
        _google: Some(google),
    })
}

async fn greet(Extension(caller): Extension<Claims>) -> String {
    format!("hello {}", caller.email().unwrap_or_else(|| caller.sub()))
}

/// Sends back what comes, as it comes.
async fn echo(request: Request) -> Body {
    request.into_body()
}

/// Switches to a protocol that sends back what comes.
async fn upgrade(mut request: Request) -> impl IntoResponse {
    tokio::spawn(async move {
        if let Ok(stream) = hyper::upgrade::on(&mut request).await {
            let (mut reader, mut writer) = tokio::io::split(TokioIo::new(stream));
            let _ = tokio::io::copy(&mut reader, &mut writer).await;
        }
    });
    let headers = [(CONNECTION, "upgrade"), (UPGRADE, "echo")];
    (StatusCode::SWITCHING_PROTOCOLS, headers)
}
