//! Any answer for the metadata server's: nothing may panic, and what is taken for a token says when
//! it ends. The first bytes choose status and flavour, the rest is the body.
#![no_main]

use std::sync::LazyLock;

use bytes::Bytes;
use http::{Request, Response};
use idtoken::source::MetadataServer;
use idtoken::transport::TransportError;
use idtoken::{Audience, TokenSource, Transport};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};

static PAUSED: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime")
});

struct Answers(Response<Bytes>);

impl Transport for Answers {
    async fn send(&self, _: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        Ok(self.0.clone())
    }
}

fuzz_target!(|input: (u16, Option<Vec<u8>>, Vec<u8>)| {
    let (status, flavor, body) = input;
    let mut response = Response::builder().status(100 + status % 500);
    match flavor {
        Some(flavor) => response = response.header("Metadata-Flavor", flavor),
        None => response = response.header("Metadata-Flavor", "Google"),
    }
    let Ok(response) = response.body(Bytes::from(body)) else {
        return;
    };
    let source = MetadataServer::builder().build_with(Answers(response));
    let audience = Audience::new("https://hello-abc.a.run.app").expect("an audience");
    if let Ok(token) = PAUSED.block_on(source.fetch(&audience)) {
        assert!(token.claims().exp().is_some());
        assert!(token.bearer().is_sensitive());
    }
});
