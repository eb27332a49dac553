//! The same tokens before two judges: ours, and one put together from jsonwebtoken's checks and our
//! written rules in the plainest form. What we accept the other must accept; what only we refuse
//! must be of a kind that the table explains.

use std::collections::{BTreeMap, HashMap};

use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};

use super::*;

/// Where we refuse and the other does not, and why that is meant.
const EXPLAINED: [(Kind, &str); 3] = [
    (Kind::CriticalHeader, "jsonwebtoken does not look at `crit`"),
    (
        Kind::Malformed(Malformed::HeaderMistyped),
        "jsonwebtoken takes null for absent",
    ),
    (Kind::WrongType, "jsonwebtoken does not look at `typ`"),
];

const TOKENS: u32 = 100_000;
const SEED: u64 = 20_260_101;

/// What tokens are signed with.
#[derive(Clone, Copy)]
struct Suite(Algorithm);

impl Suite {
    fn signer(self) -> &'static Signer {
        match self.0 {
            Algorithm::Es256 => Signer::p256(),
            Algorithm::Rs256 => Signer::rsa(0),
        }
    }

    fn kid(self) -> &'static str {
        match self.0 {
            Algorithm::Es256 => "ec",
            Algorithm::Rs256 => "k0",
        }
    }
}

struct Other {
    keys: HashMap<&'static str, DecodingKey>,
    validation: Validation,
}

impl Other {
    fn new(suite: Suite) -> Self {
        let jwk = suite.signer().jwk(suite.kid());
        let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(jwk).unwrap();
        let algorithm = match suite {
            Suite(Algorithm::Es256) => jsonwebtoken::Algorithm::ES256,
            Suite(Algorithm::Rs256) => jsonwebtoken::Algorithm::RS256,
        };
        let mut validation = Validation::new(algorithm);
        validation.set_audience(&[AUDIENCE]);
        validation.set_issuer(&["https://accounts.google.com", "accounts.google.com"]);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        // It has no clock but the system's: the times are among the written rules.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Self {
            keys: HashMap::from([(suite.kid(), DecodingKey::from_jwk(&jwk).unwrap())]),
            validation,
        }
    }

    fn accepts(&self, jwt: &str) -> bool {
        let Ok(header) = decode_header(jwt) else {
            return false;
        };
        let Some(key) = header.kid.and_then(|kid| self.keys.get(kid.as_str())) else {
            return false;
        };
        let Ok(token) = decode::<Value>(jwt, key, &self.validation) else {
            return false;
        };
        jwt.len() <= 8192 && rules(&token.claims)
    }
}

/// What is written down, in the plainest form.
pub(super) fn rules(claims: &Value) -> bool {
    let seconds = |name: &str| {
        let number = claims[name]
            .as_f64()
            .filter(|number| number.fract() == 0.0)?;
        (0.0..=253_402_300_799.0)
            .contains(&number)
            .then_some(number)
    };
    let text_or_absent = |name: &str| claims.get(name).is_none_or(Value::is_string);
    let (now, leeway) = (NOW as f64, 10.0);
    let (Some(exp), Some(iat)) = (seconds("exp"), seconds("iat")) else {
        return false;
    };
    let nbf = match claims.get("nbf") {
        None => 0.0,
        Some(_) => seconds("nbf").unwrap_or(f64::INFINITY),
    };
    now < exp + leeway
        && iat <= now + leeway
        && nbf <= now + leeway
        && exp > iat
        && exp - iat <= 3600.0 + leeway
        && claims["sub"].as_str().is_some_and(|sub| !sub.is_empty())
        && ["azp", "email", "hd"].into_iter().all(text_or_absent)
        && claims["email_verified"] == true
        && claims["email"]
            .as_str()
            .is_some_and(|email| email.eq_ignore_ascii_case(EMAIL))
}

#[derive(Default)]
struct Tally {
    by_both: u32,
    by_neither: u32,
    by_other_only: BTreeMap<&'static str, u32>,
}

impl Tally {
    /// Judges `count` tokens that grow from `seed`.
    fn of(suite: Suite, seed: u64, count: u32) -> Self {
        let issuer = Issuer::google().with_algorithm(suite.0).with_keys(keys());
        let ours = builder().issuer(issuer).build().unwrap();
        let other = Other::new(suite);
        let mut random = fastrand::Rng::with_seed(seed);
        let mut tally = Self::default();
        for number in 0..count {
            let jwt = mutated(suite, &mut random);
            match (judge(&ours, &jwt), other.accepts(&jwt)) {
                (Ok(_), true) => tally.by_both += 1,
                (Err(_), false) => tally.by_neither += 1,
                (Ok(_), false) => panic!("token {number} of seed {seed}: only we accept {jwt}"),
                (Err(kind), true) => {
                    let why = EXPLAINED.iter().find(|(explained, _)| *explained == kind);
                    let (_, why) = why.unwrap_or_else(|| {
                        panic!("token {number} of seed {seed}: only we refuse, {kind:?}: {jwt}")
                    });
                    *tally.by_other_only.entry(why).or_default() += 1;
                }
            }
        }
        tally
    }
}

#[test]
fn no_token_is_accepted_that_the_other_judge_refuses() {
    // Each thread has its share and a seed of its own, so that any of them can be run again.
    // One of them signs as Google does, which takes ten times as long.
    let suite = |thread| match thread {
        0 => Suite(Algorithm::Rs256),
        _ => Suite(Algorithm::Es256),
    };
    let tallies: Vec<Tally> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|thread| scope.spawn(move || Tally::of(suite(thread), SEED + thread, TOKENS / 4)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let mut all = Tally::default();
    for tally in tallies {
        all.by_both += tally.by_both;
        all.by_neither += tally.by_neither;
        for (why, count) in tally.by_other_only {
            *all.by_other_only.entry(why).or_default() += count;
        }
    }
    let Tally {
        by_both,
        by_neither,
        by_other_only,
    } = all;
    println!(
        "seeds {SEED}..: {by_both} accepted by both, {by_neither} refused by both, 0 by the other only"
    );
    for (why, count) in &by_other_only {
        println!("  {count} refused by us only: {why}");
    }
    assert!(
        by_both > TOKENS / 20,
        "too few good tokens to say anything: {by_both}"
    );
    assert!(by_neither > TOKENS / 20);
    assert_eq!(
        by_other_only.len(),
        EXPLAINED.len(),
        "the table explains what does not happen"
    );
}

/// A good token with something done to it; some changes change nothing that matters.
fn mutated(suite: Suite, random: &mut fastrand::Rng) -> String {
    let mut header = json!({"alg": suite.0.name(), "kid": suite.kid(), "typ": "JWT"});
    let mut claims = good_claims();
    for _ in 0..random.usize(0..3) {
        match random.u8(0..4) {
            0 => change(
                &mut header,
                &["alg", "kid", "typ", "crit", "jku", "cty", "x"],
                random,
            ),
            _ => change(&mut claims, &CLAIMS, random),
        }
    }
    let (mut header, mut payload) = (header.to_string(), claims.to_string());
    match random.u8(0..12) {
        0 => header = damaged_json(&header, random),
        1 | 2 => payload = damaged_json(&payload, random),
        _ => {}
    }
    let jwt = suite.signer().compact(&header, &payload);
    if random.u8(0..4) == 0 {
        damaged_text(&jwt, random)
    } else {
        jwt
    }
}

const CLAIMS: [&str; 11] = [
    "iss",
    "aud",
    "exp",
    "iat",
    "nbf",
    "sub",
    "email",
    "email_verified",
    "azp",
    "hd",
    "google",
];

fn change(object: &mut Value, names: &[&str], random: &mut fastrand::Rng) {
    let name = names[random.usize(0..names.len())];
    let value = match random.u8(0..20) {
        0 => Value::Null,
        1 => json!(random.bool()),
        2 => json!(random.u64(..)),
        3 => json!(-random.i64(0..1 << 40)),
        4 => json!(NOW as f64 + random.f64() * 100.0),
        5 => json!((NOW - 100 + random.u64(0..200)) as f64),
        6..=9 => json!(NOW - 3700 + random.u64(0..7400)),
        10 => json!(NOW.to_string()),
        11 => json!([AUDIENCE]),
        12 => json!([AUDIENCE, random.u8(..).to_string()]),
        13 => json!([AUDIENCE, random.u8(..)]),
        14 => json!([]),
        15 => json!({"a": random.u8(..)}),
        16 => json!(""),
        17 => json!(EMAIL.to_ascii_uppercase()),
        18 => json!("accounts.google.com"),
        _ => {
            object.as_object_mut().unwrap().remove(name);
            return;
        }
    };
    object[name] = value;
}

/// Changes JSON as text: repeats a member, breaks a character, adds white space.
fn damaged_json(text: &str, random: &mut fastrand::Rng) -> String {
    match random.u8(0..4) {
        0 => format!(r#"{{"aud":"https://x",{}"#, &text[1..]),
        1 => format!(" {text}\n"),
        2 => format!("{text}{text}"),
        _ => {
            let mut bytes = text.as_bytes().to_vec();
            let index = random.usize(0..bytes.len());
            bytes[index] = random.u8(0x20..0x7f);
            String::from_utf8(bytes).unwrap()
        }
    }
}

/// Changes a token as text.
fn damaged_text(jwt: &str, random: &mut fastrand::Rng) -> String {
    const LETTERS: &[u8] = b"ABCxyz019-_=+/. \n";
    let mut bytes = jwt.as_bytes().to_vec();
    let index = random.usize(0..bytes.len());
    let letter = LETTERS[random.usize(0..LETTERS.len())];
    match random.u8(0..5) {
        0 => bytes[index] = letter,
        1 => bytes.insert(index, letter),
        2 => drop(bytes.remove(index)),
        3 => bytes.truncate(index),
        _ => bytes.push(letter),
    }
    String::from_utf8(bytes).unwrap()
}
