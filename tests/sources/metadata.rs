//! The metadata server, and what stands between us and it.

use bytes::Bytes;
use http::{Request, Response};
use idtoken::source::MetadataServer;
use idtoken::transport::{ReqwestTransport, Transport};
use idtoken::{SourceErrorKind, TokenSource};
use idtoken_emulator::{Emulator, Endpoint, Fault};

use crate::child;
use crate::support::{HELLO, audience, google};

const IDENTITY_PATH: &str = "/computeMetadata/v1/instance/service-accounts/default/identity";

fn metadata(google: &Emulator) -> MetadataServer {
    MetadataServer::builder()
        .host(google.host())
        .build()
        .unwrap()
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (google, elsewhere) = tokio::join!(google(), google());
    let to = format!("{}{IDENTITY_PATH}", elsewhere.url());
    google.fail(Endpoint::Identity, Fault::Redirect(to));
    let error = metadata(&google).fetch(&audience(HELLO)).await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Refused);
    assert_eq!(error.status().map(|status| status.as_u16()), Some(302));
    assert_eq!(elsewhere.hits(Endpoint::Identity), 0);
}

#[tokio::test]
async fn gke_that_is_starting_is_waited_for() {
    let google = google().await;
    let not_found = Response::builder().status(404).body(Bytes::new()).unwrap();
    google.fail_times(Endpoint::Identity, 1, Fault::Reset);
    google.fail_times(Endpoint::Identity, 1, Fault::Respond(not_found));
    google.fail_times(Endpoint::Identity, 1, Fault::Status(503));
    metadata(&google).fetch(&audience(HELLO)).await.unwrap();
    assert_eq!(google.hits(Endpoint::Identity), 4);
}

/// Not a test of its own: what the child below does.
#[tokio::test]
#[ignore = "run by the test below, in a process with proxy variables"]
async fn child() {
    // The host comes from GCE_METADATA_HOST.
    let source = MetadataServer::new().unwrap();
    source.fetch(&audience(HELLO)).await.unwrap();
    // And the variables are real: whoever honours them does go to the proxy.
    let request = Request::get("http://www.googleapis.com/oauth2/v3/certs").body(Bytes::new());
    let proxied = ReqwestTransport::new().unwrap();
    proxied.send(request.unwrap()).await.unwrap();
}

#[tokio::test]
async fn requests_are_direct_whatever_the_proxy_variables_say() {
    let (google, proxy) = tokio::join!(google(), google());
    child::run("metadata::child", |child| {
        child.env("GCE_METADATA_HOST", google.host());
        child.envs(child::http_proxy(proxy.url()));
    })
    .await;
    assert_eq!(google.hits(Endpoint::Identity), 1);
    assert_eq!(proxy.hits(Endpoint::Identity), 0);
    assert_eq!(proxy.hits(Endpoint::Jwks), 1);
}
