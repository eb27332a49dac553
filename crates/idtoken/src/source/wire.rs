//! What every source that speaks HTTP needs.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::{Request, Response, Uri};

use crate::clock::{Clock, SystemClock};
use crate::error::{SourceError, SourceErrorKind};
use crate::exchange::{Exchange, Limits};
use crate::transport::{SharedTransport, Transport};

/// A transport, a clock, and how hard to try.
#[derive(Clone)]
pub(crate) struct Wire {
    transport: SharedTransport,
    /// The same, or one that uses no proxy where the first may.
    #[cfg_attr(
        not(feature = "aws"),
        allow(dead_code, reason = "only AWS asks link-local hosts")
    )]
    direct: SharedTransport,
    clock: Arc<dyn Clock>,
    pub(crate) limits: Limits,
}

impl Wire {
    pub(crate) fn new(transport: impl Transport) -> Self {
        let transport = SharedTransport::new(transport);
        Self {
            direct: transport.clone(),
            transport,
            clock: Arc::new(SystemClock),
            limits: Limits::default(),
        }
    }

    /// On the ready-made transport, which honours proxy variables.
    #[cfg(feature = "reqwest")]
    pub(crate) fn ready() -> Result<Self, SourceError> {
        use crate::transport::ReqwestTransport;

        let unusable = |error| {
            SourceError::new(
                SourceErrorKind::Misconfigured,
                "HTTP client",
                "the client cannot be set up",
            )
            .with_cause(error)
        };
        let direct = ReqwestTransport::without_proxy().map_err(unusable)?;
        let wire = Self::new(ReqwestTransport::new().map_err(unusable)?);
        Ok(Self {
            direct: SharedTransport::new(direct),
            ..wire
        })
    }

    pub(crate) fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
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
    #[cfg(feature = "aws")]
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
    let form = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish();
    Request::post(url.clone())
        .header(
            http::header::CONTENT_TYPE,
            "application/x-www-form-urlencoded",
        )
        .body(Bytes::from(form))
        .map_err(|error| {
            SourceError::new(
                SourceErrorKind::Misconfigured,
                source_name,
                "the endpoint cannot be asked",
            )
            .with_cause(error)
        })
}
