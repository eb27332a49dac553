//! A tonic channel, and a service written by hand.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BufMut};
use futures_util::stream::{self, BoxStream, StreamExt as _};
use http::uri::PathAndQuery;
use idtoken_emulator::{CloudRun, Emulator};
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{NamedService, ServerStreamingService, UnaryService};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request, Response, Status, Streaming};
use tower_service::Service;

use crate::support::Proxy;

async fn ask(client: &mut Grpc<Channel>, text: &str) -> Result<String, Status> {
    client.ready().await.unwrap();
    let path = PathAndQuery::from_static("/test.WhoAmI/Ask");
    let request = Request::new(text.to_owned());
    let answer = client.unary(request, path, TextCodec).await?;
    Ok(answer.into_inner())
}

async fn count(client: &mut Grpc<Channel>, text: &str) -> Streaming<String> {
    client.ready().await.unwrap();
    let path = PathAndQuery::from_static("/test.WhoAmI/Count");
    let request = Request::new(text.to_owned());
    let answer = client.server_streaming(request, path, TextCodec).await;
    answer.unwrap().into_inner()
}

/// The service behind its front end, and a channel to it through the proxy.
async fn start(google: &Emulator) -> (CloudRun, Proxy, Grpc<Channel>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let container = listener.local_addr().unwrap();
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    tokio::spawn(
        Server::builder()
            .add_service(WhoAmI)
            .serve_with_incoming(incoming),
    );
    let service = google
        .cloud_run("grpc")
        .h2c()
        .invoker(google.default_account().email())
        .start(container)
        .await
        .unwrap();
    let proxy = Proxy::start(google, service.url(), "").await;
    let channel = Endpoint::from_shared(proxy.url.clone()).unwrap();
    let client = Grpc::new(channel.connect().await.unwrap());
    (service, proxy, client)
}

#[tokio::test]
async fn streams_come_message_by_message() {
    let google = Emulator::start().await.unwrap();
    let (_service, proxy, mut client) = start(&google).await;
    let mut stream = count(&mut client, "to two").await;
    assert_eq!(stream.message().await.unwrap().unwrap(), "one");
    assert_eq!(stream.message().await.unwrap().unwrap(), "two");
    assert_eq!(stream.message().await.unwrap(), None);
    drop((client, stream));
    proxy.end().await;
}

#[tokio::test]
async fn a_stream_cut_in_the_middle_is_an_error() {
    let google = Emulator::start().await.unwrap();
    let (service, proxy, mut client) = start(&google).await;
    let mut stream = count(&mut client, "without end").await;
    assert_eq!(stream.message().await.unwrap().unwrap(), "one");
    assert_eq!(stream.message().await.unwrap().unwrap(), "two");
    drop(service);
    let next = tokio::time::timeout(Duration::from_secs(30), stream.message());
    next.await.expect("it hangs").unwrap_err();
    drop((client, stream));
    proxy.end().await;
}

#[tokio::test]
async fn rpcs_carry_tokens_and_statuses_come_back() {
    let google = Emulator::start().await.unwrap();
    let (service, proxy, mut client) = start(&google).await;
    let account = google.default_account();

    let told = ask(&mut client, "hello").await.unwrap();
    assert!(told.starts_with("hello Bearer eyJ"), "{told}");
    assert!(told.ends_with(".SIGNATURE_REMOVED_BY_GOOGLE"), "{told}");
    // Comes in trailers, or in the head of an answer without a body.
    let refused = ask(&mut client, "fail").await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::DataLoss, "as asked")
    );

    service.revoke(account.email());
    let refused = ask(&mut client, "hello").await.unwrap_err();
    // What tonic makes of a page for people.
    assert!(refused.message().contains("403 Forbidden"), "{refused:?}");
    drop(service);
    let gone = ask(&mut client, "hello").await.unwrap_err();
    assert_eq!(gone.code(), Code::Unavailable);
    assert!(gone.message().starts_with("idtoken proxy: "), "{gone:?}");
    drop(client);
    proxy.end().await;
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
            let mut server = tonic::server::Grpc::new(TextCodec);
            Ok(match request.uri().path() {
                "/test.WhoAmI/Count" => server.server_streaming(Count, request).await,
                _ => server.unary(Ask, request).await,
            })
        })
    }
}

struct Ask;

impl UnaryService<String> for Ask {
    type Response = String;
    type Future = Ready<Result<Response<String>, Status>>;

    fn call(&mut self, request: Request<String>) -> Self::Future {
        let token = request.metadata().get("authorization").cloned();
        if request.get_ref() == "fail" {
            return ready(Err(Status::data_loss("as asked")));
        }
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

struct Count;

impl ServerStreamingService<String> for Count {
    type Response = String;
    type ResponseStream = BoxStream<'static, Result<String, Status>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<String>) -> Self::Future {
        let numbers = stream::iter(["one", "two"].map(|number| Ok(number.to_owned())));
        ready(Ok(Response::new(if request.get_ref() == "without end" {
            numbers.chain(stream::pending()).boxed()
        } else {
            numbers.boxed()
        })))
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
