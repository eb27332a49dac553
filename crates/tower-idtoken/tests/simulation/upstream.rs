//! The service called: it looks at every request that arrives.

use std::convert::Infallible;
use std::future::ready;
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use fastrand::Rng;
use http::header::AUTHORIZATION;
use http::{Request, Response};
use idtoken::Clock;
use tower::{Service, service_fn};

use crate::Plan;
use crate::clock::SimClock;

pub(crate) struct Upstream {
    clock: SimClock,
    rng: Mutex<Rng>,
    refusals: u64,
    sees_no_expired_token: bool,
    healed: AtomicBool,
}

impl Upstream {
    pub(crate) fn new(plan: &Plan, clock: SimClock, rng: Rng) -> Self {
        Self {
            clock,
            rng: Mutex::new(rng),
            refusals: plan.refusals,
            sees_no_expired_token: plan.clock.keeps_true_time(),
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
        let bearer = request
            .headers()
            .get(AUTHORIZATION)
            .expect("a request went out bare");
        assert!(bearer.is_sensitive());
        let jwt = bearer.to_str().unwrap().strip_prefix("Bearer ").unwrap();
        let claims = idtoken::UnverifiedClaims::read_without_verifying(jwt).unwrap();
        let origin = format!("https://{}", request.uri().host().unwrap());
        assert_eq!(claims.aud().collect::<Vec<_>>(), [origin.as_str()]);
        let exp = claims.exp().unwrap();
        assert!(exp > self.clock.now(), "expired by the machine's own clock");
        let true_now = self.clock.true_seconds();
        let expired = exp <= std::time::UNIX_EPOCH + std::time::Duration::from_secs(true_now);
        assert!(
            !(expired && self.sees_no_expired_token),
            "expired in true time"
        );
        let drawn = self.rng.lock().unwrap().u64(0..1000) < self.refusals;
        let refused = (expired || drawn) && !self.healed.load(Ordering::Relaxed);
        let status = if refused { 401 } else { 200 };
        Response::builder().status(status).body(()).unwrap()
    }
}
