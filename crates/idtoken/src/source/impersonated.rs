//! A service account's ID tokens on somebody else's authority.

use std::sync::Arc;

pub(crate) use self::target::Target;
use super::TokenSource;
use super::access::{AccessTokens, Identity};
use super::adc::DefaultSource;
use super::authorized_user::AuthorizedUser;
use super::external_account::ExternalAccount;
use super::iam::{IamAccount, resource_name};
use super::metadata::MetadataServer;
use super::service_account::ServiceAccountKey;
use super::wire::Wire;
use crate::audience::Audience;
use crate::clock::{Clock, SharedClock};
use crate::error::SourceError;
use crate::token::IdToken;
use crate::transport::Transport;

mod target;

/// ID tokens for a service account, on the authority of another identity that may mint them.
///
/// The identity needs `roles/iam.serviceAccountOpenIdTokenCreator` on the account, and nothing
/// else: only `generateIdToken` is called. This is the right way for a laptop, where a user's own
/// token cannot have the audience that a service wants.
///
/// An identity that is itself impersonated is another matter: an access token for it has to be
/// asked for first, which takes `roles/iam.serviceAccountTokenCreator` on it. Accounts that only
/// stand in between are better named as [`delegates`](ImpersonatedBuilder::delegates).
///
/// The token carries the account's e-mail address unless told otherwise.
///
/// ```no_run
/// use idtoken::source::{AuthorizedUser, Impersonated};
///
/// # fn run() -> Result<(), idtoken::SourceError> {
/// let me = AuthorizedUser::from_file("application_default_credentials.json")?;
/// let source = Impersonated::builder("caller@project.iam.gserviceaccount.com", me).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Impersonated {
    account: IamAccount,
}

impl Impersonated {
    /// Tokens for the service account `target`, by e-mail address or unique id, on the authority of
    /// `base`.
    pub fn builder(target: impl Into<String>, base: impl Into<Base>) -> ImpersonatedBuilder {
        ImpersonatedBuilder {
            target: target.into(),
            base: base.into(),
            delegates: Vec::new(),
            include_email: true,
            endpoint: None,
            clock: None,
        }
    }

    /// The account whose tokens these are.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.account.target.name
    }

    /// From the fields of a credentials file.
    pub(crate) fn in_file(
        source_name: &'static str,
        target: Target,
        delegates: &[String],
        base: Identity,
        wire: Wire,
    ) -> Self {
        let base = AccessTokens::new(base, Arc::clone(wire.clock()));
        let delegates = delegates
            .iter()
            .map(|delegate| resource_name(delegate))
            .collect();
        let account = IamAccount {
            source_name,
            target,
            delegates,
            include_email: true,
            base,
            wire,
        };
        Self { account }
    }

    pub(crate) fn into_identity(self) -> Identity {
        Identity::Impersonated(Arc::new(self.account))
    }
}

impl TokenSource for Impersonated {
    async fn fetch(&self, audience: &Audience) -> Result<IdToken, SourceError> {
        self.account.id_token(audience).await
    }
}

/// Sets up an [`Impersonated`].
#[derive(Debug)]
#[must_use]
pub struct ImpersonatedBuilder {
    target: String,
    base: Base,
    delegates: Vec<String>,
    include_email: bool,
    endpoint: Option<String>,
    clock: Option<SharedClock>,
}

impl ImpersonatedBuilder {
    /// Goes through these service accounts in turn: the base may mint for the first, each for the
    /// next, the last for the target.
    pub fn delegates<D: AsRef<str>>(mut self, delegates: impl IntoIterator<Item = D>) -> Self {
        self.delegates = delegates
            .into_iter()
            .map(|delegate| resource_name(delegate.as_ref()))
            .collect();
        self
    }

    /// Leaves the e-mail address out of the token. Receivers that name their callers by e-mail then
    /// refuse it.
    pub fn without_email(mut self) -> Self {
        self.include_email = false;
        self
    }

    /// Asks IAM Credentials at this origin: a private endpoint, an emulator, or another universe.
    ///
    /// Otherwise it is that of the base's universe, which a credentials file names, and
    /// `https://iamcredentials.googleapis.com` for a base that is no file. A machine in another
    /// universe tells its name: [`MetadataServer::universe_domain`].
    pub fn endpoint(mut self, origin: impl Into<String>) -> Self {
        self.endpoint = Some(origin.into());
        self
    }

    /// Reads the time from `clock`.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(SharedClock::new(clock));
        self
    }

    /// The source, on the ready-made transport.
    ///
    /// # Errors
    ///
    /// [`SourceErrorKind::Misconfigured`](crate::SourceErrorKind::Misconfigured) when target or endpoint make no https URL, or the HTTP
    /// client cannot be set up.
    #[cfg(feature = "reqwest")]
    pub fn build(self) -> Result<Impersonated, SourceError> {
        self.assemble(Wire::ready()?)
    }

    /// The source, on a transport of your own.
    ///
    /// # Errors
    ///
    /// [`SourceErrorKind::Misconfigured`](crate::SourceErrorKind::Misconfigured) when target or endpoint make no https URL.
    pub fn build_with(self, transport: impl Transport) -> Result<Impersonated, SourceError> {
        self.assemble(Wire::new(transport))
    }

    fn assemble(self, wire: Wire) -> Result<Impersonated, SourceError> {
        let wire = match self.clock {
            Some(clock) => wire.with_clock(clock.0),
            None => wire,
        };
        let origin = match self.endpoint {
            Some(origin) => origin,
            None => self.base.0.iam_origin()?,
        };
        Ok(Impersonated {
            account: IamAccount {
                source_name: NAME,
                target: Target::at(NAME, &origin, &self.target)?,
                delegates: self.delegates,
                include_email: self.include_email,
                base: AccessTokens::new(self.base.0, Arc::clone(wire.clock())),
                wire,
            },
        })
    }
}

/// On whose authority tokens are minted: any source here that has access tokens as well.
#[derive(Clone, Debug)]
pub struct Base(pub(crate) Identity);

impl From<AuthorizedUser> for Base {
    fn from(source: AuthorizedUser) -> Self {
        Self(Identity::User(source))
    }
}

impl From<DefaultSource> for Base {
    fn from(source: DefaultSource) -> Self {
        source.into_base()
    }
}

impl From<ExternalAccount> for Base {
    fn from(source: ExternalAccount) -> Self {
        Self(source.into_identity())
    }
}

impl From<Impersonated> for Base {
    fn from(source: Impersonated) -> Self {
        Self(source.into_identity())
    }
}

impl From<MetadataServer> for Base {
    fn from(source: MetadataServer) -> Self {
        Self(Identity::Metadata(source))
    }
}

impl From<ServiceAccountKey> for Base {
    fn from(source: ServiceAccountKey) -> Self {
        Self(Identity::ServiceAccount(source))
    }
}

const NAME: &str = "impersonation";
