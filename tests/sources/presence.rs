//! Whether there is a metadata server: told, guessed, or asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use idtoken::source::{DefaultSource, Environment};
use idtoken::transport::{Transport, TransportError, TransportErrorKind};
use idtoken::{SourceErrorKind, TokenSource};

use idtoken_emulator::{Endpoint, Fault};

use crate::support::{HELLO, Rerouted, audience, google};

/// What answers at the metadata server's address.
#[derive(Clone, Copy, Debug, PartialEq)]
enum There {
    Google,
    Nobody,
    Portal,
    Silence,
    Unsteady,
}

#[derive(Clone)]
struct Network {
    there: There,
    pings: Arc<AtomicU32>,
}

impl Network {
    fn with(there: There) -> Self {
        Self {
            there,
            pings: Arc::default(),
        }
    }

    fn pings(&self) -> u32 {
        self.pings.load(Ordering::SeqCst)
    }
}

impl Transport for Network {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        assert_eq!(request.uri(), "http://169.254.169.254/");
        assert_eq!(request.headers()["metadata-flavor"], "Google");
        let ping = self.pings.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        let answer = |flavor: Option<&str>| {
            let mut response = Response::new(Bytes::from_static(b"<html>"));
            if let Some(flavor) = flavor {
                response
                    .headers_mut()
                    .insert("metadata-flavor", flavor.parse().unwrap());
            }
            Ok(response)
        };
        match self.there {
            There::Google => answer(Some("Google")),
            There::Unsteady if ping == 2 => answer(Some("Google")),
            There::Portal => answer(None),
            There::Nobody => Err(TransportError::new(TransportErrorKind::Connect, "refused")),
            There::Silence => std::future::pending().await,
            There::Unsteady => Err(TransportError::new(
                TransportErrorKind::Exchange,
                "connection reset",
            )),
        }
    }
}

/// Whether a metadata server is found, and how often it was asked.
async fn detect(environment: Environment, there: There) -> (bool, u32) {
    let network = Network::with(there);
    let outcome = DefaultSource::builder()
        .environment(environment)
        .build_with(network.clone(), network.clone())
        .await;
    match outcome {
        Ok(source) => {
            assert_eq!(source.kind(), "metadata");
            (true, network.pings())
        }
        Err(error) => {
            assert_eq!(error.kind(), SourceErrorKind::Misconfigured);
            assert!(
                error.to_string().contains("no credentials found"),
                "{error}"
            );
            (false, network.pings())
        }
    }
}

fn empty() -> Environment {
    Environment::default()
}

fn machine(product: &str) -> (tempfile::NamedTempFile, Environment) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{product}\n")).unwrap();
    let environment = empty().product_name_file(file.path());
    (file, environment)
}

#[tokio::test(start_paused = true)]
async fn ping_ok_bad_flavour_and_failing_three_times() {
    assert_eq!(detect(empty(), There::Google).await, (true, 1));
    assert_eq!(detect(empty(), There::Portal).await, (false, 1));
    assert_eq!(detect(empty(), There::Nobody).await, (false, 1));
    assert_eq!(detect(empty(), There::Unsteady).await, (true, 3));
    let start = tokio::time::Instant::now();
    assert_eq!(detect(empty(), There::Silence).await, (false, 3));
    assert!(
        start.elapsed().as_secs_f64() <= 1.6,
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn what_answers_the_ping_over_a_socket_then_gives_the_tokens() {
    let google = google().await;
    let rerouted = Rerouted::to(&google);
    let look = || {
        let builder = DefaultSource::builder().environment(empty());
        builder.build_with(rerouted.clone(), rerouted.clone())
    };
    let source = look().await.unwrap();
    assert_eq!(source.kind(), "metadata");
    source.fetch(&audience(HELLO)).await.unwrap();
    assert_eq!(rerouted.hosts(), ["169.254.169.254"; 2]);
    assert_eq!(
        (google.hits(Endpoint::Ping), google.hits(Endpoint::Identity)),
        (1, 1)
    );
    for fault in [Fault::NoFlavor, Fault::Garbage] {
        google.fail_times(Endpoint::Ping, 1, fault);
        look().await.unwrap_err();
    }
}

#[tokio::test(start_paused = true)]
async fn firmware_that_says_google_needs_no_ping() {
    for product in ["Google", "Google Compute Engine"] {
        let (_file, environment) = machine(product);
        assert_eq!(detect(environment, There::Silence).await, (true, 0));
    }
    let (_file, environment) = machine("Standard PC (Q35)");
    assert_eq!(detect(environment, There::Nobody).await, (false, 1));
}

#[tokio::test(start_paused = true)]
async fn a_serverless_platform_needs_no_ping() {
    for name in [
        "K_SERVICE",
        "K_REVISION",
        "K_CONFIGURATION",
        "CLOUD_RUN_JOB",
        "FUNCTION_TARGET",
        "GAE_SERVICE",
    ] {
        assert_eq!(
            detect(empty().set(name, "hello"), There::Nobody).await,
            (true, 0),
            "{name}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn no_gce_check_stops_it_and_metadata_server_detection_rules() {
    let set = |value: &str| empty().set("METADATA_SERVER_DETECTION", value);
    assert_eq!(
        detect(empty().set("NO_GCE_CHECK", "true"), There::Google).await,
        (false, 0)
    );
    assert_eq!(
        detect(empty().set("NO_GCE_CHECK", "false"), There::Google).await,
        (true, 1)
    );
    assert_eq!(detect(set("none"), There::Google).await, (false, 0));
    assert_eq!(
        detect(set("assume-present"), There::Nobody).await,
        (true, 0)
    );
    assert_eq!(
        detect(set(" Assume-Present "), There::Nobody).await,
        (true, 0)
    );
    assert_eq!(detect(set("PING-ONLY"), There::Google).await, (true, 1));
    assert_eq!(detect(set("bios-only"), There::Google).await, (false, 0));
    let (_file, google) = machine("Google");
    let bios = google.clone().set("METADATA_SERVER_DETECTION", "bios-only");
    assert_eq!(detect(bios, There::Nobody).await, (true, 0));
    let ping = google.set("METADATA_SERVER_DETECTION", "ping-only");
    assert_eq!(detect(ping, There::Nobody).await, (false, 1));
}

#[tokio::test]
async fn an_unknown_value_is_an_error_that_names_the_known_ones() {
    let network = Network::with(There::Google);
    let error = DefaultSource::builder()
        .environment(empty().set("METADATA_SERVER_DETECTION", "maybe"))
        .build_with(network.clone(), network)
        .await
        .unwrap_err();
    for known in ["assume-present", "none", "bios-only", "ping-only"] {
        assert!(error.to_string().contains(known), "{error}");
    }
}

#[tokio::test]
async fn concurrent_callers_share_one_probe_which_is_remembered_until_forgotten() {
    let network = Network::with(There::Google);
    let builder = DefaultSource::builder().environment(empty());
    let look = || builder.clone().build_with(network.clone(), network.clone());
    let (a, b, c) = tokio::join!(look(), look(), look());
    for source in [a, b, c] {
        assert!(source.unwrap().describe().contains("it answered"));
    }
    look().await.unwrap();
    assert_eq!(network.pings(), 1);
    builder.forget_detection();
    look().await.unwrap();
    assert_eq!(network.pings(), 2);
}

#[tokio::test(start_paused = true)]
async fn that_nobody_is_there_is_asked_again_after_a_while() {
    let network = Network::with(There::Nobody);
    let builder = DefaultSource::builder().environment(empty());
    let look = || builder.clone().build_with(network.clone(), network.clone());
    for (seconds, pings) in [(0, 1), (29, 1), (1, 2)] {
        tokio::time::advance(std::time::Duration::from_secs(seconds)).await;
        look().await.unwrap_err();
        assert_eq!(network.pings(), pings, "{seconds} s later");
    }
}
