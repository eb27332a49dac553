//! The verdict on one token: pure, synchronous and total.
//!
//! The order of the checks is part of the contract, since it decides which of two faults is named:
//! grammar, `alg`, `crit`, `typ`, `kid`, key, signature, `iss`, `aud`, `exp`, `iat`, `nbf`,
//! lifetime, `sub`, and last who the caller is.

use std::time::{Duration, SystemTime};

use super::claims::{Claim, Claims, Known, Payload};
use super::error::VerifyErrorKind;
use super::issuer::Issuer;
use super::jws::{Header, Jws};
use super::keys::Key;
use super::policy::Policy;
use crate::clock::unix_seconds;

/// What every token is measured against.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) audiences: Vec<String>,
    pub(crate) issuers: Vec<Issuer>,
    pub(crate) leeway: Duration,
}

impl Rules {
    /// The issuer to judge a token by, and its index: the one whose name the token claims.
    ///
    /// With a single issuer it is that one, whatever the token claims: a wrong name is then found
    /// in its turn, after the signature.
    pub(crate) fn issuer_of(
        &self,
        payload: &Payload<'_>,
    ) -> Result<(usize, &Issuer), VerifyErrorKind> {
        if let [only] = self.issuers.as_slice() {
            return Ok((0, only));
        }
        let iss = required(payload.get(Known::Iss), "iss")?;
        let named = self
            .issuers
            .iter()
            .enumerate()
            .find(|(_, issuer)| issuer.is_named(iss));
        named.ok_or(VerifyErrorKind::WrongIssuer)
    }
}

/// Checks what the header says before any key is looked for; the key id, when all is well.
pub(crate) fn check_header<'h>(
    header: &'h Header,
    issuer: &Issuer,
) -> Result<&'h str, VerifyErrorKind> {
    if header.algorithm() != Some(issuer.algorithm()) {
        return Err(VerifyErrorKind::AlgorithmNotAllowed);
    }
    if header.has_critical() {
        return Err(VerifyErrorKind::CriticalHeader);
    }
    if !header.is_jwt() {
        return Err(VerifyErrorKind::WrongType);
    }
    header.key_id().ok_or(VerifyErrorKind::MissingKeyId)
}

/// Checks the signature by `key`, which the caller found under the token's own `kid`.
pub(crate) fn check_signature(
    jws: &Jws<'_>,
    signature: &[u8],
    key: &Key,
) -> Result<(), VerifyErrorKind> {
    if key.verifies(jws.signing_input(), signature) {
        Ok(())
    } else {
        Err(VerifyErrorKind::BadSignature)
    }
}

/// Checks everything that the claims say but for who the caller is.
pub(crate) fn check_claims(
    payload: &Payload<'_>,
    issuer: &Issuer,
    rules: &Rules,
    now: SystemTime,
) -> Result<(), VerifyErrorKind> {
    let iss = required(payload.get(Known::Iss), "iss")?;
    if !issuer.is_named(iss) {
        return Err(VerifyErrorKind::WrongIssuer);
    }
    let aud = required(payload.aud.as_ref(), "aud")?;
    if !aud
        .iter()
        .any(|aud| rules.audiences.iter().any(|ours| ours == aud))
    {
        return Err(VerifyErrorKind::WrongAudience);
    }
    check_times(payload, issuer, rules.leeway, now)?;
    let sub = required(payload.get(Known::Sub), "sub")?;
    if sub.is_empty() {
        return Err(VerifyErrorKind::MissingClaim("sub"));
    }
    // What an identity rule or a handler reads must be what it says it is.
    for known in [Known::Azp, Known::Email, Known::Hd] {
        if payload.get(known) == Claim::Mistyped {
            return Err(VerifyErrorKind::MistypedClaim(known.name()));
        }
    }
    Ok(())
}

/// Says who the caller is, if they may call.
pub(crate) fn check_identity(
    payload: &Payload<'_>,
    issuer: &Issuer,
    is_first_issuer: bool,
    policy: &Policy,
) -> Result<Claims, VerifyErrorKind> {
    policy
        .admit(payload, issuer, is_first_issuer)
        .ok_or(VerifyErrorKind::NotAllowed)
}

fn check_times(
    payload: &Payload<'_>,
    issuer: &Issuer,
    leeway: Duration,
    now: SystemTime,
) -> Result<(), VerifyErrorKind> {
    let (now, leeway) = (unix_seconds(now), leeway.as_secs());
    let exp = required(payload.exp, "exp")?;
    if now >= exp.saturating_add(leeway) {
        return Err(VerifyErrorKind::Expired);
    }
    let iat = required(payload.iat, "iat")?;
    let latest = now.saturating_add(leeway);
    if iat > latest {
        return Err(VerifyErrorKind::IssuedInFuture);
    }
    match payload.nbf {
        Claim::Absent => {}
        Claim::Mistyped => return Err(VerifyErrorKind::MistypedClaim("nbf")),
        Claim::Present(nbf) if nbf > latest => return Err(VerifyErrorKind::NotYetValid),
        Claim::Present(_) => {}
    }
    let longest = issuer.max_lifetime().as_secs().saturating_add(leeway);
    if exp.saturating_sub(iat) > longest {
        return Err(VerifyErrorKind::LifetimeTooLong);
    }
    Ok(())
}

fn required<T>(claim: Claim<T>, name: &'static str) -> Result<T, VerifyErrorKind> {
    match claim {
        Claim::Absent => Err(VerifyErrorKind::MissingClaim(name)),
        Claim::Mistyped => Err(VerifyErrorKind::MistypedClaim(name)),
        Claim::Present(value) => Ok(value),
    }
}
