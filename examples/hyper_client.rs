//! Calls a private Cloud Run service with hyper-util's client, over HTTP/2 where the service has it.
//!
//! ```text
//! cargo run --example hyper_client
//! cargo run --example hyper_client -- https://hello-abc.a.run.app
//! ```

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tower::{ServiceBuilder, ServiceExt};
use tower_idtoken::{AddIdTokenLayer, ByOrigin};

use self::target::{BoxError, target};

#[path = "stand_in/target.rs"]
mod target;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let target = target().await?;
    // Tokens travel in the clear to this machine only, whatever is on the list.
    let hosts = ByOrigin::refusing_others(["127.0.0.1", "*.run.app"])?;
    let connector = HttpsConnectorBuilder::new()
        .try_with_platform_verifier()?
        .https_or_http()
        .enable_all_versions()
        .build();
    let client = ServiceBuilder::new()
        .layer(AddIdTokenLayer::with_policy(target.tokens.clone(), hosts))
        .service(Client::builder(TokioExecutor::new()).build(connector));

    let request = Request::get(&target.origin).body(Empty::<Bytes>::new())?;
    let response = client.oneshot(request).await?;
    println!("{}", response.status());
    let body = response.into_body().collect().await?.to_bytes();
    println!("{}", String::from_utf8_lossy(&body));
    Ok(())
}
