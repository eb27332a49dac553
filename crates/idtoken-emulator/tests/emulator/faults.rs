use std::time::Duration;

use bytes::Bytes;
use http::Response;
use idtoken_emulator::{Emulator, Endpoint, Fault, Gate};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{client, get, identity, now, verified};

#[tokio::test]
async fn a_status_comes_in_the_form_of_its_endpoint() {
    let google = Emulator::start().await.unwrap();
    google.fail(Endpoint::Token, Fault::Status(503));
    google.fail(Endpoint::Identity, Fault::Status(503));
    let answer = client().post(google.token_url()).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert!(
        answer
            .text()
            .await
            .unwrap()
            .contains("\"temporarily_unavailable\"")
    );
    let answer = identity(&google, "audience=a").await;
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["metadata-flavor"], "Google");
    google.heal(Endpoint::Identity);
    assert_eq!(identity(&google, "audience=a").await.status(), 200);
    google.heal_all();
    assert_eq!(
        client()
            .post(google.token_url())
            .send()
            .await
            .unwrap()
            .status(),
        400
    );
}

#[tokio::test]
async fn faults_come_in_their_order_and_run_out() {
    let google = Emulator::start().await.unwrap();
    google.fail_times(Endpoint::Jwks, 2, Fault::Status(500));
    google.fail_times(Endpoint::Jwks, 1, Fault::Status(404));
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(get(google.jwks_url()).await.status().as_u16());
    }
    assert_eq!(seen, [500, 500, 404, 200]);
    google.fail(Endpoint::Jwks, Fault::Status(503));
    google.fail_times(Endpoint::Jwks, 1, Fault::Status(429));
    assert_eq!(get(google.jwks_url()).await.status(), 429);
    assert_eq!(get(google.jwks_url()).await.status(), 503);
    assert_eq!(google.hits(Endpoint::Jwks), 6);
}

#[tokio::test]
async fn bodies_can_be_anything() {
    let google = Emulator::start().await.unwrap();
    for (fault, length, flavored) in [
        (Fault::Body("x".to_owned()), Some(1), true),
        (Fault::Empty, Some(0), true),
        (Fault::Oversized(70_000), Some(70_000), true),
        (Fault::Garbage, None, false),
        (Fault::NoFlavor, None, false),
    ] {
        google.fail(Endpoint::Identity, fault.clone());
        let answer = identity(&google, "audience=a").await;
        assert_eq!(answer.status(), 200, "{fault:?}");
        assert_eq!(
            answer.headers().contains_key("metadata-flavor"),
            flavored,
            "{fault:?}"
        );
        let body = answer.text().await.unwrap();
        assert!(
            length.is_none_or(|length| body.len() == length),
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn redirects_and_whole_answers_are_given_as_told() {
    let google = Emulator::start().await.unwrap();
    google.fail(
        Endpoint::Identity,
        Fault::Redirect("http://127.0.0.1:1/".to_owned()),
    );
    let answer = identity(&google, "audience=a").await;
    assert_eq!(
        (
            answer.status().as_u16(),
            answer.headers()["location"].as_bytes()
        ),
        (302, &b"http://127.0.0.1:1/"[..])
    );

    let busy = Response::builder()
        .status(429)
        .header("retry-after", "7")
        .body(Bytes::new());
    google.fail(Endpoint::Jwks, Fault::Respond(busy.unwrap()));
    let answer = get(google.jwks_url()).await;
    assert_eq!(
        (
            answer.status().as_u16(),
            answer.headers()["retry-after"].as_bytes()
        ),
        (429, &b"7"[..])
    );
}

#[tokio::test]
async fn tokens_can_be_issued_wrong() {
    let google = Emulator::start().await.unwrap();
    google.fail_times(Endpoint::Identity, 1, Fault::WrongAudience);
    google.fail_times(Endpoint::Identity, 1, Fault::ExpiredToken);
    let mut claims = Vec::new();
    for _ in 0..3 {
        let token = identity(&google, "audience=a").await.text().await.unwrap();
        claims.push(verified(&google, &token).await);
    }
    assert_ne!(claims[0]["aud"], "a");
    assert_eq!(claims[1]["aud"], "a");
    assert!(claims[1]["exp"].as_u64().unwrap() < now());
    assert_eq!(claims[2]["aud"], "a");
    assert!(claims[2]["exp"].as_u64().unwrap() > now());
}

#[tokio::test]
async fn a_reset_is_a_reset_and_not_an_end() {
    let google = Emulator::start().await.unwrap();
    google.fail(Endpoint::Ping, Fault::Reset);
    let mut stream = TcpStream::connect(google.host()).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let error = stream.read(&mut [0; 16]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_truncated_answer_promises_more_than_it_sends() {
    let google = Emulator::start().await.unwrap();
    google.fail(Endpoint::Jwks, Fault::Truncated);
    let mut stream = TcpStream::connect(google.host()).await.unwrap();
    let request = format!(
        "GET /oauth2/v3/certs HTTP/1.1\r\nhost: {}\r\n\r\n",
        google.host()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // Whether the end is orderly is not the point.
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let promised: usize = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .unwrap()
        .parse()
        .unwrap();
    assert!(head.starts_with("HTTP/1.1 200"));
    assert!(
        body.starts_with("{\"keys\"") && body.len() < promised,
        "{} of {promised}",
        body.len()
    );
    assert!(get(google.jwks_url()).await.bytes().await.is_err());
}

#[tokio::test]
async fn a_gate_holds_answers_back_until_it_opens() {
    let google = Emulator::start().await.unwrap();
    let gate = Gate::new();
    google.fail(Endpoint::Jwks, Fault::Hold(gate.clone()));
    let asks: Vec<_> = (0..10)
        .map(|_| tokio::spawn(get(google.jwks_url())))
        .collect();
    google.reached(Endpoint::Jwks, 10).await;
    assert!(asks.iter().all(|ask| !ask.is_finished()));
    gate.open();
    for ask in asks {
        assert_eq!(ask.await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn a_hanging_endpoint_never_answers_and_others_do() {
    let google = Emulator::start().await.unwrap();
    google.fail(Endpoint::Jwks, Fault::Hang);
    let ask = tokio::spawn(get(google.jwks_url()));
    google.reached(Endpoint::Jwks, 1).await;
    assert_eq!(get(google.pem_url()).await.status(), 200);
    assert!(!ask.is_finished());
    drop(google);
    assert!(ask.await.is_err(), "the connection ends with the emulator");
}

#[tokio::test]
async fn a_delay_is_waited_for() {
    let google = Emulator::start().await.unwrap();
    google.fail_times(Endpoint::Ping, 1, Fault::Delay(Duration::from_secs(3_600)));
    let ask = tokio::spawn(get(google.url().to_owned()));
    google.reached(Endpoint::Ping, 1).await;
    // The server's task, which shares this thread, must come to its sleep first.
    tokio::task::yield_now().await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(3_601)).await;
    assert_eq!(ask.await.unwrap().status(), 200);
}

#[tokio::test]
async fn the_same_seed_brings_the_same_weather() {
    let mut runs = Vec::new();
    for seed in [7, 7, 8] {
        let google = Emulator::start().await.unwrap();
        google.weather(seed, 0.5, [Fault::Status(503), Fault::Status(500)]);
        let mut seen = Vec::new();
        for _ in 0..40 {
            seen.push(get(google.jwks_url()).await.status().as_u16());
        }
        google.heal_all();
        assert_eq!(get(google.jwks_url()).await.status(), 200);
        runs.push(seen);
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
    for status in [200, 500, 503] {
        assert!(runs[0].contains(&status), "{status}");
    }
}
