//! Cloud Run's front end: an address that stands for a service, in front of its container.

mod check;
mod forward;
mod refusal;

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use http::{Method, StatusCode};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

pub use self::check::Verdict;
use crate::account::{Account, DEFAULT_PROJECT};
use crate::encode;
use crate::server::Shared;

/// A service of the emulated Cloud Run: what it needs to know before it starts.
///
/// Made by [`Emulator::cloud_run`](crate::Emulator::cloud_run).
#[must_use = "a service starts with `start`"]
pub struct CloudRunBuilder {
    shared: Arc<Shared>,
    name: String,
    port: u16,
    audiences: BTreeSet<String>,
    invokers: BTreeSet<String>,
    public: bool,
    h2c: bool,
}

impl CloudRunBuilder {
    pub(crate) fn new(shared: Arc<Shared>, name: &str) -> Self {
        Self {
            shared,
            name: name.to_owned(),
            port: 0,
            audiences: BTreeSet::new(),
            invokers: BTreeSet::new(),
            public: false,
            h2c: false,
        }
    }

    /// Takes tokens for this custom audience too.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.insert(audience.into());
        self
    }

    /// Speaks HTTP/2 to the container, without TLS, as gRPC needs it. HTTP/1.1 otherwise.
    pub fn h2c(mut self) -> Self {
        self.h2c = true;
        self
    }

    /// Gives this account `roles/run.invoker`.
    pub fn invoker(mut self, email: impl Into<String>) -> Self {
        self.invokers.insert(email.into());
        self
    }

    /// Listens on this port of 127.0.0.1; 0, the default, takes a free one.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Lets everybody in, unchecked, as a grant to `allUsers` does.
    pub fn public(mut self) -> Self {
        self.public = true;
        self
    }

    /// Starts it in front of a container that listens at this address.
    ///
    /// # Errors
    ///
    /// If the port, or none at all, can be bound on 127.0.0.1.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime whose I/O and time drivers are on.
    pub async fn start(mut self, container: SocketAddr) -> io::Result<CloudRun> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let audience = run_app(&self.name);
        self.audiences.extend(urls(&self.name, &url));
        let service = Service {
            url: url.clone(),
            audiences: self.audiences,
            invokers: self.invokers,
            public: self.public,
            visits: VecDeque::new(),
        };
        let mut world = self.shared.world();
        world.services.insert(self.name.clone(), service);
        drop(world);
        let front = forward::Front::new(Arc::clone(&self.shared), &self.name, container, self.h2c);
        let server = tokio::spawn(forward::serve(listener, front)).abort_handle();
        Ok(CloudRun {
            shared: self.shared,
            name: self.name,
            url,
            audience,
            server,
        })
    }
}

impl fmt::Debug for CloudRunBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudRunBuilder")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A service of the emulated Cloud Run, until it is dropped.
///
/// Judges the token of each request as the real front end does, and lets those through to the
/// container that it accepts; the container sees the token without its signature.
///
/// ```
/// use idtoken_emulator::Emulator;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// # let container = "127.0.0.1:9".parse().unwrap();
/// let google = Emulator::start().await?;
/// let service = google
///     .cloud_run("hello")
///     .invoker("caller@shop.iam.gserviceaccount.com")
///     .start(container)
///     .await?;
///
/// // Whom tokens must be for: what Cloud Run would call it, or its address here.
/// assert!(service.audience().ends_with("-uc.a.run.app"));
/// assert!(service.url().starts_with("http://127.0.0.1:"));
/// # Ok(())
/// # }
/// ```
pub struct CloudRun {
    shared: Arc<Shared>,
    name: String,
    url: String,
    audience: String,
    server: AbortHandle,
}

impl CloudRun {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is: `http://127.0.0.1:PORT`. It takes tokens for this audience too.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The name that the real Cloud Run would give it, which is the audience of its tokens:
    /// `https://NAME-HASH-uc.a.run.app`.
    #[must_use]
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// Gives this account `roles/run.invoker`.
    pub fn grant(&self, email: &str) {
        self.change(|service| service.invokers.insert(email.to_owned()));
    }

    /// Takes it away again.
    pub fn revoke(&self, email: &str) {
        self.change(|service| service.invokers.remove(email));
    }

    /// The latest requests and what was found, oldest first: at most a thousand.
    #[must_use]
    pub fn visits(&self) -> Vec<Visit> {
        let world = self.shared.world();
        let service = world.services.get(&self.name);
        service.map_or_else(Vec::new, |service| service.visits.iter().cloned().collect())
    }

    fn change(&self, change: impl FnOnce(&mut Service) -> bool) {
        if let Some(service) = self.shared.world().services.get_mut(&self.name) {
            change(service);
        }
    }
}

impl Drop for CloudRun {
    fn drop(&mut self) {
        self.server.abort();
        self.shared.world().services.remove(&self.name);
    }
}

impl fmt::Debug for CloudRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudRun")
            .field("name", &self.name)
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// A request to a service, and what its front end made of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Visit {
    pub(crate) at: u64,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) verdict: Verdict,
    pub(crate) caller: Option<String>,
    pub(crate) status: StatusCode,
}

impl Visit {
    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The path, without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What was found about the caller.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The e-mail address or the unique id in a token that was verified.
    #[must_use]
    pub fn caller(&self) -> Option<&str> {
        self.caller.as_deref()
    }

    /// The status that was answered, by the front end or by the container.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

/// What the world knows of a service.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) url: String,
    pub(crate) audiences: BTreeSet<String>,
    pub(crate) invokers: BTreeSet<String>,
    pub(crate) public: bool,
    pub(crate) visits: VecDeque<Visit>,
}

impl Service {
    pub(crate) fn record(&mut self, visit: Visit) {
        if self.visits.len() == MOST_VISITS {
            self.visits.pop_front();
        }
        self.visits.push_back(visit);
    }
}

fn run_app(name: &str) -> String {
    let hash = encode::number_from(name) % 36_u128.pow(9);
    format!("https://{name}-{hash:010x}-uc.a.run.app")
}

/// All that a service is called by: the two forms of its name, each with a slash at the end or
/// without, and its address here.
fn urls(name: &str, local: &str) -> [String; 5] {
    let number = Account::new("")
        .with_project(DEFAULT_PROJECT)
        .project_number();
    let (first, second) = (
        run_app(name),
        format!("https://{name}-{number}.us-central1.run.app"),
    );
    let slashed = |url: &str| format!("{url}/");
    [
        slashed(&first),
        slashed(&second),
        first,
        second,
        local.to_owned(),
    ]
}

const MOST_VISITS: usize = 1_000;
