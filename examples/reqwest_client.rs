//! Calls a private Cloud Run service with reqwest.
//!
//! ```text
//! cargo run --example reqwest_client -- https://hello-abc.a.run.app/greet
//! ```

use idtoken::source::MetadataServer;
use idtoken::{Audience, TokenCache};
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_idtoken::AddIdTokenLayer;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let url = std::env::args().nth(1).ok_or("which URL?")?;
    let tokens = TokenCache::new(MetadataServer::builder().build()?);
    let audience = Audience::origin_of(&url.parse()?)?;

    let http = reqwest::Client::new();
    let mut client = ServiceBuilder::new()
        .layer(AddIdTokenLayer::new(tokens.handle(&audience)))
        .service(http.clone());

    let request = http.get(url).build()?;
    let response = client.ready().await?.call(request).await?;
    println!("{}", response.status());
    println!("{}", response.text().await?);
    Ok(())
}
