//! Any text for a credentials file: nothing may panic, nothing is asked of anyone, and no error
//! shows what stood in a secret's place.
#![no_main]

use bytes::Bytes;
use http::{Request, Response};
use idtoken::Transport;
use idtoken::source::{DefaultSource, Environment};
use idtoken::transport::TransportError;
use libfuzzer_sys::fuzz_target;

struct Nobody;

impl Transport for Nobody {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        panic!("reading a file asked {}", request.uri());
    }
}

fuzz_target!(|text: &str| {
    let builder = DefaultSource::builder().environment(Environment::default());
    match builder.from_json_with(text, Nobody) {
        Ok(source) => assert!(!source.describe().is_empty()),
        Err(error) => {
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("SECRET"), "{shown}");
        }
    }
});
