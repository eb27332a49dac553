//! Whether there is a metadata server, asked at most once.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout};

use super::adc::Environment;
use crate::error::{SourceError, SourceErrorKind};
use crate::transport::{SharedTransport, Transport, TransportErrorKind};

/// What is known of the metadata server. Concurrent callers share one probe.
///
/// That there is one is remembered for good; that there is none only for a while, since a machine
/// that is starting has none yet.
#[derive(Default)]
pub(crate) struct Presence {
    probe: Mutex<Arc<OnceCell<Answered>>>,
}

#[derive(Clone, Copy)]
struct Answered {
    present: bool,
    at: Instant,
}

impl Answered {
    fn is_stale(self) -> bool {
        !self.present && self.at.elapsed() >= ABSENCE_REMEMBERED
    }
}

impl Presence {
    /// The process's own, shared by all.
    pub(crate) fn of_process() -> Arc<Self> {
        static PROCESS: LazyLock<Arc<Presence>> = LazyLock::new(Arc::default);
        Arc::clone(&PROCESS)
    }

    pub(crate) fn forget(&self) {
        *self.probe.lock().unwrap_or_else(PoisonError::into_inner) = Arc::default();
    }

    /// Why there is taken to be a metadata server; `None` when there is none.
    ///
    /// A named address, or the environment of a serverless platform, is taken at its word. Else the
    /// machine's firmware is looked at, and last the server itself is asked.
    pub(crate) async fn reason<T: Transport>(
        &self,
        environment: &Environment,
        transport: &Arc<T>,
    ) -> Result<Option<String>, SourceError> {
        let (look_at_firmware, ask) = match detection(environment)? {
            Detection::AssumePresent => {
                return Ok(Some("METADATA_SERVER_DETECTION assumes it".to_owned()));
            }
            Detection::None => return Ok(None),
            Detection::BiosOnly => (true, false),
            Detection::PingOnly => (false, true),
            Detection::Usual => (true, true),
        };
        if let Some(host) = environment.metadata_host() {
            return Ok(Some(format!("the environment names it as {host}")));
        }
        if let Some(name) = PLATFORM_VARIABLES
            .iter()
            .find(|name| environment.get(name).is_some())
        {
            return Ok(Some(format!("{name} shows a Google Cloud platform")));
        }
        if look_at_firmware && environment.is_google_machine() {
            return Ok(Some("this machine's firmware names Google".to_owned()));
        }
        if !ask {
            return Ok(None);
        }
        let transport = SharedTransport::new(Arc::clone(transport));
        let probe = async || Answered {
            present: ping(&transport).await,
            at: Instant::now(),
        };
        let answered = self.cell();
        let answered = answered.get_or_init(probe).await;
        Ok(answered.present.then(|| "it answered".to_owned()))
    }

    /// The probe under way or done, unless what it found is to be found out again.
    fn cell(&self) -> Arc<OnceCell<Answered>> {
        let mut cell = self.probe.lock().unwrap_or_else(PoisonError::into_inner);
        if cell.get().is_some_and(|answered| answered.is_stale()) {
            *cell = Arc::default();
        }
        Arc::clone(&cell)
    }
}

/// Asks up to three times, for half a second each. Nobody at that address is an answer too.
async fn ping(transport: &SharedTransport) -> bool {
    for _ in 0..PINGS {
        let request = Request::get(ROOT)
            .header("metadata-flavor", "Google")
            .body(Bytes::new());
        let Ok(request) = request else { return false };
        match timeout(PING_TIMEOUT, transport.send(request)).await {
            Ok(Ok(response)) => return is_google(&response),
            Ok(Err(error)) if error.kind() == TransportErrorKind::Connect => return false,
            Ok(Err(_)) | Err(_) => {}
        }
    }
    false
}

/// A captive portal answers as well, but not with Google's header.
fn is_google(response: &Response<Bytes>) -> bool {
    response.status().is_success()
        && response
            .headers()
            .get("metadata-flavor")
            .is_some_and(|flavor| flavor == "Google")
}

enum Detection {
    AssumePresent,
    BiosOnly,
    None,
    PingOnly,
    Usual,
}

fn detection(environment: &Environment) -> Result<Detection, SourceError> {
    let wish = environment
        .get("METADATA_SERVER_DETECTION")
        .unwrap_or_default();
    Ok(match wish.trim().to_ascii_lowercase().as_str() {
        "assume-present" => Detection::AssumePresent,
        "none" => Detection::None,
        "bios-only" => Detection::BiosOnly,
        "ping-only" => Detection::PingOnly,
        "" if environment
            .get("NO_GCE_CHECK")
            .is_some_and(|no| no.eq_ignore_ascii_case("true")) =>
        {
            Detection::None
        }
        "" => Detection::Usual,
        _ => {
            return Err(SourceError::new(
                SourceErrorKind::Misconfigured,
                "default credentials",
                "METADATA_SERVER_DETECTION has an unknown value",
            )
            .with_advice("it is one of assume-present, none, bios-only and ping-only"));
        }
    })
}

const PLATFORM_VARIABLES: [&str; 6] = [
    "CLOUD_RUN_JOB",
    "FUNCTION_TARGET",
    "GAE_SERVICE",
    "K_CONFIGURATION",
    "K_REVISION",
    "K_SERVICE",
];

const ROOT: &str = "http://169.254.169.254/";
const ABSENCE_REMEMBERED: Duration = Duration::from_secs(30);
const PINGS: u32 = 3;
const PING_TIMEOUT: Duration = Duration::from_millis(500);
