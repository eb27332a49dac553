//! A person's login, as gcloud leaves it behind.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use http::{HeaderValue, Uri};
use serde::Deserialize;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::TokenSource;
use super::access::AccessToken;
use super::endpoint::{self, AllowedHosts};
use super::file::{self, CredentialsFile};
use super::oauth::Answer;
use super::wire::{Wire, form_post};
use crate::audience::Audience;
use crate::clock::Clock;
use crate::error::{SourceError, SourceErrorKind};
use crate::token::IdToken;
use crate::transport::Transport;

/// The tokens of a person who logged in with gcloud (`authorized_user` credentials).
///
/// A person's ID token is always made out to the OAuth client that they logged in with; **its
/// audience cannot be chosen**. So by default this source refuses every audience but that client's,
/// and its main use is as the base of [`Impersonated`](super::Impersonated).
///
/// ```no_run
/// use idtoken::source::{AuthorizedUser, Impersonated};
///
/// # fn run() -> Result<(), idtoken::SourceError> {
/// let me = AuthorizedUser::from_file("application_default_credentials.json")?;
/// let tokens = Impersonated::builder("caller@project.iam.gserviceaccount.com", me).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct AuthorizedUser {
    login: Arc<Login>,
    token_url: Uri,
    accept_client_audience: bool,
    quota_project: Option<HeaderValue>,
    wire: Wire,
}

impl AuthorizedUser {
    /// Reads the credentials file at `path`, to be used on the ready-made transport.
    ///
    /// # Errors
    ///
    /// [`SourceErrorKind::Misconfigured`], naming the file and the field at fault.
    #[cfg(feature = "reqwest")]
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, SourceError> {
        Self::read(path.as_ref(), Wire::ready()?)
    }

    /// Reads the credentials file at `path`, to be used on a transport of your own.
    ///
    /// # Errors
    ///
    /// As [`from_file`](Self::from_file).
    pub fn from_file_with(
        path: impl AsRef<Path>,
        transport: impl Transport,
    ) -> Result<Self, SourceError> {
        Self::read(path.as_ref(), Wire::new(transport))
    }

    /// Hands out the person's token whatever audience is asked for.
    ///
    /// Cloud Run takes tokens made out to gcloud's own client
    /// (`32555940559.apps.googleusercontent.com`) from developers; `gcloud auth login --update-adc`
    /// leaves such a login behind, `gcloud auth application-default login` does not. Any service
    /// that receives the token can use it at every other service that makes the same exception, so
    /// this is for development only.
    #[must_use]
    pub fn danger_accept_client_audience(mut self) -> Self {
        self.accept_client_audience = true;
        self
    }

    /// Lets this project pay for calls that are made on the person's authority, instead of the one
    /// that the file names as `quota_project_id`. The person needs
    /// `roles/serviceusage.serviceUsageConsumer` on it.
    ///
    /// # Errors
    ///
    /// [`SourceErrorKind::Misconfigured`] when `project` has characters that no project has.
    pub fn with_quota_project(mut self, project: &str) -> Result<Self, SourceError> {
        self.quota_project = Some(endpoint::project(NAME, project)?);
        Ok(self)
    }

    /// Reads the time from `clock`.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.wire = self.wire.with_clock(Arc::new(clock));
        self
    }

    /// The OAuth client that the person logged in with: the audience of their tokens.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.login.client_id
    }

    fn read(path: &Path, wire: Wire) -> Result<Self, SourceError> {
        let file = CredentialsFile::read(path)?;
        Self::from_credentials(&file, &AllowedHosts::default(), wire)
    }

    pub(crate) fn from_credentials(
        file: &CredentialsFile,
        allowed: &AllowedHosts,
        wire: Wire,
    ) -> Result<Self, SourceError> {
        let fields: Fields = file.fields("authorized_user")?;
        let login = Login {
            client_id: file::required(file, "client_id", fields.client_id)?,
            client_secret: file::required(file, "client_secret", fields.client_secret)?,
            refresh_token: file::required(file, "refresh_token", fields.refresh_token)?,
        };
        let token_url = fields.token_uri.as_deref().unwrap_or(TOKEN_URL);
        let token_url = endpoint::checked(file, "token_uri", token_url, allowed)?;
        let quota_project = fields
            .quota_project_id
            .map(|project| endpoint::project(NAME, &project))
            .transpose()?;
        Ok(Self {
            login: Arc::new(login),
            token_url,
            accept_client_audience: false,
            quota_project,
            wire,
        })
    }

    pub(crate) fn quota_project(&self) -> Option<&HeaderValue> {
        self.quota_project.as_ref()
    }

    pub(crate) async fn access_token(&self, deadline: Instant) -> Result<AccessToken, SourceError> {
        let answer = self.refresh(&self.wire.until(deadline)).await?;
        let Some(token) = &answer.access_token else {
            return Err(invalid("the answer has no access_token in it"));
        };
        AccessToken::new(NAME, token, self.wire.now(), answer.lifetime())
    }

    /// The refresh grant (RFC 6749 §6).
    async fn refresh(&self, wire: &Wire) -> Result<Answer, SourceError> {
        let request = || {
            form_post(
                NAME,
                &self.token_url,
                &[
                    ("grant_type", "refresh_token"),
                    ("client_id", &self.login.client_id),
                    ("client_secret", &self.login.client_secret),
                    ("refresh_token", &self.login.refresh_token),
                ],
            )
        };
        wire.exchange(NAME, request, |response| Answer::read(NAME, response))
            .await
    }

    fn other_audience(&self, audience: &Audience) -> SourceError {
        SourceError::new(
            SourceErrorKind::Misconfigured,
            NAME,
            format!(
                "a person's token is always for the client {}, never for {audience}",
                self.login.client_id
            ),
        )
        .with_advice(
            "either impersonate a service account, with \
             source::impersonating(\"NAME@PROJECT.iam.gserviceaccount.com\").await? after \
             `gcloud iam service-accounts add-iam-policy-binding \
             NAME@PROJECT.iam.gserviceaccount.com --member=user:YOU@EXAMPLE.COM \
             --role=roles/iam.serviceAccountOpenIdTokenCreator`; or, for development against Cloud \
             Run only, call danger_accept_client_audience() after `gcloud auth login --update-adc`",
        )
    }
}

impl TokenSource for AuthorizedUser {
    async fn fetch(&self, audience: &Audience) -> Result<IdToken, SourceError> {
        if !self.accept_client_audience && audience.as_str() != self.login.client_id {
            return Err(self.other_audience(audience));
        }
        let answer = self.refresh(&self.wire).await?;
        let jwt = answer.id_token.ok_or_else(|| {
            SourceError::new(
                SourceErrorKind::Refused,
                NAME,
                "the login includes no ID token",
            )
            .with_advice(
                "log in again with the openid scope: gcloud auth application-default login \
                     --scopes=openid,https://www.googleapis.com/auth/userinfo.email,\
                     https://www.googleapis.com/auth/cloud-platform",
            )
        })?;
        let token = IdToken::new(&jwt)
            .map_err(|error| invalid("the id_token is not an ID token").with_cause(error))?;
        Ok(if self.accept_client_audience {
            token.danger_for_any_audience()
        } else {
            token
        })
    }
}

impl fmt::Debug for AuthorizedUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizedUser")
            .field("client_id", &self.login.client_id)
            .finish_non_exhaustive()
    }
}

struct Login {
    client_id: String,
    client_secret: Zeroizing<String>,
    refresh_token: Zeroizing<String>,
}

#[derive(Deserialize)]
struct Fields {
    client_id: Option<String>,
    client_secret: Option<Zeroizing<String>>,
    refresh_token: Option<Zeroizing<String>>,
    token_uri: Option<String>,
    quota_project_id: Option<String>,
}

fn invalid(message: &str) -> SourceError {
    SourceError::new(SourceErrorKind::InvalidAnswer, NAME, message)
}

const NAME: &str = "user credentials";
const TOKEN_URL: &str = "https://oauth2.googleapis.com/token";
