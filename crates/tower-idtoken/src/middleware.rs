//! The outbound layer as a middleware of the crate `reqwest-middleware`.

use http::Extensions;
use reqwest::{Request, Response};
use reqwest_middleware::{Error, Middleware, Next, Result};

use crate::error::NotSent;
use crate::outbound::AddIdTokenLayer;
use crate::policy::TokenPolicy;
use crate::request::HttpRequest;

/// The layer itself is the middleware:
///
/// ```
/// use idtoken::TokenHandle;
/// use reqwest_middleware::ClientBuilder;
/// use tower_idtoken::AddIdTokenLayer;
///
/// # fn example(hello: TokenHandle) {
/// let client = ClientBuilder::new(reqwest::Client::new())
///     .with(AddIdTokenLayer::new(hello))
///     .build();
/// # }
/// ```
///
/// A request that was not sent is an `Error::Middleware` with a [`NotSent`] in it.
#[async_trait::async_trait]
impl<P: TokenPolicy + Send + Sync + 'static> Middleware for AddIdTokenLayer<P> {
    async fn handle(
        &self,
        mut request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        let attach = self.attach();
        let head = request.head().with_extensions(extensions);
        if let Some(handle) = attach.choose::<Request>(head).map_err(not_sent)? {
            let bearer = handle.bearer();
            let bearer = bearer
                .await
                .map_err(|error| not_sent(NotSent::no_token(error)))?;
            attach.placement.put(request.headers_mut(), bearer);
        }
        next.run(request, extensions).await
    }
}

fn not_sent(error: NotSent) -> Error {
    Error::middleware(error)
}
