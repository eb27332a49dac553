//! One request, there and back.

use std::convert::Infallible;

use http::{Request, Response, StatusCode, Version};
use http_body_util::Either;
use hyper::body::Incoming;
use tokio::time::Instant;

use super::answer::{self, Answer};
use super::log::{Entry, Log};
use super::server::Slot;
use super::upgrade;
use super::upstream::Upstream;
use super::{guard, headers};

/// What every connection needs to carry its requests.
pub(super) struct Forwarder {
    upstream: Upstream,
    allow_remote: bool,
    log: Log,
}

impl Forwarder {
    pub(super) fn new(upstream: Upstream, allow_remote: bool, log: Log) -> Self {
        Self {
            upstream,
            allow_remote,
            log,
        }
    }

    /// Answers a request; whatever goes wrong on the way is an answer too.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        slot: Slot,
    ) -> Result<Answer, Infallible> {
        let entry = Entry {
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            start: Instant::now(),
        };
        let grpc = answer::is_grpc(request.headers());
        if let Err(trespass) = guard::check(&request, self.allow_remote) {
            self.log.turned_away(&entry, trespass.message());
            return Ok(answer::turned_away(trespass, grpc));
        }
        let answer = match self.carry(request, slot).await {
            Ok(answer) => answer,
            Err(problem) => {
                let failure = answer::Problem::of(problem);
                self.log.failed(&entry, &failure);
                return Ok(failure.answer(grpc));
            }
        };
        self.log.answered(&entry, &answer, &self.upstream);
        Ok(answer.map(Either::Left))
    }

    async fn carry(
        &self,
        mut request: Request<Incoming>,
        slot: Slot,
    ) -> Result<Response<Incoming>, tower_idtoken::error::BoxError> {
        let client_side = hyper::upgrade::on(&mut request);
        let (mut parts, body) = request.into_parts();
        let version = parts.version;
        let wanted = headers::prepare_request(&mut parts.headers, version);
        parts.uri = self.upstream.origin().uri(parts.uri.path_and_query())?;
        // The client settles this with the upstream.
        parts.version = Version::HTTP_11;
        parts.extensions.clear();
        let request = Request::from_parts(parts, body);
        let mut answer = self
            .upstream
            .send(request, version, wanted.is_some())
            .await?;
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            let upstream_side = hyper::upgrade::on(&mut answer);
            let sides = (client_side, upstream_side);
            upgrade::switch(&mut answer, wanted.as_ref(), sides, slot)?;
        } else {
            headers::prepare_answer(answer.headers_mut(), self.upstream.origin().as_str());
        }
        answer.extensions_mut().clear();
        Ok(answer)
    }
}
