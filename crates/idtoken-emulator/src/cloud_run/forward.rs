//! Requests on their way to the container: HTTP/1.1, HTTP/2, streams and WebSockets.

use std::convert::Infallible;
use std::error::Error;
use std::io::{self, Cursor};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, FORWARDED, HeaderMap, HeaderName, HeaderValue, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::uri::{Authority, Scheme};
use http::{Request, Response, StatusCode, Uri, Version};
use http_body_util::{Either, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, join};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::check::{Finding, check};
use super::{Visit, refusal};
use crate::answer;
use crate::journal::Entry;
use crate::server::{MOST_CONNECTIONS, Shared, accept};

type Answer = Response<Either<Incoming, Full<Bytes>>>;
type BoxError = Box<dyn Error + Send + Sync>;

/// What every connection needs to carry its requests.
#[derive(Clone)]
pub(super) struct Front {
    shared: Arc<Shared>,
    name: Arc<str>,
    container: SocketAddr,
    http1: Client<HttpConnector, Limited<Incoming>>,
    http2: Option<Client<HttpConnector, Limited<Incoming>>>,
    /// Closed when the service is gone, and with it what was upgraded.
    open: watch::Receiver<()>,
    /// Of this connection; what it was upgraded to keeps it.
    slot: Option<Arc<OwnedSemaphorePermit>>,
}

impl Front {
    pub(super) fn new(shared: Arc<Shared>, name: &str, container: SocketAddr, h2c: bool) -> Self {
        let client = |http2| {
            Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .http2_only(http2)
                .build_http()
        };
        Self {
            shared,
            name: name.into(),
            container,
            http1: client(false),
            http2: h2c.then(|| client(true)),
            open: watch::channel(()).1,
            slot: None,
        }
    }

    async fn answer(&self, client: SocketAddr, request: Request<Incoming>) -> Answer {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let now = self.shared.now();
        let finding = {
            let world = self.shared.world();
            let Some(service) = world.services.get(&*self.name) else {
                return ours(refusal::unavailable());
            };
            check(&world, service, request.headers(), now)
        };
        let (verdict, caller) = (finding.verdict, finding.caller.clone());
        let answer = self.let_in(client, request, finding, &path).await;
        let visit = Visit {
            at: now,
            method,
            path,
            verdict,
            caller,
            status: answer.status(),
        };
        let mut world = self.shared.world();
        world.journal.note(Entry {
            at: now,
            to: format!("service {}", self.name),
            method: visit.method.clone(),
            path: visit.path.clone(),
            status: visit.status.as_u16(),
            verdict: visit.caller.as_ref().map_or_else(
                || verdict.to_string(),
                |caller| format!("{verdict}: {caller}"),
            ),
        });
        if let Some(service) = world.services.get_mut(&*self.name) {
            service.record(visit);
        }
        drop(world);
        answer
    }

    async fn let_in(
        &self,
        client: SocketAddr,
        mut request: Request<Incoming>,
        finding: Finding,
        path: &str,
    ) -> Answer {
        if let Some(refusal) = refusal::refusal(finding.verdict, path) {
            return ours(refusal);
        }
        let most = match request.version() {
            Version::HTTP_2 => usize::MAX,
            _ => MOST_BODY_BYTES,
        };
        if announced(request.headers()) > most {
            return ours(refusal::too_large());
        }
        if let Some((name, value)) = finding.checked {
            request.headers_mut().insert(name, value);
        }
        let request = request.map(|body| Limited::new(body, most));
        match self.carry(client, request).await {
            Ok(answer) => answer.map(Either::Left),
            Err(error) if is_too_large(&*error) => ours(refusal::too_large()),
            Err(_) => ours(refusal::unavailable()),
        }
    }

    async fn carry(
        &self,
        client: SocketAddr,
        mut request: Request<Limited<Incoming>>,
    ) -> Result<Response<Incoming>, BoxError> {
        let client_side = hyper::upgrade::on(&mut request);
        let upgrade = upgrade_of(&request);
        let uri = self.uri(request.uri())?;
        let authority = request.uri().authority().cloned();
        *request.uri_mut() = uri;
        *request.version_mut() = Version::HTTP_11;
        forwarded(request.headers_mut(), client, authority.as_ref());
        strip_hop_by_hop(request.headers_mut(), upgrade.as_ref());
        let way = match &self.http2 {
            Some(http2) if upgrade.is_none() => http2,
            _ => &self.http1,
        };
        let mut answer = way.request(request).await?;
        let switched = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
        if switched {
            let container_side = hyper::upgrade::on(&mut answer);
            let (open, slot) = (self.open.clone(), self.slot.clone());
            tokio::spawn(async move {
                talk(client_side, container_side, open).await;
                drop(slot);
            });
        }
        let protocol = answer.headers().get(UPGRADE).cloned();
        strip_hop_by_hop(answer.headers_mut(), protocol.as_ref().filter(|_| switched));
        answer.extensions_mut().clear();
        Ok(answer)
    }

    fn uri(&self, uri: &Uri) -> http::Result<Uri> {
        Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(self.container.to_string())
            .path_and_query(uri.path_and_query().map_or("/", |path| path.as_str()))
            .build()
    }
}

/// Serves until it is dropped.
pub(super) async fn serve(listener: TcpListener, mut front: Front) -> Infallible {
    let (_open, closed) = watch::channel(());
    front.open = closed;
    let slots = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            (stream, client, slot) = accept(&listener, &slots) => {
                let mut front = front.clone();
                front.slot = Some(Arc::new(slot));
                connections.spawn(connection(stream, client, front));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, client: SocketAddr, front: Front) {
    let _ = stream.set_nodelay(true);
    let Ok(Ok(stream)) = timeout(HEADER_TIMEOUT, begin(stream)).await else {
        return;
    };
    let service = service_fn(move |request| {
        let front = front.clone();
        async move { Ok::<_, Infallible>(front.answer(client, request).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MOST_HEADER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(MOST_HEADER_BYTES).unwrap_or(u32::MAX));
    // What breaks a connection is the client's to notice.
    let _ = builder
        .serve_connection_with_upgrades(TokioIo::new(stream), service)
        .await;
}

/// Waits for as much as tells HTTP/1 from HTTP/2: hyper would, too, but without an end.
async fn begin(mut stream: TcpStream) -> io::Result<impl AsyncRead + AsyncWrite + Unpin> {
    let mut begin = Vec::with_capacity(HTTP2_PREFACE.len());
    while begin.len() < HTTP2_PREFACE.len() && HTTP2_PREFACE.starts_with(&begin) {
        let mut byte = [0];
        if stream.read(&mut byte).await? == 0 {
            break;
        }
        begin.extend(byte);
    }
    let (read, write) = stream.into_split();
    Ok(join(Cursor::new(begin).chain(read), write))
}

/// Both sides of what was upgraded, until one of them ends or the service does.
async fn talk(client: OnUpgrade, container: OnUpgrade, mut open: watch::Receiver<()>) {
    if let (Ok(client), Ok(container)) = tokio::join!(client, container) {
        let (mut client, mut container) = (TokioIo::new(client), TokioIo::new(container));
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut client, &mut container) => {}
            _ = open.changed() => {}
        }
    }
}

fn ours(answer: answer::Answer) -> Answer {
    answer.map(|body| Either::Right(Full::new(body)))
}

fn announced(headers: &HeaderMap) -> usize {
    headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok())
        .unwrap_or(0)
}

/// Whether a body without a length turned out too long on its way.
fn is_too_large(error: &(dyn Error + 'static)) -> bool {
    error.is::<LengthLimitError>() || error.source().is_some_and(is_too_large)
}

/// The protocol that a request asks to switch to.
fn upgrade_of<B>(request: &Request<B>) -> Option<HeaderValue> {
    if request.version() != Version::HTTP_11 {
        return None;
    }
    request.headers().get(UPGRADE).cloned()
}

/// What a container learns about where a request comes from. The host stays the one called.
fn forwarded(headers: &mut HeaderMap, client: SocketAddr, authority: Option<&Authority>) {
    if let Some(host) = authority.and_then(|host| HeaderValue::from_str(host.as_str()).ok()) {
        headers.entry(http::header::HOST).or_insert(host);
    }
    let ip = client.ip();
    if let Ok(address) = HeaderValue::from_str(&ip.to_string()) {
        headers.append(FORWARDED_FOR, address);
    }
    if let Ok(forwarded) = HeaderValue::try_from(format!("for=\"{ip}\";proto=https")) {
        headers.append(FORWARDED, forwarded);
    }
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static("https"));
    // A trace that has begun goes on, in both headers; else one begins here.
    let (trace, span) =
        trace_of(headers).unwrap_or_else(|| (fastrand::u128(1..), fastrand::u64(1..)));
    for (name, value) in [
        (CLOUD_TRACE, format!("{trace:032x}/{span};o=0")),
        (TRACE_PARENT, format!("00-{trace:032x}-{span:016x}-00")),
    ] {
        if let (false, Ok(value)) = (headers.contains_key(&name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
}

/// The trace that a request belongs to and the span that it comes from, by either header.
fn trace_of(headers: &HeaderMap) -> Option<(u128, u64)> {
    let text = |name| headers.get(name)?.to_str().ok();
    let parent = || {
        let mut parts = text(TRACE_PARENT)?.split('-').skip(1);
        let trace = u128::from_str_radix(parts.next()?, 16).ok()?;
        Some((trace, u64::from_str_radix(parts.next()?, 16).ok()?))
    };
    let cloud = || {
        let (trace, rest) = text(CLOUD_TRACE)?.split_once('/')?;
        let span = rest.split(';').next()?.parse().ok()?;
        Some((u128::from_str_radix(trace, 16).ok()?, span))
    };
    parent().or_else(cloud)
}

/// Drops what is for one connection only, but for an upgrade (RFC 9110 §7.6.1).
fn strip_hop_by_hop(headers: &mut HeaderMap, upgrade: Option<&HeaderValue>) {
    let trailers = headers.get(TE).is_some_and(|te| te == "trailers");
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if let Some(protocol) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol.clone());
    }
}

const HOP_BY_HOP: [HeaderName; 5] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];
const CLOUD_TRACE: HeaderName = HeaderName::from_static("x-cloud-trace-context");
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// RFC 9113 §3.4.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Cloud Run's own limits: all headers of a request, and its body unless it comes by HTTP/2.
const MOST_HEADER_BYTES: usize = 64 * 1024;
const MOST_BODY_BYTES: usize = 32 * 1024 * 1024;
