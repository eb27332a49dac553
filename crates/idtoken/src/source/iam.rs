//! IAM Credentials: tokens for a service account, on another's authority.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName};
use http::{Request, Response, StatusCode, Uri};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::access::{AccessToken, AccessTokens};
use super::answer;
use super::impersonated::Target;
use super::wire::Wire;
use crate::audience::Audience;
use crate::error::{SourceError, SourceErrorKind};
use crate::exchange::status_error;
use crate::token::IdToken;

/// A service account to be spoken for, and on whose authority.
#[derive(Clone, Debug)]
pub(crate) struct IamAccount {
    pub(crate) source_name: &'static str,
    pub(crate) target: Target,
    /// The accounts in between, as resource names.
    pub(crate) delegates: Vec<String>,
    pub(crate) include_email: bool,
    pub(crate) base: AccessTokens,
    pub(crate) wire: Wire,
}

impl IamAccount {
    /// The service that the account is asked of.
    pub(crate) fn origin(&self) -> Result<String, SourceError> {
        let url = &self.target.url;
        let authority = url.authority().map_or("", |authority| authority.as_str());
        Ok(format!(
            "{}://{authority}",
            url.scheme_str().unwrap_or("https")
        ))
    }

    pub(crate) async fn id_token(&self, audience: &Audience) -> Result<IdToken, SourceError> {
        let body = GenerateIdToken {
            audience: audience.as_str(),
            delegates: &self.delegates,
            include_email: self.include_email,
        };
        let role = "serviceAccountOpenIdTokenCreator";
        let deadline = self.wire.limits.deadline() + self.base.identity().patience();
        let answer: IdTokenAnswer = self.call("generateIdToken", role, &body, deadline).await?;
        let jwt = answer
            .token
            .ok_or_else(|| self.invalid("the answer has no token in it"))?;
        IdToken::new(&jwt).map_err(|error| {
            self.invalid("the token is not an ID token")
                .with_cause(error)
        })
    }

    /// An access token, for an account that is the base of another impersonation. There is no other
    /// way then; an ID token of the account's own takes none.
    pub(crate) async fn access_token(&self, deadline: Instant) -> Result<AccessToken, SourceError> {
        let body = GenerateAccessToken {
            delegates: &self.delegates,
            scope: [SCOPE],
            lifetime: format!("{}s", LIFETIME.as_secs()),
        };
        // Counted from before it was asked for, so never too long.
        let now = self.wire.now();
        let role = "serviceAccountTokenCreator";
        let answer: AccessTokenAnswer = self
            .call("generateAccessToken", role, &body, deadline)
            .await?;
        let token = answer
            .access_token
            .ok_or_else(|| self.invalid("the answer has no accessToken in it"))?;
        AccessToken::new(self.source_name, &token, now, LIFETIME)
    }

    /// Calls a method that takes `role`. An access token that was kept may have been revoked since,
    /// so after a 401 there is one more try with a fresh one. All of it has one deadline.
    async fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        role: &str,
        body: &impl Serialize,
        deadline: Instant,
    ) -> Result<T, SourceError> {
        let wire = self.wire.until(deadline);
        let url: Uri = format!("{}:{method}", self.target.url)
            .parse()
            .map_err(|error| self.fail("the endpoint makes no URL").with_cause(error))?;
        let body = serde_json::to_vec(body)
            .map(Bytes::from)
            .map_err(|error| self.fail("the request cannot be written").with_cause(error))?;
        let access = self.base.get(deadline).await?;
        let outcome = self.call_with(&wire, &access, &url, role, &body).await;
        match outcome {
            Err(error) if error.status() == Some(StatusCode::UNAUTHORIZED) => {
                self.base.distrust(&access);
                let access = self.base.get(deadline).await?;
                self.call_with(&wire, &access, &url, role, &body).await
            }
            outcome => outcome,
        }
    }

    async fn call_with<T: DeserializeOwned>(
        &self,
        wire: &Wire,
        access: &AccessToken,
        url: &Uri,
        role: &str,
        body: &Bytes,
    ) -> Result<T, SourceError> {
        let request = || {
            let mut request = Request::post(url.clone())
                .header(AUTHORIZATION, access.bearer.clone())
                .header(CONTENT_TYPE, "application/json");
            if let Some(project) = self.base.identity().quota_project() {
                request = request.header(USER_PROJECT, project.clone());
            }
            request
                .body(body.clone())
                .map_err(|error| self.fail("the endpoint cannot be asked").with_cause(error))
        };
        let read = |response: &Response<Bytes>| {
            if !response.status().is_success() {
                return Err(self.refusal(role, response));
            }
            answer::json(self.source_name, response)
        };
        wire.exchange(self.source_name, request, read).await
    }

    fn refusal(&self, role: &str, response: &Response<Bytes>) -> SourceError {
        let Ok(Refusal { error: refusal }) = serde_json::from_slice(response.body()) else {
            return answer::not_json(self.source_name, response);
        };
        let error = status_error(self.source_name, response, &refusal.message);
        let error = match &refusal.status {
            Some(status) => error.with_code(status),
            None => error,
        };
        let target = &self.target.name;
        match response.status() {
            StatusCode::FORBIDDEN if refusal.message.contains("authentication scopes") => error
                .with_advice(
                    "the base credential's access token lacks the scope cloud-platform: on a \
                     virtual machine set its access scopes, on a laptop log in again with it",
                ),
            StatusCode::FORBIDDEN => error.with_advice(format!(
                "the caller may not mint tokens for {target}: gcloud iam service-accounts \
                 add-iam-policy-binding {target} --member=CALLER --role=roles/iam.{role} \
                 (a grant takes minutes to work)"
            )),
            StatusCode::NOT_FOUND => error.with_advice(format!("is there an account {target}?")),
            StatusCode::UNAUTHORIZED => {
                error.with_advice("the base credential's access token was not accepted")
            }
            _ => error,
        }
    }

    fn fail(&self, message: &str) -> SourceError {
        SourceError::new(SourceErrorKind::Misconfigured, self.source_name, message)
    }

    fn invalid(&self, message: &str) -> SourceError {
        SourceError::new(SourceErrorKind::InvalidAnswer, self.source_name, message)
    }
}

/// `projects/-/serviceAccounts/EMAIL`, the form that delegates take; the dash is part of it.
pub(crate) fn resource_name(email: &str) -> String {
    if email.starts_with("projects/") {
        email.to_owned()
    } else {
        format!("projects/-/serviceAccounts/{email}")
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GenerateIdToken<'a> {
    audience: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    delegates: &'a [String],
    include_email: bool,
}

#[derive(Serialize)]
struct GenerateAccessToken<'a> {
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    delegates: &'a [String],
    scope: [&'static str; 1],
    lifetime: String,
}

#[derive(Deserialize)]
struct IdTokenAnswer {
    token: Option<Zeroizing<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AccessTokenAnswer {
    access_token: Option<Zeroizing<String>>,
}

#[derive(Deserialize)]
struct Refusal {
    error: Status,
}

#[derive(Deserialize)]
struct Status {
    message: String,
    status: Option<String>,
}

const SCOPE: &str = "https://www.googleapis.com/auth/iam";

/// Google's default; longer ones take an exception from the organisation's policy.
const LIFETIME: Duration = Duration::from_secs(3_600);

const USER_PROJECT: HeaderName = HeaderName::from_static("x-goog-user-project");
