use std::collections::VecDeque;
use std::error::Error;
use std::sync::Mutex;
use std::time::SystemTime;

use super::*;
use crate::clock::ManualClock;
use crate::transport::Transport;

/// Plays back a list of answers, then hangs for ever.
struct Script(Mutex<VecDeque<Result<Response<Bytes>, TransportError>>>);

impl Transport for Script {
    async fn send(&self, _: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        let next = self.0.lock().unwrap().pop_front();
        match next {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }
}

/// Stands at Sun, 06 Nov 1994 08:49:37 GMT.
fn clock() -> ManualClock {
    ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777))
}

fn status(status: u16) -> Result<Response<Bytes>, TransportError> {
    Ok(Response::builder()
        .status(status)
        .body(Bytes::from_static(b"body"))
        .unwrap())
}

fn refused() -> Result<Response<Bytes>, TransportError> {
    Err(TransportError::new(
        TransportErrorKind::Connect,
        "connection refused",
    ))
}

async fn run(
    script: Vec<Result<Response<Bytes>, TransportError>>,
) -> (Result<Bytes, SourceError>, Duration) {
    run_within(Limits::default(), script).await
}

async fn run_within(
    limits: Limits,
    script: Vec<Result<Response<Bytes>, TransportError>>,
) -> (Result<Bytes, SourceError>, Duration) {
    let transport = SharedTransport::new(Script(Mutex::new(script.into())));
    let exchange = Exchange {
        source_name: "test",
        transport: &transport,
        limits,
        clock: &clock(),
        deadline: None,
    };
    let start = Instant::now();
    let outcome = exchange
        .run(
            || {
                Ok(Request::get("http://server:81/x")
                    .body(Bytes::new())
                    .unwrap())
            },
            |response| {
                if response.status().is_success() {
                    Ok(response.body().clone())
                } else {
                    Err(status_error("test", response, "answered with an error"))
                }
            },
        )
        .await;
    (outcome, start.elapsed())
}

#[tokio::test(start_paused = true)]
async fn refused_twice_then_fine_is_fine() {
    let (outcome, took) = run(vec![refused(), refused(), status(200)]).await;
    assert_eq!(outcome.unwrap(), "body");
    assert!(took < Duration::from_millis(500), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn one_503_costs_less_than_300_ms() {
    let (outcome, took) = run(vec![status(503), status(200)]).await;
    assert!(outcome.is_ok());
    assert!(took < Duration::from_millis(300), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn every_transient_status_is_tried_again() {
    for code in [408, 429, 499, 500, 502, 503, 504] {
        assert!(
            run(vec![status(code), status(200)]).await.0.is_ok(),
            "{code}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_not_tried_again() {
    for code in [301, 400, 401, 403, 404] {
        let error = run(vec![status(code), status(200)]).await.0.unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::Refused);
        assert_eq!(error.tries(), 1);
        assert_eq!(error.status().unwrap().as_u16(), code);
    }
}

#[tokio::test(start_paused = true)]
async fn exhausted_tries_say_how_many_and_the_last_status() {
    let error = run((0..9).map(|_| status(503)).collect())
        .await
        .0
        .unwrap_err();
    assert_eq!((error.tries(), error.status().unwrap().as_u16()), (5, 503));
    assert_eq!(error.endpoint(), Some("server:81"));
    assert!(error.to_string().contains("after 5 tries"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_costs_the_total_and_no_more() {
    let (outcome, took) = run(vec![]).await;
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Transient);
    assert!(took <= Limits::default().total, "{took:?}");
    assert!(took > Limits::default().per_try, "{took:?}");
}

fn busy(status: u16, seconds: &str) -> Result<Response<Bytes>, TransportError> {
    Ok(Response::builder()
        .status(status)
        .header(RETRY_AFTER, seconds)
        .body(Bytes::new())
        .unwrap())
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_honoured_when_it_fits() {
    let (outcome, took) = run(vec![busy(429, "2"), status(200)]).await;
    assert!(outcome.is_ok());
    assert_eq!(took, Duration::from_secs(2));

    let (outcome, took) = run(vec![busy(429, "3600"), status(200)]).await;
    assert_eq!(
        outcome.unwrap_err().retry_after(),
        Some(Duration::from_secs(3600))
    );
    assert_eq!(took, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_beyond_all_measure_is_an_error_and_no_panic() {
    for seconds in ["18446744073709551615", "9223372036854775807"] {
        for status in [503, 403] {
            let (outcome, _) = run(vec![busy(status, seconds)]).await;
            let error = outcome.unwrap_err();
            assert_eq!(error.status().unwrap().as_u16(), status, "{seconds}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn limits_without_measure_and_of_nothing_at_all_are_no_panic() {
    for (per_try, total) in [
        (Duration::MAX, Duration::MAX),
        (Duration::MAX, Duration::from_secs(9)),
        (Duration::from_secs(3), Duration::MAX),
    ] {
        let limits = Limits {
            tries: 5,
            per_try,
            total,
        };
        let (outcome, _) = run_within(limits, vec![status(503), status(200)]).await;
        assert_eq!(outcome.unwrap(), "body", "{limits:?}");
    }
    let limits = Limits {
        tries: 5,
        per_try: Duration::ZERO,
        total: Duration::ZERO,
    };
    let (outcome, took) = run_within(limits, vec![]).await;
    assert_eq!(outcome.unwrap_err().kind(), SourceErrorKind::Transient);
    assert_eq!(took, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_answer_over_the_bound_is_an_error() {
    let long = Ok(Response::new(Bytes::from(vec![b'x'; 64 * 1024 + 1])));
    let error = run(vec![long]).await.0.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::InvalidAnswer);
    assert!(
        error.source().unwrap().to_string().contains("64 KiB"),
        "{error:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_off_is_found_in_the_date_of_an_answer() {
    let at = |date: &str| {
        Ok(Response::builder()
            .status(400)
            .header(DATE, date)
            .body(Bytes::new())
            .unwrap())
    };
    for (date, words) in [
        ("Sun, 06 Nov 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 08:50:07 GMT", None),
        (
            "Sun, 06 Nov 1994 08:50:08 GMT",
            Some("clock is 31 s behind the server's"),
        ),
        (
            "Sun, 06 Nov 1994 07:49:37 GMT",
            Some("clock is 3600 s ahead of the server's"),
        ),
        ("yesterday", None),
    ] {
        let error = run(vec![at(date)]).await.0.unwrap_err();
        assert_eq!(error.clock_skew().is_some(), words.is_some(), "{date}");
        if let Some(words) = words {
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
