use axum::Router;
use axum::http::StatusCode;
use axum::response::Redirect;
use idtoken_emulator::{Endpoint, Fault};

use crate::support::{Proxy, World, http1, serve};

#[tokio::test]
async fn a_clients_own_authorization_is_left_to_the_container() {
    let world = World::new().await;
    let request = http1()
        .get(world.url("/"))
        .header("authorization", "Basic eDp5");
    let told = request.send().await.unwrap().text().await.unwrap();
    assert!(told.contains("authorization: Basic eDp5\n"), "{told}");
    assert!(
        told.contains("x-serverless-authorization: Bearer eyJ"),
        "{told}"
    );
    world.proxy.end().await;
}

#[tokio::test]
async fn without_a_token_no_request_is_sent() {
    let world = World::new().await;
    world.google.fail(Endpoint::Identity, Fault::Status(503));
    let flags = "--timeout 1 --allow-remote";
    let proxy = Proxy::start(&world.google, world.service.url(), flags).await;
    let answer = http1().get(&proxy.url).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.text().await.unwrap().starts_with("idtoken proxy: "));
    assert_eq!(world.service.visits(), []);
    // All that it says is JSON, warnings included.
    let log = proxy.end().await;
    for warning in [
        "{\"warning\":\"no token yet, going on without: ",
        "{\"warning\":\"whoever reaches this address acts with your identity\"}",
    ] {
        assert!(log.contains(warning), "{log}");
    }
}

#[tokio::test]
async fn refusals_are_explained() {
    let world = World::new().await;
    world.service.revoke(world.google.default_account().email());
    let answer = http1().get(world.url("/")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    let log = world.proxy.end().await;
    assert!(
        log.contains("\"event\":\"trouble\"") && log.contains("run.invoker"),
        "{log}"
    );
}

#[tokio::test]
async fn a_redirect_is_the_clients_to_follow_and_takes_no_token_along() {
    let elsewhere =
        Router::new().fallback(async |headers: axum::http::HeaderMap| format!("{headers:?}"));
    let elsewhere = format!("http://{}/steal", serve(elsewhere).await);
    let target = elsewhere.clone();
    let container = Router::new().fallback(async move || Redirect::temporary(&target));
    let world = World::around(container, "").await;
    let answer = http1().get(world.url("/")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(answer.headers()["location"], elsewhere);

    let following = reqwest::Client::builder().no_proxy().build().unwrap();
    let stolen = following.get(world.url("/")).send().await.unwrap();
    assert_eq!(stolen.url().as_str(), elsewhere);
    let stolen = stolen.text().await.unwrap();
    assert!(!stolen.contains("authorization"), "{stolen}");
    world.proxy.end().await;
}

#[tokio::test]
async fn a_redirect_within_the_service_leads_back_through_the_proxy() {
    let google = idtoken_emulator::Emulator::start().await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = format!("http://{}", listener.local_addr().unwrap());
    let target = format!("{own}/there?x=1");
    let router = Router::new().fallback(async move || Redirect::temporary(&target));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let proxy = Proxy::start(&google, &own, "").await;
    let answer = http1().get(&proxy.url).send().await.unwrap();
    assert_eq!(answer.headers()["location"], "/there?x=1");
    proxy.end().await;
}
