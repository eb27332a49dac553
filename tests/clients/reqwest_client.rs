//! `reqwest::Client` as a tower service and through reqwest-middleware, and its redirects.

use reqwest::{Client, Request, Response};
use reqwest_middleware::ClientBuilder;
use tower::{ServiceBuilder, ServiceExt};
use tower_idtoken::error::BoxError;
use tower_idtoken::{
    AddIdTokenLayer, Existing, FromExtension, Header, NotSent, NotSentKind, redirect,
};

use crate::{World, server};

async fn send(client: Client, layer: AddIdTokenLayer, url: String) -> Result<Response, BoxError> {
    let request: Request = client.get(url).build().unwrap();
    let service = ServiceBuilder::new().layer(layer).service(client);
    service.oneshot(request).await
}

#[tokio::test]
async fn as_a_tower_service() {
    let world = World::new();
    let address = server::start().await;
    let url = format!("http://{address}/headers");
    let response = send(Client::new(), world.layer(), url).await.unwrap();
    let seen = response.text().await.unwrap();
    assert!(seen.starts_with("authorization: Bearer eyJ"), "{seen}");
}

#[tokio::test]
async fn through_reqwest_middleware() {
    let world = World::new();
    let address = server::start().await;
    let client = ClientBuilder::new(Client::new())
        .with(world.layer())
        .build();
    let response = client.get(format!("http://{address}/headers")).send().await;
    let seen = response.unwrap().text().await.unwrap();
    assert!(seen.starts_with("authorization: Bearer eyJ"), "{seen}");

    let error = client
        .get("https://evil.example/")
        .send()
        .await
        .unwrap_err();
    let reqwest_middleware::Error::Middleware(error) = error else {
        panic!("{error}")
    };
    let not_sent = error.downcast_ref::<NotSent>().unwrap();
    assert_eq!(not_sent.kind(), NotSentKind::NotAllowed);
}

#[tokio::test]
async fn reqwest_middleware_shows_its_extensions_to_the_policy() {
    let world = World::new();
    let address = server::start().await;
    let policy = FromExtension::refusing_others()
        .for_hosts(["127.0.0.1"])
        .unwrap();
    let client = ClientBuilder::new(Client::new())
        .with(AddIdTokenLayer::with_policy(world.tokens.clone(), policy))
        .build();
    let request = client.get(format!("http://{address}/headers"));
    let hello = idtoken::Audience::new("hello").unwrap();
    let response = request.with_extension(hello).send().await.unwrap();
    let seen = response.text().await.unwrap();
    assert!(seen.starts_with("authorization: Bearer eyJ"), "{seen}");
}

#[tokio::test]
async fn a_redirect_to_another_host_does_not_take_the_token_along() {
    let world = World::new();
    let (here, there) = (server::start().await, server::start().await);
    let url = format!("http://{here}/redirect/{}", there.port());

    let response = send(Client::new(), world.layer(), url.clone()).await;
    assert_eq!(
        response.unwrap().text().await.unwrap(),
        "",
        "reqwest drops it"
    );

    for header in [
        Header::Both,
        Header::XServerlessAuthorization,
        Header::Custom("x-gate-authorization".parse().unwrap()),
    ] {
        // Nothing in reqwest would drop these.
        let layer = world.layer().header(header);
        let error = send(Client::new(), layer.clone(), url.clone()).await;
        let error = error.unwrap_err();
        let not_sent = error.downcast_ref::<NotSent>().unwrap();
        assert_eq!(not_sent.kind(), NotSentKind::MayBeRedirected);

        let client = Client::builder().redirect(redirect::same_host()).build();
        let layer = layer.assume_no_cross_host_redirects();
        let response = send(client.unwrap(), layer, url.clone()).await.unwrap();
        assert_eq!(response.status(), 307, "the redirect is the answer");
    }
}

#[tokio::test]
async fn a_redirect_does_not_take_the_callers_own_authorization_along_either() {
    let world = World::new();
    let (here, there) = (server::start().await, server::start().await);
    let own = |client: &Client| {
        let url = format!("http://{here}/redirect/{}", there.port());
        let request = client.get(url).header("authorization", "Basic theirs");
        request.build().unwrap()
    };
    let layer = world.layer().existing(Existing::MoveToForwarded);

    let client = Client::new();
    let request = own(&client);
    let service = ServiceBuilder::new().layer(layer.clone()).service(client);
    let error = service.oneshot(request).await.unwrap_err();
    let not_sent = error.downcast_ref::<NotSent>().unwrap();
    assert_eq!(not_sent.kind(), NotSentKind::MayBeRedirected);

    let client = Client::builder().redirect(redirect::same_host()).build();
    let client = client.unwrap();
    let request = own(&client);
    let service = ServiceBuilder::new()
        .layer(layer.assume_no_cross_host_redirects())
        .service(client);
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.status(), 307, "the redirect is the answer");
}
