//! A conversation over HTTP/2, and one over an upgraded connection: the layer adds the token to the
//! request and leaves all that follows alone.
//!
//! ```text
//! cargo run --example streams_and_upgrades
//! ```
//!
//! A service of your own must send back what comes at `/echo` and, upgraded, at `/upgrade`, and be
//! on this machine, for want of TLS here; see the example `hyper_client` for that.

use std::convert::Infallible;

use bytes::Bytes;
use http::header::{CONNECTION, UPGRADE};
use http::{Request, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use idtoken::Audience;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tower::{ServiceBuilder, ServiceExt};
use tower_idtoken::AddIdTokenLayer;

use self::target::{BoxError, Target, target};

#[path = "stand_in/target.rs"]
mod target;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let target = target().await?;
    converse(&target).await?;
    upgrade(&target).await
}

/// Each word is sent when the one before has come back.
async fn converse(target: &Target) -> Result<(), BoxError> {
    let client = ServiceBuilder::new().layer(layer(target)?).service(
        Client::builder(TokioExecutor::new())
            .http2_only(true)
            .build_http(),
    );
    let (words, receiver) = mpsc::channel::<Bytes>(1);
    let frames = ReceiverStream::new(receiver).map(|word| Ok::<_, Infallible>(Frame::data(word)));
    let request = Request::post(format!("{}echo", target.origin)).body(StreamBody::new(frames))?;

    let response = client.oneshot(request).await?;
    println!("{:?} {}", response.version(), response.status());
    let mut answers = response.into_body();
    for word in ["first", "second", "last"] {
        words.send(word.into()).await?;
        let frame = answers.frame().await.ok_or("the answer ended early")??;
        println!("  {:?}", frame.data_ref());
    }
    Ok(())
}

async fn upgrade(target: &Target) -> Result<(), BoxError> {
    let client = ServiceBuilder::new()
        .layer(layer(target)?)
        .service(Client::builder(TokioExecutor::new()).build_http());
    let request = Request::get(format!("{}upgrade", target.origin))
        .header(CONNECTION, "upgrade")
        .header(UPGRADE, "echo")
        .body(Empty::<Bytes>::new())?;

    let response = client.oneshot(request).await?;
    println!("{:?} {}", response.version(), response.status());
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err("the service did not switch protocols".into());
    }
    let mut stream = TokioIo::new(hyper::upgrade::on(response).await?);
    stream.write_all(b"ping").await?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await?;
    println!("  {:?}", Bytes::copy_from_slice(&answer));
    Ok(())
}

fn layer(target: &Target) -> Result<AddIdTokenLayer, BoxError> {
    let audience = Audience::origin_of(&target.origin)?;
    Ok(AddIdTokenLayer::new(target.tokens.handle(&audience)))
}
