//! hyper-util's legacy client: both protocols, streams, trailers, upgrades.

use std::convert::Infallible;

use axum::body::Body;
use bytes::Bytes;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, Request, StatusCode, Version};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tower::{ServiceBuilder, ServiceExt};

use crate::{World, server};

fn client(http2: bool) -> Client<HttpConnector, Body> {
    Client::builder(TokioExecutor::new())
        .http2_only(http2)
        .build_http()
}

#[tokio::test]
async fn streams_and_trailers_pass_untouched_over_http1_and_http2() {
    let world = World::new();
    let address = server::start().await;
    for (http2, version) in [(false, Version::HTTP_11), (true, Version::HTTP_2)] {
        let service = ServiceBuilder::new()
            .layer(world.layer())
            .service(client(http2));
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "3".parse().unwrap());
        let frames = [
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"one "))),
            Ok(Frame::data(Bytes::from_static(b"two"))),
            Ok(Frame::trailers(trailers)),
        ];
        let body = Body::new(StreamBody::new(tokio_stream::iter(frames)));
        let request = Request::post(format!("http://{address}/echo"))
            .header("trailer", "x-sum")
            // Without it a server sends none over HTTP/1 (RFC 9110 §6.5.1).
            .header("te", "trailers")
            .version(version)
            .body(body)
            .unwrap();
        let response = service.oneshot(request).await.unwrap();
        assert_eq!(response.headers()["x-version"], format!("{version:?}"));
        let token = response.headers()["x-token"].to_str().unwrap();
        assert!(token.starts_with("Bearer eyJ"));
        let body = response.into_body().collect().await.unwrap();
        assert_eq!(body.trailers().unwrap()["x-sum"], "3");
        assert_eq!(body.to_bytes(), "one two!");
    }
}

#[tokio::test]
async fn a_chunk_is_echoed_before_the_next_one_is_sent() {
    let world = World::new();
    let address = server::start().await;
    for http2 in [false, true] {
        let service = ServiceBuilder::new()
            .layer(world.layer())
            .service(client(http2));
        let (chunks, body) = tokio::sync::mpsc::channel(1);
        let frames = ReceiverStream::new(body).map(|text| Ok::<_, Infallible>(Frame::data(text)));
        let request = Request::post(format!("http://{address}/conversation"))
            .body(Body::new(StreamBody::new(frames)))
            .unwrap();
        let mut answer = service.oneshot(request).await.unwrap().into_body();
        for text in ["one", "two"] {
            chunks
                .send(Bytes::from_static(text.as_bytes()))
                .await
                .unwrap();
            let frame = answer.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), text);
        }
        drop(chunks);
        assert!(answer.collect().await.unwrap().to_bytes().is_empty());
    }
}

#[tokio::test]
async fn an_upgrade_carries_its_token_and_is_left_alone_afterwards() {
    let world = World::new();
    let address = server::start().await;
    let service = ServiceBuilder::new()
        .layer(world.layer())
        .service(client(false));
    let request = Request::get(format!("http://{address}/upgrade"))
        .header(CONNECTION, "upgrade")
        .header(UPGRADE, "echo")
        .body(Body::empty())
        .unwrap();
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    let mut stream = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    stream.write_all(b"ping").await.unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"ping");
}

#[tokio::test]
async fn the_host_header_is_left_alone() {
    let world = World::new();
    let service =
        ServiceBuilder::new()
            .layer(world.layer())
            .service_fn(|request: Request<()>| async move {
                Ok::<_, Infallible>(http::Response::new(request.headers().clone()))
            });
    let request = Request::get("https://127.0.0.1/")
        .header("host", "hello.example.com")
        .body(())
        .unwrap();
    let headers = service.oneshot(request).await.unwrap().into_body();
    assert_eq!(headers["host"], "hello.example.com");
    assert_eq!(headers.len(), 2);
}
