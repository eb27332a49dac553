//! A service account's ID tokens on somebody else's authority.

use std::sync::Arc;

use http::Uri;

use super::TokenSource;
use super::access::{AccessTokens, Identity};
use super::adc::DefaultSource;
use super::authorized_user::AuthorizedUser;
use super::endpoint::{self, AllowedHosts};
use super::external_account::ExternalAccount;
use super::iam::{IamAccount, resource_name};
use super::metadata::MetadataServer;
use super::service_account::ServiceAccountKey;
use super::wire::Wire;
use crate::audience::Audience;
use crate::clock::{Clock, SharedClock};
use crate::error::{SourceError, SourceErrorKind};
use crate::token::IdToken;
use crate::transport::Transport;

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
        &self.account.target
    }

    /// From the fields of a credentials file, with its impersonation URL checked.
    pub(crate) fn from_url(
        source_name: &'static str,
        url: &str,
        delegates: &[String],
        base: Identity,
        allowed: &AllowedHosts,
        wire: Wire,
    ) -> Result<Self, SourceError> {
        const FIELD: &str = "service_account_impersonation_url";
        let fail =
            |message: &str| SourceError::new(SourceErrorKind::Misconfigured, source_name, message);
        let target = url
            .strip_suffix(":generateAccessToken")
            .or_else(|| url.strip_suffix(":generateIdToken"))
            .and_then(|path| path.rsplit_once('/'))
            .filter(|(path, target)| path.ends_with("/serviceAccounts") && !target.is_empty())
            .map(|(_, target)| target.to_owned())
            .ok_or_else(|| {
                fail("\"service_account_impersonation_url\" names no service account")
            })?;
        let path = url.rsplit_once(':').map_or(url, |(path, _)| path);
        let url = endpoint::checked(source_name, FIELD, path, allowed)?;
        let base = AccessTokens::new(base, Arc::clone(wire.clock()));
        let delegates = delegates
            .iter()
            .map(|delegate| resource_name(delegate))
            .collect();
        let account = IamAccount {
            source_name,
            url,
            target,
            delegates,
            include_email: true,
            base,
            wire,
        };
        Ok(Self { account })
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

    /// Asks IAM Credentials at this origin instead of `https://iamcredentials.googleapis.com`: for
    /// another universe, a private endpoint or an emulator.
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
    /// [`SourceErrorKind::Misconfigured`] when target or endpoint make no https URL, or the HTTP
    /// client cannot be set up.
    #[cfg(feature = "reqwest")]
    pub fn build(self) -> Result<Impersonated, SourceError> {
        self.assemble(Wire::ready()?)
    }

    /// The source, on a transport of your own.
    ///
    /// # Errors
    ///
    /// [`SourceErrorKind::Misconfigured`] when target or endpoint make no https URL.
    pub fn build_with(self, transport: impl Transport) -> Result<Impersonated, SourceError> {
        self.assemble(Wire::new(transport))
    }

    fn assemble(self, wire: Wire) -> Result<Impersonated, SourceError> {
        let wire = match self.clock {
            Some(clock) => wire.with_clock(clock.0),
            None => wire,
        };
        let url = account_url(
            NAME,
            self.endpoint.as_deref(),
            DEFAULT_UNIVERSE,
            &self.target,
        )?;
        Ok(Impersonated {
            account: IamAccount {
                source_name: NAME,
                url,
                target: self.target,
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

/// The URL of the resource that `target` is.
pub(crate) fn account_url(
    source_name: &'static str,
    endpoint: Option<&str>,
    universe: &str,
    target: &str,
) -> Result<Uri, SourceError> {
    let origin = match endpoint {
        Some(origin) => origin.trim_end_matches('/').to_owned(),
        None => format!("https://iamcredentials.{universe}"),
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-._@".contains(c);
    if target.is_empty() || !target.chars().all(is_name) {
        return Err(SourceError::new(
            SourceErrorKind::Misconfigured,
            source_name,
            "the target is no service account's e-mail address or unique id",
        ));
    }
    let url = format!("{origin}/v1/projects/-/serviceAccounts/{target}");
    endpoint::https_or_local(&url).ok_or_else(|| {
        SourceError::new(
            SourceErrorKind::Misconfigured,
            source_name,
            "the endpoint makes no https URL (plain http only on this machine)",
        )
    })
}

const NAME: &str = "impersonation";

pub(crate) const DEFAULT_UNIVERSE: &str = "googleapis.com";
