//! A tonic channel, with a service written by hand.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BufMut};
use http::uri::PathAndQuery;
use idtoken::source::ServiceAccountKey;
use idtoken::{Audience, Principal, TokenCache, Verifier};
use idtoken_emulator::Emulator;
use tonic::Code;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{NamedService, UnaryService};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};
use tower::{Service, ServiceBuilder};
use tower_idtoken::{AddIdToken, AddIdTokenLayer, Fixed, RequireIdTokenLayer};

use crate::World;

#[tokio::test]
async fn each_rpc_on_a_channel_carries_a_token_of_its_own() {
    let world = World::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    tokio::spawn(
        Server::builder()
            .add_service(WhoAmI)
            .serve_with_incoming(incoming),
    );

    let endpoint = Endpoint::from_shared(origin.clone()).unwrap();
    let channel: AddIdToken<Channel> = ServiceBuilder::new()
        .layer(world.layer())
        .service(endpoint.connect().await.unwrap());
    let mut client = Grpc::with_origin(channel, origin.parse().unwrap());
    let mut seen = Vec::new();
    for _ in 0..2 {
        client.ready().await.unwrap();
        let path = PathAndQuery::from_static("/test.WhoAmI/Ask");
        let request = Request::new("hello".to_owned());
        let response = client.unary(request, path, TextCodec).await.unwrap();
        seen.push(response.into_inner());
        world.clock.advance(Duration::from_secs(7200));
    }
    assert!(
        seen.iter()
            .all(|token| token.starts_with("hello Bearer eyJ"))
    );
    assert_ne!(seen[0], seen[1], "the channel outlives the first token");
}

#[tokio::test]
async fn a_tonic_server_refuses_in_grpcs_own_way_and_knows_whom_it_lets_in() {
    const CALLER: &str = "caller@shop.iam.gserviceaccount.com";
    let google = Emulator::start().await.unwrap();
    let verifier = Verifier::builder()
        .audience("hello")
        .allow(Principal::service_account(CALLER))
        .jwks_url(google.jwks_url())
        .build()
        .unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    tokio::spawn(
        Server::builder()
            .layer(RequireIdTokenLayer::new(verifier))
            .add_service(WhoAmI)
            .serve_with_incoming(incoming),
    );

    let endpoint = Endpoint::from_shared(origin.clone()).unwrap();
    let channel = endpoint.connect().await.unwrap();
    let ask = async |identity: Option<&str>| {
        let tokens = identity.map(|email| {
            let source = ServiceAccountKey::from_json(&google.key_file(email)).unwrap();
            TokenCache::new(source)
        });
        let path = PathAndQuery::from_static("/test.WhoAmI/Ask");
        let request = Request::new("hello".to_owned());
        let origin = origin.parse().unwrap();
        let Some(tokens) = tokens else {
            let mut client = Grpc::with_origin(channel.clone(), origin);
            client.ready().await.unwrap();
            return client.unary(request, path, TextCodec).await;
        };
        let handle = tokens.handle(&Audience::new("hello").unwrap());
        let policy = Fixed::new(handle).for_hosts(["127.0.0.1"]).unwrap();
        let channel = ServiceBuilder::new()
            .layer(AddIdTokenLayer::with_policy(tokens, policy))
            .service(channel.clone());
        let mut client = Grpc::with_origin(channel, origin);
        client.ready().await.unwrap();
        client.unary(request, path, TextCodec).await
    };

    let answer = ask(Some(CALLER)).await.unwrap().into_inner();
    assert!(answer.starts_with("hello Bearer eyJ"));
    let stranger = ask(Some("stranger@shop.iam.gserviceaccount.com")).await;
    assert_eq!(stranger.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(ask(None).await.unwrap_err().code(), Code::Unauthenticated);
}

/// Answers with the credentials of the call.
#[derive(Clone)]
struct WhoAmI;

impl NamedService for WhoAmI {
    const NAME: &'static str = "test.WhoAmI";
}

impl Service<http::Request<Body>> for WhoAmI {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            Ok(tonic::server::Grpc::new(TextCodec)
                .unary(Ask, request)
                .await)
        })
    }
}

struct Ask;

impl UnaryService<String> for Ask {
    type Response = String;
    type Future = Ready<Result<Response<String>, Status>>;

    fn call(&mut self, request: Request<String>) -> Self::Future {
        let token = request.metadata().get("authorization").cloned();
        ready(match token {
            Some(token) => Ok(Response::new(format!(
                "{} {}",
                request.get_ref(),
                token.to_str().unwrap()
            ))),
            None => Err(Status::unauthenticated("no token")),
        })
    }
}

/// Text as it is, in place of protobuf.
#[derive(Clone, Default)]
struct TextCodec;

impl Codec for TextCodec {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for TextCodec {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, item: String, target: &mut EncodeBuf<'_>) -> Result<(), Status> {
        target.put(item.as_bytes());
        Ok(())
    }
}

impl Decoder for TextCodec {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = source.copy_to_bytes(source.remaining());
        String::from_utf8(bytes.to_vec())
            .map(Some)
            .map_err(|_| Status::internal("not text"))
    }
}
