//! What the emulator was asked, and what shall go wrong when it is.

use std::future::Future;
use std::sync::Arc;

use super::Emulator;
use crate::endpoint::Endpoint;
use crate::fault::Fault;
use crate::record::Recorded;

/// # Requests and faults
impl Emulator {
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
