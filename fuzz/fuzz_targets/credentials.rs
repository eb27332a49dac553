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
    read(text);
    // What errors say by themselves may stand in a secret's place too, so the secrets are replaced
    // by one that nobody says.
    let Ok(mut file) = serde_json::from_str(text) else {
        return;
    };
    if !text.replace(char::is_control, "").contains(CANARY) && replace_secrets(&mut file) {
        let shown = read(&file.to_string());
        assert!(!shown.contains(CANARY), "{shown}");
    }
});

/// What is shown of a credentials file, be it good or not.
fn read(text: &str) -> String {
    let builder = DefaultSource::builder().environment(Environment::default());
    match builder.from_json_with(text, Nobody) {
        Ok(source) => {
            assert!(!source.describe().is_empty());
            format!("{} {source:?}", source.describe())
        }
        Err(error) => format!("{error} {error:?}"),
    }
}

/// Whether there were any.
fn replace_secrets(value: &mut Value) -> bool {
    let mut found = false;
    match value {
        Value::Array(values) => {
            for value in values {
                found |= replace_secrets(value);
            }
        }
        Value::Object(members) => {
            for (name, value) in members {
                if value.is_string() && SECRETS.contains(&name.as_str()) {
                    *value = CANARY.into();
                    found = true;
                } else {
                    found |= replace_secrets(value);
                }
            }
        }
        Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => {}
    }
    found
}

const SECRETS: [&str; 3] = ["client_secret", "private_key", "refresh_token"];
const CANARY: &str = "do not show this";
