//! What the child processes do.

use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::sync::Arc;

use aws_lc_rs::digest;
use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::response::IntoResponse;
use axum::routing::get;
use axum_idtoken::Caller;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderValue, Request, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use idtoken::source::MetadataServer;
use idtoken::{Audience, Principal, TokenCache, Verifier};
use idtoken_emulator::Account;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tower::{BoxError, Layer, Service, ServiceExt as _};
use tower_http::auth::AddAuthorizationLayer;
use tower_idtoken::{AddIdTokenLayer, Fixed};

use crate::fixtures::{AUDIENCE, EMAIL};

/// Plays the role named first, until standard input ends.
pub fn play(arguments: &[String]) -> ExitCode {
    match serve(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{arguments:?}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(arguments: &[String]) -> Result<(), BoxError> {
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).map(String::as_str)
    };
    let runtime = Runtime::new()?;
    let (listener, port) = runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        Ok::<_, io::Error>((listener, port))
    })?;
    let router = match arguments.first().map(String::as_str) {
        Some("hello") => match value("--jwks") {
            None => rung(value("--rung"))?,
            Some(jwks) => {
                runtime.block_on(verified(jwks, value("--remember"), value("--first")))?
            }
        },
        Some("caller") => {
            let missing = |name: &str| value(name).ok_or(format!("{name} is missing"));
            let (how, upstream) = (missing("--how")?, missing("--upstream")?);
            let (metadata, token) = (missing("--metadata")?, missing("--token")?);
            runtime.block_on(calling(how, upstream, metadata, token))?
        }
        _ => return Err("no such role".into()),
    };
    runtime.spawn(async { axum::serve(listener, router).await });
    println!("{port}");
    io::stdout().flush()?;
    io::stdin().read_to_end(&mut Vec::new())?;
    runtime.shutdown_background();
    Ok(())
}

/// What a server does besides that `Caller` cannot do without, one thing more on each rung.
fn rung(name: Option<&str>) -> Result<Router, BoxError> {
    let state = Arc::new(());
    Ok(match name {
        None => Router::new().route("/", get(|| async { "hello" })),
        Some("state") => Router::new()
            .route("/", get(|_: State<Arc<()>>| async { "hello" }))
            .with_state(state),
        Some("header") => Router::new().route("/", get(|_: Bearer| async { "hello" })),
        Some("hash") => Router::new().route(
            "/",
            get(|Bearer(value): Bearer| async move {
                std::hint::black_box(digest::digest(&digest::SHA256, value.as_bytes()));
                "hello"
            }),
        ),
        Some(other) => return Err(format!("no such rung: {other}").into()),
    })
}

/// The header that the token is in, unread.
struct Bearer(HeaderValue);

impl<S: Sync> FromRequestParts<S> for Bearer {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        let value = parts.headers.get(AUTHORIZATION).cloned();
        value.map(Self).ok_or(StatusCode::UNAUTHORIZED)
    }
}

async fn verified(
    jwks: &str,
    remember: Option<&str>,
    first: Option<&str>,
) -> Result<Router, BoxError> {
    let mut builder = Verifier::builder()
        .audience(AUDIENCE)
        .allow(Principal::service_account(EMAIL))
        // Envoy asks the metadata server for tokens without an address.
        .allow(Principal::subject(Account::new(EMAIL).unique_id()))
        .jwks_url(jwks);
    if let Some(count) = remember {
        builder = builder.remember_tokens(count.parse()?);
    }
    let verifier = builder.build()?;
    if let Some(file) = first {
        for token in std::fs::read_to_string(file)?.lines() {
            verifier.verify(token).await?;
        }
    }
    let hello = |caller: Caller| async move {
        std::hint::black_box(caller.email());
        "hello"
    };
    Ok(Router::new().route("/", get(hello)).with_state(verifier))
}

async fn calling(
    how: &str,
    upstream: &str,
    metadata: &str,
    token: &str,
) -> Result<Router, BoxError> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    let uri: Uri = format!("{upstream}/").parse()?;
    match how {
        "bare" => Ok(forwarding(client, uri)),
        "constant" => Ok(forwarding(
            AddAuthorizationLayer::bearer(token).layer(client),
            uri,
        )),
        "layer" => {
            let source = MetadataServer::builder().host(metadata).build()?;
            let tokens = TokenCache::new(source);
            let handle = tokens.handle(&Audience::new(AUDIENCE)?);
            handle.bearer().await?;
            let policy = Fixed::new(handle).for_hosts(["127.0.0.1"])?;
            let layer = AddIdTokenLayer::with_policy(tokens, policy);
            Ok(forwarding(layer.layer(client), uri))
        }
        _ => Err("no such way".into()),
    }
}

/// A server that answers each request with what `client` gets from `uri`.
fn forwarding<C, B>(client: C, uri: Uri) -> Router
where
    C: Service<Request<Body>, Response = http::Response<B>> + Clone + Send + Sync + 'static,
    C::Error: std::fmt::Display + Send,
    C::Future: Send,
    B: http_body_util::BodyExt + Send + 'static,
    B::Data: Send,
    B::Error: std::fmt::Display,
{
    let forward = |State((client, uri)): State<(C, Uri)>| async move {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = uri;
        let answer = match client.oneshot(request).await {
            Ok(answer) => answer,
            Err(error) => return (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
        };
        let status = answer.status();
        match answer.into_body().collect().await {
            Ok(body) => (status, body.to_bytes()).into_response(),
            Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
        }
    };
    Router::new()
        .route("/", get(forward))
        .with_state((client, uri))
}
