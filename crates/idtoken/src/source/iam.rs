//! IAM Credentials' `generateIdToken`: an ID token for a service account, on another's authority.

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Request, Response, StatusCode, Uri};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::access::AccessTokens;
use super::oauth::shape;
use super::wire::Wire;
use crate::audience::Audience;
use crate::error::{SourceError, SourceErrorKind};
use crate::exchange::status_error;
use crate::token::IdToken;

/// Everything about the call but the audience.
#[derive(Clone, Debug)]
pub(crate) struct GenerateIdToken {
    pub(crate) source_name: &'static str,
    pub(crate) url: Uri,
    /// The account whose token it will be, for advice.
    pub(crate) target: String,
    /// The accounts in between, as resource names.
    pub(crate) delegates: Vec<String>,
    pub(crate) include_email: bool,
    pub(crate) base: AccessTokens,
    pub(crate) wire: Wire,
}

impl GenerateIdToken {
    pub(crate) async fn fetch(&self, audience: &Audience) -> Result<IdToken, SourceError> {
        let access = self.base.get().await?;
        let body = serde_json::to_vec(&Body {
            audience: audience.as_str(),
            delegates: &self.delegates,
            include_email: self.include_email,
        })
        .map(Bytes::from)
        .map_err(|error| self.fail("the request cannot be written").with_cause(error))?;
        let request = || {
            Request::post(self.url.clone())
                .header(AUTHORIZATION, access.bearer.clone())
                .header(CONTENT_TYPE, "application/json")
                .body(body.clone())
                .map_err(|error| self.fail("the endpoint cannot be asked").with_cause(error))
        };
        let outcome = self
            .wire
            .exchange(self.source_name, request, |response| self.read(response))
            .await;
        if let Err(error) = &outcome
            && error.status() == Some(StatusCode::UNAUTHORIZED)
        {
            self.base.distrust(&access);
        }
        outcome
    }

    fn read(&self, response: &Response<Bytes>) -> Result<IdToken, SourceError> {
        if !response.status().is_success() {
            return Err(self.refusal(response));
        }
        let answer: Answer = serde_json::from_slice(response.body()).map_err(|error| {
            self.invalid("the answer is not the JSON expected")
                .with_cause(shape(&error))
        })?;
        let jwt = answer
            .token
            .ok_or_else(|| self.invalid("the answer has no token in it"))?;
        IdToken::new(&jwt).map_err(|error| {
            self.invalid("the token is not an ID token")
                .with_cause(error)
        })
    }

    fn refusal(&self, response: &Response<Bytes>) -> SourceError {
        let Ok(Refusal { error: refusal }) = serde_json::from_slice(response.body()) else {
            return status_error(
                self.source_name,
                response,
                "IAM Credentials answered with an error",
            );
        };
        let error = status_error(self.source_name, response, &refusal.message);
        let error = match &refusal.status {
            Some(status) => error.with_code(status),
            None => error,
        };
        let target = &self.target;
        match response.status() {
            StatusCode::FORBIDDEN => error.with_advice(format!(
                "the caller may not mint tokens for {target}: gcloud iam service-accounts \
                 add-iam-policy-binding {target} --member=CALLER \
                 --role=roles/iam.serviceAccountOpenIdTokenCreator (a grant takes minutes to work)"
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
struct Body<'a> {
    audience: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    delegates: &'a [String],
    include_email: bool,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<Zeroizing<String>>,
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
