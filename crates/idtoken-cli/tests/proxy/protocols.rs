use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use futures_util::StreamExt as _;

use crate::support::{World, channel_body, http1, http2};

#[tokio::test]
async fn requests_of_both_versions_arrive_whole_and_with_a_token() {
    let world = World::new().await;
    for (client, via) in [(http1(), "1.1"), (http2(), "2")] {
        let request = client.post(world.url("/a/b%20c?q=1&r=%2F")).body("hello");
        let told = request.header("x-mine", "1").send().await.unwrap();
        let told = told.text().await.unwrap();
        for part in [
            " POST ",
            "/a/b%20c?q=1&r=%2F\n",
            "x-mine: 1\n",
            "authorization: Bearer eyJ",
            ".SIGNATURE_REMOVED_BY_GOOGLE\n",
            &format!("via: {via} idtoken\n"),
            "\n\nhello",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
    }
    let visits = world.service.visits();
    let identity = world.google.default_account();
    assert!(
        visits
            .iter()
            .all(|visit| visit.caller() == Some(identity.email()))
    );
    let log = world.proxy.end().await;
    assert_eq!(log.matches("\"event\":\"request\"").count(), 2, "{log}");
    assert!(!log.contains("q=1"), "a query may hold a secret: {log}");
}

#[tokio::test]
async fn answers_stream_as_they_come() {
    let bodies = Arc::new(Mutex::new(Vec::new()));
    let (first, body) = channel_body();
    bodies.lock().unwrap().push(body);
    let (second, body) = channel_body();
    bodies.lock().unwrap().push(body);
    let container =
        Router::new().fallback(async move || Response::new(bodies.lock().unwrap().pop().unwrap()));
    let world = World::around(container, "").await;
    for (client, sender) in [(http1(), second), (http2(), first)] {
        sender.send("one").await.unwrap();
        let answer = client.get(world.url("/")).send().await.unwrap();
        let mut stream = parts(answer);
        // Each part is here before the next is sent.
        for part in ["two", "three", ""] {
            stream.next().await.unwrap();
            if !part.is_empty() {
                sender.send(part).await.unwrap();
            }
        }
        drop(sender);
        assert_eq!(stream.next().await, None);
    }
    world.proxy.end().await;
}

#[tokio::test]
async fn request_bodies_stream_as_they_come() {
    // Sends back each part of the request at once.
    let container = Router::new()
        .fallback(async |request: Request| Response::new(Body::new(request.into_body())));
    let world = World::around(container, "").await;
    for client in [http1(), http2()] {
        let (sender, body) = channel_body();
        sender.send("one").await.unwrap();
        let body = reqwest::Body::wrap_stream(body.into_data_stream());
        let answer = client.post(world.url("/")).body(body).send().await.unwrap();
        let mut stream = parts(answer);
        assert_eq!(stream.next().await.unwrap(), b"one");
        sender.send("two").await.unwrap();
        assert_eq!(stream.next().await.unwrap(), b"two");
        drop(sender);
        assert_eq!(stream.next().await, None);
    }
    world.proxy.end().await;
}

/// The parts of an answer as they come; HTTP/2 may end with an empty one.
fn parts(answer: reqwest::Response) -> impl futures_util::Stream<Item = Vec<u8>> + Unpin {
    let parts = answer.bytes_stream().map(|part| part.unwrap().to_vec());
    Box::pin(parts.filter(|part| std::future::ready(!part.is_empty())))
}
