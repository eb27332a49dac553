//! Calls a service on this machine with hyper-util's client; tokens may travel over plain http to
//! this machine only.
//!
//! ```text
//! cargo run --example hyper_client -- http://127.0.0.1:8080/greet
//! ```

use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use idtoken::TokenCache;
use idtoken::source::MetadataServer;
use tower::{ServiceBuilder, ServiceExt};
use tower_idtoken::{AddIdTokenLayer, ByOrigin};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let uri = std::env::args().nth(1).ok_or("which URI?")?;
    let tokens = TokenCache::new(MetadataServer::builder().build()?);
    let hosts = ByOrigin::refusing_others(["127.0.0.1", "localhost", "*.run.app"])?;

    let client = ServiceBuilder::new()
        .layer(AddIdTokenLayer::with_policy(tokens, hosts))
        .service(Client::builder(TokioExecutor::new()).build_http());

    let request = http::Request::get(uri).body(Empty::<bytes::Bytes>::new())?;
    let response = client.oneshot(request).await?;
    println!("{}", response.status());
    let body = response.into_body().collect().await?.to_bytes();
    println!("{}", String::from_utf8_lossy(&body));
    Ok(())
}
