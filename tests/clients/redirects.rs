//! tower-http's `FollowRedirect` on either side of the layer.

use axum::body::Body;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_http::follow_redirect::FollowRedirectLayer;
use tower_idtoken::{Header, NotSent, NotSentKind};

use crate::{World, server};

fn client() -> Client<hyper_util::client::legacy::connect::HttpConnector, Body> {
    Client::builder(TokioExecutor::new()).build_http()
}

async fn follow<S, B>(service: S) -> Result<String, tower_idtoken::error::BoxError>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<tower_idtoken::error::BoxError>,
    B: http_body::Body,
    B::Error: std::fmt::Debug,
{
    let (here, there) = (server::start().await, server::start().await);
    let uri = format!("http://{here}/redirect/{}", there.port());
    let request = Request::get(uri).body(Body::empty()).unwrap();
    let response = service.oneshot(request).await.map_err(Into::into)?;
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Ok(String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn outside_each_hop_is_judged_by_its_own_host() {
    let world = World::new();
    let service = ServiceBuilder::new()
        .layer(FollowRedirectLayer::new())
        .layer(world.layer())
        .service(client());
    let error = follow(service).await.unwrap_err();
    let not_sent = error.downcast_ref::<NotSent>().unwrap();
    assert_eq!(not_sent.kind(), NotSentKind::NotAllowed);
}

#[tokio::test]
async fn inside_it_drops_authorization_and_no_header_of_another_name() {
    let world = World::new();
    let service = ServiceBuilder::new()
        .layer(world.layer())
        .layer(FollowRedirectLayer::new())
        .service(client());
    assert_eq!(follow(service).await.unwrap(), "");

    // Why the documentation says to put redirects outside.
    let service = ServiceBuilder::new()
        .layer(world.layer().header(Header::XServerlessAuthorization))
        .layer(FollowRedirectLayer::new())
        .service(client());
    let seen = follow(service).await.unwrap();
    assert!(seen.starts_with("x-serverless-authorization: "), "{seen}");
}
