//! The thin shell around the endpoints: sockets, records, faults.

mod body;
pub(crate) mod connection;
mod respond;

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use idtoken::clock::Clock;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::rustls::ServerConfig;

use crate::keys::signing::RsaKey;
use crate::shifted::Shifted;
use crate::world::{World, unix_seconds};

/// What the server's tasks and the emulator's owner share.
pub(crate) struct Shared {
    pub(crate) clock: Arc<Shifted>,
    /// Changes with each request recorded.
    pub(crate) recorded: watch::Sender<()>,
    pub(crate) tls: Arc<ServerConfig>,
    world: Mutex<World>,
}

impl Shared {
    pub(crate) fn new(clock: Arc<dyn Clock>, tls: ServerConfig, world: World) -> Self {
        Self {
            clock: Arc::new(Shifted::new(clock)),
            recorded: watch::Sender::new(()),
            tls: Arc::new(tls),
            world: Mutex::new(world),
        }
    }

    /// The world, to look at or to change. Never held across an `.await`.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        // Each change is one step, so a panic elsewhere has left nothing half done.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Signs with a new key from now on.
    pub(crate) fn rotate_keys(&self) {
        // Made before the lock is taken, since making it takes a while.
        let announced = self.world().keys.next.is_some();
        let key = (!announced).then(|| RsaKey::generate(self.now()));
        self.world().keys.rotate(key);
    }

    /// Publishes nothing but the key that signs.
    pub(crate) fn retire_keys(&self) {
        let mut world = self.world();
        world.keys.next = None;
        world.keys.previous.clear();
        world.metadata_cache.clear();
    }

    pub(crate) fn now(&self) -> u64 {
        unix_seconds(self.clock.now())
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// Serves until it is dropped, and then leaves no task behind.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) -> Infallible {
    let slots = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            (stream, _, slot) = accept(&listener, &slots) => {
                let serving = connection::serve(stream, Arc::clone(&shared));
                connections.spawn(async move {
                    serving.await;
                    drop(slot);
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// The next connection, once there is room for it.
pub(crate) async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    loop {
        // Nobody closes the semaphore; if somebody did, nothing more would be accepted.
        let Ok(slot) = Arc::clone(slots).acquire_owned().await else {
            std::future::pending().await
        };
        match listener.accept().await {
            Ok((stream, client)) => return (stream, client, slot),
            // Out of file descriptors, most likely: let those who hold them finish.
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

pub(crate) const MOST_CONNECTIONS: usize = 4096;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
