//! What these tests share.

use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response, Uri};
use idtoken::source::{DefaultSource, Environment};
use idtoken::transport::{ReqwestTransport, Transport, TransportError};
use idtoken::{Audience, IdToken, SourceError};
use idtoken_emulator::{Emulator, Role};

pub(crate) const HELLO: &str = "https://hello-abc.a.run.app";
pub(crate) const CALLER: &str = "caller@shop.iam.gserviceaccount.com";
pub(crate) const TARGET: &str = "target@shop.iam.gserviceaccount.com";

pub(crate) fn audience(text: &str) -> Audience {
    Audience::new(text).unwrap()
}

pub(crate) async fn google() -> Emulator {
    let google = Emulator::start().await.unwrap();
    for email in [CALLER, TARGET] {
        google.add_account(idtoken_emulator::Account::new(email));
    }
    google
}

/// An emulator where the caller may mint tokens for the target.
pub(crate) async fn google_with_grant() -> Emulator {
    let google = google().await;
    google.grant(CALLER, Role::OpenIdTokenCreator, TARGET);
    google
}

/// What default credentials find when `GOOGLE_APPLICATION_CREDENTIALS` names `path`.
pub(crate) async fn found(path: &Path) -> Result<DefaultSource, SourceError> {
    let environment =
        Environment::default().set("GOOGLE_APPLICATION_CREDENTIALS", path.to_str().unwrap());
    DefaultSource::builder()
        .environment(environment)
        .build()
        .await
}

/// The same for the text of a file.
pub(crate) async fn found_in(text: &str) -> Result<DefaultSource, SourceError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    found(file.path()).await
}

/// The token names this audience and this account.
pub(crate) fn assert_names(token: &IdToken, aud: &str, email: &str) {
    assert_eq!(token.claims().aud().collect::<Vec<_>>(), [aud]);
    assert_eq!(token.claims().email(), Some(email));
}

/// Nothing that looks like a token, a key or a secret stands in an error, or in what caused it.
pub(crate) fn assert_no_secret(error: &dyn std::error::Error) {
    let mut next = Some(error);
    while let Some(error) = next {
        for shown in [error.to_string(), format!("{error:?}")] {
            for secret in ["eyJ", "ya29.", "PRIVATE KEY", "refresh-", "SECRET"] {
                assert!(!shown.contains(secret), "{secret} in {shown}");
            }
        }
        next = error.source();
    }
}

/// Carries every request to the emulator, and remembers which host it was for.
#[derive(Clone)]
pub(crate) struct Rerouted {
    to: String,
    hosts: Arc<Mutex<Vec<String>>>,
    inner: ReqwestTransport,
}

impl Rerouted {
    pub(crate) fn to(google: &Emulator) -> Self {
        Self {
            to: google.host().to_owned(),
            hosts: Arc::default(),
            inner: ReqwestTransport::without_proxy().unwrap(),
        }
    }

    pub(crate) fn hosts(&self) -> Vec<String> {
        self.hosts.lock().unwrap().clone()
    }
}

impl Transport for Rerouted {
    async fn send(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        let host = request.uri().host().unwrap().to_owned();
        self.hosts.lock().unwrap().push(host);
        let path = request.uri().path_and_query().unwrap().clone();
        let uri = Uri::builder().scheme("http").authority(self.to.as_str());
        *request.uri_mut() = uri.path_and_query(path).build().unwrap();
        self.inner.send(request).await
    }
}
