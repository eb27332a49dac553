//! What goes wrong on the way, and whether people are told where and what to do.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use idtoken::source::{DefaultSource, MetadataServer};
use idtoken::transport::{Transport, TransportError};
use idtoken::{SourceErrorKind, TokenCache, TokenSource};
use idtoken_emulator::{Emulator, Endpoint, Fault, Role, SubjectSource};
use serde_json::json;

use crate::support::{HELLO, TARGET, assert_no_secret, audience, found_in, google};

/// The file of a workload elsewhere that may impersonate, and its emulator.
async fn workload() -> (Emulator, String) {
    let google = google().await;
    let provider = google.provider("pool", "provider");
    let principal = google.trust(&provider, "SECRET-subject-token", "workload");
    google.grant(&principal, Role::WorkloadIdentityUser, TARGET);
    google.set_subject_token("SECRET-subject-token");
    let file = google.external_account_file(&provider, &SubjectSource::Url, Some(TARGET));
    (google, file)
}

#[tokio::test]
async fn a_page_in_the_place_of_json_is_named_with_advice() {
    let (google, workload) = workload().await;
    let key = google.key_file(crate::support::CALLER);
    for (endpoint, file) in [
        (Endpoint::Token, &key),
        (Endpoint::SubjectToken, &workload),
        (Endpoint::Sts, &workload),
        (Endpoint::GenerateIdToken, &workload),
    ] {
        let source = found_in(file).await.unwrap();
        let page = Response::builder()
            .status(403)
            .header("content-type", "text/html");
        let page = page
            .body(Bytes::from_static(b"<html>Blocked by policy</html>"))
            .unwrap();
        for (fault, kind) in [
            (Fault::Garbage, SourceErrorKind::InvalidAnswer),
            (Fault::Respond(page), SourceErrorKind::Refused),
        ] {
            google.fail_times(endpoint, 1, fault);
            let error = source.fetch(&audience(HELLO)).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{endpoint:?}");
            assert!(error.to_string().contains("a page for people"), "{error}");
            assert!(error.advice().unwrap().contains("HTTPS_PROXY"), "{error}");
            assert!(
                error.status().is_some() && error.endpoint().is_some(),
                "{error}"
            );
            assert_no_secret(&error);
        }
        source.fetch(&audience(HELLO)).await.unwrap();
    }
}

#[tokio::test]
async fn an_empty_answer_is_called_empty() {
    let (google, file) = workload().await;
    let source = found_in(&file).await.unwrap();
    for endpoint in [Endpoint::Sts, Endpoint::GenerateIdToken] {
        google.fail_times(endpoint, 1, Fault::Empty);
        let error = source.fetch(&audience(HELLO)).await.unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::InvalidAnswer);
        assert!(error.to_string().contains("the answer is empty"), "{error}");
    }
}

/// Three hosts that take almost as long as a try may take, and one of them for ever.
#[derive(Clone, Copy)]
struct Slow {
    hanging: &'static str,
}

impl Transport for Slow {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        tokio::time::sleep(Duration::from_millis(2_900)).await;
        let host = request.uri().host().unwrap();
        let body = match host {
            _ if host == self.hanging => return std::future::pending().await,
            "subject.example" => json!("SECRET-subject-token"),
            "sts.googleapis.com" => json!({ "access_token": "SECRET", "expires_in": 3600 }),
            other => panic!("{other} was not to answer"),
        };
        Ok(Response::new(Bytes::from(body.to_string())))
    }
}

#[tokio::test(start_paused = true)]
async fn a_chain_that_hangs_names_the_leg() {
    let file = json!({
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/p",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": "https://sts.googleapis.com/v1/token",
        "credential_source": { "url": "https://subject.example/token" },
        "service_account_impersonation_url": format!(
            "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{TARGET}:generateAccessToken"
        ),
    });
    for hanging in [
        "subject.example",
        "sts.googleapis.com",
        "iamcredentials.googleapis.com",
    ] {
        let source = DefaultSource::builder()
            .allow_host("subject.example")
            .from_json_with(&file.to_string(), Slow { hanging })
            .unwrap();
        let start = tokio::time::Instant::now();
        let tokens = TokenCache::new(source);
        let error = tokens.handle(&audience(HELLO)).bearer().await.unwrap_err();
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "{:?}",
            start.elapsed()
        );
        let error = error.source_error().expect("the source's own account");
        assert_eq!(error.kind(), SourceErrorKind::Transient);
        assert_eq!(error.endpoint(), Some(hanging), "{error}");
        assert!(error.to_string().contains("no answer within"), "{error}");
    }
}

#[tokio::test]
async fn an_address_where_nobody_is_comes_with_advice() {
    let source = MetadataServer::builder()
        .host("127.0.0.1:1")
        .total_timeout(Duration::from_secs(1));
    let error = source
        .build()
        .unwrap()
        .fetch(&audience(HELLO))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Transient);
    assert_eq!(error.endpoint(), Some("127.0.0.1:1"));
    assert!(error.to_string().contains("the exchange failed"), "{error}");
    assert!(
        error.advice().unwrap().contains("can this host be reached"),
        "{error}"
    );
}
