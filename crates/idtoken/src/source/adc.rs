//! Application default credentials: what the surroundings say this program is.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

pub use self::environment::Environment;
use self::found::Found;
use super::TokenSource;
use super::endpoint::AllowedHosts;
use super::file::CredentialsFile;
use super::impersonated::Base;
#[cfg(feature = "reqwest")]
use super::impersonated::Impersonated;
use super::metadata::MetadataServer;
use super::presence::Presence;
use super::wire::Wire;
use crate::audience::Audience;
use crate::clock::{Clock, SharedClock};
use crate::error::{SourceError, SourceErrorKind};
use crate::scrub;
use crate::token::IdToken;
use crate::transport::Transport;

mod environment;
mod found;

/// Finds the credentials of this machine or person, in the order that Google's libraries have:
///
/// 1. the file that `GOOGLE_APPLICATION_CREDENTIALS` names;
/// 2. gcloud's file, `application_default_credentials.json`;
/// 3. the metadata server, if there is one.
///
/// A file that is named but missing, or there but not to be understood, is an error and never
/// skipped: the program would otherwise run as somebody else.
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let source = idtoken::source::default().await?;
/// println!("{}", source.describe());
/// let tokens = idtoken::TokenCache::new(source);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`SourceErrorKind::Misconfigured`], with what was looked for and what to do, when there are
/// none or they cannot be used.
#[cfg(feature = "reqwest")]
pub async fn default() -> Result<DefaultSource, SourceError> {
    DefaultSource::builder().build().await
}

/// Tokens of the service account `target`, on the authority of whatever [`default`] finds.
///
/// The one-liner for laptops: log in with `gcloud auth application-default login`, and be granted
/// `roles/iam.serviceAccountOpenIdTokenCreator` on the account.
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let source = idtoken::source::impersonating("caller@project.iam.gserviceaccount.com").await?;
/// let tokens = idtoken::TokenCache::new(source);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// As [`default`](super::default()).
#[cfg(feature = "reqwest")]
pub async fn impersonating(target: impl Into<String>) -> Result<Impersonated, SourceError> {
    default().await?.impersonating(target)
}

/// Credentials that were found, as a source.
#[derive(Clone, Debug)]
pub struct DefaultSource {
    found: Found,
    reason: String,
}

impl DefaultSource {
    /// Sets what is looked at.
    pub fn builder() -> DefaultSourceBuilder {
        DefaultSourceBuilder {
            environment: None,
            clock: None,
            allowed: AllowedHosts::default(),
            presence: Presence::of_process(),
        }
    }

    /// What was chosen and why, in a sentence for logs. Holds no secret, and is one line whatever
    /// stands in the file.
    #[must_use]
    pub fn describe(&self) -> String {
        let who = self.found.describe();
        scrub::excerpt(&format!("{who}, because {}", self.reason))
    }

    /// The kind of credentials, as a credentials file's `type` names it; `metadata` for the
    /// metadata server.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.found.kind()
    }

    /// Hands out a person's own token for every audience; see
    /// [`AuthorizedUser`](super::AuthorizedUser::danger_accept_client_audience). Changes nothing for other credentials.
    #[must_use]
    pub fn danger_accept_client_audience(mut self) -> Self {
        if let Found::User(user) = self.found {
            self.found = Found::User(user.danger_accept_client_audience());
        }
        self
    }

    /// Tokens of the service account `target` on the authority of what was found, on the ready-made
    /// transport. What impersonates that very account already is taken as it is.
    ///
    /// # Errors
    ///
    /// As [`ImpersonatedBuilder::build`](super::ImpersonatedBuilder::build).
    #[cfg(feature = "reqwest")]
    pub fn impersonating(self, target: impl Into<String>) -> Result<Impersonated, SourceError> {
        let target = target.into();
        match self.found.impersonated() {
            Some(source) if source.target() == target => Ok(source.clone()),
            _ => Impersonated::builder(target, self.into_base()).build(),
        }
    }

    /// The same identity as the base of an impersonation.
    #[must_use]
    pub fn into_base(self) -> Base {
        Base(self.found.into_identity())
    }
}

impl TokenSource for DefaultSource {
    async fn fetch(&self, audience: &Audience) -> Result<IdToken, SourceError> {
        self.found.fetch(audience).await
    }
}

/// Sets what [`DefaultSource`] looks at. Clones share what they find out about the metadata server.
#[derive(Clone)]
#[must_use]
pub struct DefaultSourceBuilder {
    environment: Option<Environment>,
    clock: Option<SharedClock>,
    allowed: AllowedHosts,
    presence: Arc<Presence>,
}

impl DefaultSourceBuilder {
    /// Looks at these variables and this home instead of the process's own. What is found out
    /// about the metadata server is then not shared with the rest of the process.
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = Some(environment);
        self.presence = Arc::default();
        self
    }

    /// Lets URLs in credentials files lead to this host as well; `.example.com` means every host
    /// below `example.com`.
    pub fn allow_host(mut self, host: impl Into<String>) -> Self {
        self.allowed.allow(host);
        self
    }

    /// Reads the time from `clock`.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(SharedClock::new(clock));
        self
    }

    /// Forgets what was found out about the metadata server: for this builder and its clones, and
    /// for the whole process unless an [`environment`](Self::environment) was given.
    pub fn forget_detection(&self) {
        self.presence.forget();
    }

    /// Looks, on the ready-made transport.
    ///
    /// # Errors
    ///
    /// As [`default`](super::default()).
    #[cfg(feature = "reqwest")]
    pub async fn build(self) -> Result<DefaultSource, SourceError> {
        let (transport, without_proxy) = Wire::ready_transports()?;
        self.find(transport, without_proxy).await
    }

    /// Looks, on transports of your own: one for the internet, one that uses no proxy for the
    /// metadata server.
    ///
    /// # Errors
    ///
    /// As [`default`](super::default()).
    pub async fn build_with(
        self,
        transport: impl Transport,
        without_proxy: impl Transport,
    ) -> Result<DefaultSource, SourceError> {
        self.find(transport, without_proxy).await
    }

    /// Takes the credentials file at `path`, of any type, instead of looking; on the ready-made
    /// transport.
    ///
    /// # Errors
    ///
    /// As [`default`](super::default()).
    #[cfg(feature = "reqwest")]
    pub fn from_file(self, path: impl AsRef<Path>) -> Result<DefaultSource, SourceError> {
        let file = CredentialsFile::read(path.as_ref())?;
        let reason = format!("{} was given", path.as_ref().display());
        self.given(&file, reason, Wire::ready()?)
    }

    /// Takes the text of a credentials file of any type, as a secret store hands it out, instead of
    /// looking; on the ready-made transport.
    ///
    /// # Errors
    ///
    /// As [`default`](super::default()).
    #[cfg(feature = "reqwest")]
    pub fn from_json(self, json: &str) -> Result<DefaultSource, SourceError> {
        self.given_text(json, Wire::ready()?)
    }

    /// The same, on a transport of your own, which carries requests to the platform's instance
    /// metadata as well: let it use no proxy for those.
    ///
    /// ```
    /// use idtoken::source::DefaultSource;
    /// # fn example(secret: &str, transport: impl idtoken::Transport)
    /// # -> Result<DefaultSource, idtoken::SourceError> {
    ///
    /// let source = DefaultSource::builder().from_json_with(secret, transport)?;
    /// # Ok(source)
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`default`](super::default()).
    pub fn from_json_with(
        self,
        json: &str,
        transport: impl Transport,
    ) -> Result<DefaultSource, SourceError> {
        self.given_text(json, Wire::new(transport))
    }

    fn given_text(self, json: &str, wire: Wire) -> Result<DefaultSource, SourceError> {
        let text = Zeroizing::new(json.to_owned());
        let file = CredentialsFile::parse(text, "the credential given".to_owned())?;
        self.given(&file, "its text was given".to_owned(), wire)
    }

    fn given(
        self,
        file: &CredentialsFile,
        reason: String,
        wire: Wire,
    ) -> Result<DefaultSource, SourceError> {
        let wire = self.on_its_clock(wire);
        let environment = self.environment.unwrap_or_else(Environment::of_process);
        Ok(DefaultSource {
            found: Found::read(file, &self.allowed, &environment, wire)?,
            reason,
        })
    }

    async fn find(
        self,
        transport: impl Transport,
        without_proxy: impl Transport,
    ) -> Result<DefaultSource, SourceError> {
        let environment = self
            .environment
            .clone()
            .unwrap_or_else(Environment::of_process);
        let without_proxy = Arc::new(without_proxy);
        let wire = Wire::new(transport).with_direct(Arc::clone(&without_proxy));
        let wire = self.on_its_clock(wire);
        if let Some(path) = environment.credentials_path() {
            let file = CredentialsFile::read(&path).map_err(|error| {
                error.with_advice("GOOGLE_APPLICATION_CREDENTIALS names it: correct or unset it")
            })?;
            let found = Found::read(&file, &self.allowed, &environment, wire)?;
            let reason = format!("GOOGLE_APPLICATION_CREDENTIALS names {}", path.display());
            return Ok(DefaultSource { found, reason });
        }
        let well_known = environment.well_known_path();
        let well_known_there = well_known.as_deref().map_or(Ok(false), is_there);
        if let Some(path) = &well_known
            && matches!(well_known_there, Ok(true))
        {
            let file = CredentialsFile::read(path)?;
            let found = Found::read(&file, &self.allowed, &environment, wire)?;
            let reason = format!("gcloud left {}", path.display());
            return Ok(DefaultSource { found, reason });
        }
        let Some(reason) = self.presence.reason(&environment, &without_proxy).await? else {
            let error = nothing_found(well_known.as_deref());
            return Err(match well_known_there {
                Ok(_) => error,
                Err(cause) => error.with_cause(cause),
            });
        };
        let mut builder = MetadataServer::builder().environment(&environment);
        if let Some(clock) = self.clock {
            builder = builder.clock(clock.0);
        }
        Ok(DefaultSource {
            found: Found::Metadata(builder.build_with(without_proxy)),
            reason,
        })
    }

    fn on_its_clock(&self, wire: Wire) -> Wire {
        match &self.clock {
            Some(clock) => wire.with_clock(Arc::clone(&clock.0)),
            None => wire,
        }
    }
}

impl fmt::Debug for DefaultSourceBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DefaultSourceBuilder")
            .field("allowed", &self.allowed)
            .finish_non_exhaustive()
    }
}

/// Whether there is a file at `path`. A home that nobody may look into is no reason to stop on a
/// machine that has a metadata server, so the error is told, and kept for when nothing else is found.
fn is_there(path: &Path) -> io::Result<bool> {
    match std::fs::metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(false)
        }
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "whether gcloud has left a file cannot be seen");
            Err(error)
        }
    }
}

fn nothing_found(well_known: Option<&Path>) -> SourceError {
    let well_known =
        well_known.map_or_else(|| "no home".to_owned(), |path| path.display().to_string());
    misconfigured(format!(
        "no credentials found: GOOGLE_APPLICATION_CREDENTIALS is not set, gcloud has left none \
         ({well_known}), and there is no metadata server"
    ))
    .with_advice(
        "on Google Cloud attach a service account; on a laptop run `gcloud auth \
         application-default login` and impersonate one with source::impersonating",
    )
}

fn misconfigured(message: impl AsRef<str>) -> SourceError {
    SourceError::new(
        SourceErrorKind::Misconfigured,
        "default credentials",
        message,
    )
}
