//! Workload identity federation: an identity from elsewhere, exchanged for one at Google.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Uri};
use serde::Deserialize;
use tokio::time::Instant;
use zeroize::Zeroizing;

use self::subject::{Subject, SubjectFields};
pub use self::subject::{SubjectContext, SubjectTokenSupplier};
use super::TokenSource;
use super::access::{AccessToken, Identity};
use super::adc::Environment;
use super::endpoint::{self, AllowedHosts};
use super::file::{self, CredentialsFile};
use super::impersonated::{Impersonated, Target};
use super::oauth::Answer;
use super::universe::Universe;
use super::wire::{Wire, form_post, secret_header};
use crate::audience::Audience;
use crate::clock::{Clock, SharedClock};
use crate::error::{SourceError, SourceErrorKind};
use crate::token::IdToken;
use crate::transport::Transport;

#[cfg(feature = "aws")]
mod aws;
#[cfg(feature = "process")]
mod executable;
mod format;
mod subject;

/// ID tokens for a workload outside Google Cloud (`external_account` credentials).
///
/// A token of the workload's own, from a file, a URL, a program or AWS, is exchanged at Google's
/// Security Token Service (RFC 8693) for a federated access token, and that for an ID token of the
/// service account named in the file. A federated identity has no ID tokens itself, so a file
/// without `service_account_impersonation_url` can only be the base of an
/// [`Impersonated`](super::Impersonated).
///
/// A credentials file is untrusted input: its URLs must be https and lead to Google, to this
/// machine, or to a host named with [`allow_host`](ExternalAccountBuilder::allow_host). The subject
/// token's may be that of the platform's instance metadata too (`http://169.254.169.254`, as on
/// Azure), which is asked directly, past any proxy.
///
/// All exchanges together have nine seconds, within the cache's fetch timeout of ten. Where the
/// subject token comes from a program or a supplier of your own, each exchange has nine, and all of
/// them together as much more as that may take, 30 s by default: give the cache a
/// [`fetch_timeout`](crate::cache::TokenCacheBuilder::fetch_timeout) that is longer there.
///
/// ```no_run
/// use idtoken::source::ExternalAccount;
///
/// # fn run() -> Result<(), idtoken::SourceError> {
/// let source = ExternalAccount::builder()
///     .allow_host(".actions.githubusercontent.com")
///     .from_file("credentials.json")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ExternalAccount {
    federation: Arc<Federation>,
    impersonated: Option<Impersonated>,
    quota_project: Option<HeaderValue>,
    universe: Universe,
}

impl ExternalAccount {
    /// Sets what the file may do.
    pub fn builder() -> ExternalAccountBuilder {
        ExternalAccountBuilder::default()
    }

    /// The federated access token.
    pub(crate) async fn federated_token(
        &self,
        deadline: Instant,
    ) -> Result<AccessToken, SourceError> {
        let wire = self.federation.wire.until(deadline);
        self.federation.exchange(&wire).await
    }

    pub(crate) fn patience(&self) -> Duration {
        self.federation.subject.patience()
    }

    /// The service account that the file names, or else the workload itself.
    pub(crate) fn into_identity(self) -> Identity {
        match self.impersonated {
            Some(impersonated) => impersonated.into_identity(),
            None => Identity::ExternalAccount(Arc::new(self)),
        }
    }

    #[cfg(feature = "reqwest")]
    pub(crate) fn impersonated(&self) -> Option<&Impersonated> {
        self.impersonated.as_ref()
    }

    pub(crate) fn iam_origin(&self) -> Result<String, SourceError> {
        self.universe.iam_origin(NAME)
    }

    pub(crate) fn quota_project(&self) -> Option<&HeaderValue> {
        self.quota_project.as_ref()
    }

    /// The service account whose tokens these are, if the file names one.
    #[must_use]
    pub fn target(&self) -> Option<&str> {
        self.impersonated.as_ref().map(Impersonated::target)
    }
}

impl TokenSource for ExternalAccount {
    async fn fetch(&self, audience: &Audience) -> Result<IdToken, SourceError> {
        match &self.impersonated {
            Some(impersonated) => impersonated.fetch(audience).await,
            None => Err(SourceError::new(
                SourceErrorKind::Misconfigured,
                NAME,
                "a federated identity has no ID tokens of its own",
            )
            .with_advice(
                "add service_account_impersonation_url to the credentials file (gcloud iam \
                 workload-identity-pools create-cred-config … --service-account=SA), or use it as \
                 the base of an Impersonated",
            )),
        }
    }
}

/// Sets up an [`ExternalAccount`].
#[derive(Default)]
#[must_use]
pub struct ExternalAccountBuilder {
    allowed: AllowedHosts,
    executables: bool,
    environment: Option<Environment>,
    supplier: Option<Arc<dyn subject::DynSupplier>>,
    clock: Option<SharedClock>,
}

impl ExternalAccountBuilder {
    /// Lets URLs in the file lead to this host as well; `.example.com` means every host below
    /// `example.com`.
    pub fn allow_host(mut self, host: impl Into<String>) -> Self {
        self.allowed.allow(host);
        self
    }

    /// Lets the file name a program to run, as `GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES=1` does.
    ///
    /// Whoever writes the file then decides what runs in this process's name.
    pub fn danger_allow_executables(mut self) -> Self {
        self.executables = true;
        self
    }

    /// Takes subject tokens from `supplier` instead of the file's `credential_source`.
    pub fn subject_token_supplier(mut self, supplier: impl SubjectTokenSupplier) -> Self {
        self.supplier = Some(Arc::new(supplier));
        self
    }

    /// Reads the time from `clock`.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(SharedClock::new(clock));
        self
    }

    /// Looks at these variables instead of the process's own: for AWS's region and credentials, and
    /// for `GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES`.
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = Some(environment);
        self
    }

    pub(crate) fn allowed_hosts(mut self, allowed: AllowedHosts) -> Self {
        self.allowed = allowed;
        self
    }

    /// Reads the credentials file at `path`, to be used on the ready-made transport.
    ///
    /// # Errors
    ///
    /// [`SourceErrorKind::Misconfigured`], naming the file and the field at fault.
    #[cfg(feature = "reqwest")]
    pub fn from_file(self, path: impl AsRef<Path>) -> Result<ExternalAccount, SourceError> {
        self.read(&CredentialsFile::read(path.as_ref())?, Wire::ready()?)
    }

    /// Reads the credentials file at `path`, to be used on a transport of your own.
    ///
    /// # Errors
    ///
    /// As [`from_file`](Self::from_file).
    pub fn from_file_with(
        self,
        path: impl AsRef<Path>,
        transport: impl Transport,
    ) -> Result<ExternalAccount, SourceError> {
        self.read(&CredentialsFile::read(path.as_ref())?, Wire::new(transport))
    }

    pub(crate) fn read(
        self,
        file: &CredentialsFile,
        wire: Wire,
    ) -> Result<ExternalAccount, SourceError> {
        let fields: Fields = file.fields("external_account")?;
        let wire = match self.clock {
            Some(clock) => wire.with_clock(clock.0),
            None => wire,
        };
        let audience = file::required(file, "audience", fields.audience)?;
        let subject_token_type =
            file::required(file, "subject_token_type", fields.subject_token_type)?;
        let token_url = file::required(file, "token_url", fields.token_url)?;
        let token_url = endpoint::checked(file, "token_url", &token_url, &self.allowed)?;
        let target = fields
            .service_account_impersonation_url
            .map(|url| Target::in_file(file, &url, &self.allowed))
            .transpose()?;
        let context = SubjectContext::new(
            audience,
            subject_token_type,
            target.as_ref().map(|target| target.name.clone()),
        );
        let subject = match self.supplier {
            Some(supplier) => Subject::Supplied(supplier),
            None => {
                let source = file::required(file, "credential_source", fields.credential_source)?;
                let environment = self.environment.unwrap_or_else(Environment::of_process);
                let permitted = environment.get("GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES");
                let options = subject::Options {
                    allowed: &self.allowed,
                    executables: self.executables || permitted == Some("1"),
                    environment: &environment,
                };
                Subject::new(file, source, &options)?
            }
        };
        let client = match (fields.client_id, fields.client_secret) {
            (Some(id), Some(secret)) => Some((id, secret)),
            _ => None,
        };
        let federation = Arc::new(Federation {
            context,
            token_url,
            subject,
            client,
            user_project: fields.workforce_pool_user_project,
            wire: wire.clone(),
        });
        let quota_project = fields
            .quota_project_id
            .map(|project| endpoint::project(NAME, &project))
            .transpose()?;
        let base = ExternalAccount {
            federation,
            impersonated: None,
            quota_project,
            universe: Universe::in_file(file, fields.universe_domain, &self.allowed)?,
        };
        let impersonated = target.map(|target| {
            let base = Identity::ExternalAccount(Arc::new(base.clone()));
            Impersonated::in_file(NAME, target, &[], base, wire)
        });
        Ok(ExternalAccount {
            impersonated,
            ..base
        })
    }
}

impl fmt::Debug for ExternalAccountBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExternalAccountBuilder")
            .field("allowed", &self.allowed)
            .field("executables", &self.executables)
            .finish_non_exhaustive()
    }
}

/// The exchange of a subject token for a federated access token.
struct Federation {
    context: SubjectContext,
    token_url: Uri,
    subject: Subject,
    client: Option<(String, Zeroizing<String>)>,
    user_project: Option<String>,
    wire: Wire,
}

impl Federation {
    async fn exchange(&self, wire: &Wire) -> Result<AccessToken, SourceError> {
        let subject_token = self.subject.token(&self.context, wire).await?;
        // A workforce pool's user project travels only without client authentication.
        let options = self
            .user_project
            .as_ref()
            .filter(|_| self.client.is_none())
            .map(|project| serde_json::json!({ "userProject": project }).to_string());
        let mut fields = vec![
            (
                "grant_type",
                "urn:ietf:params:oauth:grant-type:token-exchange",
            ),
            (
                "requested_token_type",
                "urn:ietf:params:oauth:token-type:access_token",
            ),
            ("audience", self.context.audience()),
            ("scope", SCOPE),
            ("subject_token_type", self.context.subject_token_type()),
            ("subject_token", &subject_token),
        ];
        fields.extend(options.as_deref().map(|options| ("options", options)));
        let request = || {
            let mut request = form_post(NAME, &self.token_url, &fields)?;
            if let Some((id, secret)) = &self.client {
                request
                    .headers_mut()
                    .insert(http::header::AUTHORIZATION, basic(id, secret)?);
            }
            Ok(request)
        };
        let answer = wire
            .exchange(NAME, request, |response| Answer::read(NAME, response))
            .await?;
        let Some(token) = &answer.access_token else {
            return Err(SourceError::new(
                SourceErrorKind::InvalidAnswer,
                NAME,
                "the answer has no access_token in it",
            ));
        };
        AccessToken::new(NAME, token, wire.now(), answer.lifetime())
    }
}

impl fmt::Debug for Federation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Federation")
            .field("context", &self.context)
            .field("token_url", &self.token_url)
            .finish_non_exhaustive()
    }
}

/// RFC 7617, with id and secret form-encoded first as RFC 6749 §2.3.1 has it.
fn basic(id: &str, secret: &str) -> Result<HeaderValue, SourceError> {
    use base64::Engine;
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = Zeroizing::new(format!("{}:{}", encoded(id), encoded(secret)));
    let text = Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(pair.as_bytes()));
    secret_header(format!("Basic {}", *text)).map_err(|_| {
        SourceError::new(
            SourceErrorKind::Misconfigured,
            NAME,
            "the client's secret is unusable",
        )
    })
}

#[derive(Deserialize)]
struct Fields {
    audience: Option<String>,
    subject_token_type: Option<String>,
    token_url: Option<String>,
    service_account_impersonation_url: Option<String>,
    credential_source: Option<SubjectFields>,
    client_id: Option<String>,
    client_secret: Option<Zeroizing<String>>,
    workforce_pool_user_project: Option<String>,
    quota_project_id: Option<String>,
    universe_domain: Option<String>,
}

const NAME: &str = "external account";
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
