//! The metadata server: the identity that Google Cloud gives to the machine itself.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::TokenSource;
use super::access::AccessToken;
use super::adc::Environment;
use super::answer;
use super::universe::DEFAULT_UNIVERSE;
use super::wire::Wire;
use crate::audience::Audience;
use crate::clock::{Clock, SharedClock};
use crate::error::{SourceError, SourceErrorKind};
use crate::exchange::{Limits, is_transient_status};
use crate::token::IdToken;
use crate::transport::Transport;
#[cfg(feature = "reqwest")]
use crate::transport::TransportError;

/// ID tokens from the metadata server of Compute Engine, Cloud Run, Cloud Run functions, App Engine
/// and GKE.
///
/// The attached service account's token, for any audience, with no permission needed. The server
/// keeps a token until four to five minutes before it expires and hands the same one out until
/// then, so what comes may have anything from minutes to an hour left.
///
/// Every answer must carry `Metadata-Flavor: Google`: a captive portal's page is not taken for a
/// token. Requests go to the server directly, never through a proxy, and redirects are errors.
///
/// ```no_run
/// use idtoken::{Audience, TokenCache, source::MetadataServer};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let tokens = TokenCache::new(MetadataServer::new()?);
/// let header = tokens.handle(&Audience::new("https://hello-abc.a.run.app")?).bearer().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct MetadataServer {
    wire: Wire,
    host: String,
    account: String,
    format: Format,
}

impl MetadataServer {
    /// The metadata server where the environment says that it is, or else at its usual address; on
    /// the ready-made transport.
    ///
    /// # Errors
    ///
    /// [`TransportError`] when the HTTP client cannot be set up.
    #[cfg(feature = "reqwest")]
    pub fn new() -> Result<Self, TransportError> {
        Self::builder().build()
    }

    /// Sets host, account, format and limits.
    pub fn builder() -> MetadataServerBuilder {
        MetadataServerBuilder {
            host: None,
            account: "default".to_owned(),
            format: Format::default(),
            limits: Limits::default(),
            clock: None,
        }
    }

    /// The host, and port if any, that is asked.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The e-mail address of the attached service account.
    ///
    /// On GKE, a workload that is not linked to a service account has the name of its pool here.
    ///
    /// # Errors
    ///
    /// [`SourceError`] as for a token.
    pub async fn email(&self) -> Result<String, SourceError> {
        self.text(&self.account_path("email")).await
    }

    /// The universe this machine is in; `googleapis.com` for Google Cloud itself.
    ///
    /// # Errors
    ///
    /// [`SourceError`] as for a token. A server that knows no universes is in the default one.
    pub async fn universe_domain(&self) -> Result<String, SourceError> {
        match self
            .text("/computeMetadata/v1/universe/universe-domain")
            .await
        {
            Ok(universe) if !universe.is_empty() => Ok(universe),
            Err(error) if error.status() != Some(StatusCode::NOT_FOUND) => Err(error),
            _ => Ok(DEFAULT_UNIVERSE.to_owned()),
        }
    }

    /// The account's access token.
    pub(crate) async fn access_token(&self, deadline: Instant) -> Result<AccessToken, SourceError> {
        let path = self.account_path("token");
        let read = |response: &Response<Bytes>| {
            accepted(response)?;
            let token: AccessAnswer = answer::json(NAME, response)?;
            let lifetime = Duration::from_secs(token.expires_in);
            AccessToken::new(NAME, &token.access_token, self.wire.now(), lifetime)
        };
        let wire = self.wire.until(deadline);
        wire.exchange(NAME, || self.get(&path), read).await
    }

    async fn text(&self, path: &str) -> Result<String, SourceError> {
        let read = |response: &Response<Bytes>| {
            Ok(String::from_utf8_lossy(accepted(response)?)
                .trim()
                .to_owned())
        };
        self.wire.exchange(NAME, || self.get(path), read).await
    }

    fn account_path(&self, key: &str) -> String {
        let account = utf8_percent_encode(&self.account, UNRESERVED);
        format!("/computeMetadata/v1/instance/service-accounts/{account}/{key}")
    }

    fn request(&self, audience: &Audience) -> Result<Request<Bytes>, SourceError> {
        let audience = utf8_percent_encode(audience.as_str(), UNRESERVED);
        let format = self.format.query();
        self.get(&self.account_path(&format!("identity?audience={audience}&format={format}")))
    }

    /// Host and path are put together as parts, so that a host can be nothing but a host.
    fn get(&self, path: &str) -> Result<Request<Bytes>, SourceError> {
        Uri::builder()
            .scheme("http")
            .authority(self.host.as_str())
            .path_and_query(path)
            .build()
            .and_then(|uri| {
                Request::get(uri)
                    .header(FLAVOR_NAME, FLAVOR_VALUE)
                    .body(Bytes::new())
            })
            .map_err(|error| {
                SourceError::new(
                    SourceErrorKind::Misconfigured,
                    NAME,
                    "the host makes no URL",
                )
                .with_endpoint(self.host.clone())
                .with_cause(error)
                .with_advice("GCE_METADATA_HOST is a host or host:port, without a scheme")
            })
    }
}

impl TokenSource for MetadataServer {
    async fn fetch(&self, audience: &Audience) -> Result<IdToken, SourceError> {
        self.wire
            .exchange(NAME, || self.request(audience), read)
            .await
    }
}

/// Sets up a [`MetadataServer`].
#[derive(Clone, Debug)]
#[must_use]
pub struct MetadataServerBuilder {
    host: Option<String>,
    account: String,
    format: Format,
    limits: Limits,
    clock: Option<SharedClock>,
}

impl MetadataServerBuilder {
    /// Asks this `host` or `host:port`.
    ///
    /// Otherwise it is the one in the environment's `GCE_METADATA_HOST`, which means the same to
    /// Google's own libraries, or `169.254.169.254`.
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = Some(host.into());
        self
    }

    /// Takes the host from these variables instead of the process's own.
    pub fn environment(self, environment: &Environment) -> Self {
        self.host(environment.metadata_host().unwrap_or(DEFAULT_HOST))
    }

    /// Asks for this attached account's token, by e-mail address, instead of the `default` one.
    pub fn account(mut self, email: impl Into<String>) -> Self {
        self.account = email.into();
        self
    }

    /// What the token tells of the machine. [`Format::Full`] by default.
    pub fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// How long one try may take; 3 s by default.
    pub fn try_timeout(mut self, timeout: Duration) -> Self {
        self.limits.per_try = timeout;
        self
    }

    /// How long all tries may take together; 9 s by default.
    pub fn total_timeout(mut self, timeout: Duration) -> Self {
        self.limits.total = timeout;
        self
    }

    /// Reads the time from `clock`, to tell how long an access token is good for and whether this
    /// machine's clock is off.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(SharedClock::new(clock));
        self
    }

    /// The source, on the ready-made transport, which never uses a proxy.
    ///
    /// # Errors
    ///
    /// [`TransportError`] when the HTTP client cannot be set up.
    #[cfg(feature = "reqwest")]
    pub fn build(self) -> Result<MetadataServer, TransportError> {
        Ok(self.build_with(crate::transport::ReqwestTransport::without_proxy()?))
    }

    /// The source, on a transport of your own, which must not use a proxy.
    pub fn build_with(self, transport: impl Transport) -> MetadataServer {
        let host = self.host.unwrap_or_else(|| {
            let environment = Environment::of_process();
            environment
                .metadata_host()
                .unwrap_or(DEFAULT_HOST)
                .to_owned()
        });
        let mut wire = Wire::new(transport);
        wire.limits = self.limits;
        if let Some(clock) = self.clock {
            wire = wire.with_clock(clock.0);
        }
        MetadataServer {
            wire,
            host,
            account: self.account,
            format: self.format,
        }
    }
}

/// What a metadata token tells of the machine it was made for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Format {
    /// The account's e-mail address, and on Compute Engine the instance too.
    ///
    /// The default, since a receiver that names its callers by e-mail needs the claim, and on
    /// Compute Engine only this format has it.
    #[default]
    Full,
    /// As `Full`, with the licence codes of the instance's images.
    FullWithLicenses,
    /// The least: on Compute Engine without the e-mail address.
    Standard,
}

impl Format {
    fn query(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::FullWithLicenses => "full&licenses=TRUE",
            Self::Standard => "standard",
        }
    }
}

fn read(response: &Response<Bytes>) -> Result<IdToken, SourceError> {
    let body = String::from_utf8_lossy(accepted(response)?);
    let jwt = body.trim();
    if jwt.is_empty() {
        return Err(invalid("the answer is empty"));
    }
    IdToken::new(jwt).map_err(|error| invalid("the answer is not an ID token").with_cause(error))
}

/// The body of an answer that is Google's and a success.
fn accepted(response: &Response<Bytes>) -> Result<&Bytes, SourceError> {
    let status = response.status();
    if !has_flavor(response.headers()) {
        return Err(without_flavor(status));
    }
    if !status.is_success() {
        return Err(refusal(status, &String::from_utf8_lossy(response.body())));
    }
    Ok(response.body())
}

fn has_flavor(headers: &HeaderMap) -> bool {
    headers
        .get(FLAVOR_NAME)
        .is_some_and(|value| value == FLAVOR_VALUE)
}

/// Whoever answered is not the metadata server. While a GKE node starts, that may be something in
/// between, so not-found and server errors pass for "not ready yet".
fn without_flavor(status: StatusCode) -> SourceError {
    if is_transient_status(status) || status == StatusCode::NOT_FOUND {
        SourceError::new(SourceErrorKind::Transient, NAME, "the server is not ready")
            .with_status(status)
    } else {
        invalid("the answer lacks \"Metadata-Flavor: Google\", so it is not Google's")
            .with_status(status)
            .with_advice("check GCE_METADATA_HOST, and what else answers at this address")
    }
}

fn refusal(status: StatusCode, body: &str) -> SourceError {
    if is_transient_status(status) {
        return SourceError::new(
            SourceErrorKind::Transient,
            NAME,
            "the server is busy or starting",
        )
        .with_status(status);
    }
    let error = |message: &str| {
        SourceError::new(SourceErrorKind::Refused, NAME, message).with_status(status)
    };
    let body = body.trim_start();
    match status {
        StatusCode::NOT_FOUND if body.starts_with(GKE_NOT_ANNOTATED) => error(body).with_advice(
            "annotate the Kubernetes service account with iam.gke.io/gcp-service-account and grant \
             it roles/iam.workloadIdentityUser on that service account",
        ),
        StatusCode::NOT_FOUND => error("no such service account is attached here").with_advice(
            "attach a service account to the instance or service, or name one that is attached",
        ),
        StatusCode::FORBIDDEN => error("access to the metadata server is denied").with_advice(
            "metadata concealment, a forwarding proxy or a missing header stands in the way",
        ),
        _ => error(body),
    }
}

fn invalid(message: &str) -> SourceError {
    SourceError::new(SourceErrorKind::InvalidAnswer, NAME, message)
}

#[derive(Deserialize)]
struct AccessAnswer {
    access_token: Zeroizing<String>,
    expires_in: u64,
}

const NAME: &str = "metadata server";

/// The link-local address rather than the name: it needs no resolver, and GKE intercepts it too.
const DEFAULT_HOST: &str = "169.254.169.254";

const FLAVOR_NAME: &str = "metadata-flavor";
const FLAVOR_VALUE: &str = "Google";

const GKE_NOT_ANNOTATED: &str = "Your Kubernetes service account";

/// All but the unreserved characters of RFC 3986 §2.3 is escaped, so that no audience can add a
/// parameter of its own.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

#[cfg(test)]
mod tests;
