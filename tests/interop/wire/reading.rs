//! A recorded request as text, without what differs from one run to the next.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{CONTENT_TYPE, HeaderMap};
use idtoken_emulator::{Emulator, Endpoint, Recorded};
use serde_json::{Map, Value};

#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) endpoint: &'static str,
    /// Method and path.
    line: String,
    /// Query, headers, form and JSON fields, and what stands in an assertion.
    fields: BTreeMap<String, String>,
}

impl Request {
    pub(super) fn read(google: &Emulator, endpoint: Endpoint, recorded: &Recorded) -> Self {
        let port = google.host().rsplit(':').next().unwrap();
        let mut fields = Fields {
            port: format!(":{port}"),
            all: BTreeMap::new(),
        };
        fields.pairs("query", recorded.uri().query().unwrap_or_default());
        fields.headers(recorded.headers());
        let body = std::str::from_utf8(recorded.body()).unwrap();
        let kind = recorded.headers().get(CONTENT_TYPE);
        let kind = kind.map_or("", |kind| kind.to_str().unwrap());
        match serde_json::from_str(body) {
            Ok(Value::Object(object)) => fields.object("json", &object),
            _ if kind.starts_with("application/x-www-form-urlencoded") => {
                fields.pairs("form", body);
            }
            _ => assert_eq!(body, "", "neither a form nor JSON"),
        }
        Self {
            endpoint: endpoint.name(),
            line: format!("{} {}", recorded.method(), recorded.uri().path()),
            fields: fields.all,
        }
    }

    /// The names of the fields that are not the same.
    pub(super) fn differences(&self, other: &Self) -> Vec<String> {
        let mut names: BTreeSet<&str> = self.fields.keys().map(String::as_str).collect();
        names.extend(other.fields.keys().map(String::as_str));
        let differ = names
            .into_iter()
            .filter(|name| self.fields.get(*name) != other.fields.get(*name));
        let line = (self.line != other.line).then_some("path");
        line.into_iter().chain(differ).map(str::to_owned).collect()
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.line)?;
        self.fields
            .iter()
            .try_for_each(|(name, value)| writeln!(f, "  {name}: {value}"))
    }
}

struct Fields {
    /// The emulator's, with the colon before it.
    port: String,
    all: BTreeMap<String, String>,
}

impl Fields {
    fn set(&mut self, kind: &str, name: &str, value: &str) {
        let value = match name {
            // Whoever knew them could use them, or they are made anew each time.
            "authorization" => "Bearer …".to_owned(),
            "client_id" | "client_secret" | "jti" | "kid" | "refresh_token" | "subject_token" => {
                "…".to_owned()
            }
            "content-length" => "N".to_owned(),
            "user-agent" | "x-goog-api-client" => without_numbers(value),
            _ => value.replace(&self.port, ":PORT"),
        };
        let before = self.all.insert(format!("{kind} {name}"), value);
        assert_eq!(before, None, "{kind} {name} comes twice");
    }

    fn headers(&mut self, headers: &HeaderMap) {
        for (name, value) in headers {
            // What google-auth was told beside it, if it was told in time.
            if name == "x-allowed-locations" {
                continue;
            }
            self.set("header", name.as_str(), value.to_str().unwrap());
        }
    }

    fn pairs(&mut self, kind: &str, pairs: &str) {
        let url = reqwest::Url::parse(&format!("http://x/?{pairs}")).unwrap();
        for (name, value) in url.query_pairs() {
            match &*name {
                "assertion" => self.assertion(&value),
                _ => self.set(kind, &name, &value),
            }
        }
    }

    fn object(&mut self, kind: &str, object: &Map<String, Value>) {
        for (name, value) in object {
            match value {
                Value::String(text) => self.set(kind, name, text),
                other => self.set(kind, name, &other.to_string()),
            }
        }
    }

    /// A signed request: its header and its claims, with its end counted from its beginning.
    fn assertion(&mut self, jwt: &str) {
        let parts: Vec<&str> = jwt.split('.').collect();
        for (kind, part) in ["assertion's header", "assertion's claim"]
            .iter()
            .zip(parts)
        {
            let json = URL_SAFE_NO_PAD.decode(part).unwrap();
            let mut object: Map<String, Value> = serde_json::from_slice(&json).unwrap();
            if let Some(iat) = object.remove("iat") {
                let lasts = object["exp"].as_u64().unwrap() - iat.as_u64().unwrap();
                object.insert("exp".to_owned(), format!("iat + {lasts}").into());
            }
            self.object(kind, &object);
        }
    }
}

/// With `N` for each number, so that a new version is no difference.
fn without_numbers(text: &str) -> String {
    let mut plain = String::new();
    for character in text.chars() {
        match character {
            '0'..='9' if plain.ends_with('N') => {}
            '0'..='9' => plain.push('N'),
            '.' if plain.ends_with('N') => {}
            other => plain.push(other),
        }
    }
    plain
}
