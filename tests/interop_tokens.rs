//! The same files for Google's clients and for our sources, and their tokens claim by claim.
//!
//! `IDTOKEN_PYTHON`, `IDTOKEN_NODE` and `IDTOKEN_GCLOUD` say what to run; for each that is not set
//! nothing is run, and the output says so. `tests/interop/run` sets them.

#![allow(clippy::unwrap_used, reason = "a failed test is what it is for")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use idtoken::source::{AuthorizedUser, DefaultSource, Environment, Gcloud, MetadataServer};
use idtoken::{Audience, Principal, TokenSource, UnverifiedClaims, Verifier};
use idtoken_emulator::{Account, Emulator, Home, Role, SubjectSource, User};
use serde_json::Value;
use tokio::process::Command;

/// An emulator, and a file for each way to a token.
struct World {
    google: Emulator,
    home: Home,
    files: BTreeMap<&'static str, PathBuf>,
}

impl World {
    async fn new() -> Self {
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
            ("USER_FILE", google.user_file(&User::new("me@example.com"))),
        ];
        let files = files.map(|(name, text)| (name, home.write(name, &text).unwrap()));
        Self {
            google,
            home,
            files: files.into(),
        }
    }

    /// What the source for that file gives, for the audience that theirs was asked for.
    async fn our_token(&self, exchange: &str, audience: &str) -> String {
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

    /// Runs a client that prints its tokens by exchange, and compares each with ours.
    async fn compare(&self, client: &str, mut command: Command) {
        command
            .env_remove("GOOGLE_APPLICATION_CREDENTIALS")
            .envs(self.google.env())
            .envs(self.google.proxy_env(self.home.ca_file()))
            .envs(self.home.env())
            .envs(&self.files)
            .env("INTEROP_AUDIENCE", AUDIENCE)
            .env("INTEROP_TARGET", TARGET)
            .env("INTEROP_TOKEN_URL", self.google.token_url())
            .env("INTEROP_JWKS_URL", self.google.jwks_url())
            .env("INTEROP_PEM_URL", self.google.pem_url());
        let printed = printed(&mut command).await;
        let theirs: BTreeMap<String, String> = serde_json::from_str(&printed).unwrap();
        assert_eq!(theirs.len(), 5, "{:?}", theirs.keys());
        for (exchange, token) in &theirs {
            let their_claims = claims(token);
            let audience = their_claims["aud"].as_str().unwrap();
            let ours = self.our_token(exchange, audience).await;
            let mut our_claims = claims(&ours);
            // It asks for `useEmailAzp`, which no other client does: the same account, by its name.
            let by_name = client == "google-auth-library" && our_claims["azp"] == our_claims["sub"];
            if by_name && exchange != "metadata" {
                our_claims["azp"] = our_claims["email"].clone();
            }
            assert_eq!(our_claims, their_claims, "{client}: {exchange}");
            self.assert_good(token, audience).await;
            let but = if by_name && exchange != "metadata" {
                ", but for azp"
            } else {
                ""
            };
            println!("| {client} | {exchange} | the same claims as ours{but} |");
        }
    }

    /// Our verifier accepts the token of whoever it is that it names.
    async fn assert_good(&self, token: &str, audience: &str) {
        let email = UnverifiedClaims::read_without_verifying(token).unwrap();
        let email = email.email().unwrap().to_owned();
        let verifier = Verifier::builder()
            .audience(audience)
            .allow(Principal::email(email))
            .jwks_url(self.google.jwks_url())
            .build()
            .unwrap();
        verifier.verify(token).await.unwrap();
    }
}

#[tokio::test]
async fn google_auth_of_python_and_our_sources_get_the_same_claims() {
    let Some(python) = told("IDTOKEN_PYTHON") else {
        return println!("IDTOKEN_PYTHON is not set: nothing is run");
    };
    let mut command = Command::new(python);
    command.arg(script("tokens.py"));
    World::new().await.compare("google-auth", command).await;
}

#[tokio::test]
async fn google_auth_library_of_node_and_our_sources_get_the_same_claims() {
    let Some(modules) = told("IDTOKEN_NODE") else {
        return println!("IDTOKEN_NODE is not set: nothing is run");
    };
    // Node looks for packages beside the script.
    let folder = PathBuf::from(modules);
    let beside = folder.join("tokens.mjs");
    std::fs::copy(script("tokens.mjs"), &beside).unwrap();
    let mut command = Command::new("node");
    command.arg(beside);
    World::new()
        .await
        .compare("google-auth-library", command)
        .await;
}

#[tokio::test]
async fn gcloud_itself_gives_our_source_its_tokens() {
    let Some(gcloud) = told("IDTOKEN_GCLOUD") else {
        return println!("IDTOKEN_GCLOUD is not set: nothing is run");
    };
    let world = World::new().await;
    let run = Gcloudlike::new(&world, &gcloud);
    let key_file = format!("--key-file={}", world.files["KEY_FILE"].display());
    printed(Command::new(&run.program).args(["auth", "activate-service-account", &key_file])).await;

    let source = || Gcloud::new().program(&run.program).timeout(LIMIT);
    let audience = Audience::new(AUDIENCE).unwrap();
    let token = source().fetch(&audience).await.unwrap();
    assert_eq!(token.claims().email(), Some(CALLER));
    assert_eq!(token.claims().aud().collect::<Vec<_>>(), [AUDIENCE]);
    println!("| gcloud | service account | a token for our audience, through our source |");

    let token = source().impersonate(TARGET).fetch(&audience).await.unwrap();
    assert_eq!(token.claims().email(), Some(TARGET));
    assert_eq!(token.claims().aud().collect::<Vec<_>>(), [AUDIENCE]);
    println!("| gcloud | impersonation | a token for our audience, through our source |");
}

/// gcloud as a program that knows where the emulator is.
struct Gcloudlike {
    program: String,
}

impl Gcloudlike {
    fn new(world: &World, gcloud: &OsString) -> Self {
        use std::fmt::Write as _;
        use std::os::unix::fs::PermissionsExt as _;

        let mut text = "#!/bin/sh\n".to_owned();
        let iam = format!("{}/", world.google.url());
        for (name, value) in [
            ("CLOUDSDK_CORE_DISABLE_PROMPTS", "1"),
            ("CLOUDSDK_CORE_CHECK_GCE_METADATA", "false"),
            ("CLOUDSDK_CORE_DISABLE_USAGE_REPORTING", "true"),
            ("CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK", "true"),
            ("CLOUDSDK_API_ENDPOINT_OVERRIDES_IAMCREDENTIALS", &iam),
        ] {
            writeln!(text, "export {name}='{value}'").unwrap();
        }
        for (name, value) in world.home.env() {
            writeln!(text, "export {name}='{}'", value.display()).unwrap();
        }
        writeln!(text, "exec '{}' \"$@\"", gcloud.to_str().unwrap()).unwrap();
        let program = world.home.write("gcloud", &text).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        Self {
            program: program.to_str().unwrap().to_owned(),
        }
    }
}

/// All claims but those that say when the token was made.
fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    let json = base64::Engine::decode(
        &base64::engine::general_purpose::URL_SAFE_NO_PAD,
        payload.as_bytes(),
    );
    let mut claims: Value = serde_json::from_slice(&json.unwrap()).unwrap();
    let lasts = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
    claims["exp"] = lasts.into();
    for fleeting in ["iat", "at_hash"] {
        claims.as_object_mut().unwrap().remove(fleeting);
    }
    claims
}

fn script(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop")).join(name)
}

/// What a command prints, when it succeeds in time.
async fn printed(command: &mut Command) -> String {
    let output = tokio::time::timeout(LIMIT, command.kill_on_drop(true).output())
        .await
        .expect("it took too long")
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

#[allow(
    clippy::disallowed_methods,
    reason = "says whether and with what to run"
)]
fn told(variable: &str) -> Option<OsString> {
    std::env::var_os(variable).filter(|value| !value.is_empty())
}

const ATTACHED: &str = "frontend@shop.iam.gserviceaccount.com";
const CALLER: &str = "caller@shop.iam.gserviceaccount.com";
const TARGET: &str = "target@shop.iam.gserviceaccount.com";
const AUDIENCE: &str = "https://hello-abc.a.run.app";
const SUBJECT_TOKEN: &str = "subject-token-of-the-workload";
const LIMIT: Duration = Duration::from_secs(60);
