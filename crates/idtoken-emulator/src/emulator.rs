//! The emulator itself: starting it, and everything a test may tell it or ask it.

use std::fmt;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use idtoken::clock::Clock;
use serde_json::json;
use tokio::task::AbortHandle;

use crate::account::Account;
use crate::builder::Builder;
use crate::endpoint::Endpoint;
use crate::fault::Fault;
use crate::keys::signing::RsaKey;
use crate::metadata::Platform;
use crate::mint::{self, TokenRequest};
use crate::record::Recorded;
use crate::server::Shared;
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

    pub(crate) fn new(shared: Arc<Shared>, server: AbortHandle) -> Self {
        let url = shared.world().url();
        Self {
            shared,
            url,
            server,
        }
    }

    /// Where it is, without a slash at the end: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The same without the scheme, which is what `GCE_METADATA_HOST` holds.
    #[must_use]
    pub fn host(&self) -> &str {
        self.url.strip_prefix("http://").unwrap_or(&self.url)
    }

    /// The token endpoint, which key files name in `token_uri`.
    #[must_use]
    pub fn token_url(&self) -> String {
        format!("{}/token", self.url)
    }

    /// The keys of Google's ID tokens, as JWKS.
    #[must_use]
    pub fn jwks_url(&self) -> String {
        format!("{}/oauth2/v3/certs", self.url)
    }

    /// The keys of Google's ID tokens, as X.509 certificates by key id.
    #[must_use]
    pub fn pem_url(&self) -> String {
        format!("{}/oauth2/v1/certs", self.url)
    }

    /// The keys of Identity-Aware Proxy, as JWKS.
    #[must_use]
    pub fn iap_jwks_url(&self) -> String {
        format!("{}/iap/verify/public_key-jwk", self.url)
    }

    /// The keys of Identity-Aware Proxy, as PEM by key id.
    #[must_use]
    pub fn iap_pem_url(&self) -> String {
        format!("{}/iap/verify/public_key", self.url)
    }

    /// The environment in which a child process takes this emulator for its metadata server, in
    /// the variables that the clients of several languages read.
    #[must_use]
    pub fn env(&self) -> Vec<(&'static str, String)> {
        let host = || self.host().to_owned();
        vec![
            ("GCE_METADATA_DETECT_RETRIES", "1".to_owned()),
            ("GCE_METADATA_HOST", host()),
            ("GCE_METADATA_IP", host()),
            ("GCE_METADATA_ROOT", host()),
            ("METADATA_SERVER_DETECTION", "ping-only".to_owned()),
            ("NO_PROXY", "127.0.0.1".to_owned()),
        ]
    }

    /// The clock by which tokens are issued and judged.
    #[must_use]
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.shared.clock)
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

    /// Makes a key for a service account, which is added if it is not known, and gives the key
    /// file's text. Its `token_uri` is [`token_url`](Self::token_url).
    #[must_use]
    pub fn key_file(&self, email: &str) -> String {
        let key = Arc::new(RsaKey::generate(self.shared.now()));
        let mut world = self.shared.world();
        let account = world.account_or_new(email);
        world.add(account.clone());
        world.register_key(email, Arc::clone(&key));
        let file = json!({
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
        });
        format!("{file:#}\n")
    }

    /// Makes the token endpoint refuse all keys that the account has had so far.
    pub fn revoke_keys(&self, email: &str) {
        self.shared.world().revoke_keys(email);
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
        // Made before the lock is taken, since making it takes a while.
        let announced = self.shared.world().keys.next.is_some();
        let key = (!announced).then(|| RsaKey::generate(self.shared.now()));
        self.shared.world().keys.rotate(key);
    }

    /// Publishes the key that will sign after the next rotation, as Google does days before.
    pub fn publish_next(&self) {
        let key = RsaKey::generate(self.shared.now());
        self.shared.world().keys.next = Some(Arc::new(key));
    }

    /// Publishes nothing but the key that signs, and forgets the metadata server's cached tokens,
    /// which may be signed with one of those withdrawn.
    pub fn retire_keys(&self) {
        let mut world = self.shared.world();
        world.keys.next = None;
        world.keys.previous.clear();
        world.metadata_cache.clear();
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

    /// How many requests an endpoint has had, those included that a fault struck.
    #[must_use]
    pub fn hits(&self, endpoint: Endpoint) -> u64 {
        self.shared.world().records.hits(endpoint)
    }

    /// Waits until an endpoint has had at least `hits` requests.
    pub fn reached(
        &self,
        endpoint: Endpoint,
        hits: u64,
    ) -> impl Future<Output = ()> + Send + use<> {
        let shared = Arc::clone(&self.shared);
        let mut recorded = shared.recorded.subscribe();
        async move {
            while shared.world().records.hits(endpoint) < hits {
                // The sender lives in `shared`.
                let _ = recorded.changed().await;
            }
        }
    }

    /// The latest requests to an endpoint, oldest first: at most a thousand.
    #[must_use]
    pub fn requests(&self, endpoint: Endpoint) -> Vec<Recorded> {
        self.shared.world().records.requests(endpoint)
    }

    /// Forgets all requests and counts from zero again.
    pub fn forget_requests(&self) {
        self.shared.world().records.forget();
    }

    /// Lets this go wrong with every request to an endpoint, until it is [healed](Self::heal) or
    /// something else shall go wrong.
    pub fn fail(&self, endpoint: Endpoint, fault: Fault) {
        self.shared.world().faults.set(endpoint, fault);
    }

    /// Lets this go wrong with the next `times` requests to an endpoint. Calls add up, in their
    /// order, and come before what [`fail`](Self::fail) has set.
    pub fn fail_times(&self, endpoint: Endpoint, times: u64, fault: Fault) {
        self.shared.world().faults.add(endpoint, times, fault);
    }

    /// Lets nothing go wrong any more with an endpoint.
    pub fn heal(&self, endpoint: Endpoint) {
        self.shared.world().faults.heal(endpoint);
    }

    /// Lets nothing go wrong any more, and ends the bad weather.
    pub fn heal_all(&self) {
        self.shared.world().faults.heal_all();
    }

    /// Lets one of these go wrong with any request, this likely (0 to 1). The same seed brings the
    /// same faults in the same order.
    pub fn weather(&self, seed: u64, probability: f64, faults: impl IntoIterator<Item = Fault>) {
        let faults = faults.into_iter().collect();
        self.shared
            .world()
            .faults
            .set_weather(seed, probability, faults);
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
