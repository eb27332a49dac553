use axum::Router;
use axum::http::StatusCode;
use idtoken_emulator::{Endpoint, Fault};
use tokio::net::TcpListener;

use crate::support::{SERVICE, World};

#[tokio::test]
async fn a_healthy_caller() {
    let world = World::new().await;
    let line = format!("doctor -a {SERVICE} --jwks-url {}", world.google.jwks_url());
    let told = world.idtoken(&line).end().await.ok().stdout;
    for line in [
        "ok    credentials",
        "ok    token",
        "ok    identity     default@emulated-project.iam.gserviceaccount.com",
        "ok    clock",
        "ok    signature",
        "ok    audience",
        "gcloud run services add-iam-policy-binding hello",
        "--member=serviceAccount:default@emulated-project.iam.gserviceaccount.com",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
}

#[tokio::test]
async fn json_for_programs() {
    let world = World::new().await;
    let keys = world.google.jwks_url();
    let line = format!("doctor --json -a {SERVICE}/path --jwks-url {keys}");
    let ended = world.idtoken(&line).end().await.failed(30);
    let json = ended.json();
    assert_eq!(json["healthy"], false);
    let findings = json["findings"].as_array().unwrap();
    let audience = findings
        .iter()
        .find(|finding| finding["name"] == "audience");
    assert_eq!(audience.unwrap()["state"], "fail");
    assert_eq!(ended.error()["kind"], "finding");
}

#[tokio::test]
async fn it_goes_on_without_credentials() {
    let world = World::new().await;
    world.google.detach();
    let keys = world.google.jwks_url();
    let line = format!("doctor -a {SERVICE} --jwks-url {keys}");
    let ended = world.idtoken(&line).end().await;
    assert_ne!(ended.code, Some(0));
    assert!(ended.stdout.contains("FAIL  token"), "{}", ended.stdout);
    assert!(ended.stdout.contains("ok    clock"), "{}", ended.stdout);
    assert!(ended.stdout.contains("ok    audience"), "{}", ended.stdout);
}

#[tokio::test]
async fn keys_that_cannot_be_had_are_a_note() {
    let world = World::new().await;
    world.google.fail(Endpoint::Jwks, Fault::Status(503));
    let line = format!("doctor -a {SERVICE} --jwks-url {}", world.google.jwks_url());
    let told = world.idtoken(&line).end().await.ok().stdout;
    assert!(told.contains("note  clock"), "{told}");
}

#[tokio::test]
async fn a_token_is_not_sent_in_clear() {
    let world = World::new().await;
    let keys = world.google.jwks_url();
    let line = format!("doctor -a {SERVICE} --call --url http://hello.example/ --jwks-url {keys}");
    let ended = world.idtoken(&line).end().await.failed(2);
    assert!(ended.stdout.contains("does not travel over plain http"));
}

#[tokio::test]
async fn the_front_ends_refusals_are_decoded() {
    let world = World::new().await;
    // Nobody gets so far as the container.
    let container = "127.0.0.1:9".parse().unwrap();
    let service = world
        .google
        .cloud_run("hello")
        .start(container)
        .await
        .unwrap();
    let keys = world.google.jwks_url();
    for (audience, told) in [
        (service.audience(), ["status 403", "roles/run.invoker"]),
        (
            "https://other-abc123-uc.a.run.app",
            ["status 401", "audience"],
        ),
    ] {
        let line = format!(
            "doctor -a {audience} --call --url {} --jwks-url {keys}",
            service.url()
        );
        let ended = world.idtoken(&line).end().await.failed(31);
        let (_, call) = ended.stdout.split_once("FAIL  call").unwrap();
        for told in told {
            assert!(call.contains(told), "{told}: {call}");
        }
    }
}

#[tokio::test]
async fn a_call_that_is_let_in() {
    let world = World::new().await;
    let much = "x".repeat(100_000);
    let (fine, broken) = (
        (StatusCode::OK, much.clone()),
        (StatusCode::SERVICE_UNAVAILABLE, much),
    );
    let router = Router::new()
        .route("/", axum::routing::get(async || fine))
        .route("/broken", axum::routing::get(async || broken));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let container = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let service = world
        .google
        .cloud_run("hello")
        .invoker(world.google.default_account().email())
        .start(container)
        .await
        .unwrap();
    let (keys, url) = (world.google.jwks_url(), service.url());
    let line = format!(
        "doctor -a {} --call --jwks-url {keys} --url {url}",
        service.audience()
    );
    let told = world.idtoken(&line).end().await.ok().stdout;
    assert!(
        told.contains("ok    call         status 200: the caller was let in"),
        "{told}"
    );
    // However long the answer, it is judged by what it says of itself.
    let ended = world.idtoken(&format!("{line}/broken")).end().await;
    assert!(
        ended
            .failed(12)
            .stdout
            .contains("FAIL  call         status 503")
    );
    assert_eq!(service.visits().len(), 2);
}

#[tokio::test]
async fn a_call_goes_by_the_proxy_that_the_variables_name() {
    let world = World::new().await;
    let keys = world.google.jwks_url();
    let line = format!("doctor -a {SERVICE} --call --jwks-url {keys}");
    let run = world.idtoken(&line).env("HTTPS_PROXY", world.google.url());
    // The emulator plays the service behind its tunnel, and nobody here trusts its certificate.
    let told = run.end().await.failed(12).stdout;
    assert!(told.contains("FAIL  call         no answer"), "{told}");
    assert_eq!(world.google.hits(Endpoint::Connect), 1);
}

#[tokio::test]
async fn a_call_to_this_machine_passes_proxies_by() {
    let world = World::new().await;
    let container = "127.0.0.1:9".parse().unwrap();
    let service = world.google.cloud_run("hello").start(container);
    let service = service.await.unwrap();
    let keys = world.google.jwks_url();
    let (audience, url) = (service.audience(), service.url());
    let line = format!("doctor -a {audience} --call --url {url} --jwks-url {keys}");
    let run = world.idtoken(&line).env_remove("NO_PROXY");
    let run = run.env("HTTP_PROXY", "http://127.0.0.1:9");
    let run = run.env("http_proxy", "http://127.0.0.1:9");
    let told = run.end().await.failed(31).stdout;
    assert!(told.contains("FAIL  call         status 403"), "{told}");
}
