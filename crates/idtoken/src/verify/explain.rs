//! Why a token is accepted or not, check by check.

use std::fmt;
use std::time::SystemTime;

use super::claims::{Claim, Known, Payload};
use super::error::VerifyErrorKind as Kind;
use super::issuer::Issuer;
use super::judge::{self, Case};
use super::jws::{Header, Jws, MAX_SIGNATURE_BYTES, Malformed};
use super::keeper::Look;
use super::{Inner, Verifier};

/// Every check of one token, with the values compared.
///
/// For a command line, or for logs where that is wanted. It names addresses and ids of callers, so
/// it does not belong into an answer; the signature is never in it. `Display` gives a line for each
/// check.
#[derive(Clone, Debug)]
pub struct Explanation {
    checks: Vec<Check>,
}

impl Explanation {
    /// The checks, in the order in which a verification makes them.
    #[must_use]
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// Whether the token is accepted.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.failure().is_none() && self.checks.iter().all(|check| check.result.is_some())
    }

    /// What a verification names as the fault: the first check that fails.
    #[must_use]
    pub fn failure(&self) -> Option<Kind> {
        self.checks.iter().find_map(|check| check.result?.err())
    }

    fn add(&mut self, name: &'static str, result: Result<(), Kind>, detail: String) {
        self.checks.push(Check {
            name,
            result: Some(result),
            detail,
        });
    }

    /// A check that needs what an earlier one did not find.
    fn skip(&mut self, name: &'static str, detail: &str) {
        self.checks.push(Check {
            name,
            result: None,
            detail: detail.to_owned(),
        });
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.checks
            .iter()
            .try_for_each(|check| writeln!(f, "{check}"))
    }
}

/// One check of a token.
#[derive(Clone, Debug)]
pub struct Check {
    name: &'static str,
    result: Option<Result<(), Kind>>,
    detail: String,
}

impl Check {
    /// What is checked: a claim, a header field, `signature`, `identity`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether it holds; `None` when it cannot be made, because an earlier one failed.
    #[must_use]
    pub fn passed(&self) -> Option<bool> {
        self.result.map(|result| result.is_ok())
    }

    /// What was compared with what.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.passed() {
            Some(true) => "pass",
            Some(false) => "FAIL",
            None => "  - ",
        };
        write!(f, "{mark}  {:<10} {}", self.name, self.detail)
    }
}

impl Verifier {
    /// Makes every check on `jwt` as of `now`, goes on after the first that fails, and tells each.
    ///
    /// Uses the keys held and fetches none: verify the token first if it should be judged by keys
    /// that are not held yet.
    #[must_use]
    pub fn explain(&self, jwt: &str, now: SystemTime) -> Explanation {
        self.inner.explanation(jwt, false, now)
    }
}

impl Inner {
    pub(super) fn explanation(
        &self,
        jwt: &str,
        noted_by_front_end: bool,
        now: SystemTime,
    ) -> Explanation {
        let mut explanation = Explanation { checks: Vec::new() };
        if let Err(malformed) = self.explain(jwt, noted_by_front_end, now, &mut explanation) {
            explanation.add(
                "grammar",
                Err(Kind::Malformed(malformed)),
                malformed.to_string(),
            );
        }
        explanation
    }

    fn explain(
        &self,
        jwt: &str,
        noted_by_front_end: bool,
        now: SystemTime,
        to: &mut Explanation,
    ) -> Result<(), Malformed> {
        let jws = Jws::parse(jwt)?;
        let believes_note = self.trusts_front_end && noted_by_front_end;
        if jws.is_signature_removed() && !believes_note {
            let detail = "the third part is the note of Google's front end".to_owned();
            to.add("signature", Err(Kind::SignatureRemoved), detail);
        }
        let mut buffer = [0; MAX_SIGNATURE_BYTES];
        let signature = if jws.is_signature_removed() {
            &[]
        } else {
            jws.signature(&mut buffer)?
        };
        jws.payload(|text| {
            let payload = Payload::parse(text).ok_or(Malformed::PayloadNotObject)?;
            to.add(
                "grammar",
                Ok(()),
                format!("{} bytes, three parts of base64url JSON", jwt.len()),
            );
            let (index, issuer) = match self.rules.issuer_of(&payload) {
                Ok(found) => found,
                Err(kind) => {
                    to.add(
                        "iss",
                        Err(kind),
                        compare(&text_of(&payload, Known::Iss), "any issuer"),
                    );
                    return Ok(());
                }
            };
            if jws.is_signature_removed() && believes_note {
                let result = judge::check_note(issuer);
                to.add(
                    "signature",
                    result,
                    "checked by Google's front end".to_owned(),
                );
            }
            explain_header(jws.header(), issuer, to);
            if !jws.is_signature_removed() {
                self.explain_signature(&jws, signature, index, issuer, now, to);
            }
            let case = self.rules.case(&payload, issuer, now);
            for (name, check) in Case::CLAIM_CHECKS {
                to.add(name, check(&case), claim_detail(name, &case));
            }
            let policy = self.policy.load();
            let identity = case.check_identity(&policy.policy, index == 0);
            let identity = identity.map(drop).map_err(|error| error.kind());
            to.add(
                "identity",
                identity,
                identity_detail(&payload, &policy.policy),
            );
            Ok(())
        })?
    }

    fn explain_signature(
        &self,
        jws: &Jws<'_>,
        signature: &[u8],
        index: usize,
        issuer: &Issuer,
        now: SystemTime,
        to: &mut Explanation,
    ) {
        let (Some(id), Some(keeper)) = (jws.header().key_id(), self.keepers.get(index)) else {
            return to.skip("signature", "no key to check it with");
        };
        let look = keeper.peek(id, issuer.algorithm(), now, |key| {
            judge::check_signature(jws, signature, key)
        });
        match look {
            Look::Found(verdict) => {
                to.add("key", Ok(()), format!("{id:?} is held"));
                to.add("signature", verdict, format!("{} bytes", signature.len()));
            }
            Look::NoKeys => {
                to.add(
                    "key",
                    Err(Kind::KeysUnavailable),
                    format!("{id:?} is not held yet"),
                );
                to.skip("signature", "no key to check it with");
            }
            Look::NoSuchKey => {
                to.add(
                    "key",
                    Err(Kind::UnknownKey),
                    format!("{id:?} is none of the issuer's"),
                );
                to.skip("signature", "no key to check it with");
            }
        }
    }
}

fn explain_header(header: &Header, issuer: &Issuer, to: &mut Explanation) {
    let algorithm = header
        .algorithm()
        .map_or("another", |algorithm| algorithm.name());
    let detail = compare(algorithm, issuer.algorithm().name());
    to.add("alg", judge::check_algorithm(header, issuer), detail);
    let detail = if header.has_critical() {
        "present"
    } else {
        "absent"
    };
    to.add("crit", judge::check_critical(header), detail.to_owned());
    let detail = if header.is_jwt() {
        "JWT or absent"
    } else {
        "another type"
    };
    to.add("typ", judge::check_type(header), detail.to_owned());
    let (result, detail) = match header.key_id() {
        Some(id) => (Ok(()), format!("{id:?}")),
        None => (Err(Kind::MissingKeyId), "absent or unusable".to_owned()),
    };
    to.add("kid", result, detail);
}

fn claim_detail(name: &str, case: &Case<'_>) -> String {
    let payload = case.payload;
    let (now, leeway) = (case.now, case.leeway);
    let seconds = |claim: Claim<u64>| match claim {
        Claim::Absent => "absent".to_owned(),
        Claim::Mistyped => "not a time".to_owned(),
        Claim::Present(seconds) => seconds.to_string(),
    };
    match name {
        "iss" => compare(
            &text_of(payload, Known::Iss),
            &format!("{:?}", case.issuer.names()),
        ),
        "aud" => {
            let aud = match &payload.aud {
                Claim::Absent => "absent".to_owned(),
                Claim::Mistyped => "neither text nor a list of texts".to_owned(),
                Claim::Present(aud) => format!("{:?}", aud.iter().collect::<Vec<_>>()),
            };
            compare(&aud, &format!("{:?}", case.audiences))
        }
        "exp" => format!("{}, now {now}, leeway {leeway} s", seconds(payload.exp)),
        "iat" => format!("{}, now {now}, leeway {leeway} s", seconds(payload.iat)),
        "nbf" => format!("{}, now {now}, leeway {leeway} s", seconds(payload.nbf)),
        "lifetime" => {
            let longest = case.issuer.max_lifetime().as_secs();
            format!("from iat to exp at most {longest} s and leeway {leeway} s")
        }
        "sub" => text_of(payload, Known::Sub),
        _ => "`azp`, `email` and `hd` are texts or absent".to_owned(),
    }
}

fn identity_detail(payload: &Payload<'_>, policy: &super::Policy) -> String {
    format!(
        "email {} (verified: {}), sub {}, azp {}, hd {}; allowed: {policy:?}",
        text_of(payload, Known::Email),
        payload.email_verified,
        text_of(payload, Known::Sub),
        text_of(payload, Known::Azp),
        text_of(payload, Known::Hd),
    )
}

fn text_of(payload: &Payload<'_>, known: Known) -> String {
    match payload.get(known) {
        Claim::Absent => "absent".to_owned(),
        Claim::Mistyped => "not text".to_owned(),
        Claim::Present(text) => format!("{text:?}"),
    }
}

fn compare(found: &str, wanted: &str) -> String {
    format!("{found}, wanted {wanted}")
}
