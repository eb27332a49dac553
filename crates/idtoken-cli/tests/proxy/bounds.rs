use axum::http::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{World, http1, http2};

/// Sends bytes as they are, and gives the first line of what comes back.
async fn raw(world: &World, bytes: &str) -> String {
    let mut stream = TcpStream::connect(world.proxy.address()).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = vec![0; 1024];
    let length = stream.read(&mut answer).await.unwrap();
    answer.truncate(length);
    let answer = String::from_utf8(answer).unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn requests_go_to_the_one_service_or_nowhere() {
    let world = World::new().await;
    for (request, status) in [
        ("GET / HTTP/1.1\r\nhost: evil.example\r\n\r\n", "421"),
        (
            "GET http://evil.example/ HTTP/1.1\r\nhost: localhost\r\n\r\n",
            "421",
        ),
        (
            "GET http://evil.example/ HTTP/1.1\r\nhost: evil.example\r\n\r\n",
            "421",
        ),
        (
            "CONNECT evil.example:443 HTTP/1.1\r\nhost: evil.example:443\r\n\r\n",
            "501",
        ),
        (
            "GET / HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\n\r\n",
            "421",
        ),
        (
            "GET //evil.example/ HTTP/1.1\r\nhost: localhost\r\n\r\n",
            "200",
        ),
    ] {
        let line = raw(&world, request).await;
        assert!(
            line.starts_with(&format!("HTTP/1.1 {status}")),
            "{request:?}: {line}"
        );
    }
    let paths: Vec<_> = world
        .service
        .visits()
        .iter()
        .map(|visit| visit.path().to_owned())
        .collect();
    assert_eq!(paths, ["//evil.example/"]);
    world.proxy.end().await;
}

#[tokio::test]
async fn pages_of_other_sites_are_turned_away() {
    let world = World::new().await;
    let request = http1()
        .post(world.url("/"))
        .header("sec-fetch-site", "cross-site");
    assert_eq!(
        request.send().await.unwrap().status(),
        StatusCode::FORBIDDEN
    );
    assert_eq!(world.service.visits(), []);
    world.proxy.end().await;
}

#[tokio::test]
async fn a_token_in_a_path_is_not_logged() {
    let world = World::new().await;
    let url = world.url("/v1/eyJhbGciOi.eyJpc3Mi.c2ln");
    http1().get(&url).send().await.unwrap();
    let cross_site = http1().get(&url).header("sec-fetch-site", "cross-site");
    cross_site.send().await.unwrap();
    let told = world.proxy.end().await;
    assert_eq!(told.matches("\"/v1/[redacted]\"").count(), 2, "{told}");
}

#[tokio::test]
async fn headers_have_an_end() {
    let world = World::new().await;
    let large = "x".repeat(70_000);
    let answer = http1()
        .get(world.url("/"))
        .header("x-large", &large)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    let answer = http2()
        .get(world.url("/"))
        .header("x-large", &large)
        .send()
        .await;
    let refused = answer.map(|answer| answer.status());
    assert!(refused.is_err() || refused.unwrap() == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    // And the proxy serves on.
    assert_eq!(
        http1().get(world.url("/")).send().await.unwrap().status(),
        StatusCode::OK
    );
    world.proxy.end().await;
}

#[tokio::test]
async fn other_machines_are_let_in_only_if_told() {
    let world = World::new().await;
    let proxy = std::process::Command::new(env!("CARGO_BIN_EXE_idtoken"))
        .args([
            "proxy",
            "--upstream",
            world.service.url(),
            "--listen",
            "0.0.0.0:0",
        ])
        .env_clear()
        .envs(world.google.env())
        .output()
        .unwrap();
    assert_eq!(proxy.status.code(), Some(2));
    assert!(
        String::from_utf8(proxy.stderr)
            .unwrap()
            .contains("--allow-remote")
    );
    world.proxy.end().await;
}
