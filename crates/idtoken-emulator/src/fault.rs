//! Bad weather: what may go wrong between a client and Google.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use http::{Response, StatusCode};
use serde_json::json;
use tokio::sync::watch;

use crate::answer::{self, Answer, ApiError, METADATA_FLAVOR};
use crate::endpoint::Endpoint;

/// One thing that goes wrong.
///
/// What a metadata endpoint answers under a fault carries `Metadata-Flavor: Google`, so that the
/// fault is what a client trips over; [`Garbage`](Self::Garbage) and [`NoFlavor`](Self::NoFlavor)
/// do not, for there something else than the metadata server has answered.
#[derive(Clone)]
#[non_exhaustive]
pub enum Fault {
    /// Status 200 with this body, under the content type of a token endpoint.
    Body(String),
    /// The right answer, this much later.
    Delay(Duration),
    /// Status 200 with nothing in it.
    Empty,
    /// A token that expired an hour ago. Only where tokens are issued.
    ExpiredToken,
    /// Status 200 with a page for people, as a captive portal sends.
    Garbage,
    /// No answer, ever; the connection stays open.
    Hang,
    /// The right answer, once the gate is opened.
    Hold(Gate),
    /// The right answer without `Metadata-Flavor`.
    NoFlavor,
    /// Status 200 with a body of this many bytes.
    Oversized(usize),
    /// Status 302 to this address.
    Redirect(String),
    /// The connection is reset before anything was answered.
    Reset,
    /// This very answer.
    Respond(Response<Bytes>),
    /// This status, with a body in the form that the endpoint gives to its errors.
    Status(u16),
    /// The head and the first half of the right answer, then the connection ends.
    Truncated,
    /// A token for another audience. Only where tokens are issued.
    WrongAudience,
}

/// Without bodies, which may hold tokens: each request's fault is logged.
impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body(body) => write!(f, "Body({} bytes)", body.len()),
            Self::Delay(delay) => write!(f, "Delay({delay:?})"),
            Self::Empty => f.write_str("Empty"),
            Self::ExpiredToken => f.write_str("ExpiredToken"),
            Self::Garbage => f.write_str("Garbage"),
            Self::Hang => f.write_str("Hang"),
            Self::Hold(_) => f.write_str("Hold"),
            Self::NoFlavor => f.write_str("NoFlavor"),
            Self::Oversized(bytes) => write!(f, "Oversized({bytes})"),
            Self::Redirect(to) => write!(f, "Redirect({to:?})"),
            Self::Reset => f.write_str("Reset"),
            Self::Respond(answer) => write!(f, "Respond({})", answer.status()),
            Self::Status(code) => write!(f, "Status({code})"),
            Self::Truncated => f.write_str("Truncated"),
            Self::WrongAudience => f.write_str("WrongAudience"),
        }
    }
}

/// Holds back the answers of a [`Fault::Hold`] until it is opened. Clones are the same gate.
///
/// ```
/// use idtoken_emulator::{Fault, Gate};
///
/// let gate = Gate::new();
/// let fault = Fault::Hold(gate.clone());
/// gate.open();
/// # let _ = fault;
/// ```
#[derive(Clone, Debug)]
pub struct Gate {
    opened: watch::Sender<bool>,
}

impl Gate {
    /// A gate that is shut.
    #[must_use]
    pub fn new() -> Self {
        Self {
            opened: watch::Sender::new(false),
        }
    }

    /// Lets all pass who wait, and all who come later.
    pub fn open(&self) {
        self.opened.send_replace(true);
    }

    /// Waits until the gate is open.
    pub(crate) async fn pass(&self) {
        // The sender lives in `self`, so the only end of this wait is an open gate.
        let _ = self.opened.subscribe().wait_for(|open| *open).await;
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

/// Which fault strikes which request.
#[derive(Debug, Default)]
pub(crate) struct FaultBook {
    plans: BTreeMap<Endpoint, Plan>,
    weather: Option<Weather>,
}

#[derive(Debug, Default)]
struct Plan {
    first: VecDeque<(u64, Fault)>,
    standing: Option<Fault>,
}

#[derive(Debug)]
struct Weather {
    rng: fastrand::Rng,
    probability: f64,
    faults: Vec<Fault>,
}

impl FaultBook {
    pub(crate) fn set(&mut self, endpoint: Endpoint, fault: Fault) {
        self.plans.entry(endpoint).or_default().standing = Some(fault);
    }

    pub(crate) fn add(&mut self, endpoint: Endpoint, times: u64, fault: Fault) {
        self.plans
            .entry(endpoint)
            .or_default()
            .first
            .push_back((times, fault));
    }

    pub(crate) fn heal(&mut self, endpoint: Endpoint) {
        self.plans.remove(&endpoint);
    }

    pub(crate) fn heal_all(&mut self) {
        self.plans.clear();
        self.weather = None;
    }

    pub(crate) fn set_weather(&mut self, seed: u64, probability: f64, faults: Vec<Fault>) {
        let rng = fastrand::Rng::with_seed(seed);
        self.weather = Some(Weather {
            rng,
            probability,
            faults,
        });
    }

    /// What is planned, in words.
    pub(crate) fn planned(&self) -> Vec<(Endpoint, String)> {
        let mut all = Vec::new();
        for (endpoint, plan) in &self.plans {
            for (times, fault) in plan.first.iter().filter(|(times, _)| *times > 0) {
                let often = match times {
                    1 => "once".to_owned(),
                    _ => format!("{times} times"),
                };
                all.push((*endpoint, format!("{fault:?}, {often}")));
            }
            if let Some(fault) = &plan.standing {
                all.push((*endpoint, format!("{fault:?}, until healed")));
            }
        }
        all
    }

    /// The fault that strikes the next request to `endpoint`: what was asked for comes before
    /// what the weather brings.
    pub(crate) fn strike(&mut self, endpoint: Endpoint) -> Option<Fault> {
        let planned = self.plans.get_mut(&endpoint).and_then(Plan::strike);
        planned.or_else(|| self.weather.as_mut().and_then(Weather::strike))
    }
}

impl Plan {
    fn strike(&mut self) -> Option<Fault> {
        while let Some((left, fault)) = self.first.front_mut() {
            if *left > 0 {
                *left -= 1;
                return Some(fault.clone());
            }
            self.first.pop_front();
        }
        self.standing.clone()
    }
}

impl Weather {
    fn strike(&mut self) -> Option<Fault> {
        // Both numbers are drawn each time, so that a change of odds keeps the sequence.
        let (draw, choice) = (self.rng.f64(), self.rng.usize(..));
        let choice = choice.checked_rem(self.faults.len())?;
        (draw < self.probability).then(|| self.faults[choice].clone())
    }
}

/// The answer that stands in for the genuine one, for faults that need not know that one.
pub(crate) fn stand_in(endpoint: Endpoint, fault: &Fault) -> Option<Answer> {
    let answer = match fault {
        Fault::Body(body) => ok(endpoint, body.clone()),
        Fault::Empty => ok(endpoint, Bytes::new()),
        Fault::Garbage => {
            return Some(answer::html(
                StatusCode::OK,
                "Please sign in to this network.",
            ));
        }
        Fault::Oversized(bytes) => ok(endpoint, vec![b'x'; *bytes]),
        Fault::Redirect(to) => {
            answer::with_header(answer::html(StatusCode::FOUND, "Moved."), LOCATION, to)
        }
        Fault::Respond(answer) => return Some(answer.clone()),
        Fault::Status(code) => refusal(endpoint, *code),
        _ => return None,
    };
    Some(if endpoint.is_metadata() {
        flavored(answer)
    } else {
        answer
    })
}

fn ok(endpoint: Endpoint, body: impl Into<Bytes>) -> Answer {
    let content_type = if endpoint.is_metadata() {
        "text/html"
    } else {
        "application/json; charset=UTF-8"
    };
    answer::with_type(StatusCode::OK, content_type, body)
}

/// An error as the endpoint would word it.
fn refusal(endpoint: Endpoint, code: u16) -> Answer {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match endpoint {
        _ if endpoint.is_api() => {
            let (name, message) = api_status(code);
            ApiError::new(status, name, message).into_answer()
        }
        Endpoint::Sts | Endpoint::Token => {
            let error = match code {
                500 => "internal_failure",
                501..=599 => "temporarily_unavailable",
                429 => "rate_limit_exceeded",
                401 => "unauthorized_client",
                _ => "invalid_request",
            };
            answer::json(status, &json!({ "error": error }))
        }
        _ => answer::html(status, status.canonical_reason().unwrap_or("Error")),
    }
}

fn api_status(code: u16) -> (&'static str, &'static str) {
    match code {
        400 => ("INVALID_ARGUMENT", "Request contains an invalid argument."),
        401 => (
            "UNAUTHENTICATED",
            "Request had invalid authentication credentials.",
        ),
        403 => ("PERMISSION_DENIED", "The caller does not have permission"),
        404 => ("NOT_FOUND", "Requested entity was not found."),
        429 => (
            "RESOURCE_EXHAUSTED",
            "Resource has been exhausted (e.g. check quota).",
        ),
        503 => ("UNAVAILABLE", "The service is currently unavailable."),
        504 => (
            "DEADLINE_EXCEEDED",
            "Deadline expired before operation could complete.",
        ),
        _ => ("INTERNAL", "Internal error encountered."),
    }
}

pub(crate) fn flavored(mut answer: Answer) -> Answer {
    answer
        .headers_mut()
        .insert(METADATA_FLAVOR, HeaderValue::from_static("Google"));
    answer
        .headers_mut()
        .entry(CONTENT_TYPE)
        .or_insert(HeaderValue::from_static("text/html"));
    answer
}
