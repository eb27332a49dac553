//! Google's token endpoints on loopback, for tests and for work without a network.
//!
//! An [`Emulator`] is a real HTTP server in your own process. It issues ID tokens the way Google
//! does, signs them with real RSA keys, publishes those keys, and refuses what Google refuses.
//! It can also be told to misbehave, for a client is judged by what it does then.
//!
//! # What it serves
//!
//! | what | where |
//! |---|---|
//! | metadata server: ID tokens, access tokens, e-mail, project | `/`, `/computeMetadata/v1/…` |
//! | token endpoint: key files, people who signed in | `/token`, `/oauth2/v4/token` |
//! | keys of ID tokens | `/oauth2/v3/certs` (JWKS), `/oauth2/v1/certs` (X.509) |
//! | keys of Identity-Aware Proxy | `/iap/verify/public_key-jwk`, `/iap/verify/public_key` |
//! | keys of service accounts | `/service_accounts/v1/jwk/EMAIL`, `/robot/v1/metadata/x509/EMAIL` |
//! | IAM Credentials: impersonation, with grants and delegates | `/v1/projects/-/serviceAccounts/…` |
//! | workload identity federation | `/v1/token`, `/subject-token`, AWS's `/latest/…` |
//! | a page for people, with buttons | `/emulator` |
//! | discovery and debugging | `/.well-known/openid-configuration`, `/tokeninfo` |
//!
//! And, on ports of their own, services behind the front end of Cloud Run, which checks tokens and
//! who may call: see [`Emulator::cloud_run`].
//!
//! All of it over HTTPS as well, on the same port, and for whatever host a client asks the emulator
//! to reach as its proxy: see [`Emulator::proxy_env`].
//!
//! # How to use it
//!
//! Start one in each test: it takes a free port, so tests do not meet. Point what you test at it
//! through a URL ([`Emulator::jwks_url`] and its like), a key file ([`Emulator::key_file`]) or, for
//! child processes, the environment ([`Emulator::env`]).
//!
//! ```
//! use std::time::Duration;
//! use idtoken::clock::ManualClock;
//! use idtoken_emulator::{Emulator, Endpoint, Fault, SigningKey, TokenRequest};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let clock = ManualClock::starting_now();
//! let google = Emulator::builder().clock(clock.clone()).start().await?;
//!
//! // Whom the metadata server speaks for, and a key file for somebody else.
//! google.attach("frontend@shop.iam.gserviceaccount.com");
//! let key_file = google.key_file("batch@shop.iam.gserviceaccount.com");
//! assert!(key_file.contains(&google.token_url()));
//!
//! // Tokens made to order: this one breaks exactly one rule.
//! let stale = TokenRequest::new("https://hello-abc.a.run.app").lifetime(Duration::ZERO);
//! let forged = TokenRequest::new("https://hello-abc.a.run.app").key(SigningKey::Unknown);
//! assert_ne!(google.mint(&stale), google.mint(&forged));
//!
//! // A bad day: two refusals, then silence until healed.
//! google.fail_times(Endpoint::Token, 2, Fault::Status(503));
//! google.fail(Endpoint::Token, Fault::Hang);
//! google.heal(Endpoint::Token);
//!
//! // A new key signs; the old one stays published until it is retired.
//! google.rotate_keys();
//! google.retire_keys();
//!
//! // An hour goes by.
//! clock.advance(Duration::from_secs(3_600));
//! # Ok(())
//! # }
//! ```
//!
//! # What it is not
//!
//! It keeps no secrets: whoever reaches the port gets a token, and the tokens are worth nothing
//! outside. Where Google's behaviour is not documented it does what clients were seen to depend on.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod access;
mod account;
mod answer;
mod builder;
mod claims;
mod cloud_run;
mod config;
mod discovery;
mod emulator;
mod encode;
mod endpoint;
mod fault;
mod federation;
mod home;
mod iam;
mod jose;
mod journal;
mod keys;
mod metadata;
mod mint;
mod page;
mod record;
mod server;
mod shifted;
mod tls;
mod token;
mod users;
mod world;

pub use self::account::Account;
pub use self::builder::Builder;
pub use self::claims::Shape;
pub use self::cloud_run::{CloudRun, CloudRunBuilder, Verdict, Visit};
pub use self::config::{Furnished, WorldFile, WorldFileError};
pub use self::emulator::Emulator;
pub use self::emulator::credentials::SubjectSource;
pub use self::endpoint::Endpoint;
pub use self::fault::{Fault, Gate};
pub use self::home::Home;
pub use self::iam::Role;
pub use self::metadata::Platform;
pub use self::mint::{SigningKey, TokenRequest};
pub use self::record::Recorded;
pub use self::users::{Reauth, User};
