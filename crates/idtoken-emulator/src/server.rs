//! The thin shell around the endpoints: sockets, records, faults.

mod body;

use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::header::{DATE, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use idtoken::clock::Clock;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::body::AnswerBody;
use crate::answer::{self, Answer, METADATA_FLAVOR};
use crate::endpoint::Endpoint;
use crate::fault::{self, Fault};
use crate::record::Recorded;
use crate::world::{Call, Twist, World, http_date, unix_seconds};
use crate::{discovery, keys, metadata, token};

/// What the server's tasks and the emulator's owner share.
pub(crate) struct Shared {
    pub(crate) clock: Arc<dyn Clock>,
    /// Changes with each request recorded.
    pub(crate) recorded: watch::Sender<()>,
    world: Mutex<World>,
}

impl Shared {
    pub(crate) fn new(clock: Arc<dyn Clock>, world: World) -> Self {
        Self {
            clock,
            recorded: watch::Sender::new(()),
            world: Mutex::new(world),
        }
    }

    /// The world, to look at or to change. Never held across an `.await`.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        // Each change is one step, so a panic elsewhere has left nothing half done.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> u64 {
        unix_seconds(self.clock.now())
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// Serves until it is dropped, and then leaves no task behind.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) -> Infallible {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(&shared)));
                }
                // Out of file descriptors, most likely: let those who hold them finish.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::task::yield_now().await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    // Small answers, and nothing is gained by waiting for more of them.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| Box::pin(respond(Arc::clone(&shared), request)));
    let mut connection = http1::Builder::new()
        .auto_date_header(false)
        .serve_connection(TokioIo::new(stream), service);
    let ended = std::future::poll_fn(|context| connection.poll_without_shutdown(context)).await;
    if ended.is_err_and(|error| is_reset(&error)) {
        let stream = connection.into_parts().io.into_inner();
        // Closing then resets the connection instead of ending it in good order.
        let _ = stream.set_zero_linger();
    }
}

/// Records the request, lets faults strike, and answers.
async fn respond(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Reset> {
    let (parts, body) = request.into_parts();
    let (body, too_large) = match Limited::new(body, MOST_BODY_BYTES).collect().await {
        Ok(body) => (body.to_bytes(), false),
        Err(_) => (Bytes::new(), true),
    };
    let request = Request::from_parts(parts, body);
    let endpoint = Endpoint::of(request.uri().path());
    let fault = {
        let mut world = shared.world();
        world.records.add(endpoint, Recorded::new(&request));
        world.faults.strike(endpoint)
    };
    shared.recorded.send_replace(());
    tracing::debug!(method = %request.method(), ?endpoint, ?fault, "request");

    let mut twist = None;
    match &fault {
        Some(Fault::Delay(delay)) => tokio::time::sleep(*delay).await,
        Some(Fault::ExpiredToken) => twist = Some(Twist::Expired),
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Hold(gate)) => gate.pass().await,
        Some(Fault::Reset) => return Err(Reset),
        Some(Fault::WrongAudience) => twist = Some(Twist::WrongAudience),
        _ => {}
    }
    let now = shared.now();
    let stand_in = fault
        .as_ref()
        .and_then(|fault| fault::stand_in(endpoint, fault));
    let mut answer = match stand_in {
        Some(answer) => answer,
        None if too_large => answer::html(StatusCode::PAYLOAD_TOO_LARGE, "Request too large."),
        None => {
            let call = Call {
                request: &request,
                now,
                twist,
            };
            dispatch(&mut shared.world(), endpoint, call)
        }
    };
    if matches!(fault, Some(Fault::NoFlavor)) {
        answer.headers_mut().remove(METADATA_FLAVOR);
    }
    // By our clock and not by the machine's: a client may compare it with its own.
    if let Ok(date) = HeaderValue::from_str(&http_date(now)) {
        answer.headers_mut().entry(DATE).or_insert(date);
    }
    let truncated = matches!(fault, Some(Fault::Truncated));
    Ok(answer.map(|body| {
        if truncated {
            AnswerBody::half_of(&body)
        } else {
            AnswerBody::of(body)
        }
    }))
}

/// The endpoint's own answer: a function of the world and the request.
fn dispatch(world: &mut World, endpoint: Endpoint, call: Call<'_>) -> Answer {
    match endpoint {
        Endpoint::AccountJwks
        | Endpoint::AccountPem
        | Endpoint::IapJwks
        | Endpoint::IapPem
        | Endpoint::Jwks
        | Endpoint::Pem => keys::respond(world, call.now, endpoint, call.request),
        Endpoint::Discovery => discovery::discovery(world),
        Endpoint::Identity | Endpoint::Metadata | Endpoint::MetadataToken | Endpoint::Ping => {
            metadata::respond(world, endpoint, call)
        }
        Endpoint::Token => token::respond(world, call),
        Endpoint::TokenInfo => discovery::token_info(world, call),
        Endpoint::Unknown => answer::html(
            StatusCode::NOT_FOUND,
            "The requested URL was not found on this server.",
        ),
    }
}

/// Ends a connection without an answer.
#[derive(Debug)]
struct Reset;

impl fmt::Display for Reset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is to be reset")
    }
}

impl std::error::Error for Reset {}

fn is_reset(error: &hyper::Error) -> bool {
    std::error::Error::source(error).is_some_and(|cause| cause.is::<Reset>())
}

/// No request to Google that this crate knows of comes near it.
const MOST_BODY_BYTES: usize = 64 * 1024;
