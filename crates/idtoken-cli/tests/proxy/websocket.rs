use std::time::Duration;

use axum::Router;
use axum::extract::WebSocketUpgrade;
use axum::extract::ws::WebSocket;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::support::{Proxy, World};

/// Sends back each message.
pub(crate) fn echo() -> Router {
    async fn back(mut socket: WebSocket) {
        while let Some(Ok(message)) = socket.recv().await {
            if socket.send(message).await.is_err() {
                break;
            }
        }
    }
    Router::new().fallback(async |upgrade: WebSocketUpgrade| upgrade.on_upgrade(back))
}

pub(crate) async fn connect(proxy: &Proxy) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(proxy.address()).await.unwrap();
    let url = format!("ws://{}/echo", proxy.address());
    client_async(url, stream).await.unwrap().0
}

#[tokio::test]
async fn messages_go_there_and_back_and_the_handshake_carries_a_token() {
    let world = World::around(echo(), "").await;
    let mut socket = connect(&world.proxy).await;
    for text in ["one", &"x".repeat(100_000)] {
        socket.send(Message::text(text)).await.unwrap();
        assert_eq!(
            socket.next().await.unwrap().unwrap().to_text().unwrap(),
            text
        );
    }
    let visits = world.service.visits();
    assert_eq!(visits[0].status(), 101);
    assert_eq!(
        visits[0].caller(),
        Some(world.google.default_account().email())
    );
    socket.close(None).await.unwrap();
    while let Some(Ok(_)) = socket.next().await {}
    world.proxy.end().await;
}

#[tokio::test]
async fn a_page_of_another_site_gets_no_websocket() {
    let world = World::around(echo(), "").await;
    // Browsers say where a handshake comes from, and nothing else about it.
    for (origin, status) in [
        ("https://evil.example", 403),
        ("null", 403),
        ("http://localhost:3000", 101),
    ] {
        let stream = TcpStream::connect(world.proxy.address()).await.unwrap();
        let url = format!("ws://{}/echo", world.proxy.address());
        let mut request = url.into_client_request().unwrap();
        request
            .headers_mut()
            .insert("origin", origin.parse().unwrap());
        let answered = match client_async(request, stream).await {
            Ok((_, answer)) => answer.status(),
            Err(Error::Http(answer)) => answer.status(),
            Err(error) => panic!("{origin}: {error}"),
        };
        assert_eq!(answered, status, "{origin}");
    }
    assert_eq!(world.service.visits().len(), 1);
    world.proxy.end().await;
}

#[tokio::test]
async fn a_service_that_is_gone_ends_the_conversation() {
    let world = World::around(echo(), "").await;
    let mut socket = connect(&world.proxy).await;
    socket.send(Message::text("one")).await.unwrap();
    socket.next().await.unwrap().unwrap();
    drop(world.service);
    let next = tokio::time::timeout(Duration::from_secs(30), socket.next());
    let next = next.await.expect("it hangs");
    assert!(!matches!(next, Some(Ok(_))), "{next:?}");
    world.proxy.end().await;
}
