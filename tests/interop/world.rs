//! An emulated Google, and a file for each way to one of its tokens.

use std::collections::BTreeMap;
use std::path::PathBuf;

use idtoken::source::{AuthorizedUser, DefaultSource, Environment, MetadataServer};
use idtoken::{Audience, Principal, TokenSource, Verifier};
use idtoken_emulator::{Account, Emulator, Home, Role, SubjectSource, User};
use tokio::process::Command;

/// An emulator, and a file for each way to a token.
pub(crate) struct World {
    pub(crate) google: Emulator,
    pub(crate) home: Home,
    pub(crate) files: BTreeMap<&'static str, PathBuf>,
}

impl World {
    pub(crate) async fn new() -> Self {
        let google = Emulator::start().await.unwrap();
        google.attach(ATTACHED);
        for email in [CALLER, TARGET] {
            google.add_account(Account::new(email));
        }
        // Google's clients ask for an access token of the target first, which takes the wider role.
        google.grant(CALLER, Role::TokenCreator, TARGET);
        let provider = google.provider("pool", "provider");
        let principal = google.trust(&provider, SUBJECT_TOKEN, "workload");
        google.grant(&principal, Role::WorkloadIdentityUser, TARGET);
        google.grant(&principal, Role::TokenCreator, TARGET);

        let home = google.home().unwrap();
        let subject = home.write("subject-token", SUBJECT_TOKEN).unwrap();
        let subject = SubjectSource::File {
            path: subject.to_str().unwrap().to_owned(),
        };
        let key = google.key_file(CALLER);
        let files = [
            ("KEY_FILE", key.clone()),
            (
                "IMPERSONATED_FILE",
                google.impersonated_file(&key, &[], TARGET),
            ),
            (
                "EXTERNAL_FILE",
                google.external_account_file(&provider, &subject, Some(TARGET)),
            ),
            ("USER_FILE", google.user_file(&User::new(USER))),
        ];
        let files = files.map(|(name, text)| (name, home.write(name, &text).unwrap()));
        Self {
            google,
            home,
            files: files.into(),
        }
    }

    /// What the source for that file gives, for the audience that theirs was asked for.
    pub(crate) async fn our_token(&self, exchange: &str, audience: &str) -> String {
        let audience = Audience::new(audience).unwrap();
        let file = |name: &str| self.files[name].to_str().unwrap().to_owned();
        let found = async |name: &str| {
            let variable = "GOOGLE_APPLICATION_CREDENTIALS";
            let environment = Environment::default().set(variable, file(name));
            let source = DefaultSource::builder().environment(environment);
            source.build().await.unwrap().fetch(&audience).await
        };
        let token = match exchange {
            "metadata" => {
                let source = MetadataServer::builder().host(self.google.host());
                source.build().unwrap().fetch(&audience).await
            }
            "key_file" => found("KEY_FILE").await,
            "impersonated" => found("IMPERSONATED_FILE").await,
            "external_account" => found("EXTERNAL_FILE").await,
            "user" => {
                let source = AuthorizedUser::from_file(file("USER_FILE")).unwrap();
                source.fetch(&audience).await
            }
            other => panic!("no such exchange: {other}"),
        };
        let bearer = token.unwrap().bearer().clone();
        let bearer = bearer.to_str().unwrap();
        bearer.strip_prefix("Bearer ").unwrap().to_owned()
    }

    /// Whose token that way gives.
    pub(crate) fn account_of(&self, exchange: &str) -> &'static str {
        match exchange {
            "metadata" => ATTACHED,
            "key_file" => CALLER,
            "impersonated" | "external_account" => TARGET,
            "user" => USER,
            other => panic!("no such exchange: {other}"),
        }
    }

    /// Our verifier accepts the token, and no other account's: by address, or by number where a
    /// token holds none.
    pub(crate) async fn accepts(&self, token: &str, audience: &str, account: &str) {
        let subject = Account::new(account).unique_id().to_owned();
        let verifier = Verifier::builder()
            .audience(audience)
            .allow(Principal::email(account))
            .allow(Principal::subject(subject))
            .jwks_url(self.google.jwks_url())
            .build()
            .unwrap();
        verifier.verify(token).await.unwrap();
    }

    /// The OAuth client of the user's file, which is the audience of the user's tokens.
    pub(crate) fn user_client_id(&self) -> String {
        let file = std::fs::read(&self.files["USER_FILE"]).unwrap();
        let file: serde_json::Value = serde_json::from_slice(&file).unwrap();
        file["client_id"].as_str().unwrap().to_owned()
    }

    /// Tells a client's program where everything is.
    pub(crate) fn describe(&self, command: &mut Command) {
        command
            .envs(self.google.env())
            .envs(self.google.proxy_env(self.home.ca_file()))
            .envs(self.home.env())
            .envs(&self.files)
            // Or google-auth-library asks gcloud for it, which asks the metadata server on its own.
            .env("GOOGLE_CLOUD_PROJECT", "shop")
            .env("INTEROP_AUDIENCE", AUDIENCE)
            .env("INTEROP_TARGET", TARGET)
            .env("INTEROP_TOKEN_URL", self.google.token_url())
            .env("INTEROP_JWKS_URL", self.google.jwks_url())
            .env("INTEROP_PEM_URL", self.google.pem_url());
    }
}

pub(crate) const ATTACHED: &str = "frontend@shop.iam.gserviceaccount.com";
pub(crate) const CALLER: &str = "caller@shop.iam.gserviceaccount.com";
pub(crate) const TARGET: &str = "target@shop.iam.gserviceaccount.com";
pub(crate) const AUDIENCE: &str = "https://hello-abc.a.run.app";
const USER: &str = "me@example.com";
const SUBJECT_TOKEN: &str = "subject-token-of-the-workload";
