//! Calls a private Cloud Run service with reqwest.
//!
//! ```text
//! cargo run --example reqwest_client
//! cargo run --example reqwest_client -- https://hello-abc.a.run.app
//! ```

use idtoken::Audience;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_idtoken::AddIdTokenLayer;

use self::target::{BoxError, target};

#[path = "stand_in/target.rs"]
mod target;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let target = target().await?;
    let audience = Audience::origin_of(&target.origin)?;

    let http = reqwest::Client::new();
    let mut client = ServiceBuilder::new()
        .layer(AddIdTokenLayer::new(target.tokens.handle(&audience)))
        .service(http.clone());

    let request = http.get(target.origin.to_string()).build()?;
    let response = client.ready().await?.call(request).await?;
    println!("{}", response.status());
    println!("{}", response.error_for_status()?.text().await?);
    Ok(())
}
