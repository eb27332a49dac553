//! Calls a private Cloud Run service with reqwest, through the crate `reqwest-middleware`.
//!
//! ```text
//! cargo run --example reqwest_middleware
//! cargo run --example reqwest_middleware -- https://hello-abc.a.run.app
//! ```

use idtoken::Audience;
use reqwest_middleware::ClientBuilder;
use tower_idtoken::AddIdTokenLayer;

use self::target::{BoxError, target};

#[path = "stand_in/target.rs"]
mod target;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let target = target().await?;
    let audience = Audience::origin_of(&target.origin)?;

    let client = ClientBuilder::new(reqwest::Client::new())
        .with(AddIdTokenLayer::new(target.tokens.handle(&audience)))
        .build();

    let response = client.get(target.origin.to_string()).send().await?;
    println!("{}", response.status());
    println!("{}", response.error_for_status()?.text().await?);
    Ok(())
}
