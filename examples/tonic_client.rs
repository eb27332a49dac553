//! A generated gRPC client whose every call carries a token: gRPC's own health check, asked once and
//! then watched.
//!
//! ```text
//! cargo run --example tonic_client
//! cargo run --example tonic_client -- http://127.0.0.1:50051
//! ```

use idtoken::Audience;
use tokio_stream::StreamExt;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower::ServiceBuilder;
use tower_idtoken::{AddIdToken, AddIdTokenLayer};

use self::target::{BoxError, target};

#[path = "stand_in/target.rs"]
mod target;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let target = target().await?;
    let audience = Audience::origin_of(&target.origin)?;

    let channel: AddIdToken<Channel> = ServiceBuilder::new()
        .layer(AddIdTokenLayer::new(target.tokens.handle(&audience)))
        .service(Endpoint::from(target.origin.clone()).connect_lazy());
    // The origin is what tells the layer which host a call goes to.
    let mut client = HealthClient::with_origin(channel, target.origin.clone());

    let health = client.check(HealthCheckRequest::default()).await?;
    println!("asked: {:?}", health.into_inner().status());
    let watch = client.watch(HealthCheckRequest::default()).await?;
    let health = watch.into_inner().next().await.ok_or("nothing came")??;
    println!("watched: {:?}", health.status());
    Ok(())
}
