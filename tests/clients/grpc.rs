//! A generated client on a tonic channel.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::HeaderValue;
use http::header::AUTHORIZATION;
use idtoken::source::ServiceAccountKey;
use idtoken::{Audience, Principal, TokenCache, Verifier};
use idtoken_emulator::Emulator;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Code;
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint, Server};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::{Health, HealthServer};
use tower::util::MapRequestLayer;
use tower::{Layer, ServiceBuilder};
use tower_idtoken::{AddIdToken, AddIdTokenLayer, Fixed, RequireIdTokenLayer};

use crate::World;

#[tokio::test]
async fn each_rpc_on_a_channel_carries_a_token_of_its_own() {
    let world = World::new();
    let seen = Arc::<Mutex<Vec<HeaderValue>>>::default();
    let seen_by_server = Arc::clone(&seen);
    let look = MapRequestLayer::new(move |request: http::Request<Body>| {
        let token = request.headers()[AUTHORIZATION].clone();
        seen_by_server.lock().unwrap().push(token);
        request
    });
    let (origin, incoming) = listen().await;
    let server = Server::builder().layer(look).add_service(health());
    tokio::spawn(server.serve_with_incoming(incoming));
    let channel: AddIdToken<Channel> = ServiceBuilder::new()
        .layer(world.layer())
        .service(connect(&origin).await);
    let mut client = HealthClient::with_origin(channel, origin.parse().unwrap());

    let answer = client.check(anything()).await.unwrap().into_inner();
    assert_eq!(answer.status(), ServingStatus::Serving);
    world.clock.advance(Duration::from_secs(7200));
    let mut watch = client.watch(anything()).await.unwrap().into_inner();
    let answer = watch.next().await.unwrap().unwrap();
    assert_eq!(answer.status(), ServingStatus::Serving);

    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 2);
    assert!(
        seen.iter()
            .all(|token| token.as_bytes().starts_with(b"Bearer eyJ"))
    );
    assert_ne!(seen[0], seen[1], "the channel outlives the first token");
}

#[tokio::test]
async fn a_tonic_server_refuses_in_grpcs_own_way_and_lets_in_whom_it_knows() {
    const CALLER: &str = "caller@shop.iam.gserviceaccount.com";
    let google = Emulator::start().await.unwrap();
    let verifier = Verifier::builder()
        .audience("hello")
        .allow(Principal::service_account(CALLER))
        .jwks_url(google.jwks_url())
        .build()
        .unwrap();
    let (origin, incoming) = listen().await;
    let server = Server::builder()
        .layer(RequireIdTokenLayer::new(verifier))
        .add_service(health());
    tokio::spawn(server.serve_with_incoming(incoming));
    let channel = connect(&origin).await;
    let ask = async |email: &str| {
        let source = ServiceAccountKey::from_json(&google.key_file(email)).unwrap();
        let tokens = TokenCache::new(source);
        let handle = tokens.handle(&Audience::new("hello").unwrap());
        let policy = Fixed::new(handle).for_hosts(["127.0.0.1"]).unwrap();
        let layer = AddIdTokenLayer::with_policy(tokens, policy);
        let channel = layer.layer(channel.clone());
        let mut client = HealthClient::with_origin(channel, origin.parse().unwrap());
        client.check(anything()).await?;
        let mut watch = client.watch(anything()).await?.into_inner();
        watch.next().await.unwrap()
    };

    let answer = ask(CALLER).await.unwrap();
    assert_eq!(answer.status(), ServingStatus::Serving);
    let stranger = ask("stranger@shop.iam.gserviceaccount.com").await;
    assert_eq!(stranger.unwrap_err().code(), Code::PermissionDenied);
    let mut nobody = HealthClient::with_origin(channel.clone(), origin.parse().unwrap());
    let refused = nobody.check(anything()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
}

async fn listen() -> (String, TcpListenerStream) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    (origin, TcpListenerStream::new(listener))
}

async fn connect(origin: &str) -> Channel {
    let endpoint = Endpoint::from_shared(origin.to_owned()).unwrap();
    endpoint.connect().await.unwrap()
}

/// A service with one call for one answer and one for a stream of them.
fn health() -> HealthServer<impl Health> {
    tonic_health::server::health_reporter().1
}

/// Asks after the whole server.
fn anything() -> HealthCheckRequest {
    HealthCheckRequest::default()
}
