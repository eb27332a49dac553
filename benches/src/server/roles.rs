//! What the child processes do.

use std::io::{self, Read, Write};
use std::process::ExitCode;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use axum_idtoken::Caller;
use http::{Request, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use idtoken::source::MetadataServer;
use idtoken::{Audience, Principal, TokenCache, Verifier};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tower::{BoxError, Layer, Service, ServiceExt as _};
use tower_http::auth::AddAuthorizationLayer;
use tower_idtoken::AddIdTokenLayer;

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
            None => Router::new().route("/", get(|| async { "hello" })),
            Some(jwks) => {
                runtime.block_on(verified(jwks, value("--remember"), value("--first")))?
            }
        },
        Some("caller") => {
            let missing = |name: &str| value(name).ok_or(format!("{name} is missing"));
            let (how, upstream) = (missing("--how")?, missing("--upstream")?);
            runtime.block_on(calling(how, upstream, missing("--metadata")?))?
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

async fn verified(
    jwks: &str,
    remember: Option<&str>,
    first: Option<&str>,
) -> Result<Router, BoxError> {
    let mut builder = Verifier::builder()
        .audience(AUDIENCE)
        .allow(Principal::service_account(EMAIL))
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

async fn calling(how: &str, upstream: &str, metadata: &str) -> Result<Router, BoxError> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    let uri: Uri = format!("{upstream}/").parse()?;
    match how {
        "bare" => Ok(forwarding(client, uri)),
        "constant" => {
            let token = crate::fixtures::unsigned_token(AUDIENCE);
            Ok(forwarding(
                AddAuthorizationLayer::bearer(&token).layer(client),
                uri,
            ))
        }
        "layer" => {
            let source = MetadataServer::builder().host(metadata).build()?;
            let handle = TokenCache::new(source).handle(&Audience::new(upstream)?);
            handle.bearer().await?;
            Ok(forwarding(AddIdTokenLayer::new(handle).layer(client), uri))
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
