//! Any text for a credentials file: nothing may panic, nothing is asked of anyone, and no error
//! shows what stood in a secret's place.
#![no_main]

use bytes::Bytes;
use http::{Request, Response};
use idtoken::Transport;
use idtoken::source::{DefaultSource, Environment};
use idtoken::transport::TransportError;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

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
            for secret in secrets(text) {
                assert!(!shown.contains(&secret), "{secret} in {shown}");
            }
        }
    }
});

/// What stands where secrets stand, and nowhere else.
fn secrets(text: &str) -> Vec<String> {
    let mut secret = Vec::new();
    let mut open = Vec::new();
    if let Ok(whole) = serde_json::from_str(text) {
        sort("", &whole, &mut secret, &mut open);
    }
    secret.retain(|value| value.len() >= 8 && !open.iter().any(|open| open.contains(value)));
    secret
}

fn sort(name: &str, value: &Value, secret: &mut Vec<String>, open: &mut Vec<String>) {
    match value {
        Value::String(text) if SECRETS.contains(&name) => secret.push(text.clone()),
        // Errors leave out control characters, so that what is shown may read as a secret.
        Value::String(text) => open.push(text.replace(char::is_control, "")),
        Value::Array(values) => {
            for value in values {
                sort(name, value, secret, open);
            }
        }
        Value::Object(members) => {
            for (name, value) in members {
                open.push(name.replace(char::is_control, ""));
                sort(name, value, secret, open);
            }
        }
        Value::Bool(_) | Value::Null | Value::Number(_) => {}
    }
}

const SECRETS: [&str; 3] = ["client_secret", "private_key", "refresh_token"];
