//! A server that tells what it was sent.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONNECTION, LOCATION, UPGRADE};
use axum::http::{HeaderMap, Response, StatusCode};
use axum::routing::{any, get};
use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Listens until its runtime ends.
pub(crate) async fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new()
        .route("/headers", any(headers))
        .route("/echo", any(echo))
        .route("/conversation", any(conversation))
        .route("/redirect/{port}", get(redirect))
        .route("/upgrade", get(upgrade));
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// The credentials of the request, one to a line.
async fn headers(headers: HeaderMap) -> String {
    let mut lines: Vec<_> = headers
        .iter()
        .filter(|(name, _)| name.as_str().contains("authorization"))
        .map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap()))
        .collect();
    lines.sort();
    lines.concat()
}

/// The body as it came, and trailers.
async fn echo(request: Request) -> Response<Body> {
    let version = format!("{:?}", request.version());
    let token = request.headers()["authorization"].clone();
    let sent = request.into_body().collect().await.unwrap();
    let trailer = sent.trailers().and_then(|trailers| trailers.get("x-sum"));
    let mut trailers = HeaderMap::new();
    if let Some(trailer) = trailer {
        trailers.insert("x-sum", trailer.clone());
    }
    let frames = [
        Ok::<_, std::convert::Infallible>(http_body::Frame::data(sent.to_bytes())),
        Ok(http_body::Frame::data(Bytes::from_static(b"!"))),
        Ok(http_body::Frame::trailers(trailers)),
    ];
    Response::builder()
        .header("trailer", "x-sum")
        .header("x-version", version)
        .header("x-token", token)
        .body(Body::new(StreamBody::new(tokio_stream::iter(frames))))
        .unwrap()
}

/// What comes, as it comes, if there is a token.
async fn conversation(request: Request) -> Body {
    assert!(request.headers().contains_key("authorization"));
    request.into_body()
}

/// To `/headers` on this machine by its other name, which is another host.
async fn redirect(axum::extract::Path(port): axum::extract::Path<u16>) -> Response<Body> {
    Response::builder()
        .status(StatusCode::TEMPORARY_REDIRECT)
        .header(LOCATION, format!("http://localhost:{port}/headers"))
        .body(Body::empty())
        .unwrap()
}

/// Switches protocols and sends back what comes, if there is a token.
async fn upgrade(mut request: Request) -> Response<Body> {
    assert!(request.headers().contains_key("authorization"));
    tokio::spawn(async move {
        let mut stream = TokioIo::new(hyper::upgrade::on(&mut request).await.unwrap());
        let mut buffer = [0; 4];
        stream.read_exact(&mut buffer).await.unwrap();
        stream.write_all(&buffer).await.unwrap();
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(CONNECTION, "upgrade")
        .header(UPGRADE, "echo")
        .body(Body::empty())
        .unwrap()
}
