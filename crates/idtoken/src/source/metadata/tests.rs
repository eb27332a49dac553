use super::*;
use crate::token::tests::unsigned;
use crate::transport::{TransportError, TransportErrorKind};

/// A transport that is never asked.
struct Unused;

impl Transport for Unused {
    async fn send(&self, _: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        Err(TransportError::new(
            TransportErrorKind::Connect,
            "not asked in these tests",
        ))
    }
}

fn request(builder: MetadataServerBuilder, audience: &str) -> Request<Bytes> {
    let source = builder.build_with(Unused);
    source.request(&Audience::new(audience).unwrap()).unwrap()
}

fn answer(status: u16, flavor: Option<&str>, body: &str) -> Result<IdToken, SourceError> {
    let mut response = Response::builder().status(status);
    if let Some(flavor) = flavor {
        response = response.header("Metadata-Flavor", flavor);
    }
    read(
        &response
            .body(Bytes::copy_from_slice(body.as_bytes()))
            .unwrap(),
    )
}

fn jwt() -> String {
    unsigned(r#"{"aud":"a","exp":2000000000}"#)
}

#[test]
fn asks_for_exactly_audience_format_and_licenses() {
    for (format, query) in [
        (Format::Standard, "audience=a&format=standard"),
        (Format::Full, "audience=a&format=full"),
        (
            Format::FullWithLicenses,
            "audience=a&format=full&licenses=TRUE",
        ),
    ] {
        let request = request(MetadataServer::builder().format(format), "a");
        assert_eq!(
            request.uri().to_string(),
            format!(
                "http://169.254.169.254/computeMetadata/v1/instance/service-accounts/default/\
                 identity?{query}"
            ),
        );
        assert_eq!(request.headers()["metadata-flavor"], "Google");
        assert_eq!(
            request.headers().len(),
            1,
            "and no X-Forwarded-For, which is refused"
        );
    }
}

#[test]
fn an_audience_is_percent_encoded_once() {
    for (audience, encoded) in [
        (
            "https://a.run.app/x?y=1&z#f",
            "https%3A%2F%2Fa.run.app%2Fx%3Fy%3D1%26z%23f",
        ),
        ("a b+c%20", "a%20b%2Bc%2520"),
        ("grüße", "gr%C3%BC%C3%9Fe"),
        ("a-b_c.d~e", "a-b_c.d~e"),
    ] {
        let request = request(MetadataServer::builder(), audience);
        let query = format!("audience={encoded}&format=full");
        assert_eq!(request.uri().query(), Some(query.as_str()), "{audience}");
    }
}

#[test]
fn host_and_account_can_be_named() {
    let builder = MetadataServer::builder()
        .host("127.0.0.1:1234")
        .account("a/b@c.d");
    let request = request(builder, "a");
    assert_eq!(request.uri().authority().unwrap(), "127.0.0.1:1234");
    assert!(
        request
            .uri()
            .path()
            .ends_with("/service-accounts/a%2Fb%40c.d/identity")
    );
}

#[test]
fn a_host_that_makes_no_url_is_named_in_the_error() {
    let source = MetadataServer::builder()
        .host("http://host")
        .build_with(Unused);
    let error = source.request(&Audience::new("a").unwrap()).unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Misconfigured);
    assert!(error.to_string().contains("GCE_METADATA_HOST"), "{error}");
}

#[test]
fn takes_a_token_with_or_without_a_newline() {
    assert!(answer(200, Some("Google"), &jwt()).is_ok());
    assert!(answer(200, Some("Google"), &format!("{}\r\n", jwt())).is_ok());
}

#[test]
fn an_answer_that_is_no_token_is_said_to_be_none() {
    for body in [
        "",
        "\n",
        "<html>Log in to the Wi-Fi</html>",
        "a.b.c",
        "{\"token\":1}",
    ] {
        let error = answer(200, Some("Google"), body).unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::InvalidAnswer, "{body:?}");
        assert!(!error.to_string().contains("Wi-Fi"), "{error}");
    }
    for claims in [r#"{"aud":"a"}"#, r#"{"exp":"soon"}"#] {
        let error = answer(200, Some("Google"), &unsigned(claims)).unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::InvalidAnswer, "{claims}");
    }
}

#[test]
fn an_answer_without_googles_flavor_is_refused() {
    for flavor in [None, Some("google"), Some("Amazon")] {
        for status in [200, 301, 403] {
            let error = answer(status, flavor, &jwt()).unwrap_err();
            assert_eq!(
                error.kind(),
                SourceErrorKind::InvalidAnswer,
                "{flavor:?} {status}"
            );
        }
        for status in [404, 500, 502, 503] {
            let error = answer(status, flavor, "").unwrap_err();
            assert_eq!(
                error.kind(),
                SourceErrorKind::Transient,
                "not ready: {status}"
            );
        }
    }
}

#[test]
fn refusals_say_what_to_do() {
    for (status, body, text) in [
        (
            400,
            "non-empty audience parameter required\n",
            "non-empty audience",
        ),
        (403, "<html>Forbidden</html>", "denied"),
        (404, "<html>Not Found</html>", "attach a service account"),
        (301, "", "status 301"),
    ] {
        let error = answer(status, Some("Google"), body).unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::Refused, "{status}");
        assert!(error.to_string().contains(text), "{error}");
    }
}

#[test]
fn gke_says_which_annotation_is_missing() {
    let body = "Your Kubernetes service account (shop/cart) is not annotated with a target Google \
                service account, which is a requirement for retrieving Identity Tokens using \
                Workload Identity.";
    let error = answer(404, Some("Google"), body).unwrap_err();
    assert!(error.to_string().contains(body), "the whole text: {error}");
    assert!(
        error
            .advice()
            .unwrap()
            .contains("iam.gke.io/gcp-service-account")
    );
}

#[test]
fn a_busy_server_is_tried_again() {
    for status in [429, 499, 500, 503, 504] {
        let error = answer(status, Some("Google"), "").unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::Transient, "{status}");
    }
}
