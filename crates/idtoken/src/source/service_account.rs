//! A service account's downloaded key, exchanged for ID tokens.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use self::assertion::{Assertion, Purpose};
use self::key_file::KeyFile;
use self::watched::WatchedKey;
use super::TokenSource;
use super::access::{AccessToken, AccessTokens, Identity};
use super::endpoint::AllowedHosts;
use super::file::CredentialsFile;
use super::iam::IamAccount;
use super::impersonated::Target;
use super::oauth::Answer;
use super::wire::{Wire, form_post};
use crate::audience::Audience;
use crate::clock::Clock;
use crate::error::{SourceError, SourceErrorKind};
use crate::token::IdToken;
use crate::transport::Transport;

mod assertion;
mod key_file;
mod watched;

/// ID tokens for a service account, from its JSON key file.
///
/// Signs a short assertion with the key and exchanges it at the file's `token_uri` (RFC 7523, with
/// Google's `target_audience` claim). The token names the account by e-mail. The caller needs no
/// permission beyond having the key, which is why keys are better avoided: prefer the metadata
/// server or impersonation where they are to be had.
///
/// A file that changes on disk, as mounted secrets do, is read again at the next fetch. In another
/// universe than `googleapis.com` there is no such exchange: there the key signs for
/// `generateIdToken`, and the account needs `roles/iam.serviceAccountOpenIdTokenCreator` on itself.
///
/// A key file is untrusted input: its `token_uri` must be https and lead to Google, or to this
/// machine, and so must its universe. Where others are meant, allow them with
/// [`DefaultSourceBuilder::allow_host`](super::DefaultSourceBuilder::allow_host), which takes the
/// same files; for a universe, [`with_iam_endpoint`](Self::with_iam_endpoint) does as well.
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
    key: Arc<WatchedKey>,
    wire: Wire,
    extra_claims: Map<String, Value>,
    iam_endpoint: Option<String>,
}

impl ServiceAccountKey {
    /// Reads the key file at `path`, to be used on the ready-made transport.
    ///
    /// # Errors
    ///
    /// [`SourceErrorKind::Misconfigured`], naming the file and the field at fault, when the file is
    /// missing, longer than 64 KiB, not JSON, of another type than `service_account`, its key cannot
    /// be used, or its `token_uri` leads elsewhere than to Google or this machine.
    #[cfg(feature = "reqwest")]
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, SourceError> {
        let file = CredentialsFile::read(path.as_ref())?;
        Self::from_credentials(&file, &AllowedHosts::default(), Wire::ready()?)
    }

    /// Takes the text of a key file, to be used on the ready-made transport.
    ///
    /// # Errors
    ///
    /// As [`from_file`](Self::from_file).
    #[cfg(feature = "reqwest")]
    pub fn from_json(json: &str) -> Result<Self, SourceError> {
        Self::from_credentials(&given(json)?, &AllowedHosts::default(), Wire::ready()?)
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
        let file = CredentialsFile::read(path.as_ref())?;
        Self::from_credentials(&file, &AllowedHosts::default(), Wire::new(transport))
    }

    /// Takes the text of a key file, to be used on a transport of your own.
    ///
    /// # Errors
    ///
    /// As [`from_file`](Self::from_file).
    pub fn from_json_with(json: &str, transport: impl Transport) -> Result<Self, SourceError> {
        let wire = Wire::new(transport);
        Self::from_credentials(&given(json)?, &AllowedHosts::default(), wire)
    }

    /// Reads the time for the assertion from `clock`.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.wire = self.wire.with_clock(Arc::new(clock));
        self
    }

    /// Bounds one try by `per_try` (3 s by default) and all tries by `total` (9 s by default).
    #[must_use]
    pub fn with_timeouts(mut self, per_try: Duration, total: Duration) -> Self {
        self.wire.limits.per_try = per_try;
        self.wire.limits.total = total;
        self
    }

    /// Puts a claim of your own into the assertion. In another universe there is none, and a fetch
    /// with such a claim is an error.
    ///
    /// # Errors
    ///
    /// [`SourceErrorKind::Misconfigured`] for the claims that the exchange itself is made of:
    /// `iss`, `sub`, `aud`, `iat`, `exp`, `target_audience`, and `scope`, which excludes it.
    pub fn with_claim(
        mut self,
        name: impl Into<String>,
        value: impl Into<Value>,
    ) -> Result<Self, SourceError> {
        let name = name.into();
        if assertion::RESERVED.contains(&name.as_str()) {
            return Err(misconfigured(format!(
                "the claim \"{name}\" is not for you to set"
            )));
        }
        self.extra_claims.insert(name, value.into());
        Ok(self)
    }

    /// Asks IAM Credentials at this origin, where the key's universe has no token endpoint.
    #[must_use]
    pub fn with_iam_endpoint(mut self, origin: impl Into<String>) -> Self {
        self.iam_endpoint = Some(origin.into());
        self
    }

    /// The account's e-mail address.
    #[must_use]
    pub fn email(&self) -> String {
        self.key.current().email.clone()
    }

    /// An access token that needs no exchange: a JWT signed by the key itself, for IAM only.
    pub(crate) fn self_signed_token(&self) -> Result<AccessToken, SourceError> {
        let key = self.key.latest();
        let now = self.wire.now();
        let jwt = Assertion::new(&key, Purpose::CallIam, now, &Map::new()).sign(&key)?;
        AccessToken::new(NAME, &jwt, now, assertion::LIFETIME)
    }

    /// Where the IAM Credentials of the key's universe are.
    pub(crate) fn iam_origin(&self) -> Result<String, SourceError> {
        match &self.iam_endpoint {
            Some(origin) => Ok(origin.clone()),
            None => self.key.current().universe.iam_origin(NAME),
        }
    }

    pub(crate) fn from_credentials(
        file: &CredentialsFile,
        allowed: &AllowedHosts,
        wire: Wire,
    ) -> Result<Self, SourceError> {
        Ok(Self {
            key: Arc::new(WatchedKey::of(file, allowed)?),
            wire,
            extra_claims: Map::new(),
            iam_endpoint: None,
        })
    }

    fn request(&self, key: &KeyFile, audience: &Audience) -> Result<Request<Bytes>, SourceError> {
        let purpose = Purpose::Exchange {
            target_audience: audience.as_str(),
        };
        let assertion = Assertion::new(key, purpose, self.wire.now(), &self.extra_claims);
        let assertion = assertion.sign(key)?;
        form_post(
            NAME,
            &key.token_uri,
            &[
                ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
                ("assertion", &assertion),
            ],
        )
    }

    /// Outside the default universe: the account mints its own token through IAM.
    async fn fetch_by_iam(
        &self,
        key: &KeyFile,
        audience: &Audience,
    ) -> Result<IdToken, SourceError> {
        if let Some(name) = self.extra_claims.keys().next() {
            return Err(misconfigured(format!(
                "the claim \"{name}\" has no place in another universe, where no assertion is \
                 exchanged"
            )));
        }
        let base = Identity::ServiceAccount(self.clone());
        IamAccount {
            source_name: NAME,
            target: Target::at(NAME, &self.iam_origin()?, &key.email)?,
            delegates: Vec::new(),
            include_email: true,
            base: AccessTokens::new(base, Arc::clone(self.wire.clock())),
            wire: self.wire.clone(),
        }
        .id_token(audience)
        .await
    }
}

impl TokenSource for ServiceAccountKey {
    async fn fetch(&self, audience: &Audience) -> Result<IdToken, SourceError> {
        let key = self.key.latest();
        if !key.universe.is_default() {
            return self.fetch_by_iam(&key, audience).await;
        }
        self.wire
            .exchange(NAME, || self.request(&key, audience), read)
            .await
    }
}

impl fmt::Debug for ServiceAccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key.current();
        f.debug_struct("ServiceAccountKey")
            .field("email", &key.email)
            .field("token_uri", &key.token_uri)
            .finish_non_exhaustive()
    }
}

fn given(json: &str) -> Result<CredentialsFile, SourceError> {
    CredentialsFile::parse(Zeroizing::new(json.to_owned()), "the key given".to_owned())
}

fn read(response: &Response<Bytes>) -> Result<IdToken, SourceError> {
    let answer = Answer::read(NAME, response)?;
    let jwt = answer
        .id_token
        .ok_or_else(|| invalid("the answer has no id_token in it"))?;
    IdToken::new(&jwt).map_err(|error| invalid("the id_token is not an ID token").with_cause(error))
}

fn invalid(message: &str) -> SourceError {
    SourceError::new(SourceErrorKind::InvalidAnswer, NAME, message)
}

fn misconfigured(message: impl AsRef<str>) -> SourceError {
    SourceError::new(SourceErrorKind::Misconfigured, NAME, message)
}

const NAME: &str = "service account key";

#[cfg(test)]
mod tests;
