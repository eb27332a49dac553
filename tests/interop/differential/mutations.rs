//! Tokens that are good, nearly good, and no longer tokens.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fastrand::Rng;
use idtoken_emulator::{Emulator, TokenRequest};
use serde_json::{Value, json};

use crate::attacks::AUDIENCE;

/// This many tokens. Two of three are others of them with a letter changed, for signing takes longest.
pub(super) fn mutated(google: &Emulator, random: &mut Rng, count: usize) -> Vec<String> {
    let good = google.mint(&TokenRequest::new(AUDIENCE));
    let mut parts = good.split('.').map(|part| {
        let json = URL_SAFE_NO_PAD.decode(part).unwrap_or_default();
        serde_json::from_slice(&json).unwrap_or_default()
    });
    let (header, claims): (Value, Value) = (parts.next().unwrap(), parts.next().unwrap());
    let now = claims["iat"].as_u64().unwrap();
    let mut tokens = Vec::with_capacity(count);
    while tokens.len() < count {
        let signed = signed(google, header.clone(), claims.clone(), now, random);
        let others: [String; 2] = [&good, &signed].map(|token| with_letter_changed(token, random));
        tokens.push(signed);
        tokens.extend(others);
    }
    tokens.truncate(count);
    tokens
}

fn signed(
    google: &Emulator,
    mut header: Value,
    mut claims: Value,
    now: u64,
    random: &mut Rng,
) -> String {
    for _ in 0..random.usize(0..3) {
        match random.u8(0..4) {
            0 => change(&mut header, &HEADER, now, random),
            _ => change(&mut claims, &CLAIMS, now, random),
        }
    }
    let (mut header, mut payload) = (header.to_string(), claims.to_string());
    match random.u8(0..12) {
        0 => header = with_json_changed(&header, random),
        1 | 2 => payload = with_json_changed(&payload, random),
        _ => {}
    }
    let order = TokenRequest::new(AUDIENCE);
    google.mint(&order.raw_header(header).raw_payload(payload))
}

/// Gives a member another value, or takes it away. No time is so near that it passes while the other
/// judge is still at work.
fn change(object: &mut Value, names: &[&str], now: u64, random: &mut Rng) {
    let name = names[random.usize(0..names.len())];
    let near = |random: &mut Rng| match random.bool() {
        true => now - 7200 + random.u64(0..7000),
        false => now + 1200 + random.u64(0..7000),
    };
    let value = match random.u8(0..18) {
        0 => Value::Null,
        1 => json!(random.bool()),
        2 => json!(random.u64(..)),
        3 => json!(-random.i64(0..1 << 40)),
        4 => json!(near(random) as f64 + 0.5),
        5 => json!(near(random) as f64),
        6..=9 => json!(near(random)),
        10 => json!(near(random).to_string()),
        11 => json!([AUDIENCE]),
        12 => json!([AUDIENCE, random.u8(..)]),
        13 => json!([]),
        14 => json!({"a": random.u8(..)}),
        15 => json!(""),
        16 => json!("accounts.google.com"),
        _ => {
            object.as_object_mut().unwrap().remove(name);
            return;
        }
    };
    object[name] = value;
}

/// Changes JSON as text: repeats a member, breaks a character, adds white space.
fn with_json_changed(text: &str, random: &mut Rng) -> String {
    match random.u8(0..4) {
        0 => format!(r#"{{"aud":"https://x",{}"#, &text[1..]),
        1 => format!(" {text}\n"),
        2 => format!("{text}{text}"),
        _ => {
            let mut bytes = text.as_bytes().to_vec();
            let at = random.usize(0..bytes.len());
            bytes[at] = random.u8(0x20..0x7f);
            String::from_utf8(bytes).unwrap()
        }
    }
}

/// Changes a token as text.
fn with_letter_changed(jwt: &str, random: &mut Rng) -> String {
    const LETTERS: &[u8] = b"ABCxyz019-_=+/. \n";
    let mut bytes = jwt.as_bytes().to_vec();
    let at = random.usize(0..bytes.len());
    let letter = *random.choice(LETTERS).unwrap();
    match random.u8(0..5) {
        0 => bytes[at] = letter,
        1 => bytes.insert(at, letter),
        2 => drop(bytes.remove(at)),
        3 => bytes.truncate(at),
        _ => bytes.push(letter),
    }
    String::from_utf8(bytes).unwrap()
}

const HEADER: [&str; 7] = ["alg", "kid", "typ", "crit", "jku", "cty", "x"];
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
