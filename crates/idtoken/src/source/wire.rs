//! What every source that speaks HTTP needs.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, InvalidHeaderValue};
use http::{Request, Response, Uri};
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::clock::{Clock, SystemClock};
use crate::error::{SourceError, SourceErrorKind};
use crate::exchange::{Exchange, Limits};
#[cfg(feature = "reqwest")]
use crate::transport::ReqwestTransport;
use crate::transport::{SharedTransport, Transport};

/// A transport, a clock, and how hard to try.
#[derive(Clone)]
pub(crate) struct Wire {
    transport: SharedTransport,
    /// The same, or one that uses no proxy where the first may: for link-local hosts.
    direct: SharedTransport,
    clock: Arc<dyn Clock>,
    pub(crate) limits: Limits,
    deadline: Option<Instant>,
}

impl Wire {
    pub(crate) fn new(transport: impl Transport) -> Self {
        let transport = SharedTransport::new(transport);
        Self {
            direct: transport.clone(),
            transport,
            clock: Arc::new(SystemClock),
            limits: Limits::default(),
            deadline: None,
        }
    }

    /// On the ready-made transports.
    #[cfg(feature = "reqwest")]
    pub(crate) fn ready() -> Result<Self, SourceError> {
        let (transport, without_proxy) = Self::ready_transports()?;
        Ok(Self::new(transport).with_direct(without_proxy))
    }

    /// One that honours proxy variables, and one that does not.
    #[cfg(feature = "reqwest")]
    pub(crate) fn ready_transports() -> Result<(ReqwestTransport, ReqwestTransport), SourceError> {
        let unusable = |error| {
            SourceError::new(
                SourceErrorKind::Misconfigured,
                "HTTP client",
                "the client cannot be set up",
            )
            .with_cause(error)
        };
        let transport = ReqwestTransport::new().map_err(unusable)?;
        let without_proxy = ReqwestTransport::without_proxy().map_err(unusable)?;
        Ok((transport, without_proxy))
    }

    pub(crate) fn with_direct(mut self, without_proxy: impl Transport) -> Self {
        self.direct = SharedTransport::new(without_proxy);
        self
    }

    pub(crate) fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The same for one errand of several exchanges, which all must be over by `deadline`.
    pub(crate) fn until(&self, deadline: Instant) -> Self {
        Self {
            deadline: Some(deadline),
            ..self.clone()
        }
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.clock.now()
    }

    /// One exchange in the name of `source_name`, with retries.
    pub(crate) async fn exchange<T>(
        &self,
        source_name: &'static str,
        request: impl Fn() -> Result<Request<Bytes>, SourceError>,
        read: impl Fn(&Response<Bytes>) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        self.exchange_over(&self.transport, source_name, request, read)
            .await
    }

    /// The same, with a server that no proxy may stand before.
    pub(crate) async fn exchange_direct<T>(
        &self,
        source_name: &'static str,
        request: impl Fn() -> Result<Request<Bytes>, SourceError>,
        read: impl Fn(&Response<Bytes>) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        self.exchange_over(&self.direct, source_name, request, read)
            .await
    }

    async fn exchange_over<T>(
        &self,
        transport: &SharedTransport,
        source_name: &'static str,
        request: impl Fn() -> Result<Request<Bytes>, SourceError>,
        read: impl Fn(&Response<Bytes>) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        Exchange {
            source_name,
            transport,
            limits: self.limits,
            clock: &*self.clock,
            deadline: self.deadline,
        }
        .run(request, read)
        .await
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// A form as the body of a POST.
pub(crate) fn form_post(
    source_name: &'static str,
    url: &Uri,
    fields: &[(&str, &str)],
) -> Result<Request<Bytes>, SourceError> {
    // Room for all of it at its longest, so that no half of a secret is left behind by growing.
    let length = |(name, value): &(&str, &str)| 3 * (name.len() + value.len()) + 2;
    let room = String::with_capacity(fields.iter().map(length).sum());
    let form = form_urlencoded::Serializer::new(room)
        .extend_pairs(fields)
        .finish();
    Request::post(url.clone())
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(wiped(form))
        .map_err(|error| {
            SourceError::new(
                SourceErrorKind::Misconfigured,
                source_name,
                "the endpoint cannot be asked",
            )
            .with_cause(error)
        })
}

/// `secret` as bytes that are wiped when the last who shares them lets go.
pub(crate) fn wiped(secret: String) -> Bytes {
    Bytes::from_owner(Zeroizing::new(secret))
}

/// `secret` as the value of a header: marked sensitive, and wiped as [`wiped`] bytes are.
pub(crate) fn secret_header(secret: String) -> Result<HeaderValue, InvalidHeaderValue> {
    let mut value = HeaderValue::from_maybe_shared(wiped(secret))?;
    value.set_sensitive(true);
    Ok(value)
}
