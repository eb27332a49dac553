//! The ready-made transport.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use reqwest::redirect::Policy;

use super::{MAX_BODY_BYTES, Transport, TransportError, TransportErrorKind};

/// A [`Transport`] over `reqwest`: rustls with aws-lc-rs, the system's trust store, no redirects.
///
/// ```
/// use idtoken::transport::ReqwestTransport;
///
/// let for_token_endpoints = ReqwestTransport::new()?;
/// let for_the_metadata_server = ReqwestTransport::without_proxy()?;
/// # Ok::<(), idtoken::transport::TransportError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ReqwestTransport {
    client: reqwest::Client,
}

impl ReqwestTransport {
    /// A transport that honours the usual proxy variables (`HTTPS_PROXY`, `NO_PROXY`).
    ///
    /// # Errors
    ///
    /// [`TransportErrorKind::Unusable`] when the TLS backend or the trust store cannot be set up.
    pub fn new() -> Result<Self, TransportError> {
        Self::build(reqwest::Client::builder())
    }

    /// A transport that never goes through a proxy.
    ///
    /// The metadata server is a link-local address: a proxy would either fail to reach it or reach
    /// its own, and answer with the proxy's identity.
    ///
    /// # Errors
    ///
    /// [`TransportErrorKind::Unusable`] when the TLS backend or the trust store cannot be set up.
    pub fn without_proxy() -> Result<Self, TransportError> {
        Self::build(reqwest::Client::builder().no_proxy())
    }

    /// A transport that trusts only the authorities in `pem`, for a server with its own.
    ///
    /// # Errors
    ///
    /// [`TransportErrorKind::Unusable`] when `pem` holds no usable certificate, or the TLS backend
    /// cannot be set up.
    pub fn trusting_only(pem: &[u8]) -> Result<Self, TransportError> {
        let roots = reqwest::Certificate::from_pem_bundle(pem)
            .map_err(|error| TransportError::new(TransportErrorKind::Unusable, error))?;
        Self::build(reqwest::Client::builder().tls_certs_only(roots))
    }

    fn build(builder: reqwest::ClientBuilder) -> Result<Self, TransportError> {
        builder
            .redirect(Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("idtoken/", env!("CARGO_PKG_VERSION")))
            .build()
            .map(|client| Self { client })
            .map_err(|error| TransportError::new(TransportErrorKind::Unusable, error))
    }
}

impl Transport for ReqwestTransport {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        let request = reqwest::Request::try_from(request).map_err(transport_error)?;
        let mut answer = self
            .client
            .execute(request)
            .await
            .map_err(transport_error)?;
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = answer.status();
        *response.headers_mut() = std::mem::take(answer.headers_mut());
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.chunk().await.map_err(transport_error)? {
            if body.len() + chunk.len() > MAX_BODY_BYTES {
                return Err(TransportError::too_large());
            }
            body.extend_from_slice(&chunk);
        }
        *response.body_mut() = body.freeze();
        Ok(response)
    }
}

/// The URL is dropped from the error: a query can hold what logs should not.
fn transport_error(error: reqwest::Error) -> TransportError {
    let kind = if error.is_builder() {
        TransportErrorKind::Unusable
    } else if error.is_connect() {
        TransportErrorKind::Connect
    } else {
        TransportErrorKind::Exchange
    };
    TransportError::new(kind, error.without_url())
}

/// Less than any exchange has for one try, so that an address where nobody is gets said so.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
