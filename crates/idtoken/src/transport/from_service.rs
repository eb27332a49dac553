//! Any tower service as a transport.

use std::fmt;
use std::future::poll_fn;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use tower_service::Service;

use super::{BoxError, MAX_BODY_BYTES, Transport, TransportError, TransportErrorKind};

/// Makes a [`Transport`] of any tower service that takes `http::Request<Full<Bytes>>`.
///
/// hyper-util's legacy client is one. The service is cloned for each exchange, which tower's
/// clients are made for. It must not follow redirects.
///
/// ```
/// use std::convert::Infallible;
/// use bytes::Bytes;
/// use http_body_util::Full;
/// use idtoken::transport::FromService;
///
/// let service = tower::service_fn(|_: http::Request<Full<Bytes>>| async {
///     Ok::<_, Infallible>(http::Response::new(Full::new(Bytes::from_static(b"hello"))))
/// });
/// let transport = FromService::new(service);
/// # fn is_transport(_: impl idtoken::transport::Transport) {}
/// # is_transport(transport);
/// ```
#[derive(Clone)]
pub struct FromService<S> {
    service: S,
}

impl<S> FromService<S> {
    /// A transport over `service`.
    pub const fn new(service: S) -> Self {
        Self { service }
    }
}

impl<S, B> Transport for FromService<S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Body + Send,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        let mut service = self.service.clone();
        poll_fn(|cx| service.poll_ready(cx))
            .await
            .map_err(|error| TransportError::new(TransportErrorKind::Connect, error))?;
        let (head, body) = service
            .call(request.map(Full::new))
            .await
            .map_err(|error| TransportError::new(TransportErrorKind::Exchange, error))?
            .into_parts();
        let body = Limited::new(body, MAX_BODY_BYTES)
            .collect()
            .await
            .map_err(|error| {
                if error.is::<LengthLimitError>() {
                    TransportError::too_large()
                } else {
                    TransportError::new(TransportErrorKind::Exchange, error)
                }
            })?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }
}

impl<S> fmt::Debug for FromService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromService").finish_non_exhaustive()
    }
}
