//! The gcloud command, for machines where it is the only login there is.

use std::time::Duration;

use super::TokenSource;
use super::program::Program;
use crate::audience::Audience;
use crate::error::{SourceError, SourceErrorKind};
use crate::token::IdToken;

/// ID tokens from `gcloud auth print-identity-token`.
///
/// Runs gcloud for each token, which takes seconds; the cache makes that one run an hour. gcloud
/// gives a service account's token any audience. A person's token it gives only for gcloud's own
/// client, which Cloud Run accepts from developers: that takes
/// [`danger_accept_client_audience`](Self::danger_accept_client_audience), or impersonation.
///
/// ```
/// use idtoken::source::Gcloud;
///
/// let source = Gcloud::new().impersonate("caller@project.iam.gserviceaccount.com");
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Gcloud {
    program: String,
    impersonate: Option<String>,
    accept_client_audience: bool,
    timeout: Duration,
}

impl Gcloud {
    /// `gcloud`, as found on the path.
    pub fn new() -> Self {
        Self {
            program: "gcloud".to_owned(),
            impersonate: None,
            accept_client_audience: false,
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// Runs this program instead: a path, or a name to look for on the path.
    pub fn program(mut self, program: impl Into<String>) -> Self {
        self.program = program.into();
        self
    }

    /// Impersonates this service account; its tokens carry its e-mail address. The account that
    /// gcloud is logged in with needs `roles/iam.serviceAccountTokenCreator` on it, since gcloud
    /// asks for an access token as well.
    pub fn impersonate(mut self, email: impl Into<String>) -> Self {
        self.impersonate = Some(email.into());
        self
    }

    /// Hands out the token that gcloud has for its own client whatever audience is asked for. See
    /// [`AuthorizedUser`](super::AuthorizedUser::danger_accept_client_audience) for what that means.
    pub fn danger_accept_client_audience(mut self) -> Self {
        self.accept_client_audience = true;
        self
    }

    /// How long one run may take; 30 s by default. Give the cache a fetch timeout that is as long.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    fn arguments(&self, audience: &Audience) -> Vec<String> {
        let mut arguments = vec!["auth".to_owned(), "print-identity-token".to_owned()];
        // One argument each, so that no audience can become an option.
        if let Some(email) = &self.impersonate {
            arguments.push(format!("--impersonate-service-account={email}"));
            arguments.push("--include-email".to_owned());
        }
        if !self.accept_client_audience {
            arguments.push(format!("--audiences={audience}"));
        }
        arguments.push("--quiet".to_owned());
        arguments
    }
}

impl Default for Gcloud {
    fn default() -> Self {
        Self::new()
    }
}

impl TokenSource for Gcloud {
    async fn fetch(&self, audience: &Audience) -> Result<IdToken, SourceError> {
        if audience.as_str().contains(',') {
            return Err(SourceError::new(
                SourceErrorKind::Misconfigured,
                NAME,
                "gcloud takes an audience with a comma for two",
            ));
        }
        let program = Program::new(NAME, &self.program, self.arguments(audience), self.timeout);
        let output = program.run().await?.success().map_err(explain)?;
        let token = IdToken::new(output.trim()).map_err(|error| {
            let message = "gcloud printed something other than an ID token";
            SourceError::new(SourceErrorKind::InvalidAnswer, NAME, message).with_cause(error)
        })?;
        Ok(if self.accept_client_audience {
            token.danger_for_any_audience()
        } else {
            token
        })
    }
}

fn explain(error: SourceError) -> SourceError {
    if error
        .to_string()
        .contains("Invalid account type for `--audiences`")
    {
        error.with_advice(
            "gcloud is logged in as a person, whose token cannot have this audience: impersonate \
             a service account with Gcloud::new().impersonate(\"NAME@PROJECT.iam.gserviceaccount.com\")",
        )
    } else {
        error
    }
}

const NAME: &str = "gcloud";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
