//! Peers that hand out cached tokens, and layers that their users write around them.
//!
//! All do the same work: a header value `Bearer …`, marked sensitive, from a token that is cached.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_async::time::SystemTimeSource;
use aws_smithy_runtime::client::identity::IdentityCache;
use aws_smithy_runtime_api::client::identity::{
    Identity, IdentityFuture, ResolveCachedIdentity, ResolveIdentity, SharedIdentityResolver,
};
use aws_smithy_runtime_api::client::runtime_components::{
    RuntimeComponents, RuntimeComponentsBuilder,
};
use aws_smithy_types::config_bag::ConfigBag;
use gcloud_auth::credentials::CredentialsFile;
use gcloud_auth::idtoken::IdTokenSourceConfig;
use google_cloud_auth::credentials::idtoken::{IDTokenCredentials, mds};
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response};
use idtoken::TokenHandle;
use idtoken_emulator::Emulator;
use tame_oauth::gcp::{IdTokenOrRequest, IdTokenProvider, MetadataServerProvider};
use tokio::runtime::Runtime;
use tower::filter::AsyncFilter;
use tower::{BoxError, Service};

use super::repeat;
use crate::fixtures::{self, AUDIENCE, EMAIL, Echo};
use crate::measure::{Case, at_once};

/// A cached token to a header value, with each peer.
pub fn cached_tokens(runtime: &Runtime) -> Result<Vec<Case>, BoxError> {
    let google = google_cloud_auth(runtime)?;
    let tame = tame_oauth()?;
    let gcloud = gcloud_auth(runtime)?;
    let smithy = Arc::new(smithy(runtime)?);
    let inside = runtime.handle().clone();
    Ok(vec![
        Case::new("google-cloud-auth: id_token", move |n| {
            repeat(n, || {
                let token = at_once(google.id_token()).expect("a token");
                fixtures::bearer(&token)
            });
        }),
        Case::new("tame-oauth: get_id_token", move |n| {
            repeat(n, || match tame.get_id_token(AUDIENCE) {
                Ok(IdTokenOrRequest::IdToken(token)) => fixtures::bearer(&token.token),
                _ => panic!("the token is cached"),
            });
        }),
        Case::new("gcloud-auth: token", move |n| {
            repeat(n, || {
                let token = at_once(gcloud.token()).expect("a token");
                fixtures::bearer(&token.access_token)
            });
        }),
        Case::new(
            "aws-smithy-runtime: lazy identity cache, for its design",
            move |n| {
                // It makes a timer for each call.
                let _inside = inside.enter();
                repeat(n, || smithy.header());
            },
        ),
    ])
}

/// Whole layers around the same inner service.
pub fn layers(runtime: &Runtime, handle: TokenHandle) -> Result<Vec<Case>, BoxError> {
    let google = google_cloud_auth(runtime)?;
    let filter = AsyncFilter::new(Echo, move |mut request: Request<()>| {
        let handle = handle.clone();
        async move {
            let bearer = handle.bearer().await?;
            request.headers_mut().insert(AUTHORIZATION, bearer);
            Ok::<_, BoxError>(request)
        }
    });
    let wrapper = Wrapper {
        inner: Echo,
        credentials: google,
    };
    Ok(vec![
        super::send("tower: AsyncFilter that awaits our handle", filter),
        super::send("google-cloud-auth: a wrapper written by hand", wrapper),
    ])
}

/// What a user of google-cloud-auth writes.
#[derive(Clone)]
struct Wrapper<S> {
    inner: S,
    credentials: IDTokenCredentials,
}

impl<S> Service<Request<()>> for Wrapper<S>
where
    S: Service<Request<()>, Response = Response<Request<()>>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<()>) -> Self::Future {
        let unready = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, unready);
        let credentials = self.credentials.clone();
        Box::pin(async move {
            let token = credentials.id_token().await?;
            let bearer = fixtures::bearer(&token);
            request.headers_mut().insert(AUTHORIZATION, bearer);
            inner.call(request).await.map_err(Into::into)
        })
    }
}

/// Credentials of google-cloud-auth that have their token, from an emulated metadata server.
pub fn google_cloud_auth(runtime: &Runtime) -> Result<IDTokenCredentials, BoxError> {
    runtime.block_on(async {
        let emulator = Emulator::start().await?;
        let credentials = mds::Builder::new(AUDIENCE)
            .with_endpoint(emulator.url())
            .build()?;
        credentials.id_token().await?;
        Ok(credentials)
    })
}

fn tame_oauth() -> Result<MetadataServerProvider, BoxError> {
    let provider = MetadataServerProvider::new(None);
    if let IdTokenOrRequest::IdTokenRequest { audience_hash, .. } =
        provider.get_id_token(AUDIENCE)?
    {
        let answer = Response::new(fixtures::unsigned_token(AUDIENCE));
        provider.parse_id_token_response(audience_hash, answer)?;
    }
    Ok(provider)
}

fn gcloud_auth(
    runtime: &Runtime,
) -> Result<Box<dyn gcloud_auth::token_source::TokenSource>, BoxError> {
    runtime.block_on(async {
        let emulator = Emulator::start().await?;
        let file = CredentialsFile::new_from_str(&emulator.key_file(EMAIL)).await?;
        let config = IdTokenSourceConfig::new().with_credentials(file);
        Ok(config.build(AUDIENCE).await?)
    })
}

fn smithy(runtime: &Runtime) -> Result<Smithy, BoxError> {
    let components = RuntimeComponentsBuilder::for_tests()
        .with_time_source(Some(SystemTimeSource::new()))
        .with_sleep_impl(Some(SharedAsyncSleep::new(TokioSleep::new())))
        .build()?;
    let smithy = Smithy {
        cache: IdentityCache::lazy().build(),
        resolver: SharedIdentityResolver::new(Resolver),
        components,
        config: ConfigBag::base(),
    };
    runtime.block_on(smithy.identity())?;
    Ok(smithy)
}

/// The credentials cache of the AWS SDK, with a header value for an identity.
struct Smithy {
    cache: aws_smithy_runtime_api::client::identity::SharedIdentityCache,
    resolver: SharedIdentityResolver,
    components: RuntimeComponents,
    config: ConfigBag,
}

impl Smithy {
    async fn identity(&self) -> Result<Identity, BoxError> {
        let resolver = self.resolver.clone();
        self.cache
            .resolve_cached_identity(resolver, &self.components, &self.config)
            .await
    }

    fn header(&self) -> HeaderValue {
        let identity = at_once(self.identity()).expect("an identity");
        identity
            .data::<HeaderValue>()
            .expect("the one we put in")
            .clone()
    }
}

#[derive(Debug)]
struct Resolver;

impl ResolveIdentity for Resolver {
    fn resolve_identity<'a>(
        &'a self,
        _: &'a RuntimeComponents,
        _: &'a ConfigBag,
    ) -> IdentityFuture<'a> {
        let value = fixtures::bearer(&fixtures::unsigned_token(AUDIENCE));
        let until = SystemTime::now() + Duration::from_secs(3_600);
        IdentityFuture::ready(Ok(Identity::new(value, Some(until))))
    }
}
