//! Connections: how many, how large their headers, and how they end.

use std::convert::Infallible;
use std::io::{self, Cursor};
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, join};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::sleep;

use super::answer::Answer;
use crate::signals::Signals;

/// A connection's place among those that may be open: free again when all that came of it, such as
/// a WebSocket, is over.
pub(super) type Slot = Arc<OwnedSemaphorePermit>;

/// Serves at most so many connections at once until the process is told to stop; then lets requests
/// end, for `grace` at most, or until it is told again.
pub(super) async fn serve<F>(
    listener: TcpListener,
    most: usize,
    answer: impl Fn(Request<Incoming>, Slot) -> F + Clone + Send + 'static,
    grace: Duration,
) where
    F: Future<Output = Result<Answer, Infallible>> + Send + 'static,
{
    let graceful = GracefulShutdown::new();
    let (serving, over) = watch::channel(());
    let slots = Arc::new(Semaphore::new(most));
    let mut signals = Signals::new();
    loop {
        let (stream, slot) = tokio::select! {
            accepted = accept(&listener, &slots) => accepted,
            () = signals.stop() => break,
        };
        let (answer, watcher, mut over) = (answer.clone(), graceful.watcher(), over.clone());
        tokio::spawn(async move {
            let stream = tokio::select! {
                begun = begin(stream) => begun,
                _ = over.changed() => return,
                () = sleep(HEADER_TIMEOUT) => return,
            };
            // A connection that breaks is the client's to notice.
            let Ok(stream) = stream else { return };
            let slot = Arc::new(slot);
            let service = service_fn(move |request| answer(request, Arc::clone(&slot)));
            let builder = builder();
            let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
            let _ = watcher.watch(connection).await;
        });
    }
    drop((listener, serving));
    tokio::select! {
        () = graceful.shutdown() => {}
        () = sleep(grace) => {}
        () = signals.stop() => {}
    }
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

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> (TcpStream, OwnedSemaphorePermit) {
    loop {
        // Nobody closes the semaphore; if somebody did, nothing more would be accepted.
        let Ok(slot) = Arc::clone(slots).acquire_owned().await else {
            std::future::pending().await
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                // Only slower without.
                let _ = stream.set_nodelay(true);
                return (stream, slot);
            }
            // Out of file descriptors, as a rule.
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_HEADER_BYTES)
        .max_concurrent_streams(MAX_STREAMS)
        .keep_alive_interval(KEEP_ALIVE)
        .adaptive_window(true);
    builder
}

/// What Cloud Run accepts as well.
pub(super) const MAX_HEADER_BYTES: u32 = 64 * 1024;
pub(super) const MAX_CONNECTIONS: usize = 1024;
const MAX_STREAMS: u32 = 256;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// RFC 9113 §3.4.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[cfg(test)]
mod tests {
    use http::Response;
    use http_body_util::{Either, Full};
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// Gives the slot of each request away, as an upgrade does.
    async fn start(most: usize) -> (std::net::SocketAddr, tokio::sync::mpsc::Receiver<Slot>) {
        let (keep, kept) = tokio::sync::mpsc::channel(8);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = move |_, slot| {
            let keep = keep.clone();
            async move {
                keep.send(slot).await.unwrap();
                Ok(Response::new(Either::Right(Full::default())))
            }
        };
        tokio::spawn(serve(listener, most, answer, Duration::ZERO));
        (address, kept)
    }

    async fn send(address: std::net::SocketAddr, text: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(text).await.unwrap();
        stream
    }

    async fn status(mut stream: TcpStream) -> String {
        let mut answer = vec![0; 12];
        let read = stream.read_exact(&mut answer);
        let in_time = tokio::time::timeout(HOUR * 2, read).await;
        in_time.expect("it hangs").unwrap();
        String::from_utf8(answer).unwrap()
    }

    /// Of a clock that is paused.
    const HOUR: Duration = Duration::from_secs(3600);
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

    #[tokio::test(start_paused = true)]
    async fn silent_connections_do_not_keep_others_out() {
        let (address, _kept) = start(3).await;
        let silent = [
            send(address, b"").await,
            send(address, &HTTP2_PREFACE[..10]).await,
            send(address, b"GET / HTTP/1.1\r\nhost: lo").await,
        ];
        assert_eq!(status(send(address, REQUEST).await).await, "HTTP/1.1 200");
        for mut stream in silent {
            let mut rest = Vec::new();
            // Closed, or reset, but not open any more.
            let ended = tokio::time::timeout(HOUR, stream.read_to_end(&mut rest)).await;
            assert!(ended.is_ok(), "it is still open");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_connection_was_upgraded_to_keeps_its_slot() {
        let (address, mut kept) = start(1).await;
        assert_eq!(status(send(address, REQUEST).await).await, "HTTP/1.1 200");
        let upgraded = kept.recv().await.unwrap();
        let next = tokio::spawn(status(send(address, REQUEST).await));
        sleep(HOUR).await;
        assert!(!next.is_finished());
        drop(upgraded);
        assert_eq!(next.await.unwrap(), "HTTP/1.1 200");
    }
}
