//! The path of a 401.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use idtoken::TokenHandle;
use tokio::runtime::Runtime;
use tower::retry::RetryLayer;
use tower::{Service, ServiceBuilder};
use tower_idtoken::AddIdTokenLayer;
use tower_idtoken::retry::RetryOn401;

use super::warm;
use crate::fixtures::{self, AUDIENCE};
use crate::measure::{Case, Effort, at_once, measure};
use crate::report::Report;

/// An upstream that refuses the first token of each request.
pub fn run(effort: Effort, report: &mut Report, runtime: &Runtime) {
    let young = warm(runtime, &fixtures::cache(8), AUDIENCE);
    let rows = measure(
        effort,
        &[
            Case::new("bare service that answers 401, request made anew", |n| {
                for _ in 0..n {
                    let answer = Refusing.call(fixtures::request(AUDIENCE));
                    black_box(at_once(answer)).expect("an answer");
                }
            }),
            Case::new(
                "idtoken: 401 passed on, for the token has only just come",
                move |n| {
                    let mut service = retrying(young.clone());
                    for _ in 0..n {
                        let answer = service.call(fixtures::request(AUDIENCE));
                        black_box(at_once(answer)).expect("an answer");
                    }
                },
            ),
            Case::new(
                "idtoken: 401, token fetched anew in a task, request sent again",
                |n| {
                    let runtime = current_thread();
                    let tokens = fixtures::cache_builder()
                        .retry_pause(Duration::ZERO)
                        .build();
                    let mut service = retrying(warm(&runtime, &tokens, AUDIENCE));
                    runtime.block_on(async {
                        for _ in 0..n {
                            let answer = service.call(fixtures::request(AUDIENCE)).await;
                            black_box(answer).expect("an answer");
                        }
                    });
                },
            ),
        ],
    );
    report.add("the path of a 401", &rows);
}

fn retrying(
    handle: TokenHandle,
) -> impl Service<Request<()>, Response = Response<()>, Error: std::fmt::Debug> {
    ServiceBuilder::new()
        .layer(RetryLayer::new(RetryOn401::new()))
        .layer(AddIdTokenLayer::new(handle).distrust_on_401())
        .service(Refusing)
}

fn current_thread() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime")
}

/// Answers 401, always.
#[derive(Clone, Copy, Debug)]
struct Refusing;

impl Service<Request<()>> for Refusing {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        ready(Ok(response))
    }
}
