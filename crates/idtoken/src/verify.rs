//! Who is calling: verification of the tokens that callers present.
//!
//! A [`Verifier`] is built once and cloned into every handler. It needs to know three things: whom
//! tokens must be *for* (the audience), whom they may be *from* (identity rules), and, unless that
//! is Google, who signs them (the [`Issuer`]).
//!
//! ```
//! use idtoken::{Principal, Verifier};
//!
//! # fn main() -> Result<(), idtoken::verify::BuildError> {
//! # #[cfg(feature = "reqwest")]
//! let verifier = Verifier::builder()
//!     .audience("https://hello-abc.a.run.app")
//!     .allow(Principal::service_account("caller@project.iam.gserviceaccount.com"))
//!     .build()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Why an identity rule
//!
//! The audience of a token is chosen by whoever asks Google for it, and anyone with a Google Cloud
//! project can ask. Signature, issuer, audience and expiry prove that *somebody* at Google wants to
//! talk to you. Only `email`, `sub`, `azp` or `hd` say who.
//!
//! # Keys
//!
//! Keys are fetched when the first token comes and kept for as long as the endpoint's
//! `Cache-Control` allows less its `Age`, within five minutes and a day. In the last fifth of that
//! time a request starts the next fetch and does not wait for it. Past that time requests wait for
//! the next fetch, and only when that fails do the keys held serve on, for twelve hours at most
//! ([`VerifierBuilder::stale_keys_for`]), with another try ten seconds to five minutes later. So a
//! key that the issuer withdraws is believed for no longer than its cache time, and in an outage
//! for no longer than that and twelve hours. A token with an unknown key starts one fetch for all such tokens
//! together, and while these bring no new key, at most every ten seconds
//! ([`VerifierBuilder::key_refetch_pause`]).

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use http::HeaderMap;

use self::claims::Payload;
use self::error::VerifyErrorKind as Kind;
use self::judge::Rules;
use self::jws::{Jws, MAX_SIGNATURE_BYTES};
use self::keeper::{FetchOutcome, Keeper, Lookup, Patience};
use self::seen::{Entry, Seen, TokenHash};
use crate::clock::Clock;
use crate::flight::Waiter;
use crate::inbound::{Rejection, TokenHeader, Verification, Waiting};

mod audience;
mod builder;
mod claims;
mod error;
mod explain;
mod issuer;
pub(crate) mod json;
mod judge;
pub(crate) mod jws;
mod keeper;
mod keys;
mod policy;
mod seen;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use self::builder::{BuildError, VerifierBuilder};
pub use self::claims::{ClaimError, Claims, ComputeEngine, GoogleClaims, UnverifiedClaims};
pub use self::error::{VerifyError, VerifyErrorKind};
pub use self::explain::{Check, Explanation};
pub use self::issuer::Issuer;
pub(crate) use self::issuer::is_google;
pub use self::jws::{Algorithm, Malformed};
pub(crate) use self::jws::{is_signature_removed, is_whole};
pub use self::keys::{KeySet, KeySetError};
pub use self::policy::{Policy, Principal, PrincipalFault};

/// Verifies tokens and says who they speak for.
///
/// Clones share keys and policy, and cost one reference count.
#[derive(Clone)]
pub struct Verifier {
    inner: Arc<Inner>,
}

impl Verifier {
    /// A builder without audience or identity rule; it needs one of each.
    #[must_use]
    pub fn builder() -> VerifierBuilder {
        VerifierBuilder::default()
    }

    /// Verifies `jwt`: a compact JWS, without `Bearer` before it.
    ///
    /// Waits only when the key that the token names is not held; the wait is shared by all who
    /// need it. Dropping the future loses nothing for the others.
    ///
    /// A token without its signature is refused, even with
    /// [`danger_trust_cloud_run_iam`](VerifierBuilder::danger_trust_cloud_run_iam): whether Cloud Run
    /// checked it only the header tells that it came in.
    ///
    /// # Errors
    ///
    /// [`VerifyError`], whose [`status`](VerifyError::status) is the HTTP status to answer with.
    pub async fn verify(&self, jwt: &str) -> Result<Claims, VerifyError> {
        match self.inner.attempt(jwt, false, Patience::Fresh) {
            Attempt::Done(verdict) => verdict,
            Attempt::Wait(waiter) => self.finish(jwt, waiter).await,
        }
    }

    /// The rest of a verification that has to wait for keys.
    async fn finish(&self, jwt: &str, waiter: Waiter<FetchOutcome>) -> Result<Claims, VerifyError> {
        let mut landed = keeper::landed(waiter).await;
        if landed.is_err() {
            // Lost with a runtime that ended, which may be another than ours: once more.
            match self.inner.attempt(jwt, false, Patience::Fresh) {
                Attempt::Done(verdict) => return verdict,
                Attempt::Wait(waiter) => landed = keeper::landed(waiter).await,
            }
        }
        let outcome = landed.unwrap_or_else(|lost| Err(lost.into()));
        // What waits for a key has a signature, so no front end has to be asked about.
        match self.inner.attempt(jwt, false, Patience::Spent(&outcome)) {
            Attempt::Done(verdict) => verdict,
            Attempt::Wait(_) => Err(keeper::KeysUnavailable::interrupted().into()),
        }
    }

    /// As [`verify_headers`](Self::verify_headers), for middleware: done at once unless keys have
    /// to be fetched, and only then a future, which borrows nothing.
    pub fn start(&self, headers: &HeaderMap) -> Verification {
        let found = match self.inner.token_header.locate(headers) {
            Ok(Some(found)) => found,
            Ok(None) => return Verification::Done(Err(Rejection::missing())),
            Err(fault) => return Verification::Done(Err(fault.into())),
        };
        let look = match self.inner.look(found.bytes) {
            Ok(claims) => return Verification::Done(Ok(claims)),
            Err(look) => look,
        };
        let token = match found.token() {
            Ok(token) => token,
            Err(fault) => return Verification::Done(Err(fault.into())),
        };
        let noted = found.noted_by_front_end;
        match self.inner.judge(token, noted, look, Patience::Fresh) {
            Attempt::Done(verdict) => Verification::Done(verdict.map_err(Into::into)),
            Attempt::Wait(waiter) => {
                let (verifier, token) = (self.clone(), token.to_owned());
                Verification::Waiting(Waiting::new(async move {
                    Ok(verifier.finish(&token, waiter).await?)
                }))
            }
        }
    }

    /// Finds the token in `headers`, where [`VerifierBuilder::token_header`] says, and verifies it.
    ///
    /// # Errors
    ///
    /// [`Rejection`]: no token, a malformed header, or a token that was not accepted.
    pub async fn verify_headers(&self, headers: &HeaderMap) -> Result<Claims, Rejection> {
        match self.start(headers) {
            Verification::Done(verdict) => verdict,
            Verification::Waiting(waiting) => waiting.await,
        }
    }

    /// Where requests carry their token.
    #[must_use]
    pub fn token_header(&self) -> &TokenHeader {
        &self.inner.token_header
    }

    /// Replaces the identity rules, for all clones and from the next token on. No request is
    /// dropped for it; tokens seen before are judged anew.
    ///
    /// # Errors
    ///
    /// When the policy lets nobody in, or has a rule that cannot be right; the old one then stays.
    pub fn set_policy(&self, policy: Policy) -> Result<(), BuildError> {
        builder::check_policy(&policy, &self.inner.rules.issuers)?;
        let policy = Arc::new(policy);
        self.inner.policy.rcu(|current| CurrentPolicy {
            policy: Arc::clone(&policy),
            version: current.version + 1,
        });
        Ok(())
    }
}

impl AsRef<Self> for Verifier {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("audiences", &self.inner.rules.audiences)
            .field("issuers", &self.inner.rules.issuers)
            .field("policy", &self.inner.policy.load().policy)
            .finish_non_exhaustive()
    }
}

struct Inner {
    rules: Rules,
    policy: ArcSwap<CurrentPolicy>,
    /// One for each issuer, in the same order.
    keepers: Vec<Keeper>,
    clock: Arc<dyn Clock>,
    seen: Seen,
    token_header: TokenHeader,
    explains_refusals: bool,
    /// Whether a token without signature is believed because Cloud Run's front end checked it.
    trusts_front_end: bool,
}

/// The policy, and how many there were before it.
struct CurrentPolicy {
    policy: Arc<Policy>,
    version: u64,
}

/// When a token was looked for among those seen before, in vain, and what to remember it by.
#[derive(Clone, Copy)]
struct Look {
    now: SystemTime,
    hash: Option<TokenHash>,
}

/// How far a token got without waiting.
enum Attempt {
    Done(Result<Claims, VerifyError>),
    Wait(Waiter<FetchOutcome>),
}

impl Inner {
    /// `noted_by_front_end` says that a token without signature lay where Cloud Run's check looks.
    fn attempt(&self, jwt: &str, noted_by_front_end: bool, patience: Patience<'_>) -> Attempt {
        match self.look(jwt.as_bytes()) {
            Ok(claims) => Attempt::Done(Ok(claims)),
            Err(look) => self.judge(jwt, noted_by_front_end, look, patience),
        }
    }

    /// The claims of a token that was accepted before and would be again; else what the look at it
    /// brought.
    fn look(&self, jwt: &[u8]) -> Result<Claims, Look> {
        let look = Look {
            now: self.clock.now(),
            hash: self.seen.hash(jwt),
        };
        let hash = look.hash.as_ref();
        hash.and_then(|hash| self.recall(hash, look.now))
            .ok_or(look)
    }

    fn recall(&self, hash: &TokenHash, now: SystemTime) -> Option<Claims> {
        let seen = self.seen.get(hash)?;
        let entry = seen.entry()?;
        let still_stands = judge::is_current(&entry.claims, self.rules.leeway, now)
            && entry.policy_version == self.policy.load().version
            && self.keepers.get(entry.issuer)?.holds(&entry.key, now);
        still_stands.then(|| entry.claims.clone())
    }

    fn judge(
        &self,
        jwt: &str,
        noted_by_front_end: bool,
        look: Look,
        patience: Patience<'_>,
    ) -> Attempt {
        let attempt = Jws::parse(jwt).map_err(VerifyError::from).and_then(|jws| {
            if jws.is_signature_removed() {
                let verdict = self.judge_unsigned(&jws, noted_by_front_end, look.now);
                return verdict.map(|claims| Attempt::Done(Ok(claims)));
            }
            self.judge_signed(&jws, look, patience)
        });
        attempt.unwrap_or_else(|error| {
            if self.explains_refusals {
                // Only where somebody listens: the explanation checks everything once more.
                tracing::debug!(
                    explanation = %self.explanation(jwt, noted_by_front_end, look.now),
                    "refused a token"
                );
            }
            Attempt::Done(Err(error))
        })
    }

    fn judge_signed(
        &self,
        jws: &Jws<'_>,
        look: Look,
        patience: Patience<'_>,
    ) -> Result<Attempt, VerifyError> {
        let mut buffer = [0; MAX_SIGNATURE_BYTES];
        let signature = jws.signature(&mut buffer)?;
        jws.payload(|text| {
            let payload = Payload::parse(text).ok_or(Malformed::PayloadNotObject)?;
            self.judge_payload(jws, signature, &payload, look, patience)
        })?
    }

    fn judge_payload(
        &self,
        jws: &Jws<'_>,
        signature: &[u8],
        payload: &Payload<'_>,
        Look { now, hash }: Look,
        patience: Patience<'_>,
    ) -> Result<Attempt, VerifyError> {
        let (index, issuer) = self.rules.issuer_of(payload)?;
        let key_id = judge::check_header(jws.header(), issuer)?;
        let keeper = self.keepers.get(index).ok_or(Kind::UnknownKey)?;
        let signed = keeper.with_key(key_id, issuer.algorithm(), now, patience, |key| {
            judge::check_signature(jws, signature, key).map(|()| *key.fingerprint())
        });
        let key = match signed {
            Lookup::Found(verdict) => verdict?,
            Lookup::Unavailable(unavailable) => return Err(unavailable.into()),
            Lookup::Unknown => return Err(Kind::UnknownKey.into()),
            Lookup::Wait(waiter) => return Ok(Attempt::Wait(waiter)),
        };
        let case = self.rules.case(payload, issuer, now);
        case.check_claims()?;
        let policy = self.policy.load();
        let claims = case.check_identity(&policy.policy, index == 0)?;
        if let Some(hash) = hash {
            let (_, ends_at, _) = claims.seconds();
            let policy_version = policy.version;
            self.seen.put(Entry {
                hash,
                claims: claims.clone(),
                ends_at,
                issuer: index,
                key,
                policy_version,
            });
        }
        Ok(Attempt::Done(Ok(claims)))
    }

    /// Judges a token whose signature Google's front end took off; never remembered.
    fn judge_unsigned(
        &self,
        jws: &Jws<'_>,
        noted_by_front_end: bool,
        now: SystemTime,
    ) -> Result<Claims, VerifyError> {
        if !(self.trusts_front_end && noted_by_front_end) {
            return Err(Kind::SignatureRemoved.into());
        }
        jws.payload(|text| {
            let payload = Payload::parse(text).ok_or(Malformed::PayloadNotObject)?;
            let (index, issuer) = self.rules.issuer_of(&payload)?;
            judge::check_note(issuer)?;
            judge::check_header(jws.header(), issuer)?;
            let case = self.rules.case(&payload, issuer, now);
            case.check_claims()?;
            case.check_identity(&self.policy.load().policy, index == 0)
        })?
    }
}
