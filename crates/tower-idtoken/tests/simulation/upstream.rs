//! The service called: it looks at every request that arrives.

use std::convert::Infallible;
use std::future::ready;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use fastrand::Rng;
use http::{Request, Response};
use idtoken::Clock;
use tower::{Service, service_fn};

use crate::Plan;
use crate::attached::Attached;
use crate::clock::SimClock;
use crate::google::Google;

pub(crate) struct Upstream {
    clock: SimClock,
    rng: Mutex<Rng>,
    refusals: u64,
    attached: Attached,
    google: Arc<Google>,
    healed: AtomicBool,
}

impl Upstream {
    pub(crate) fn new(plan: &Plan, clock: SimClock, google: Arc<Google>, rng: Rng) -> Self {
        Self {
            clock,
            rng: Mutex::new(rng),
            refusals: plan.refusals,
            attached: plan.attached.clone(),
            google,
            healed: AtomicBool::new(false),
        }
    }

    pub(crate) fn heal(&self) {
        self.healed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn service(
        self: &Rc<Self>,
    ) -> impl Service<
        Request<()>,
        Response = Response<()>,
        Error = Infallible,
        Future = std::future::Ready<Result<Response<()>, Infallible>>,
    > + Clone {
        let this = Rc::clone(self);
        service_fn(move |request| ready(Ok(this.answer(&request))))
    }

    fn answer(&self, request: &Request<()>) -> Response<()> {
        let jwt = self.attached.token(request.headers());
        let claims = idtoken::UnverifiedClaims::read_without_verifying(jwt).unwrap();
        let origin = format!("https://{}", request.uri().host().unwrap());
        assert_eq!(claims.aud().collect::<Vec<_>>(), [origin.as_str()]);
        let exp = claims.exp().unwrap();
        assert!(exp > self.clock.now(), "expired by the machine's own clock");
        let true_now = UNIX_EPOCH + Duration::from_secs(self.clock.true_seconds());
        let expired = exp <= true_now;
        assert!(
            exp + self.google.misjudged(jwt) > true_now,
            "expired in true time"
        );
        let drawn = self.rng.lock().unwrap().u64(0..1000) < self.refusals;
        let refused = (expired || drawn) && !self.healed.load(Ordering::Relaxed);
        let status = if refused { 401 } else { 200 };
        Response::builder().status(status).body(()).unwrap()
    }
}
