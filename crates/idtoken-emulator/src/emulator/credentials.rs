//! Credentials files, in the forms in which Google's tools write them.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Emulator;
use crate::federation::{SUBJECT_TOKEN_FIELD, imds};
use crate::keys::signing::RsaKey;
use crate::users::{Reauth, User};

/// # Credentials files
///
/// Each names the emulator by its [`url`](Self::url); for a client that insists on https, replace
/// that by [`https_url`](Self::https_url) in the text.
impl Emulator {
    /// Makes a key for a service account, which is added if it is not known, and gives the key
    /// file's text. Its `token_uri` is [`token_url`](Self::token_url).
    #[must_use]
    pub fn key_file(&self, email: &str) -> String {
        let key = Arc::new(RsaKey::generate(self.shared.now()));
        let mut world = self.shared.world();
        let account = world.account_or_new(email);
        world.add(account.clone());
        world.register_key(email, Arc::clone(&key));
        text(&json!({
            "type": "service_account",
            "project_id": account.project(),
            "private_key_id": key.id(),
            "private_key": key.private_pem(),
            "client_email": email,
            "client_id": account.unique_id(),
            "auth_uri": "https://accounts.google.com/o/oauth2/auth",
            "token_uri": self.token_url(),
            "auth_provider_x509_cert_url": self.pem_url(),
            "client_x509_cert_url": format!("{}/robot/v1/metadata/x509/{email}", self.url),
            "universe_domain": "googleapis.com",
        }))
    }

    /// Makes the token endpoint refuse all keys that the account has had so far.
    pub fn revoke_keys(&self, email: &str) {
        self.shared.world().revoke_keys(email);
    }

    /// Signs a person in and gives the text of their `authorized_user` file.
    ///
    /// Its `token_uri` is an addition: the files that gcloud writes have none.
    #[must_use]
    pub fn user_file(&self, user: &User) -> String {
        let refresh_token = self.shared.world().logins.add(user.clone());
        text(&json!({
            "type": "authorized_user",
            "account": "",
            "client_id": user.client_id(),
            "client_secret": user.client_secret(),
            "refresh_token": refresh_token,
            "token_uri": self.token_url(),
            "universe_domain": "googleapis.com",
        }))
    }

    /// Wants a person to prove themselves again, or no longer.
    pub fn set_reauth(&self, email: &str, reauth: Option<Reauth>) {
        self.shared.world().logins.set_reauth(email, reauth);
    }

    /// Ends all sign-ins of a person.
    pub fn sign_out(&self, email: &str) {
        self.shared.world().logins.remove(email);
    }

    /// The text of an `impersonated_service_account` file: `target`, through `delegates`, with the
    /// credentials in `source`, which is the text of another file.
    ///
    /// # Panics
    ///
    /// If `source` is not JSON.
    #[must_use]
    pub fn impersonated_file(&self, source: &str, delegates: &[&str], target: &str) -> String {
        let source: Value = serde_json::from_str(source).expect("source is a credentials file");
        text(&json!({
            "type": "impersonated_service_account",
            "delegates": delegates,
            "service_account_impersonation_url": self.iam_url(target, "generateAccessToken"),
            "source_credentials": source,
        }))
    }

    /// Trusts `subject`, a name of your choice, when it shows this token to this provider, which is
    /// named as in [`provider`](Self::provider). Gives the principal to [`grant`](Self::grant)
    /// roles to.
    #[allow(clippy::must_use_candidate, reason = "called for its effect")]
    pub fn trust(&self, provider: &str, token: &str, subject: &str) -> String {
        self.shared
            .world()
            .federation
            .trust(provider, token, subject)
    }

    /// Trusts the role that the emulated AWS gives its workload. Gives the principal to
    /// [`grant`](Self::grant) roles to.
    #[allow(clippy::must_use_candidate, reason = "called for its effect")]
    pub fn trust_aws(&self, provider: &str) -> String {
        self.shared.world().federation.trust_aws(provider)
    }

    /// The full name of an identity provider in a pool, which is the `audience` of an
    /// `external_account` file.
    #[must_use]
    pub fn provider(&self, pool: &str, provider: &str) -> String {
        let number = self.default_account().project_number();
        format!(
            "//iam.googleapis.com/projects/{number}/locations/global/workloadIdentityPools/{pool}/providers/{provider}"
        )
    }

    /// What [`subject_token_url`](Self::subject_token_url) serves from now on.
    pub fn set_subject_token(&self, token: &str) {
        self.shared.world().federation.served = token.to_owned();
    }

    /// Where a workload elsewhere gets its own platform's token, as plain text, or as the field
    /// `access_token` with `?format=json`. Wants the header `Metadata: True`.
    #[must_use]
    pub fn subject_token_url(&self) -> String {
        format!("{}/subject-token", self.url)
    }

    /// The security token service, which external accounts name in `token_url`.
    #[must_use]
    pub fn sts_url(&self) -> String {
        format!("{}/v1/token", self.url)
    }

    /// The text of an `external_account` file, which impersonates `target` if there is one.
    #[must_use]
    pub fn external_account_file(
        &self,
        provider: &str,
        source: &SubjectSource,
        target: Option<&str>,
    ) -> String {
        let mut file = json!({
            "type": "external_account",
            "audience": provider,
            "credential_source": self.credential_source(source),
            "subject_token_type": source.token_type(),
            "token_url": self.sts_url(),
            "universe_domain": "googleapis.com",
        });
        if let Some(target) = target {
            let url = self.iam_url(target, "generateAccessToken");
            file["service_account_impersonation_url"] = url.into();
        }
        text(&file)
    }

    fn credential_source(&self, source: &SubjectSource) -> Value {
        let url = &self.url;
        match source {
            SubjectSource::Aws => json!({
                "environment_id": "aws1",
                "imdsv2_session_token_url": format!("{url}{}", imds::SESSION_PATH),
                "region_url": format!("{url}{}", imds::REGION_PATH),
                "regional_cred_verification_url":
                    "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15",
                "url": format!("{url}{}", imds::ROLES_PATH),
            }),
            SubjectSource::Executable { command } => {
                json!({ "executable": { "command": command, "timeout_millis": 5_000 } })
            }
            SubjectSource::File { path } => json!({ "file": path, "format": { "type": "text" } }),
            SubjectSource::JsonUrl => json!({
                "format": { "type": "json", "subject_token_field_name": SUBJECT_TOKEN_FIELD },
                "headers": { "Metadata": "True" },
                "url": format!("{}?format=json", self.subject_token_url()),
            }),
            SubjectSource::Url => json!({
                "headers": { "Metadata": "True" },
                "url": self.subject_token_url(),
            }),
        }
    }
}

/// Where an external account gets the token of its own platform.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SubjectSource {
    /// The emulated AWS: its role signs a request.
    Aws,
    /// A command that prints it.
    Executable {
        /// The command line.
        command: String,
    },
    /// A file that holds it.
    File {
        /// Where the file is.
        path: String,
    },
    /// The emulator's [`subject_token_url`](Emulator::subject_token_url), as JSON.
    JsonUrl,
    /// The same as plain text.
    Url,
}

impl SubjectSource {
    fn token_type(&self) -> &'static str {
        match self {
            Self::Aws => "urn:ietf:params:aws:token-type:aws4_request",
            _ => "urn:ietf:params:oauth:token-type:jwt",
        }
    }
}

fn text(file: &Value) -> String {
    format!("{file:#}\n")
}
