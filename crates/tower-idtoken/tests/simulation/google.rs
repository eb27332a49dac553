//! The source of tokens, with its faults.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fastrand::Rng;
use idtoken::{Audience, Clock, IdToken, SourceError, SourceErrorKind, TokenSource};
use tokio::time::sleep;

use crate::Plan;
use crate::clock::SimClock;
use crate::ledger::Ledger;

pub(crate) struct Google {
    clock: SimClock,
    rng: Mutex<Rng>,
    faults: u64,
    life_s: u64,
    repeats_until_s: Option<u64>,
    may_overlap: bool,
    most_at_once: usize,
    healed: AtomicBool,
    books: Mutex<HashMap<Audience, Book>>,
    /// Tokens that were handed out a while after they were made, to a machine whose clock was
    /// behind, and by how much it must have taken them for younger than they were.
    misjudged: Mutex<HashMap<String, Duration>>,
}

/// What is known of one audience.
#[derive(Default)]
struct Book {
    under_way: usize,
    ledger: Ledger,
    last: Option<Minted>,
}

struct Minted {
    jwt: String,
    at: u64,
}

impl Google {
    pub(crate) fn new(plan: &Plan, clock: SimClock, rng: Rng) -> Self {
        Self {
            clock,
            rng: Mutex::new(rng),
            faults: plan.faults,
            life_s: plan.life_s,
            repeats_until_s: plan.repeats_until_s,
            may_overlap: plan.evicts(),
            // First fetches and refreshes have as many turns each.
            most_at_once: 2 * plan.max_fetches,
            healed: AtomicBool::new(false),
            books: Mutex::default(),
            misjudged: Mutex::default(),
        }
    }

    /// How long past its end the machine may send a token, since nothing that it could see told it
    /// better when the token came.
    pub(crate) fn misjudged(&self, jwt: &str) -> Duration {
        let misjudged = self.misjudged.lock().unwrap();
        misjudged.get(jwt).copied().unwrap_or_default()
    }

    pub(crate) fn heal(&self) {
        self.healed.store(true, Ordering::Relaxed);
    }

    /// Nobody was asked too often, where that can be told.
    pub(crate) fn check(&self, plan: &Plan) {
        if plan.evicts() || plan.refusals > 0 || !plan.clock.goes_by_itself() {
            return;
        }
        for book in self.books.lock().unwrap().values() {
            book.ledger.check(plan.max_fetches >= plan.audiences);
        }
    }

    fn board(self: &Arc<Self>, audience: &Audience) -> UnderWay {
        let mut books = self.books.lock().unwrap();
        let book = books.entry(audience.clone()).or_default();
        book.under_way += 1;
        book.ledger.start();
        assert!(
            book.under_way == 1 || self.may_overlap,
            "two flights for {audience}"
        );
        let at_once: usize = books.values().map(|book| book.under_way).sum();
        assert!(at_once <= self.most_at_once, "{at_once} fetches at once");
        UnderWay {
            google: Arc::clone(self),
            audience: audience.clone(),
            left: None,
        }
    }

    /// How long the machine will take the token for good, if at all.
    fn left(&self, token: &IdToken, audience: &Audience) -> Option<Duration> {
        let left = token.expires_at().duration_since(self.clock.now()).ok()?;
        let left = left.checked_sub(self.clock.behind())?;
        let serves = token.claims().aud().eq([audience.as_str()]);
        (serves && !left.is_zero()).then_some(left)
    }

    /// A token as of now, or the one of before while that has enough time left.
    fn token(&self, audience: &Audience, draw: u64) -> Result<IdToken, SourceError> {
        let now = self.clock.true_seconds();
        let mut books = self.books.lock().unwrap();
        let book = books.entry(audience.clone()).or_default();
        if let Some(Minted { jwt, at }) = &book.last
            && let Some(until_s) = self.repeats_until_s
            && at + self.life_s > now + until_s + draw % 60
        {
            return self.hand_out_late(jwt, now - at);
        }
        let jwt = mint(audience.as_str(), now, now + self.life_s, draw);
        let token = IdToken::new(&jwt)?;
        book.last = Some(Minted { jwt, at: now });
        Ok(token)
    }

    fn hand_out_late(&self, jwt: &str, age_s: u64) -> Result<IdToken, SourceError> {
        let by = self.clock.behind().min(Duration::from_secs(age_s));
        let mut misjudged = self.misjudged.lock().unwrap();
        let most = misjudged.entry(jwt.to_owned()).or_default();
        *most = by.max(*most);
        Ok(IdToken::new(jwt)?)
    }
}

/// The cache's end of it.
pub(crate) struct Source(pub(crate) Arc<Google>);

impl TokenSource for Source {
    async fn fetch(&self, audience: &Audience) -> Result<IdToken, SourceError> {
        self.0.answer(audience).await
    }
}

impl Google {
    async fn answer(self: &Arc<Self>, audience: &Audience) -> Result<IdToken, SourceError> {
        let mut under_way = self.board(audience);
        let outcome = self.outcome(audience).await;
        let token = outcome.as_ref().ok();
        under_way.left = token.and_then(|token| self.left(token, audience));
        outcome
    }

    async fn outcome(&self, audience: &Audience) -> Result<IdToken, SourceError> {
        let (fault, latency_ms, draw) = {
            let mut rng = self.rng.lock().unwrap();
            let latency_ms = match rng.u32(0..4) {
                0 => 0,
                1 => rng.u64(0..100),
                _ => rng.u64(0..4000),
            };
            let fault = (rng.u64(0..1000) < self.faults).then(|| rng.u32(0..9));
            (fault, latency_ms, rng.u64(..))
        };
        let fault = fault.filter(|_| !self.healed.load(Ordering::Relaxed));
        if latency_ms > 0 {
            sleep(Duration::from_millis(latency_ms)).await;
        }
        let now = self.clock.true_seconds();
        let failure = |kind| Err(SourceError::new(kind, "simulation", "as drawn"));
        match fault {
            None => self.token(audience, draw),
            Some(0) => failure(SourceErrorKind::InvalidAnswer),
            Some(1) => failure(SourceErrorKind::Misconfigured),
            Some(2) => failure(SourceErrorKind::Refused),
            Some(3) => failure(SourceErrorKind::Transient),
            Some(4) => std::future::pending().await,
            Some(5) => panic!("{PANIC}"),
            Some(6) => Ok(IdToken::new(&mint("https://other", now, now + 3600, draw))?),
            Some(7) => {
                let jwt = mint(audience.as_str(), now - 7200, now - 3600, draw);
                self.hand_out_late(&jwt, 7200)
            }
            Some(_) => Ok(IdToken::new(&mint(
                audience.as_str(),
                now,
                now + draw % 300,
                draw,
            ))?),
        }
    }
}

struct UnderWay {
    google: Arc<Google>,
    audience: Audience,
    /// What the token that came has left.
    left: Option<Duration>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut books = self.google.books.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(book) = books.get_mut(&self.audience) {
            book.under_way -= 1;
            book.ledger.end(self.left);
        }
    }
}

fn mint(audience: &str, iat: u64, exp: u64, nonce: u64) -> String {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let claims = format!(r#"{{"aud":"{audience}","iat":{iat},"exp":{exp},"n":{nonce}}}"#);
    format!(
        "{}.{}.{}",
        part(r#"{"alg":"RS256"}"#),
        part(&claims),
        part("signature")
    )
}

pub(crate) const PANIC: &str = "a panic as drawn";
