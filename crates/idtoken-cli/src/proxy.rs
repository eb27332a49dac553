//! `idtoken proxy`: a local address that stands for one service, with tokens attached.
//!
//! Each request goes to the one upstream that was named at the start, whatever it says of hosts.
//! Bodies pass as they come, in both directions, trailers included.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use http::HeaderName;
use idtoken::Audience;
use serde_json::json;
use tokio::net::TcpListener;
use tower_idtoken::{Existing, Header};

use self::forward::Forwarder;
use self::upstream::{Origin, Upstream};
use crate::exit::{Exit, Failure};
use crate::output::{DIM, Output};
use crate::progress::Progress;
use crate::source::SourceArgs;

mod answer;
mod forward;
mod guard;
mod headers;
mod log;
mod server;
mod upgrade;
mod upstream;

/// Run a local proxy that attaches ID tokens to requests for one service
#[derive(Args, Debug)]
#[command(
    after_help = "Whoever reaches the proxy acts with your identity. It therefore listens on \
this machine only, answers only to its own names, and turns web pages of other sites away.\n\n\
Carries HTTP/1, HTTP/2, gRPC, WebSockets and streams. Connects directly: proxy variables are not \
looked at."
)]
pub(crate) struct ProxyArgs {
    /// The service: `https://` and its host; plain http only to this machine
    #[arg(long, value_name = "URL")]
    upstream: Origin,

    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,

    /// Listen for other machines too, which then act with your identity
    #[arg(long)]
    allow_remote: bool,

    /// Whom the tokens are for, if not the upstream's URL
    #[arg(long, short)]
    audience: Option<Audience>,

    /// Where the token goes: `authorization`, `x-serverless-authorization`, `both` of these,
    /// `proxy-authorization`, or a header of another name
    #[arg(long, value_name = "HEADER", default_value = "authorization", value_parser = header)]
    header: Header,

    /// What happens to an `Authorization` that the client has set itself
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = OwnHeader::UseServerless)]
    existing: OwnHeader,

    /// Tell of each request
    #[arg(long, short)]
    verbose: bool,

    #[command(flatten)]
    source: SourceArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OwnHeader {
    /// It is sent, and no token
    Keep,
    /// It moves to `X-Forwarded-Authorization`
    Move,
    /// It is removed
    Replace,
    /// It is sent, and the token goes into `X-Serverless-Authorization`
    UseServerless,
}

impl OwnHeader {
    fn existing(self) -> Existing {
        match self {
            Self::Keep => Existing::Keep,
            Self::Move => Existing::MoveToForwarded,
            Self::Replace => Existing::Replace,
            Self::UseServerless => Existing::UseServerless,
        }
    }
}

pub(crate) async fn run(args: &ProxyArgs, output: &Output) -> Result<ExitCode, Failure> {
    args.check()?;
    let audience = match &args.audience {
        Some(audience) => audience.clone(),
        None => args.upstream.audience()?,
    };
    let (identity, tokens, first) = {
        let _progress = Progress::start(output, "asking for the first token");
        let opened = args.source.open().await?;
        let identity = opened.description().to_owned();
        let tokens = opened.into_tokens();
        let first = tokens.handle(&audience).bearer().await;
        (identity, tokens, first)
    };
    match first {
        Err(error) if error.is_transient() => {
            let failure = Failure::from(error);
            output.warn(&format!("no token yet, going on without: {failure}"));
        }
        Err(error) => return Err(error.into()),
        Ok(_) => {}
    }
    let upstream = Upstream::new(
        &args.upstream,
        tokens,
        &audience,
        args.header.clone(),
        args.existing.existing(),
    )?;
    let listener = TcpListener::bind(args.listen).await.map_err(|error| {
        let message = format!("cannot listen on {}", args.listen);
        Failure::new(Exit::CannotListen, message).with_source(error)
    })?;
    let address = listener.local_addr().map_err(|error| {
        Failure::new(Exit::CannotListen, "cannot tell the address").with_source(error)
    })?;
    announce(args, address, &audience, &identity, output)?;
    let forwarder = Forwarder::new(
        upstream,
        args.allow_remote,
        log::Log::new(output, args.verbose),
    );
    let forwarder = Arc::new(forwarder);
    let answer = move |request, slot| {
        let forwarder = Arc::clone(&forwarder);
        async move { forwarder.answer(request, slot).await }
    };
    server::serve(listener, server::MAX_CONNECTIONS, answer, GRACE).await;
    Ok(ExitCode::SUCCESS)
}

impl ProxyArgs {
    fn check(&self) -> Result<(), Failure> {
        if !self.listen.ip().to_canonical().is_loopback() && !self.allow_remote {
            return Err(Failure::new(
                Exit::Usage,
                format!(
                    "{} can be reached from other machines, which would act with your identity; \
                     if that is wanted, add --allow-remote",
                    self.listen
                ),
            ));
        }
        if self.upstream.is_at(self.listen) {
            return Err(Failure::new(
                Exit::Usage,
                "the upstream is the address to listen on",
            ));
        }
        Ok(())
    }
}

fn announce(
    args: &ProxyArgs,
    address: SocketAddr,
    audience: &Audience,
    identity: &str,
    output: &Output,
) -> Result<(), Failure> {
    if output.is_json() {
        let event = json!({
            "audience": audience.as_str(),
            "event": "listening",
            "identity": identity,
            "listening": format!("http://{address}"),
            "upstream": args.upstream.as_str(),
        });
        output.write(&format!("{event}\n"))?;
    } else {
        output.tell_raw(&format!(
            "http://{address} is now {}\n{DIM}tokens for {audience} from {identity}{DIM:#}",
            args.upstream.as_str(),
        ));
    }
    if args.allow_remote {
        output.warn("whoever reaches this address acts with your identity");
    }
    Ok(())
}

fn header(text: &str) -> Result<Header, String> {
    Ok(match text.to_ascii_lowercase().as_str() {
        "authorization" => Header::Authorization,
        "both" => Header::Both,
        "proxy-authorization" => Header::ProxyAuthorization,
        "x-serverless-authorization" => Header::XServerlessAuthorization,
        other => {
            let name = HeaderName::try_from(other).map_err(|_| "it is no header's name")?;
            if headers::is_reserved(&name) {
                return Err("this header has a meaning of its own".to_owned());
            }
            Header::Custom(name)
        }
    })
}

/// How long requests may go on after the proxy was told to stop.
const GRACE: Duration = Duration::from_secs(10);
