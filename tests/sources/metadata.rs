//! The metadata server, and what stands between us and it.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use idtoken::clock::ManualClock;
use idtoken::source::{Format, MetadataServer};
use idtoken::transport::{ReqwestTransport, Transport};
use idtoken::{SourceErrorKind, TokenSource};
use idtoken_emulator::{Emulator, Endpoint, Fault, Platform};
use serde_json::Value;

use crate::child;
use crate::support::{CALLER, HELLO, assert_names, audience, google};

const IDENTITY_PATH: &str = "/computeMetadata/v1/instance/service-accounts/default/identity";

#[tokio::test]
async fn the_metadata_server_tells_its_email_and_universe() {
    let google = google().await;
    let source = metadata(&google);
    assert_eq!(
        source.email().await.unwrap(),
        google.default_account().email()
    );
    assert_eq!(source.universe_domain().await.unwrap(), "googleapis.com");
    let flavored = |status, body: &'static str| {
        let answer = Response::builder().status(status);
        let answer = answer.header("metadata-flavor", "Google");
        Fault::Respond(answer.body(Bytes::from_static(body.as_bytes())).unwrap())
    };
    for (answer, universe) in [
        (flavored(200, "example.goog\n"), "example.goog"),
        (flavored(200, ""), "googleapis.com"),
        (flavored(404, "not found"), "googleapis.com"),
    ] {
        google.fail_times(Endpoint::Metadata, 1, answer);
        assert_eq!(source.universe_domain().await.unwrap(), universe);
    }
    for answer in [flavored(403, "no"), Fault::Garbage] {
        google.fail_times(Endpoint::Metadata, 2, answer);
        source.universe_domain().await.unwrap_err();
        source.email().await.unwrap_err();
    }
}

#[tokio::test]
async fn each_format_has_its_claims() {
    let google = google().await;
    let formats = [Format::Standard, Format::Full, Format::FullWithLicenses];
    // With the e-mail address, with the machine, and with the machine's licences.
    let on_gce = [
        (false, false, false),
        (true, true, false),
        (true, true, true),
    ];
    let on_cloud_run = [(true, false, false); 3];
    for (platform, expected) in [(Platform::Gce, on_gce), (Platform::CloudRun, on_cloud_run)] {
        google.set_platform(platform);
        for (format, (email, machine, licenses)) in formats.into_iter().zip(expected) {
            let source = MetadataServer::builder().host(google.host()).format(format);
            let token = source
                .build()
                .unwrap()
                .fetch(&audience(HELLO))
                .await
                .unwrap();
            let claims = token.claims();
            let what = format!("{platform:?} {format:?}");
            assert_eq!(claims.aud().collect::<Vec<_>>(), [HELLO], "{what}");
            assert_eq!(claims.email().is_some(), email, "{what}");
            let google = claims.get::<Value>("google").unwrap().unwrap_or_default();
            let instance = &google["compute_engine"];
            assert_eq!(instance.is_object(), machine, "{what}");
            assert_eq!(
                instance["license_id"].is_array(),
                licenses,
                "{what}: {instance}"
            );
        }
    }
}

#[tokio::test]
async fn gke_without_its_annotation_says_so_whole_and_with_advice() {
    let google = google().await;
    google.set_platform(Platform::Gke);
    google.detach();
    let error = metadata(&google).fetch(&audience(HELLO)).await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Refused);
    let words = "annotation to your Kubernetes service account.";
    assert!(error.to_string().contains(words), "{error}");
    assert!(
        error
            .advice()
            .unwrap()
            .contains("iam.gke.io/gcp-service-account"),
        "{error}"
    );
}

#[tokio::test]
async fn an_attached_account_can_be_named_and_another_is_asked_about() {
    let google = google().await;
    google.attach(CALLER);
    let named = |email: &str| MetadataServer::builder().host(google.host()).account(email);
    let source = named(CALLER).build().unwrap();
    assert_names(
        &source.fetch(&audience(HELLO)).await.unwrap(),
        HELLO,
        CALLER,
    );
    assert_eq!(source.email().await.unwrap(), CALLER);
    let stranger = named("other@shop.iam.gserviceaccount.com").build().unwrap();
    let error = stranger.fetch(&audience(HELLO)).await.unwrap_err();
    assert_eq!(error.status().unwrap(), 404);
    assert!(
        error.advice().unwrap().contains("attach a service account"),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_says_no_is_asked_once_and_again_on_later_demand() {
    let google = google().await;
    let source = metadata(&google);
    for status in [400, 403, 404] {
        google.forget_requests();
        google.fail_times(Endpoint::Identity, 1, Fault::Status(status));
        let error = source.fetch(&audience(HELLO)).await.unwrap_err();
        assert_eq!(error.status().unwrap(), status);
        assert_eq!(error.kind(), SourceErrorKind::Refused);
        assert_eq!(google.hits(Endpoint::Identity), 1);
        source.fetch(&audience(HELLO)).await.unwrap();
    }
}

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

/// Collects what is logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_clock_that_is_off_is_warned_of_even_when_the_answer_is_good() {
    let google = google().await;
    // With a single subscriber it is left to whichever thread comes to a place first whether anybody
    // listens there.
    let _second = tracing::Dispatch::new(tracing_subscriber::fmt().finish());
    for (ahead, warned) in [(Duration::ZERO, false), (Duration::from_secs(120), true)] {
        let (log, clock) = (Log::default(), ManualClock::starting_now());
        clock.advance(ahead);
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::WARN)
            .with_ansi(false)
            .with_writer(move || writer.clone());
        let _on_this_thread = tracing::subscriber::set_default(subscriber.finish());
        let source = MetadataServer::builder().host(google.host()).clock(clock);
        source
            .build()
            .unwrap()
            .fetch(&audience(HELLO))
            .await
            .unwrap();
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert_eq!(log.contains("a clock is off"), warned, "{log}");
        if warned {
            // To the second, but for the time that the exchange took.
            let by = [
                "clock is 119 s ahead",
                "clock is 120 s ahead",
                "clock is 121 s ahead",
            ];
            assert!(by.iter().any(|words| log.contains(words)), "{log}");
        }
    }
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
