//! Puts the layer around a tonic channel: what a generated client takes in the channel's place.
//!
//! ```text
//! cargo run --example tonic_client -- http://127.0.0.1:50051
//! ```

use idtoken::source::MetadataServer;
use idtoken::{Audience, TokenCache};
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::ServiceBuilder;
use tower_idtoken::{AddIdToken, AddIdTokenLayer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let origin: Uri = std::env::args().nth(1).ok_or("which origin?")?.parse()?;
    let tokens = TokenCache::new(MetadataServer::builder().build()?);
    let handle = tokens.handle(&Audience::origin_of(&origin)?);

    let channel: AddIdToken<Channel> = ServiceBuilder::new()
        .layer(AddIdTokenLayer::new(handle))
        .service(Endpoint::from(origin.clone()).connect_lazy());

    // A generated client's `with_origin` takes the same two: the origin is what tells the layer
    // which host a call goes to.
    let mut client = Grpc::with_origin(channel, origin);
    client.ready().await?;
    println!("ready");
    Ok(())
}
