//! No token, signature, assertion or key in anything that is made to be looked at.
//!
//! Both directions are run over sockets, in good weather and bad. All that came of it is rendered
//! (`Display`, `Debug`, the causes of errors, answers, and every log line at the most talkative
//! level) and searched for any sixteen characters in a row of anything secret.

#![allow(clippy::unwrap_used, reason = "a failed test is what it is for")]

use std::collections::HashSet;
use std::convert::Infallible;
use std::error::Error;
use std::fmt::{Debug, Write as _};
use std::future::poll_fn;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::http::header::{AUTHORIZATION, HeaderValue};
use axum::http::{Request, Response, StatusCode};
use axum::{Router, routing::get};
use axum_idtoken::{Caller, CallerRejection};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use idtoken::source::{
    DefaultSource, Environment, ExternalAccount, Impersonated, MetadataServer, ServiceAccountKey,
};
use idtoken::transport::ReqwestTransport;
use idtoken::{
    Audience, IdToken, KeySet, Principal, SourceError, TokenCache, TokenSource, UnverifiedClaims,
    Verifier,
};
use idtoken_emulator::{
    Account, Emulator, Endpoint, Fault, Home, Role, SigningKey, SubjectSource, TokenRequest, User,
};
use serde_json::json;
use tokio::net::TcpListener;
use tower::{Layer, Service, ServiceExt};
use tower_http::trace::{DefaultMakeSpan, DefaultOnResponse, TraceLayer};
use tower_idtoken::{AddIdToken, AddIdTokenLayer, ByOrigin, Fixed, Selection};
use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;

#[tokio::test]
async fn the_calling_side_shows_no_secret() {
    let log = captured_log();
    let mut shown = Shown::default();
    let google = Emulator::start().await.unwrap();
    let key_file = google.key_file(CALLER);
    let sources = Sources::new(&google, &key_file, Duration::from_secs(9));
    let hasty = Sources::new(&google, &key_file, Duration::from_millis(200));

    let good = sources.metadata.fetch(&audience()).await.unwrap();
    let by_key = sources.key.fetch(&audience()).await.unwrap();
    shown.debug("IdToken", &good);
    shown.debug("IdToken", &by_key);
    shown.debug("UnverifiedClaims", good.claims());
    shown.debug("bearer", good.bearer());
    shown.debug("MetadataServer", &sources.metadata);
    shown.debug("MetadataServerBuilder", &MetadataServer::builder());
    shown.debug("ServiceAccountKey", &sources.key);
    shown.debug("ReqwestTransport", &ReqwestTransport::new());
    shown.debug("Emulator", &google);

    for fault in bad_answers(&jwt(&good)) {
        google.fail(Endpoint::Identity, fault.clone());
        google.fail(Endpoint::Token, fault.clone());
        let what = format!("{fault:?}").chars().take(20).collect::<String>();
        for tokens in [&hasty.metadata_tokens(), &hasty.key_tokens()] {
            let Err(error) = tokens.handle(&audience()).bearer().await else {
                panic!("{what}: should have failed");
            };
            shown.error(&what, &error);
            shown.error(&what, error.source_error().map_or(&error as _, |e| e as _));
        }
        shown.layer(&what, &hasty.metadata_tokens()).await;
        google.heal_all();
    }
    let tokens = sources.metadata_tokens();
    shown.layer("good weather", &tokens).await;
    tokens.handle(&audience()).distrust(good.bearer());
    shown.key_files(&key_file);
    shown.broken_tokens(&jwt(&good));

    let mut secrets = Secrets::default();
    secrets.add_jwt(&jwt(&good));
    secrets.add_jwt(&jwt(&by_key));
    for request in google.requests(Endpoint::Token) {
        secrets.add_jwt(&request.form("assertion").unwrap());
        shown.debug("Recorded", &request);
    }
    secrets.add_key_file(&key_file);
    let handle = tokens.handle(&audience());
    secrets.add_jwt(bearer_text(&handle.bearer().await.unwrap()));

    shown.log(
        log,
        &[
            "exchange failed",
            "no new ID token",
            "endpoint=Identity",
            "Sensitive",
        ],
    );
    secrets.assert_absent(&shown);
}

#[tokio::test]
async fn the_sources_that_stand_on_others_show_no_secret() {
    let log = captured_log();
    let mut shown = Shown::default();
    let mut secrets = Secrets::default();
    let google = Emulator::start().await.unwrap();
    google.add_account(Account::new(CALLER));
    let subject = google.mint(&TokenRequest::new("subject"));
    let home = google.home().unwrap();
    let files = credentials(&google, &home, &subject);
    secrets.add_jwt(&subject);
    for (what, file) in &files {
        let builder = ExternalAccount::builder().danger_allow_executables();
        shown.debug(what, &builder);
        let environment =
            Environment::default().set("GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES", "1");
        let source = DefaultSource::builder().environment(environment);
        shown.debug(what, &source);
        let source = source
            .from_json(file)
            .unwrap()
            .danger_accept_client_audience();
        shown.text(what, &source.describe());
        let good = source.fetch(&audience()).await.unwrap();
        secrets.add_jwt(&jwt(&good));
        shown.debug(what, &source);
        let base = source.clone().into_base();
        shown.debug(what, &base);
        let above = Impersonated::builder(CALLER, base).endpoint(google.url());
        shown.debug(what, &above);
        shown.debug(what, &above.build().unwrap());
        let mut failures = 0;
        for token in [&jwt(&good), &subject] {
            for error in errors_of(&source, &google, token).await {
                shown.error(what, &error);
                failures += 1;
            }
        }
        assert!(failures > 10, "{what}: {failures}");
        for field in [
            file[..file.len() / 2].to_owned(),
            file.replace("\"type\"", "\"kind\""),
        ] {
            let error = DefaultSource::builder().from_json(&field).unwrap_err();
            shown.error(what, &error);
        }
        add_secrets_of(file, &mut secrets);
    }
    for endpoint in [Endpoint::GenerateIdToken, Endpoint::Sts, Endpoint::Token] {
        for request in google.requests(endpoint) {
            shown.debug("Recorded", &request);
            if let Some(bearer) = request.headers().get(AUTHORIZATION) {
                secrets.add(bearer.to_str().unwrap().strip_prefix("Bearer ").unwrap());
            }
        }
    }
    shown.text("log", &log.read());
    secrets.assert_absent(&shown);
}

/// What comes of a source when each server that it asks answers badly, with `token` in what it says.
async fn errors_of(source: &DefaultSource, google: &Emulator, token: &str) -> Vec<SourceError> {
    let mut errors = Vec::new();
    for endpoint in [
        Endpoint::GenerateIdToken,
        Endpoint::Sts,
        Endpoint::SubjectToken,
        Endpoint::Token,
    ] {
        for fault in bad_answers(token) {
            // What is tried again costs time, and is the same in every source.
            let is_final = match &fault {
                Fault::Body(_) | Fault::WrongAudience => true,
                Fault::Respond(answer) => !answer.status().is_server_error(),
                _ => false,
            };
            if is_final {
                google.fail(endpoint, fault);
                // Some of them are no part of this source, and some were asked before.
                errors.extend(source.fetch(&audience()).await.err());
                google.heal_all();
            }
        }
    }
    errors
}

/// Files of each type, with what they stand on.
fn credentials(google: &Emulator, home: &Home, subject: &str) -> Vec<(&'static str, String)> {
    let user = google.user_file(&User::new("ann@shop.example").gcloud_login());
    google.grant("ann@shop.example", Role::OpenIdTokenCreator, CALLER);
    let provider = google.provider("pool", "provider");
    let principal = google.trust(&provider, subject, "workload");
    google.grant(&principal, Role::WorkloadIdentityUser, CALLER);
    google.set_subject_token(subject);
    let external = |source| google.external_account_file(&provider, &source, Some(CALLER));
    let printed = json!({
        "version": 1,
        "success": true,
        "token_type": "urn:ietf:params:oauth:token-type:jwt",
        "id_token": subject,
    });
    let command = home.write_printer("printer", &printed.to_string()).unwrap();
    vec![
        ("user", user.clone()),
        ("impersonated", google.impersonated_file(&user, &[], CALLER)),
        ("external", external(SubjectSource::JsonUrl)),
        ("program", external(SubjectSource::Executable { command })),
    ]
}

/// The fields of a credentials file that are worth something.
fn add_secrets_of(file: &str, secrets: &mut Secrets) {
    let file: serde_json::Value = serde_json::from_str(file).unwrap();
    for file in [&file, &file["source_credentials"]] {
        for field in ["client_secret", "refresh_token"] {
            if let Some(secret) = file[field].as_str() {
                secrets.add(secret);
            }
        }
    }
}

#[tokio::test]
async fn the_called_side_shows_no_secret() {
    let log = captured_log();
    let mut shown = Shown::default();
    let google = Emulator::start().await.unwrap();
    let builder = Verifier::builder()
        .audience(FUNCTION)
        .allow(Principal::service_account(CALLER))
        .key_refetch_pause(Duration::ZERO)
        .explain_refusals(true)
        .jwks_url(google.jwks_url());
    let verifier = builder.clone().build().unwrap();
    shown.debug("VerifierBuilder", &builder);
    shown.debug("Verifier", &verifier);

    let mut secrets = Secrets::default();
    let function = Function::start(verifier.clone()).await;
    for (what, token) in presented(&google) {
        secrets.add_jwt(&token);
        for header in [
            format!("Bearer {token}"),
            format!("Basic {token}"),
            format!("Bearer {token} {token}"),
            format!("Bearer {token}{}", "A".repeat(9_000)),
        ] {
            let answer = function.ask(&[&header]).await;
            shown.debug(&format!("{what}: answer"), &answer);
        }
        let bearer = format!("Bearer {token}");
        let answer = function.ask(&[&bearer, &bearer]).await;
        shown.debug(&format!("{what}: answer to two"), &answer);
        match verifier.verify(&token).await {
            Ok(claims) => shown.debug("Claims", &claims),
            Err(error) => shown.error(what, &error),
        }
        shown.debug(
            "Explanation",
            &verifier.explain(&token, SystemTime::UNIX_EPOCH),
        );
        let request = TokenRequest::new(FUNCTION);
        shown.debug("TokenRequest", &request);
    }

    google.fail(
        Endpoint::Jwks,
        Fault::Body(google.mint(&TokenRequest::new(FUNCTION))),
    );
    let cold = Function::start(builder.build().unwrap()).await;
    let token = google.mint(&TokenRequest::new(FUNCTION).account(CALLER));
    secrets.add_jwt(&token);
    let answer = cold.ask(&[&format!("Bearer {token}")]).await;
    assert_eq!(answer.0, StatusCode::SERVICE_UNAVAILABLE);
    shown.debug("no keys", &answer);
    shown.error(
        "KeySetError",
        &KeySet::from_json(token.as_bytes()).unwrap_err(),
    );

    let seen = function.seen();
    for word in ["Caller", "CallerRejection", "not accepted", "malformed"] {
        assert!(seen.contains(word), "{word}: {seen}");
    }
    shown.text("handler", &seen);
    shown.text("handler", &cold.seen());
    let lines = [
        "fetched keys",
        "could not fetch keys",
        "turned a caller away",
        "advice=\"if the caller's token is new, compare both machines' clocks\"",
        "refused a token",
        "FAIL  exp",
    ];
    shown.log(log, &lines);
    secrets.assert_absent(&shown);
}

#[test]
fn a_secret_in_plain_sight_is_found() {
    let jwt = "eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJhdWRpZW5jZSJ9.c2lnbmF0dXJlIG9mIHNvbWUgbGVuZ3Ro";
    let mut secrets = Secrets::default();
    secrets.add_jwt(jwt);
    for leak in [
        format!("{{token={jwt}}}"),
        jwt[24..42].to_owned(),
        format!("{:?}", b"signature of some length"),
    ] {
        assert!(secrets.find(&leak).is_some(), "{leak}");
    }
    assert_eq!(secrets.find("the signature does not match"), None);
}

struct Sources {
    metadata: MetadataServer,
    key: ServiceAccountKey,
}

impl Sources {
    fn new(google: &Emulator, key_file: &str, total: Duration) -> Self {
        let per_try = total / 2;
        let metadata = MetadataServer::builder()
            .host(google.host())
            .try_timeout(per_try)
            .total_timeout(total);
        let key = ServiceAccountKey::from_json(key_file).unwrap();
        Self {
            metadata: metadata.build().unwrap(),
            key: key.with_timeouts(per_try, total),
        }
    }

    fn metadata_tokens(&self) -> TokenCache {
        TokenCache::new(self.metadata.clone())
    }

    fn key_tokens(&self) -> TokenCache {
        TokenCache::new(self.key.clone())
    }
}

/// What may come instead of a good answer, with a good token in it where one can be.
fn bad_answers(token: &str) -> Vec<Fault> {
    let respond = |status, body: String| {
        let mut answer = Response::new(Bytes::from(body));
        *answer.status_mut() = status;
        let flavor = HeaderValue::from_static("Google");
        answer.headers_mut().insert("metadata-flavor", flavor);
        Fault::Respond(answer)
    };
    let (signed, _) = token.rsplit_once('.').unwrap();
    let refusal = json!({ "error": token, "error_description": format!("cannot take {token}") });
    vec![
        Fault::Body(format!("{token}.")),
        Fault::Body(format!("<html>{token}</html>")),
        Fault::Body(json!({ "id_token": signed }).to_string()),
        Fault::Body(json!({ "id_token": [token] }).to_string()),
        Fault::Body(format!(r#"{{"id_token":"{token}"#)),
        Fault::ExpiredToken,
        Fault::Hang,
        Fault::Oversized(70_000),
        Fault::Reset,
        Fault::Truncated,
        Fault::WrongAudience,
        respond(StatusCode::BAD_REQUEST, refusal.to_string()),
        respond(StatusCode::BAD_REQUEST, format!("cannot take {token}")),
        respond(StatusCode::FORBIDDEN, token.to_owned()),
        respond(
            StatusCode::NOT_FOUND,
            format!("Your Kubernetes service account {token}"),
        ),
        respond(StatusCode::SERVICE_UNAVAILABLE, token.to_owned()),
    ]
}

/// Tokens good and bad, as callers may present them.
fn presented(google: &Emulator) -> Vec<(&'static str, String)> {
    let caller = || TokenRequest::new(FUNCTION).account(CALLER);
    let good = google.mint(&caller());
    let (signed, _) = good.rsplit_once('.').unwrap();
    vec![
        (
            "signature removed",
            format!("{signed}.SIGNATURE_REMOVED_BY_GOOGLE"),
        ),
        ("two parts", signed.to_owned()),
        ("padded", format!("{good}=")),
        ("stranger", google.mint(&TokenRequest::new(FUNCTION))),
        (
            "expired",
            google.mint(
                &caller()
                    .lifetime(Duration::ZERO)
                    .issued_at(SystemTime::UNIX_EPOCH),
            ),
        ),
        (
            "audience",
            google.mint(&TokenRequest::new("https://other.example").account(CALLER)),
        ),
        (
            "issuer",
            google.mint(&caller().claim("iss", "https://issuer.example")),
        ),
        ("mistyped", google.mint(&caller().claim("exp", "soon"))),
        ("no kid", google.mint(&caller().without_header("kid"))),
        (
            "no object",
            google.mint(&caller().raw_payload(*b"\"just a string of some length\"")),
        ),
        ("unsigned", google.mint(&caller().key(SigningKey::None))),
        (
            "unknown key",
            google.mint(&caller().key(SigningKey::Unknown)),
        ),
        (
            "forged",
            google.mint(&caller().key(SigningKey::UnknownUnderCurrentId)),
        ),
        (
            "hmac",
            google.mint(&caller().key(SigningKey::Hmac(b"secret".to_vec()))),
        ),
        ("good", good),
    ]
}

/// A function on a socket that notes what its handler was given.
struct Function {
    url: String,
    client: Client<HttpConnector, Body>,
    seen: Arc<Mutex<String>>,
}

impl Function {
    async fn start(verifier: Verifier) -> Self {
        let seen = Arc::new(Mutex::new(String::new()));
        let notes = Arc::clone(&seen);
        let handler = async move |caller: Result<Caller, CallerRejection>| {
            let mut notes = notes.lock().unwrap();
            match &caller {
                Ok(caller) => writeln!(notes, "{caller:?} {caller:#?}").unwrap(),
                Err(rejection) => notes.push_str(&render(rejection)),
            }
            caller.map(|caller| caller.sub().to_owned())
        };
        let trace =
            TraceLayer::new_for_http().on_response(DefaultOnResponse::new().include_headers(true));
        let app = Router::new()
            .route("/", get(handler))
            .with_state(verifier)
            .layer(trace);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { url, client, seen }
    }

    async fn ask(&self, authorization: &[&str]) -> (StatusCode, String) {
        let mut request = Request::get(&self.url);
        for value in authorization {
            request = request.header(AUTHORIZATION, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        let answer = self.client.request(request).await.unwrap();
        let (status, headers) = (answer.status(), format!("{:?}", answer.headers()));
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, headers + &String::from_utf8_lossy(&body))
    }

    fn seen(&self) -> String {
        self.seen.lock().unwrap().clone()
    }
}

/// All that was made to be looked at, with what it is.
#[derive(Default)]
struct Shown(Vec<(String, String)>);

impl Shown {
    fn text(&mut self, what: &str, text: &str) {
        self.0.push((what.to_owned(), text.to_owned()));
    }

    /// All that was logged, which has these lines if it was captured at all.
    fn log(&mut self, log: &Log, lines: &[&str]) {
        let text = log.read();
        for line in lines {
            assert!(text.contains(line), "the log was not captured: {line}");
        }
        self.text("log", &text);
    }

    fn debug(&mut self, what: &str, value: &dyn Debug) {
        self.text(what, &format!("{value:?} {value:#?}"));
    }

    fn error(&mut self, what: &str, error: &(dyn Error + 'static)) {
        self.text(what, &render(error));
    }

    /// The layer and all that belongs to it, around a client that shows its requests' headers.
    async fn layer(&mut self, what: &str, tokens: &TokenCache) {
        let handle = tokens.handle(&audience());
        let fixed = Fixed::new(handle.clone());
        let by_origin = ByOrigin::refusing_others(["*.run.app"]).unwrap();
        self.debug(
            what,
            &(&fixed, &by_origin, Selection::Handle(handle.clone())),
        );
        let inner = TraceLayer::new_for_http()
            .make_span_with(
                DefaultMakeSpan::new()
                    .level(Level::TRACE)
                    .include_headers(true),
            )
            .layer(tower::service_fn(async |_: Request<Body>| {
                Ok::<_, Infallible>(Response::new(Body::empty()))
            }));
        let layer = AddIdTokenLayer::new(handle.clone());
        let mut service: AddIdToken<_> = layer.layer(inner);
        self.debug(what, &(&layer, tokens, &handle, handle.try_bearer()));

        let request = || Request::get(FUNCTION).body(Body::empty()).unwrap();
        let mut waiting = Box::pin(service.ready().await.unwrap().call(request()));
        let mut acquire = handle.bearer();
        // Polled once, so that both hold whatever they hold while they wait.
        poll_fn(|cx| {
            let _ = waiting.as_mut().poll(cx);
            Poll::Ready(())
        })
        .await;
        self.debug(what, &(&*waiting, &acquire));
        match (&mut acquire).await {
            Ok(bearer) => self.debug(what, &bearer),
            Err(error) => self.error(what, &error),
        }
        drop((waiting, acquire));
        if let Err(error) = service.oneshot(request()).await {
            self.error(what, &*error);
        }
    }

    /// Key files that were cut, bent or of another kind: the errors name the place, not the key.
    fn key_files(&mut self, good: &str) {
        let key: serde_json::Value = serde_json::from_str(good).unwrap();
        let pem = key["private_key"].as_str().unwrap();
        let with = |field: &str, value: serde_json::Value| {
            let mut changed = key.clone();
            changed[field] = value;
            changed.to_string()
        };
        for json in [
            good[..good.len() / 2].to_owned(),
            pem.to_owned(),
            with("private_key", json!([pem])),
            with("private_key", json!({ pem: pem })),
            with("private_key", json!(pem.replace("PRIVATE", "SECRET"))),
            with("private_key", json!(&pem[..pem.len() / 2])),
            with("private_key", json!(pem.replace('A', "B"))),
            with("private_key", json!(pem.replace('A', "*"))),
            with("type", json!("authorized_user")),
            with("token_uri", json!("http://elsewhere.example/token")),
        ] {
            let error = ServiceAccountKey::from_json(&json).unwrap_err();
            self.error("key file", &error);
        }
    }

    fn broken_tokens(&mut self, good: &str) {
        for jwt in [
            format!("{good}."),
            format!(" {good}"),
            good.replace('.', ""),
            good.replace('.', "=."),
            good.repeat(20),
        ] {
            self.error("InvalidToken", &IdToken::new(&jwt).unwrap_err());
            let malformed = UnverifiedClaims::read_without_verifying(&jwt).unwrap_err();
            self.error("Malformed", &malformed);
        }
    }
}

fn render(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        writeln!(text, "{error} {error:#} {error:?} {error:#?}").unwrap();
        next = error.source();
    }
    text
}

/// What must not be seen, as all its pieces of sixteen characters.
#[derive(Default)]
struct Secrets(HashSet<Vec<u8>>);

impl Secrets {
    fn add_jwt(&mut self, jwt: &str) {
        for part in jwt
            .split('.')
            .filter(|part| *part != "SIGNATURE_REMOVED_BY_GOOGLE")
        {
            self.add(part);
        }
        // The signature as somebody might print it after decoding.
        let last = jwt.rsplit('.').next().unwrap();
        if let Ok(bytes) = URL_SAFE_NO_PAD.decode(last) {
            let listed = format!("{bytes:?}");
            self.add(listed.trim_matches(['[', ']']));
        }
    }

    fn add_key_file(&mut self, json: &str) {
        let key: serde_json::Value = serde_json::from_str(json).unwrap();
        let pem = key["private_key"].as_str().unwrap();
        for line in pem.lines().filter(|line| !line.starts_with('-')) {
            self.add(line);
        }
    }

    /// The secret as text, and as somebody might print its bytes.
    fn add(&mut self, secret: &str) {
        let listed = format!("{:?}", secret.as_bytes());
        for text in [secret, listed.trim_matches(['[', ']'])] {
            self.0
                .extend(text.as_bytes().windows(PIECE).map(<[u8]>::to_vec));
        }
    }

    fn find(&self, text: &str) -> Option<String> {
        let found = text
            .as_bytes()
            .windows(PIECE)
            .find(|piece| self.0.contains(*piece))?;
        Some(String::from_utf8_lossy(found).into_owned())
    }

    fn assert_absent(&self, shown: &Shown) {
        assert!(self.0.len() > 1_000, "there are secrets to look for");
        for (what, text) in &shown.0 {
            if let Some(found) = self.find(text) {
                panic!("{what} shows {found}…: {text}");
            }
        }
    }
}

/// Everything that is logged in this process from now on.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn read(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

fn captured_log() -> &'static Log {
    static LOG: LazyLock<Log> = LazyLock::new(|| {
        let log = Log::default();
        tracing_subscriber::fmt()
            .with_max_level(Level::TRACE)
            .with_ansi(false)
            .with_writer(log.clone())
            .init();
        log
    });
    &LOG
}

fn audience() -> Audience {
    Audience::new(FUNCTION).unwrap()
}

fn jwt(token: &IdToken) -> String {
    bearer_text(token.bearer()).to_owned()
}

fn bearer_text(bearer: &HeaderValue) -> &str {
    bearer.to_str().unwrap().strip_prefix("Bearer ").unwrap()
}

const FUNCTION: &str = "https://hello-abc.a.run.app";
const CALLER: &str = "caller@shop.iam.gserviceaccount.com";
const PIECE: usize = 16;
