//! The front end of Cloud Run, in front of a container that tells what it saw.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use idtoken_emulator::{Account, CloudRun, Emulator, Shape, SigningKey, TokenRequest, Verdict};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const CALLER: &str = "caller@shop.iam.gserviceaccount.com";
const GCLOUD: &str = "32555940559.apps.googleusercontent.com";

/// Answers each request, once it is whole, with its headers, a line for each.
async fn container() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(|request: Request<Incoming>| async move {
                let mut text = String::new();
                for (name, value) in request.headers() {
                    text.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
                }
                // It may also break off.
                let _ = request.into_body().collect().await;
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(text))))
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    });
    address
}

async fn call(service: &CloudRun, headers: &[(&str, &str)]) -> (StatusCode, String, String) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut request = client.get(format!("{}/a%3Cb?q=1", service.url()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    let challenge = answer
        .headers()
        .get("www-authenticate")
        .map_or("", |challenge| challenge.to_str().unwrap())
        .to_owned();
    (answer.status(), challenge, answer.text().await.unwrap())
}

#[tokio::test]
async fn each_caller_gets_googles_answer() {
    let google = Emulator::start().await.unwrap();
    let service = google
        .cloud_run("hello")
        .audience("my-api")
        .invoker(CALLER)
        .invoker("ann@shop.example")
        .start(container().await)
        .await
        .unwrap();
    google.add_account(Account::new(CALLER));
    let long_ago = google.clock().now() - Duration::from_secs(7_200);
    let aimed = |audience: &str| TokenRequest::new(audience).account(CALLER);
    let base = || aimed(service.audience());
    let user = |client| aimed(client).account("ann@shop.example").shape(Shape::User);
    let stranger = || base().account("else@shop.iam.gserviceaccount.com");
    let by_id = base()
        .without_claim("email")
        .without_claim("email_verified");
    let claimed = stranger()
        .claim("email", CALLER)
        .claim("email_verified", false);
    for (what, token, verdict) in [
        ("good", base(), Verdict::Allowed),
        ("by its id", by_id, Verdict::Allowed),
        ("custom audience", aimed("my-api"), Verdict::Allowed),
        ("its address here", aimed(service.url()), Verdict::Allowed),
        ("gcloud's client", user(GCLOUD), Verdict::Allowed),
        (
            "another client",
            user("1-x.apps.googleusercontent.com"),
            Verdict::ForeignClient,
        ),
        (
            "elsewhere",
            aimed("https://other.run.app"),
            Verdict::Unverifiable,
        ),
        ("expired", base().issued_at(long_ago), Verdict::Unverifiable),
        (
            "forged",
            base().key(SigningKey::UnknownUnderCurrentId),
            Verdict::Unverifiable,
        ),
        (
            "unsigned",
            base().key(SigningKey::None),
            Verdict::Unverifiable,
        ),
        ("a stranger", stranger(), Verdict::NotAllowed),
        ("an unverified address", claimed, Verdict::NotAllowed),
    ] {
        let (status, challenge) = answer_to(verdict);
        let bearer = format!("Bearer {}", google.mint(&token));
        let (seen, told, text) = call(&service, &[("authorization", &bearer)]).await;
        assert_eq!(seen, status, "{what}");
        assert!(text.contains(body_of(verdict)), "{what}: {text}");
        assert!(told.starts_with(challenge), "{what}: {told}");
        assert_eq!(told.is_empty(), challenge.is_empty(), "{what}: {told}");
        let visit = service.visits().pop().unwrap();
        assert_eq!((visit.verdict(), visit.status()), (verdict, seen), "{what}");
    }
}

/// The same pages as the real front end's.
fn body_of(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allowed => "x-forwarded-proto: https\n",
        Verdict::ForeignClient => {
            "<title>404 Not Found</title>\n</head>\n<body text=#000000 bgcolor=#ffffff>\n\
             <h1>Error: Page not found</h1>\n\
             <h2>The requested URL was not found on this server.</h2>\n"
        }
        Verdict::NotAllowed => {
            "<h1>Error: Forbidden</h1>\n\
             <h2>Your client does not have permission to get URL <code>/a%3Cb</code> from this \
             server.</h2>\n"
        }
        _ => {
            "<title>401 Unauthorized</title>\n</head>\n<body text=#000000 bgcolor=#ffffff>\n\
             <h1>Error: Unauthorized</h1>\n\
             <h2>Your client does not have permission to the requested URL.</h2>\n"
        }
    }
}

fn answer_to(verdict: Verdict) -> (u16, &'static str) {
    match verdict {
        Verdict::Allowed => (200, ""),
        Verdict::ForeignClient => (404, ""),
        Verdict::NotAllowed => (403, "Bearer error=\"insufficient_scope\""),
        _ => (401, "Bearer error=\"invalid_token\" error_description="),
    }
}

#[tokio::test]
async fn what_is_no_id_token_is_refused() {
    let google = Emulator::start().await.unwrap();
    let service = google
        .cloud_run("hello")
        .start(container().await)
        .await
        .unwrap();
    for value in ["Bearer ya29.opaque", "Basic eDp5", "Bearer", ""] {
        let (seen, ..) = call(&service, &[("authorization", value)]).await;
        assert_eq!(seen, StatusCode::UNAUTHORIZED, "{value}");
    }
}

#[tokio::test]
async fn no_token_is_forbidden_and_says_which_path() {
    let google = Emulator::start().await.unwrap();
    let service = google
        .cloud_run("hello")
        .start(container().await)
        .await
        .unwrap();
    let (status, challenge, body) = call(&service, &[]).await;
    assert_eq!((status, &*challenge), (StatusCode::FORBIDDEN, ""));
    assert!(body.contains("<title>403 Forbidden</title>"), "{body}");
    assert!(
        body.contains("get URL <code>/a%3Cb</code> from this server"),
        "{body}"
    );
    assert_eq!(service.visits()[0].verdict(), Verdict::Anonymous);
}

#[tokio::test]
async fn grants_hold_from_the_next_request_on() {
    let google = Emulator::start().await.unwrap();
    let service = google
        .cloud_run("hello")
        .start(container().await)
        .await
        .unwrap();
    let token = google.mint(&TokenRequest::new(service.audience()).account(CALLER));
    let bearer = format!("Bearer {token}");
    let status = async || {
        call(&service, &[("authorization", &bearer)])
            .await
            .0
            .as_u16()
    };
    assert_eq!(status().await, 403);
    service.grant(CALLER);
    assert_eq!(status().await, 200);
    service.revoke(CALLER);
    assert_eq!(status().await, 403);
}

#[tokio::test]
async fn the_serverless_header_comes_first_and_only_what_was_checked_is_stripped() {
    let google = Emulator::start().await.unwrap();
    let service = google
        .cloud_run("hello")
        .invoker(CALLER)
        .start(container().await)
        .await
        .unwrap();
    let token = google.mint(&TokenRequest::new(service.audience()).account(CALLER));
    let bearer = format!("Bearer {token}");
    let stripped = format!(
        "Bearer {}.SIGNATURE_REMOVED_BY_GOOGLE",
        token.rsplit_once('.').unwrap().0
    );

    let (_, _, seen) = call(&service, &[("authorization", &bearer)]).await;
    assert!(
        seen.contains(&format!("authorization: {stripped}\n")),
        "{seen}"
    );
    assert!(!seen.contains(&bearer), "{seen}");

    let both = [
        ("x-serverless-authorization", &*bearer),
        ("authorization", "Basic eDp5"),
    ];
    let (_, _, seen) = call(&service, &both).await;
    assert!(
        seen.contains(&format!("x-serverless-authorization: {stripped}\n")),
        "{seen}"
    );
    assert!(
        seen.contains("\nauthorization: Basic eDp5\n") || seen.starts_with("authorization: Basic")
    );

    let wrong = [
        ("x-serverless-authorization", "Bearer x"),
        ("authorization", &*bearer),
    ];
    assert_eq!(call(&service, &wrong).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_public_service_checks_nothing_and_strips_nothing() {
    let google = Emulator::start().await.unwrap();
    let service = google
        .cloud_run("hello")
        .public()
        .start(container().await)
        .await
        .unwrap();
    let (status, _, seen) = call(&service, &[("authorization", "Bearer a.b.c")]).await;
    assert_eq!(status, StatusCode::OK);
    assert!(seen.contains("authorization: Bearer a.b.c"), "{seen}");
    assert!(seen.contains("x-forwarded-proto: https"), "{seen}");
    assert!(seen.contains("x-forwarded-for: 127.0.0.1"), "{seen}");
    let forwarded = "forwarded: for=\"127.0.0.1\";proto=https";
    assert!(seen.contains(forwarded), "{seen}");
}

#[tokio::test]
async fn a_trace_begins_here_or_goes_on() {
    let google = Emulator::start().await.unwrap();
    let service = google.cloud_run("hello").public();
    let service = service.start(container().await).await.unwrap();
    let value = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim_start_matches(": ").to_owned()
    };
    let (_, _, seen) = call(&service, &[]).await;
    let cloud = value(&seen, "x-cloud-trace-context");
    let (trace, _) = cloud.split_once('/').unwrap();
    let parent = value(&seen, "traceparent");
    assert!(parent.starts_with(&format!("00-{trace}-")), "{seen}");
    assert_eq!((trace.len(), parent.len()), (32, 55), "{seen}");

    let own = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01";
    let (_, _, seen) = call(&service, &[("traceparent", own)]).await;
    assert_eq!(value(&seen, "traceparent"), own);
    let cloud = "0123456789abcdef0123456789abcdef/81985529216486895;o=0";
    assert_eq!(value(&seen, "x-cloud-trace-context"), cloud);

    let (_, _, seen) = call(&service, &[("x-cloud-trace-context", cloud)]).await;
    assert_eq!(value(&seen, "x-cloud-trace-context"), cloud);
    let parent = value(&seen, "traceparent");
    assert_eq!(parent[..52], own[..52], "{seen}");
}

#[tokio::test]
async fn what_is_too_large_and_a_container_that_is_not_there() {
    let google = Emulator::start().await.unwrap();
    let service = google
        .cloud_run("hello")
        .public()
        .start(container().await)
        .await
        .unwrap();
    let (status, ..) = call(&service, &[("x-large", &"x".repeat(70_000))]).await;
    assert_eq!(status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);

    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let large = client.post(service.url()).body(vec![0; 33 * 1024 * 1024]);
    // It may also be told while it is still sending.
    if let Ok(answer) = large.send().await {
        assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
    // One that does not say beforehand how large it is.
    let address = service.url().strip_prefix("http://").unwrap();
    let (mut reader, mut writer) = TcpStream::connect(address).await.unwrap().into_split();
    let head = "POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n";
    writer.write_all(head.as_bytes()).await.unwrap();
    tokio::spawn(async move {
        let chunk = [b"100000\r\n".as_slice(), &[0; 0x10_0000], b"\r\n"].concat();
        while writer.write_all(&chunk).await.is_ok() {}
    });
    let mut status = [0; 12];
    reader.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 413");
    let nobody = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let service = google
        .cloud_run("gone")
        .public()
        .start(nobody)
        .await
        .unwrap();
    assert_eq!(call(&service, &[]).await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn half_a_beginning_does_not_keep_a_connection() {
    let google = Emulator::start().await.unwrap();
    let service = google.cloud_run("hello").public();
    let service = service.start(container().await).await.unwrap();
    let address = service.url().strip_prefix("http://").unwrap();
    for begin in [&b""[..], b"PRI * HT", b"GET / HTTP/1.1\r\n"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(begin).await.unwrap();
        tokio::time::pause();
        let mut answer = Vec::new();
        let ended = timeout(Duration::from_secs(61), stream.read_to_end(&mut answer));
        ended.await.expect("closed in time").unwrap();
        tokio::time::resume();
    }
}
