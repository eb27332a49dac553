//! The layer around the clients that people use, over sockets.

#![allow(clippy::unwrap_used, reason = "a failed test is what it is for")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use idtoken::clock::{ManualClock, SystemClock};
use idtoken::{Audience, Clock, IdToken, SourceError, TokenCache, TokenSource};
use tower_idtoken::{AddIdTokenLayer, Fixed};

mod grpc;
mod hyper_client;
mod redirects;
mod reqwest_client;
mod server;

/// Makes a different token each time.
struct Counting {
    clock: ManualClock,
    fetches: AtomicU32,
}

impl TokenSource for Counting {
    async fn fetch(&self, audience: &Audience) -> Result<IdToken, SourceError> {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let now = self.clock.now();
        let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let n = self.fetches.fetch_add(1, Ordering::SeqCst);
        let exp = now + 3600;
        let claims = format!(r#"{{"aud":"{audience}","iat":{now},"exp":{exp},"n":{n}}}"#);
        let header = part(r#"{"alg":"RS256"}"#);
        Ok(IdToken::new(&format!(
            "{header}.{}.{}",
            part(&claims),
            part("x")
        ))?)
    }
}

struct World {
    clock: ManualClock,
    tokens: TokenCache,
}

impl World {
    fn new() -> Self {
        let clock = ManualClock::new(SystemClock.now());
        let source = Counting {
            clock: clock.clone(),
            fetches: AtomicU32::new(0),
        };
        let tokens = TokenCache::builder(Arc::new(source))
            .clock(clock.clone())
            .build();
        Self { clock, tokens }
    }

    /// The token for `hello`, for requests to 127.0.0.1.
    fn layer(&self) -> AddIdTokenLayer {
        let handle = self.tokens.handle(&Audience::new("hello").unwrap());
        let policy = Fixed::new(handle).for_hosts(["127.0.0.1"]).unwrap();
        AddIdTokenLayer::with_policy(self.tokens.clone(), policy)
    }
}
