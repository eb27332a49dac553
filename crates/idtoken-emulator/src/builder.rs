//! Starting an emulator.

use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use idtoken::clock::{Clock, SystemClock};
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;

use crate::emulator::Emulator;
use crate::keys::KeyRing;
use crate::server::{self, Shared};
use crate::tls::Authority;
use crate::world::{World, unix_seconds};

/// Starts an [`Emulator`] otherwise than by default.
#[must_use = "an emulator starts with `start`"]
pub struct Builder {
    clock: Arc<dyn Clock>,
    port: u16,
}

impl Builder {
    /// Issues and judges tokens by this clock.
    ///
    /// ```
    /// use std::time::Duration;
    /// use idtoken::clock::ManualClock;
    /// use idtoken_emulator::Emulator;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let clock = ManualClock::starting_now();
    /// let google = Emulator::builder().clock(clock.clone()).start().await?;
    /// clock.advance(Duration::from_secs(3_600));
    /// # drop(google);
    /// # Ok(())
    /// # }
    /// ```
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Listens on this port of 127.0.0.1; 0, the default, takes a free one.
    ///
    /// For emulators that people address by hand. Tests do better with a free port.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Starts it.
    ///
    /// # Errors
    ///
    /// If the port, or none at all, can be bound on 127.0.0.1.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime whose I/O and time drivers are on.
    pub async fn start(self) -> io::Result<Emulator> {
        let now = unix_seconds(self.clock.now());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).await?;
        let host = listener.local_addr()?.to_string();
        let keys = spawn_blocking(move || KeyRing::new(now)).await?;
        let authority = Arc::new(Authority::new().map_err(io::Error::other)?);
        let tls = authority.server_config().map_err(io::Error::other)?;
        let shared = Arc::new(Shared::new(self.clock, tls, World::new(host, keys)));
        let server = tokio::spawn(server::serve(listener, Arc::clone(&shared))).abort_handle();
        Ok(Emulator::new(shared, &authority, server))
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            port: 0,
        }
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").finish_non_exhaustive()
    }
}
