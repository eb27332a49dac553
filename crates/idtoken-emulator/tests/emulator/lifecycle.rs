use idtoken_emulator::{Emulator, Endpoint, Fault};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::{get, metadata};

#[tokio::test]
async fn two_emulators_do_not_share_a_port_or_a_key() {
    let (one, other) = (
        Emulator::start().await.unwrap(),
        Emulator::start().await.unwrap(),
    );
    assert_ne!(one.url(), other.url());
    assert_ne!(one.key_id(), other.key_id());
}

#[tokio::test]
async fn leaves_no_task_and_no_socket_when_dropped() {
    let google = Emulator::start().await.unwrap();
    let url = google.url().to_owned();
    // One connection that is idle and one whose request hangs: a task each, beside the server's.
    google.fail(Endpoint::Jwks, Fault::Hang);
    let _idle = TcpStream::connect(google.host()).await.unwrap();
    let mut waiting = TcpStream::connect(google.host()).await.unwrap();
    let request = b"GET /oauth2/v3/certs HTTP/1.1
host: x

";
    waiting.write_all(request).await.unwrap();
    google.reached(Endpoint::Jwks, 1).await;
    assert_eq!(alive_tasks(), 3);
    drop(google);
    // The aborts take effect when the runtime next runs the tasks.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(alive_tasks(), 0);
    let address = url.strip_prefix("http://").unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn counts_and_keeps_what_it_was_asked() {
    let google = Emulator::start().await.unwrap();
    get(google.jwks_url()).await;
    metadata(
        &google,
        "instance/service-accounts/default/identity?audience=a%26b",
    )
    .await;
    assert_eq!(google.hits(Endpoint::Jwks), 1);
    assert_eq!(google.hits(Endpoint::Pem), 0);
    let request = google.requests(Endpoint::Identity).pop().unwrap();
    assert_eq!(request.method(), "GET");
    assert_eq!(request.query("audience").as_deref(), Some("a&b"));
    assert_eq!(request.headers()["metadata-flavor"], "Google");
    assert!(!format!("{request:?}").contains("a%26b"));
    google.forget_requests();
    assert_eq!(google.hits(Endpoint::Jwks), 0);
    assert!(google.requests(Endpoint::Identity).is_empty());
}

#[tokio::test]
async fn keeps_a_thousand_requests_and_counts_all() {
    let google = Emulator::start().await.unwrap();
    let client = crate::support::client();
    for i in 0..1_003 {
        client
            .get(format!("{}/?{i}", google.url()))
            .send()
            .await
            .unwrap();
    }
    let requests = google.requests(Endpoint::Ping);
    assert_eq!(
        (google.hits(Endpoint::Ping), requests.len()),
        (1_003, 1_000)
    );
    assert_eq!(requests[0].uri().query(), Some("3"));
}

#[tokio::test]
async fn waits_for_a_request_that_has_yet_to_come() {
    let google = Emulator::start().await.unwrap();
    let waiting = tokio::spawn(google.reached(Endpoint::Ping, 2));
    get(google.url()).await;
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    get(google.url()).await;
    waiting.await.unwrap();
}

#[tokio::test]
async fn an_unknown_path_is_not_found() {
    let google = Emulator::start().await.unwrap();
    assert_eq!(get(format!("{}/nowhere", google.url())).await.status(), 404);
    let answer = get(format!("{}/v1/projects/1", google.url())).await;
    assert_eq!(answer.status(), 404);
    let body: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(body["error"]["status"], "NOT_FOUND");
    assert_eq!(google.hits(Endpoint::Unknown), 2);
}

#[tokio::test]
async fn a_request_that_is_too_large_is_refused() {
    let google = Emulator::start().await.unwrap();
    let body = "x".repeat(64 * 1024 + 1);
    let answer = crate::support::client()
        .post(google.token_url())
        .body(body)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 413);
}

#[tokio::test]
async fn the_environment_names_its_address() {
    let google = Emulator::start().await.unwrap();
    let env = google.env();
    for name in ["GCE_METADATA_HOST", "GCE_METADATA_IP"] {
        assert!(env.contains(&(name, google.host().to_owned())), "{name}");
    }
}

fn alive_tasks() -> usize {
    tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks()
}
