//! The emulator itself: starting it, and everything a test may tell it or ask it.

mod addresses;
pub(crate) mod credentials;
mod requests;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use idtoken::clock::Clock;
use tokio::task::AbortHandle;

use crate::access::{CLOUD_PLATFORM, LIFETIME_S};
use crate::account::Account;
use crate::builder::Builder;
use crate::cloud_run::CloudRunBuilder;
use crate::iam::Role;
use crate::keys::signing::RsaKey;
use crate::metadata::Platform;
use crate::mint::{self, TokenRequest};
use crate::server::Shared;
use crate::shifted::Shifted;
use crate::tls::Authority;
use crate::world::default_account;

/// A local Google: metadata server, token endpoint and key sets on one loopback port.
///
/// It serves in tasks of the runtime that started it, until it is dropped. Everything about it can
/// be changed while it runs; a change holds for every request that is answered after it.
///
/// ```
/// use idtoken_emulator::{Emulator, Endpoint, Fault, TokenRequest};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let google = Emulator::start().await?;
/// google.attach("caller@shop.iam.gserviceaccount.com");
/// google.fail_times(Endpoint::Identity, 2, Fault::Status(503));
///
/// // … run what is under test with GCE_METADATA_HOST set to …
/// assert!(google.host().starts_with("127.0.0.1:"));
/// // … and see what it did.
/// assert_eq!(google.hits(Endpoint::Identity), 0);
///
/// let token = google.mint(&TokenRequest::new("https://hello-abc.a.run.app"));
/// assert_eq!(token.split('.').count(), 3);
/// # Ok(())
/// # }
/// ```
pub struct Emulator {
    shared: Arc<Shared>,
    url: String,
    ca_pem: String,
    server: AbortHandle,
}

impl Emulator {
    /// Starts an emulator on a free port of 127.0.0.1, with the system's clock.
    ///
    /// An RSA key is made first, which takes some tenths of a second.
    ///
    /// # Errors
    ///
    /// If no port can be bound.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime whose I/O and time drivers are on.
    pub async fn start() -> io::Result<Self> {
        Self::builder().start().await
    }

    /// Starts otherwise than by default.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A service behind the front end of Cloud Run, on a port of its own.
    pub fn cloud_run(&self, name: &str) -> CloudRunBuilder {
        CloudRunBuilder::new(Arc::clone(&self.shared), name)
    }

    pub(crate) fn new(shared: Arc<Shared>, authority: &Authority, server: AbortHandle) -> Self {
        let url = shared.world().url();
        let ca_pem = authority.pem();
        Self {
            shared,
            url,
            ca_pem,
            server,
        }
    }

    /// The clock by which tokens are issued and judged.
    #[must_use]
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::<Shifted>::clone(&self.shared.clock)
    }

    /// Sets the clock this many seconds ahead of the one that the emulator was started with, or
    /// behind it if negative.
    pub fn set_clock_offset(&self, seconds: i64) {
        self.shared.clock.set_offset_s(seconds);
    }

    /// Makes an account known, or changes what is known about it, and hands it back.
    #[allow(clippy::must_use_candidate, reason = "called for its effect")]
    pub fn add_account(&self, account: Account) -> Account {
        self.shared.world().add(account.clone());
        account
    }

    /// Deletes an account together with its keys. Tokens that it has got stay valid, as Google's do.
    pub fn remove_account(&self, email: &str) {
        self.shared.world().remove(email);
    }

    /// The account that is attached from the start.
    #[must_use]
    pub fn default_account(&self) -> Account {
        default_account()
    }

    /// Makes the metadata server speak for this account, which is added if it is not known.
    pub fn attach(&self, email: &str) {
        self.shared.world().attach(Some(email));
    }

    /// Leaves the metadata server without an account.
    pub fn detach(&self) {
        self.shared.world().attach(None);
    }

    /// Where the metadata server pretends to run: a virtual machine unless told otherwise.
    pub fn set_platform(&self, platform: Platform) {
        let mut world = self.shared.world();
        world.platform = platform;
        world.metadata_cache.clear();
    }

    /// Whether the metadata server hands out the same token again until it has about five minutes
    /// left, as real ones do and as it does from the start; or makes a new one each time.
    pub fn set_metadata_cache(&self, enabled: bool) {
        let mut world = self.shared.world();
        world.metadata_cache.enabled = enabled;
        world.metadata_cache.clear();
    }

    /// Lets `member` do what `role` allows with the service account `on`, both of which are added
    /// if they are not known. A member is named by e-mail address, or by principal if federated.
    ///
    /// Nobody has any role at first, not even an account on itself.
    pub fn grant(&self, member: &str, role: Role, on: &str) {
        let mut world = self.shared.world();
        for email in [member, on]
            .into_iter()
            .filter(|name| !name.starts_with("principal"))
        {
            let account = world.account_or_new(email);
            world.add(account);
        }
        world.policy.grant(member, role, on);
    }

    /// Takes back what [`grant`](Self::grant) gave.
    pub fn revoke(&self, member: &str, role: Role, on: &str) {
        self.shared.world().policy.revoke(member, role, on);
    }

    /// An access token that `member` bears for an hour, good for all of Google Cloud.
    #[must_use]
    pub fn access_token(&self, member: &str) -> String {
        self.scoped_access_token(member, CLOUD_PLATFORM)
    }

    /// An access token with these scopes, blanks between them.
    #[must_use]
    pub fn scoped_access_token(&self, member: &str, scopes: &str) -> String {
        let expires_at = self.shared.now().saturating_add(LIFETIME_S);
        self.shared
            .world()
            .access_tokens
            .issue(member, scopes, expires_at)
            .secret()
            .to_owned()
    }

    /// A token, signed for real.
    #[must_use]
    pub fn mint(&self, request: &TokenRequest) -> String {
        let now = self.shared.now();
        mint::mint(&self.shared.world(), now, request)
    }

    /// Signs with a new key from now on: the one announced by [`publish_next`](Self::publish_next),
    /// else one that nobody has seen. The old one stays published.
    pub fn rotate_keys(&self) {
        self.shared.rotate_keys();
    }

    /// Publishes the key that will sign after the next rotation, as Google does days before.
    pub fn publish_next(&self) {
        let key = RsaKey::generate(self.shared.now());
        self.shared.world().keys.next = Some(Arc::new(key));
    }

    /// Publishes nothing but the key that signs, and forgets the metadata server's cached tokens,
    /// which may be signed with one of those withdrawn.
    pub fn retire_keys(&self) {
        self.shared.retire_keys();
    }

    /// The id of the key that signs.
    #[must_use]
    pub fn key_id(&self) -> String {
        self.shared.world().keys.current.id().to_owned()
    }

    /// For how long the key endpoints say that their answer may be kept, and how long it has been
    /// kept already: `Cache-Control: max-age` and `Age`, in whole seconds.
    pub fn set_key_cache(&self, max_age: Duration, age: Option<Duration>) {
        let mut world = self.shared.world();
        world.key_cache.max_age = max_age;
        world.key_cache.age = age;
        world.key_cache.cache_control = None;
    }

    /// The whole `Cache-Control` of the key endpoints, or none.
    pub fn set_key_cache_control(&self, value: Option<&str>) {
        self.shared.world().key_cache.cache_control = Some(value.map(str::to_owned));
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl fmt::Debug for Emulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emulator")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}
