//! One connection: plain HTTP, TLS, or a tunnel to a host that the emulator plays itself.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Shared;
use super::respond::{Reset, begin, respond};
use crate::endpoint::Endpoint;
use crate::fault;

/// Serves a connection to its end. Whatever breaks it is the client's business, or was asked for.
pub(super) async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    // Small answers, and nothing is gained by waiting for more of them.
    let _ = stream.set_nodelay(true);
    if let Err(error) = speak(stream, shared).await {
        tracing::debug!(%error, "connection ended");
    }
}

async fn speak(mut stream: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    // No method but CONNECT begins with a C.
    if first_byte(&stream).await? == Some(b'C') && !tunnel(&mut stream, &shared).await? {
        return Ok(());
    }
    match first_byte(&stream).await? {
        Some(TLS_HANDSHAKE) => {
            let acceptor = TlsAcceptor::from(Arc::clone(&shared.tls));
            let stream = timeout(PATIENCE, acceptor.accept(stream)).await??;
            http(Socket::Tls(Box::new(stream)), shared).await
        }
        Some(_) => http(Socket::Plain(stream), shared).await,
        None => Ok(()),
    }
}

/// Without a limit on how long a head takes: it would count on connections at rest as well, and a
/// test that stops tokio's clock lets hours pass at once.
async fn http(socket: Socket, shared: Arc<Shared>) -> io::Result<()> {
    let service = service_fn(|request| Box::pin(respond(Arc::clone(&shared), request)));
    let mut connection = http1::Builder::new()
        .auto_date_header(false)
        .serve_connection(TokioIo::new(socket), service);
    let ended = poll_fn(|context| connection.poll_without_shutdown(context)).await;
    let mut socket = connection.into_parts().io.into_inner();
    match ended {
        Ok(()) => socket.shutdown().await,
        Err(error) if is_reset(&error) => socket.tcp().set_zero_linger(),
        Err(error) => Err(io::Error::other(error)),
    }
}

/// Answers a CONNECT request; whether there is a tunnel then.
///
/// Where it leads does not matter: the emulator is at the other end of all of them.
async fn tunnel(stream: &mut TcpStream, shared: &Shared) -> io::Result<bool> {
    let head = timeout(PATIENCE, read_head(stream)).await??;
    let request = parse_connect(&head).ok_or(io::ErrorKind::InvalidData)?;
    let fault = match begin(shared, Endpoint::Connect, &request).await {
        Ok((fault, _)) => fault,
        Err(Reset) => {
            stream.set_zero_linger()?;
            return Ok(false);
        }
    };
    let refusal = fault.and_then(|fault| fault::stand_in(Endpoint::Connect, &fault));
    let status = refusal
        .as_ref()
        .map_or(200, |answer| answer.status().as_u16());
    let answer = match status {
        200 => "HTTP/1.1 200 Connection established\r\n\r\n".to_owned(),
        _ => format!("HTTP/1.1 {status} Refused\r\ncontent-length: 0\r\n\r\n"),
    };
    stream.write_all(answer.as_bytes()).await?;
    Ok(status == 200)
}

/// The head of a request, and not a byte of what follows it: that belongs to the tunnel.
async fn read_head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == MOST_HEAD_BYTES {
            return Err(io::ErrorKind::InvalidData.into());
        }
        head.push(stream.read_u8().await?);
    }
    Ok(head)
}

fn parse_connect(head: &[u8]) -> Option<Request<Bytes>> {
    let mut lines = std::str::from_utf8(head).ok()?.split("\r\n");
    let (target, version) = lines.next()?.strip_prefix("CONNECT ")?.split_once(' ')?;
    if !version.starts_with("HTTP/1.") {
        return None;
    }
    let mut request = Request::builder().method(Method::CONNECT).uri(target);
    for line in lines.filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':')?;
        request = request.header(name, value.trim());
    }
    request.body(Bytes::new()).ok()
}

/// What a connection begins with, if it begins with something in time.
async fn first_byte(stream: &TcpStream) -> io::Result<Option<u8>> {
    let mut byte = [0];
    let read = timeout(PATIENCE, stream.peek(&mut byte)).await??;
    Ok((read == 1).then_some(byte[0]))
}

fn is_reset(error: &hyper::Error) -> bool {
    std::error::Error::source(error).is_some_and(|cause| cause.is::<Reset>())
}

/// A connection with or without TLS.
enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Socket {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

/// The first byte of a TLS record that holds a handshake message (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 22;
/// With connections that say nothing; browsers keep some of these in store.
const PATIENCE: Duration = Duration::from_secs(30);
const MOST_HEAD_BYTES: usize = 8 * 1024;
