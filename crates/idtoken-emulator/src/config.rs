//! `world.toml`: a world to start from, written down.

mod apply;
mod names;

use std::error::Error;
use std::fmt;
use std::net::SocketAddr;

use serde::Deserialize;

pub use self::apply::Furnished;
use self::names::{Audience, Email, EndpointName, FaultName, PlatformName, RoleName};

/// A world as `world.toml` describes it: accounts, keys, grants, people, external pools, services,
/// faults and the clock.
///
/// Strict: a name that is not known is an error and never ignored. Everything may be left out.
///
/// ```
/// use idtoken_emulator::{Emulator, WorldFile};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let file = WorldFile::parse(r#"
///     [metadata]
///     account = "frontend@shop.iam.gserviceaccount.com"
///     platform = "cloud-run"
///
///     [[grant]]
///     member = "frontend@shop.iam.gserviceaccount.com"
///     role = "roles/iam.serviceAccountOpenIdTokenCreator"
///     on = "caller@shop.iam.gserviceaccount.com"
///
///     [[fault]]
///     endpoint = "identity"
///     fault = { status = 503 }
///     times = 2
/// "#)?;
/// let google = Emulator::start().await?;
/// let home = google.home()?;
/// let furnished = google.furnish(&file, &home).await?;
/// # drop(furnished);
///
/// let wrong = WorldFile::parse("[metadata]\nacount = 'x'").unwrap_err();
/// assert_eq!(wrong.line(), Some(2));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorldFile {
    account: Vec<AccountEntry>,
    clock: ClockEntry,
    fault: Vec<FaultEntry>,
    grant: Vec<GrantEntry>,
    key: Vec<KeyEntry>,
    keys: KeysEntry,
    metadata: MetadataEntry,
    pool: Vec<PoolEntry>,
    service: Vec<ServiceEntry>,
    user: Vec<UserEntry>,
}

impl WorldFile {
    /// Reads the text of a `world.toml`.
    ///
    /// # Errors
    ///
    /// If it is not TOML, if a name or a value is not known, or if it is longer than a mebibyte.
    pub fn parse(text: &str) -> Result<Self, WorldFileError> {
        if text.len() > MOST_BYTES {
            return Err(WorldFileError {
                line: None,
                message: "longer than a mebibyte".to_owned(),
            });
        }
        toml::from_str(text).map_err(|error| WorldFileError {
            line: error
                .span()
                .and_then(|span| text.get(..span.start))
                .map(|before| before.matches('\n').count() + 1),
            message: error.message().replace('\n', ", "),
        })
    }
}

/// Why a `world.toml` cannot be read.
#[derive(Debug)]
pub struct WorldFileError {
    line: Option<usize>,
    message: String,
}

impl WorldFileError {
    /// The line that is wrong, counted from 1, if it is one.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.line
    }
}

impl fmt::Display for WorldFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl Error for WorldFileError {}

/// `[[account]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountEntry {
    email: Email,
    project: Option<String>,
    unique_id: Option<String>,
}

/// `[clock]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ClockEntry {
    /// Seconds ahead of the machine's clock, or behind if negative.
    offset_s: i64,
}

/// `[[fault]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultEntry {
    endpoint: EndpointName,
    fault: FaultName,
    /// With how many requests; with all of them if it is left out.
    times: Option<u64>,
}

/// `[[grant]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantEntry {
    member: String,
    on: Email,
    role: RoleName,
}

/// `[[key]]`: a key file of a service account.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    account: Email,
    file: Option<String>,
    #[serde(default)]
    default: bool,
}

/// `[keys]`: Google's own.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct KeysEntry {
    max_age_s: Option<u64>,
    /// Whether the key that signs next is announced.
    next: bool,
}

/// `[metadata]`.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct MetadataEntry {
    account: Option<Email>,
    /// Whether an account is attached at all.
    attached: bool,
    cache: bool,
    platform: Option<PlatformName>,
}

impl Default for MetadataEntry {
    fn default() -> Self {
        Self {
            account: None,
            attached: true,
            cache: true,
            platform: None,
        }
    }
}

/// `[[pool]]`: an identity provider elsewhere, and one workload that it vouches for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PoolEntry {
    pool: String,
    provider: String,
    subject: String,
    /// The token that the workload's own platform gives it.
    token: String,
    /// Whom it acts for, on a grant that comes with this.
    impersonate: Option<Email>,
    file: Option<String>,
    #[serde(default)]
    default: bool,
}

/// `[[service]]`: behind the front end of Cloud Run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceEntry {
    name: String,
    container: SocketAddr,
    #[serde(default)]
    port: u16,
    #[serde(default)]
    audiences: Vec<Audience>,
    #[serde(default)]
    invokers: Vec<Email>,
    #[serde(default)]
    public: bool,
    #[serde(default)]
    h2c: bool,
}

/// `[[user]]`: a person who signed in.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct UserEntry {
    email: Email,
    /// `application-default`, `gcloud`, or the id of another OAuth client.
    client: Option<String>,
    scopes: Option<String>,
    file: Option<String>,
    #[serde(default)]
    default: bool,
}

const MOST_BYTES: usize = 1 << 20;
