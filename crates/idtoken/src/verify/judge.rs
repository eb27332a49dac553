//! The verdict on one token: pure, synchronous and total.
//!
//! The order of the checks is part of the contract, since it decides which of two faults is named:
//! grammar, `alg`, `crit`, `typ`, `kid`, key, signature, `iss`, `aud`, `exp`, `iat`, `nbf`,
//! lifetime, `sub`, and last who the caller is. With several issuers `iss` comes before `alg` as well.

use std::time::{Duration, SystemTime};

use super::audience::normal_form;
use super::claims::{Claim, Claims, Known, Payload};
use super::error::{VerifyError, VerifyErrorKind as Kind};
use super::issuer::Issuer;
use super::jws::{Header, Jws};
use super::keys::Key;
use super::policy::Policy;
use crate::clock::unix_seconds;

/// What every token is measured against.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) audiences: Vec<String>,
    /// Whether `audiences` are normal forms, and a token's is brought into it as well.
    pub(crate) compares_normal_forms: bool,
    pub(crate) issuers: Vec<Issuer>,
    pub(crate) leeway: Duration,
}

impl Rules {
    /// The issuer to judge a token by, and its index: the one whose name the token claims.
    ///
    /// With a single issuer it is that one, whatever the token claims: a wrong name is then found
    /// in its turn, after the signature.
    pub(crate) fn issuer_of(&self, payload: &Payload<'_>) -> Result<(usize, &Issuer), Kind> {
        if let [only] = self.issuers.as_slice() {
            return Ok((0, only));
        }
        let iss = required(payload.get(Known::Iss), "iss")?;
        let named = self
            .issuers
            .iter()
            .enumerate()
            .find(|(_, issuer)| issuer.is_named(iss));
        named.ok_or(Kind::WrongIssuer)
    }

    pub(crate) fn case<'c>(
        &'c self,
        payload: &'c Payload<'c>,
        issuer: &'c Issuer,
        now: SystemTime,
    ) -> Case<'c> {
        let (now, leeway) = (unix_seconds(now), self.leeway.as_secs());
        Case {
            payload,
            issuer,
            audiences: &self.audiences,
            compares_normal_forms: self.compares_normal_forms,
            now,
            leeway,
        }
    }
}

/// Checks what the header says before any key is looked for; the key id, when all is well.
pub(crate) fn check_header<'h>(header: &'h Header, issuer: &Issuer) -> Result<&'h str, Kind> {
    check_algorithm(header, issuer)?;
    check_critical(header)?;
    check_type(header)?;
    header.key_id().ok_or(Kind::MissingKeyId)
}

pub(crate) fn check_algorithm(header: &Header, issuer: &Issuer) -> Result<(), Kind> {
    ensure(
        header.algorithm() == Some(issuer.algorithm()),
        Kind::AlgorithmNotAllowed,
    )
}

pub(crate) fn check_critical(header: &Header) -> Result<(), Kind> {
    ensure(!header.has_critical(), Kind::CriticalHeader)
}

pub(crate) fn check_type(header: &Header) -> Result<(), Kind> {
    ensure(header.is_jwt(), Kind::WrongType)
}

/// Checks the signature by `key`, which the caller found under the token's own `kid`.
pub(crate) fn check_signature(jws: &Jws<'_>, signature: &[u8], key: &Key) -> Result<(), Kind> {
    #[cfg(test)]
    super::testing::note_signature_check();
    ensure(
        key.verifies(jws.signing_input(), signature),
        Kind::BadSignature,
    )
}

/// Checks that a note in place of the signature can be true: the front end checks Google's tokens
/// and no others.
pub(crate) fn check_note(issuer: &Issuer) -> Result<(), Kind> {
    ensure(issuer.is_open(), Kind::SignatureRemoved)
}

/// The claims of one token, and what they are measured against.
#[derive(Clone, Copy)]
pub(crate) struct Case<'c> {
    pub(crate) payload: &'c Payload<'c>,
    pub(crate) issuer: &'c Issuer,
    pub(crate) audiences: &'c [String],
    compares_normal_forms: bool,
    /// Seconds since 1970.
    pub(crate) now: u64,
    pub(crate) leeway: u64,
}

impl Case<'_> {
    /// Checks everything that the claims say but for who the caller is.
    pub(crate) fn check_claims(&self) -> Result<(), Kind> {
        Self::CLAIM_CHECKS
            .iter()
            .try_for_each(|(_, check)| check(self))
    }

    /// The checks of the claims, in order, with the names that an explanation gives them.
    pub(crate) const CLAIM_CHECKS: [(&'static str, ClaimCheck<Self>); 8] = [
        ("iss", Self::check_issuer),
        ("aud", Self::check_audience),
        ("exp", Self::check_expiry),
        ("iat", Self::check_issued_at),
        ("nbf", Self::check_not_before),
        ("lifetime", Self::check_lifetime),
        ("sub", Self::check_subject),
        ("types", Self::check_types),
    ];

    /// Says who the caller is, if they may call.
    pub(crate) fn check_identity(
        &self,
        policy: &Policy,
        is_first: bool,
    ) -> Result<Claims, VerifyError> {
        policy
            .admit(self.payload, self.issuer, is_first)
            .ok_or_else(|| VerifyError::not_allowed(policy.wants_email() && !self.has_email()))
    }

    fn has_email(&self) -> bool {
        matches!(self.payload.get(Known::Email), Claim::Present(_)) && self.payload.email_verified
    }

    fn check_issuer(&self) -> Result<(), Kind> {
        let iss = required(self.payload.get(Known::Iss), "iss")?;
        ensure(self.issuer.is_named(iss), Kind::WrongIssuer)
    }

    fn check_audience(&self) -> Result<(), Kind> {
        let aud = required(self.payload.aud.as_ref(), "aud")?;
        let is_ours = |aud: &str| {
            let form = self.compares_normal_forms.then(|| normal_form(aud));
            let aud = form.as_deref().unwrap_or(aud);
            self.audiences.iter().any(|ours| ours == aud)
        };
        ensure(aud.iter().any(is_ours), Kind::WrongAudience)
    }

    fn check_expiry(&self) -> Result<(), Kind> {
        let exp = required(self.payload.exp, "exp")?;
        ensure(self.now < exp.saturating_add(self.leeway), Kind::Expired)
    }

    fn check_issued_at(&self) -> Result<(), Kind> {
        let iat = required(self.payload.iat, "iat")?;
        ensure(
            iat <= self.now.saturating_add(self.leeway),
            Kind::IssuedInFuture,
        )
    }

    fn check_not_before(&self) -> Result<(), Kind> {
        match self.payload.nbf {
            Claim::Absent => Ok(()),
            Claim::Mistyped => Err(Kind::MistypedClaim("nbf")),
            Claim::Present(nbf) => ensure(
                nbf <= self.now.saturating_add(self.leeway),
                Kind::NotYetValid,
            ),
        }
    }

    fn check_lifetime(&self) -> Result<(), Kind> {
        let exp = required(self.payload.exp, "exp")?;
        let iat = required(self.payload.iat, "iat")?;
        // It never lived; with the leeway on both ends it might pass all the same.
        ensure(exp > iat, Kind::Expired)?;
        let longest = self
            .issuer
            .max_lifetime()
            .as_secs()
            .saturating_add(self.leeway);
        ensure(exp.saturating_sub(iat) <= longest, Kind::LifetimeTooLong)
    }

    fn check_subject(&self) -> Result<(), Kind> {
        let sub = required(self.payload.get(Known::Sub), "sub")?;
        ensure(!sub.is_empty(), Kind::MissingClaim("sub"))
    }

    /// What an identity rule or a handler reads must be what it says it is.
    fn check_types(&self) -> Result<(), Kind> {
        let mistyped = |known: &Known| self.payload.get(*known) == Claim::Mistyped;
        match [Known::Azp, Known::Email, Known::Hd]
            .iter()
            .find(|known| mistyped(known))
        {
            Some(known) => Err(Kind::MistypedClaim(known.name())),
            None => Ok(()),
        }
    }
}

type ClaimCheck<C> = fn(&C) -> Result<(), Kind>;

/// Whether claims that were accepted before are still right by the clock.
pub(crate) fn is_current(claims: &Claims, leeway: Duration, now: SystemTime) -> bool {
    let (now, leeway) = (unix_seconds(now), leeway.as_secs());
    let (iat, exp, nbf) = claims.seconds();
    let latest = now.saturating_add(leeway);
    now < exp.saturating_add(leeway) && iat <= latest && nbf.is_none_or(|nbf| nbf <= latest)
}

fn ensure(holds: bool, otherwise: Kind) -> Result<(), Kind> {
    if holds { Ok(()) } else { Err(otherwise) }
}

fn required<T>(claim: Claim<T>, name: &'static str) -> Result<T, Kind> {
    match claim {
        Claim::Absent => Err(Kind::MissingClaim(name)),
        Claim::Mistyped => Err(Kind::MistypedClaim(name)),
        Claim::Present(value) => Ok(value),
    }
}
