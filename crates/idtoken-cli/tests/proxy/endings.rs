//! What a client sees when the service goes away.

use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::response::Response;
use futures_util::StreamExt as _;
use idtoken_emulator::Emulator;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::support::{Proxy, World, channel_body, http1, http2};

/// More than enough for a machine that is busy; nothing here waits for it unless it hangs.
const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_service_killed_within_its_answer_is_an_error_and_no_end() {
    for client in [http1(), http2()] {
        let (sender, body) = channel_body();
        let body = std::sync::Mutex::new(Some(body));
        let body = std::sync::Arc::new(body);
        let container = Router::new()
            .fallback(async move || Response::new(body.lock().unwrap().take().unwrap()));
        let world = World::around(container, "").await;
        sender.send("one").await.unwrap();
        let answer = client.get(world.url("/")).send().await.unwrap();
        let mut stream = answer.bytes_stream();
        assert_eq!(stream.next().await.unwrap().unwrap(), "one");
        drop(world.service);
        let next = timeout(LONG, stream.next()).await.expect("it hangs");
        assert!(next.unwrap().is_err());
        world.proxy.end().await;
    }
}

#[tokio::test]
async fn a_service_that_is_not_there_is_a_bad_gateway() {
    let world = World::new().await;
    drop(world.service);
    for client in [http1(), http2()] {
        let url = format!("{}/", world.proxy.url);
        let answer = timeout(LONG, client.get(url).send())
            .await
            .expect("it hangs");
        assert_eq!(answer.unwrap().status(), StatusCode::BAD_GATEWAY);
    }
    world.proxy.end().await;
}

#[tokio::test]
async fn told_to_stop_it_lets_a_request_end() {
    let (sender, body) = channel_body();
    let body = std::sync::Arc::new(std::sync::Mutex::new(Some(body)));
    let container =
        Router::new().fallback(async move || Response::new(body.lock().unwrap().take().unwrap()));
    let world = World::around(container, "").await;
    sender.send("one").await.unwrap();
    let answer = http1().get(world.url("/")).send().await.unwrap();
    let ending = tokio::spawn(world.proxy.end());
    sender.send("two").await.unwrap();
    drop(sender);
    assert_eq!(answer.text().await.unwrap(), "onetwo");
    timeout(LONG, ending).await.expect("it hangs").unwrap();
}

#[tokio::test]
async fn protocols_are_not_switched_unasked() {
    let google = Emulator::start().await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!("http://{}", listener.local_addr().unwrap());
    let switching = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let answer = b"HTTP/1.1 101 Switching Protocols\r\n\
            connection: upgrade\r\nupgrade: smuggling\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
        stream.write_all(answer).await.unwrap();
        stream
    });
    let proxy = Proxy::start(&google, &upstream, "").await;
    let answer = timeout(LONG, http1().get(&proxy.url).send()).await;
    let answer = answer.expect("it hangs").unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
    drop(switching.await.unwrap());
    proxy.end().await;
}
