//! One list of tokens, with what is wrong with each and what we say to it.

mod claims;
mod forgeries;
mod headers;
mod identities;
mod payloads;
mod spellings;

use std::time::UNIX_EPOCH;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use idtoken::VerifyErrorKind as Kind;
use idtoken_emulator::{Emulator, TokenRequest};
use serde_json::{Value, json};

/// A token, and what should come of it.
pub(crate) struct Entry {
    /// What is wrong with it.
    pub(crate) what: String,
    pub(crate) jwt: String,
    pub(crate) expected: Expected,
}

#[derive(Clone, Copy)]
pub(crate) enum Expected {
    /// It breaks no rule. The verifiers that refuse it all the same, and why.
    Good(&'static [(&'static str, &'static str)]),
    /// We refuse it, with these words.
    Bad(Kind),
}

pub(crate) struct List {
    pub(crate) google: Emulator,
    /// Tokens for verifiers that let in whoever has a token for them.
    pub(crate) entries: Vec<Entry>,
    /// Good tokens of the right and of the wrong bearer.
    pub(crate) identities: Vec<Entry>,
    now: u64,
}

impl List {
    pub(crate) async fn new() -> Self {
        let google = Emulator::start().await.unwrap();
        let now = google.clock().now().duration_since(UNIX_EPOCH).unwrap();
        let mut list = Self {
            google,
            entries: Vec::new(),
            identities: Vec::new(),
            now: now.as_secs(),
        };
        list.good_ones();
        list.headers();
        list.claims();
        list.times();
        list.payloads();
        list.spellings();
        list.signatures();
        list.forgeries().await;
        list.keys_in_headers().await;
        list.bearers();
        list
    }

    fn add(&mut self, what: impl Into<String>, kind: Kind, jwt: String) {
        self.entries.push(Entry {
            what: what.into(),
            jwt,
            expected: Expected::Bad(kind),
        });
    }

    fn add_good(
        &mut self,
        what: &str,
        jwt: String,
        stricter: &'static [(&'static str, &'static str)],
    ) {
        self.entries.push(Entry {
            what: format!("nothing: {what}"),
            jwt,
            expected: Expected::Good(stricter),
        });
    }

    fn order() -> TokenRequest {
        TokenRequest::new(AUDIENCE).account(EMAIL)
    }

    fn mint(&self, change: impl FnOnce(TokenRequest) -> TokenRequest) -> String {
        self.google.mint(&change(Self::order()))
    }

    /// The claims of a good token.
    fn base(&self) -> Value {
        let jwt = self.mint(|order| order);
        let payload = jwt.split('.').nth(1).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
    }

    fn good_ones(&mut self) {
        let jwt = self.mint(|order| order);
        self.add_good("a token as Google makes them", jwt, &[]);
        let jwt = self.mint(|order| order.claim("iss", "accounts.google.com"));
        self.add_good("the issuer without its scheme", jwt, ONE_ISSUER);
        let jwt = self.mint(|order| order.claim("aud", json!(["https://x.example", AUDIENCE])));
        self.add_good("ours is one of two audiences", jwt, ONE_AUDIENCE);
        let jwt = self.mint(|order| order.without_header("typ"));
        self.add_good("no typ", jwt, &[]);
        let jwt = self.mint(|order| order.claim("extra", json!({"a": [1, null]})));
        self.add_good("a claim that nobody knows", jwt, &[]);
        let jwt = self.mint(|order| order.without_claim("email"));
        self.add_good("no e-mail address", jwt, &[]);
        let (iat, exp) = (self.now as f64, (self.now + 600) as f64);
        let jwt = self.mint(|order| order.claim("iat", iat).claim("exp", exp));
        self.add_good("times written as 1.0", jwt, &[]);
        for name in ["jku", "x5u"] {
            let jwt = self.mint(|order| order.header(name, "https://evil.example"));
            self.add_good(&format!("a {name} that is ignored"), jwt, &[]);
        }
        for name in ["jwk", "x5c"] {
            let jwt = self.mint(|order| order.header(name, "https://evil.example"));
            let what = format!("a {name} of the wrong type that is ignored");
            self.add_good(&what, jwt, TYPED_HEADER);
        }
    }
}

pub(crate) const AUDIENCE: &str = "https://hello-abc.a.run.app";
pub(crate) const EMAIL: &str = "caller@shop.iam.gserviceaccount.com";

const ONE_ISSUER: &[(&str, &str)] = &[("Envoy", "its configuration holds one issuer")];
const ONE_AUDIENCE: &[(&str, &str)] = &[
    ("google-auth", "it compares `aud` as text"),
    (
        "google-auth's verify_oauth2_token",
        "it compares `aud` as text",
    ),
    ("google-auth-library", "it compares `aud` as text"),
];
const TYPED_HEADER: &[(&str, &str)] = &[
    ("jsonwebtoken", "it reads the fields that it does not use"),
    (
        "google-cloud-auth",
        "it reads the fields that it does not use",
    ),
];
