//! A service account's downloaded key, exchanged for ID tokens.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, Response, Uri};
use serde::Deserialize;

use self::assertion::Assertion;
use self::key_file::KeyFile;
use super::TokenSource;
use crate::audience::Audience;
use crate::clock::{Clock, SystemClock};
use crate::error::{SourceError, SourceErrorKind};
use crate::exchange::{Exchange, Limits, status_error};
use crate::token::IdToken;
use crate::transport::{SharedTransport, Transport};

mod assertion;
mod key_file;

/// ID tokens for a service account, from its JSON key file.
///
/// Signs a short assertion with the key and exchanges it at the file's `token_uri` (RFC 7523, with
/// Google's `target_audience` claim). The token names the account by e-mail. The caller needs no
/// permission beyond having the key, which is why keys are better avoided: prefer the metadata
/// server or impersonation where they are to be had.
///
/// ```no_run
/// use idtoken::{Audience, TokenCache, source::ServiceAccountKey};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let tokens = TokenCache::new(ServiceAccountKey::from_file("key.json")?);
/// let header = tokens.handle(&Audience::new("https://hello-abc.a.run.app")?).bearer().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ServiceAccountKey {
    key: Arc<KeyFile>,
    transport: SharedTransport,
    clock: Arc<dyn Clock>,
    limits: Limits,
}

impl ServiceAccountKey {
    /// Reads the key file at `path`, to be used on the ready-made transport.
    ///
    /// # Errors
    ///
    /// [`SourceErrorKind::Misconfigured`], naming the file and the field at fault, when the file is
    /// missing, longer than 64 KiB, not JSON, of another type than `service_account`, or its key
    /// cannot be used.
    #[cfg(feature = "reqwest")]
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, SourceError> {
        Ok(Self::assemble(
            KeyFile::read(path.as_ref())?,
            ready_transport()?,
        ))
    }

    /// Takes the text of a key file, to be used on the ready-made transport.
    ///
    /// # Errors
    ///
    /// As [`from_file`](Self::from_file).
    #[cfg(feature = "reqwest")]
    pub fn from_json(json: &str) -> Result<Self, SourceError> {
        Ok(Self::assemble(
            KeyFile::parse(json, "the key given")?,
            ready_transport()?,
        ))
    }

    /// Reads the key file at `path`, to be used on a transport of your own.
    ///
    /// # Errors
    ///
    /// As [`from_file`](Self::from_file).
    pub fn from_file_with(
        path: impl AsRef<Path>,
        transport: impl Transport,
    ) -> Result<Self, SourceError> {
        Ok(Self::assemble(
            KeyFile::read(path.as_ref())?,
            SharedTransport::new(transport),
        ))
    }

    /// Takes the text of a key file, to be used on a transport of your own.
    ///
    /// # Errors
    ///
    /// As [`from_file`](Self::from_file).
    pub fn from_json_with(json: &str, transport: impl Transport) -> Result<Self, SourceError> {
        let key = KeyFile::parse(json, "the key given")?;
        Ok(Self::assemble(key, SharedTransport::new(transport)))
    }

    /// Reads the time for the assertion from `clock`.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Bounds one try by `per_try` (3 s by default) and all tries by `total` (9 s by default).
    #[must_use]
    pub fn with_timeouts(mut self, per_try: Duration, total: Duration) -> Self {
        self.limits = Limits {
            per_try,
            total,
            ..self.limits
        };
        self
    }

    /// The account's e-mail address.
    #[must_use]
    pub fn email(&self) -> &str {
        &self.key.email
    }

    fn assemble(key: KeyFile, transport: SharedTransport) -> Self {
        Self {
            key: Arc::new(key),
            transport,
            clock: Arc::new(SystemClock),
            limits: Limits::default(),
        }
    }

    fn request(&self, audience: &Audience) -> Result<Request<Bytes>, SourceError> {
        let assertion = Assertion::new(&self.key, audience, self.clock.now()).sign(&self.key)?;
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")
            .append_pair("assertion", &assertion)
            .finish();
        Request::post(self.key.token_uri.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Bytes::from(form))
            .map_err(|error| misconfigured("the token endpoint cannot be asked").with_cause(error))
    }
}

impl TokenSource for ServiceAccountKey {
    async fn fetch(&self, audience: &Audience) -> Result<IdToken, SourceError> {
        Exchange {
            source_name: NAME,
            transport: &self.transport,
            limits: self.limits,
        }
        .run(|| self.request(audience), read)
        .await
    }
}

impl fmt::Debug for ServiceAccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceAccountKey")
            .field("email", &self.key.email)
            .field("token_uri", &self.key.token_uri)
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "reqwest")]
fn ready_transport() -> Result<SharedTransport, SourceError> {
    crate::transport::ReqwestTransport::new()
        .map(SharedTransport::new)
        .map_err(|error| misconfigured("the HTTP client cannot be set up").with_cause(error))
}

fn read(response: &Response<Bytes>) -> Result<IdToken, SourceError> {
    if !response.status().is_success() {
        return Err(refusal(response));
    }
    let answer: Answer = serde_json::from_slice(response.body()).map_err(|error| {
        invalid("the answer is not the JSON expected").with_cause(shape(&error))
    })?;
    let jwt = answer
        .id_token
        .ok_or_else(|| invalid("the answer has no id_token in it"))?;
    IdToken::new(&jwt).map_err(|error| invalid("the id_token is not an ID token").with_cause(error))
}

/// Google's OAuth errors carry a code and a text; some codes mean "later" whatever the status.
fn refusal(response: &Response<Bytes>) -> SourceError {
    let Ok(refusal) = serde_json::from_slice::<Refusal>(response.body()) else {
        return status_error(NAME, response, "the token endpoint answered with an error");
    };
    let message = refusal
        .error_description
        .as_deref()
        .unwrap_or("the token endpoint said no");
    let code = refusal.error.as_str();
    let later = [code, message]
        .iter()
        .any(|text| TRANSIENT_CODES.contains(text));
    let error = if later {
        SourceError::new(SourceErrorKind::Transient, NAME, message).with_status(response.status())
    } else {
        status_error(NAME, response, message)
    };
    let error = error.with_code(code);
    if code != "invalid_grant" {
        error
    } else if message.contains("iat and exp") {
        error.with_advice("this machine's clock is probably wrong: check it against a time server")
    } else {
        error.with_advice("the key may have been deleted, or its account disabled: make a new key")
    }
}

/// Where JSON went wrong, without quoting what stood there.
fn shape(error: &serde_json::Error) -> String {
    format!(
        "{:?} error at line {} column {}",
        error.classify(),
        error.line(),
        error.column()
    )
}

fn invalid(message: &str) -> SourceError {
    SourceError::new(SourceErrorKind::InvalidAnswer, NAME, message)
}

fn misconfigured(message: impl AsRef<str>) -> SourceError {
    SourceError::new(SourceErrorKind::Misconfigured, NAME, message)
}

/// An endpoint that may be sent a signed assertion: https, or http on this machine.
fn checked_endpoint(text: &str) -> Option<Uri> {
    let uri: Uri = text.parse().ok()?;
    let host = uri.host()?;
    let plain = matches!(uri.scheme_str(), Some("http")) && crate::loopback::is_loopback(host);
    (uri.scheme_str() == Some("https") || plain).then_some(uri)
}

#[derive(Deserialize)]
struct Answer {
    id_token: Option<String>,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
    error_description: Option<String>,
}

const NAME: &str = "service account key";

const TRANSIENT_CODES: [&str; 3] = [
    "internal_failure",
    "server_error",
    "temporarily_unavailable",
];

#[cfg(test)]
mod tests;
