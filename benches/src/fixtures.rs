//! Tokens, requests and an inner service, the same for all who are measured.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, USER_AGENT};
use http::{HeaderValue, Request, Response};
use idtoken::cache::TokenCacheBuilder;
use idtoken::{Audience, IdToken, SourceError, TokenCache, TokenSource, source};
use tower::Service;

pub const AUDIENCE: &str = "https://hello-abc.a.run.app";
pub const EMAIL: &str = "caller@shop.iam.gserviceaccount.com";

/// A token as long as Google's, with a signature that nobody will check.
pub fn unsigned_token(audience: &str) -> String {
    let exp = unix_seconds() + 3_600;
    let claims = format!(
        r#"{{"aud":"{audience}","azp":"110169484474386276334","email":"{EMAIL}","email_verified":true,"exp":{exp},"iat":{},"iss":"https://accounts.google.com","sub":"110169484474386276334"}}"#,
        exp - 3_600
    );
    let header = r#"{"alg":"RS256","kid":"6c86a1c0a5b9d1c2c2d1f1a0a5b9d1c2c2d1f1a0","typ":"JWT"}"#;
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let signature = URL_SAFE_NO_PAD.encode([0x5a; 256]);
    format!("{}.{}.{signature}", encode(header), encode(&claims))
}

pub fn unix_seconds() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or(Duration::ZERO).as_secs()
}

/// A cache whose source makes up its tokens on the spot, with room for `audiences`.
pub fn cache(audiences: usize) -> TokenCache {
    cache_builder()
        .max_audiences(audiences)
        .max_fetches(usize::MAX)
        .build()
}

pub fn cache_builder() -> TokenCacheBuilder<impl TokenSource> {
    TokenCache::builder(source::from_fn(|audience: Audience| async move {
        Ok::<_, SourceError>(IdToken::new(&unsigned_token(audience.as_str()))?)
    }))
}

pub fn audience(number: usize) -> Audience {
    Audience::new(format!("https://fn{number}-abc.a.run.app")).expect("a sound audience")
}

/// A request as clients send it: three headers, none of them ours.
pub fn request(origin: &str) -> Request<()> {
    Request::get(format!("{origin}/orders?page=2"))
        .header(ACCEPT, "application/json")
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, "shop/1.2")
        .body(())
        .expect("a sound request")
}

/// Requests that are sent again and again, so that what making them costs is not measured.
pub struct Requests {
    each: [Mutex<Vec<Option<Request<()>>>>; 2],
}

impl Requests {
    pub fn to<'a>(origins: impl IntoIterator<Item = &'a str>) -> Self {
        let requests: Vec<_> = origins.into_iter().map(request).map(Some).collect();
        let copy = requests.iter().flatten().cloned().map(Some).collect();
        Self {
            each: [Mutex::new(requests), Mutex::new(copy)],
        }
    }

    /// The same, each with `extension`.
    pub fn with_extension<T: Clone + Send + Sync + 'static>(self, extension: T) -> Self {
        let each = self.each.map(|requests| {
            let mut requests = requests
                .into_inner()
                .unwrap_or_else(PoisonError::into_inner);
            for request in requests.iter_mut().flatten() {
                request.extensions_mut().insert(extension.clone());
            }
            Mutex::new(requests)
        });
        Self { each }
    }

    /// Sends `count` requests through `service`, which must give each back.
    pub fn send<S>(&self, service: &mut S, count: u64)
    where
        S: Service<Request<()>, Response = Response<Request<()>>>,
        S::Error: std::fmt::Debug,
    {
        let mut requests = self.take();
        // Prime to the lengths used: neighbours in time are not neighbours in memory.
        let (mut next, step) = (0, 7_919 % requests.len());
        for _ in 0..count {
            let place = &mut requests[next];
            let request = place.take().expect("given back last time");
            let response = crate::measure::at_once(service.call(request));
            *place = Some(response.expect("no error").into_body());
            next += step;
            if next >= requests.len() {
                next -= requests.len();
            }
        }
    }

    /// One set for each of two threads.
    fn take(&self) -> MutexGuard<'_, Vec<Option<Request<()>>>> {
        let [first, second] = &self.each;
        match first.try_lock() {
            Ok(requests) => requests,
            Err(_) => second.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}

/// The inner service: always ready, gives the request back without what was attached to it.
#[derive(Clone, Copy, Debug)]
pub struct Echo;

impl Service<Request<()>> for Echo {
    type Response = Response<Request<()>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<()>) -> Self::Future {
        let headers = request.headers_mut();
        if headers.len() > 3 {
            drop(std::hint::black_box(headers.remove(AUTHORIZATION)));
            if headers.len() > 3 {
                headers.remove(SERVERLESS);
            }
        }
        ready(Ok(Response::new(request)))
    }
}

/// The same with a boxed future, as clients over connections have it.
#[derive(Clone, Copy, Debug)]
pub struct Boxed;

impl Service<Request<()>> for Boxed {
    type Response = Response<Request<()>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        Box::pin(Echo.call(request))
    }
}

const SERVERLESS: HeaderName = HeaderName::from_static("x-serverless-authorization");

/// `Bearer ` and the token, as the peers that hand out bare tokens leave it to their users.
pub fn bearer(token: &str) -> HeaderValue {
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).expect("a token is ASCII");
    value.set_sensitive(true);
    value
}
