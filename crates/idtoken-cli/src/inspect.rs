//! `idtoken inspect`.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use idtoken::Clock;
use idtoken::clock::SystemClock;
use serde_json::{Map, Value, json};

use self::origin::Origin;
use crate::exit::{Exit, Failure};
use crate::output::{BAD, BOLD, DIM, Output, WARN, printable};
use crate::{span, token_text};

mod origin;

/// Show what a token says, without verifying it; its signature is never shown
#[derive(Args, Debug)]
#[command(
    after_help = "Nothing leaves this machine. A token given as an argument can be seen by \
other programs while this one runs; standard input cannot."
)]
pub(crate) struct InspectArgs {
    /// The token, or a header with it; `-` reads standard input
    #[arg(default_value = "-", hide_default_value = true)]
    token: String,
}

pub(crate) async fn run(args: &InspectArgs, output: &Output) -> Result<ExitCode, Failure> {
    let jwt = token_text::read(&args.token, output).await?;
    let token = Token::read(&jwt)?;
    let now = SystemClock.now();
    output.result(|| token.json(now), || token.text(now))?;
    Ok(ExitCode::SUCCESS)
}

/// A token taken apart, its signature left out.
struct Token {
    header: Map<String, Value>,
    claims: Map<String, Value>,
    signature: Signature,
}

enum Signature {
    Bytes(usize),
    Removed,
}

impl Token {
    fn read(jwt: &str) -> Result<Self, Failure> {
        let mut parts = jwt.split('.');
        let (Some(header), Some(claims), Some(signature)) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Err(Failure::new(Exit::Malformed, "this is no ID token"));
        };
        let signature = match signature {
            REMOVED => Signature::Removed,
            present => Signature::Bytes(decode(present)?.len()),
        };
        Ok(Self {
            header: object(header)?,
            claims: object(claims)?,
            signature,
        })
    }

    fn text_of(&self, claim: &str) -> Option<&str> {
        self.claims.get(claim).and_then(Value::as_str)
    }

    fn time_of(&self, claim: &str) -> Option<SystemTime> {
        let seconds = self.claims.get(claim).and_then(Value::as_u64)?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
    }

    fn json(&self, now: SystemTime) -> Value {
        let exp = self.time_of("exp");
        json!({
            "claims": self.claims,
            "expired": exp.map(|exp| exp <= now),
            "expires_at": exp.and_then(span::utc),
            "expires_in_s": exp.map(|exp| span::seconds_between(now, exp)),
            "header": self.header,
            "identity": self.identity(),
            "looks_like": Origin::of(self).name(),
            "signature": match self.signature {
                Signature::Bytes(_) => "not shown",
                Signature::Removed => "removed by Google",
            },
            "verified": false,
        })
    }

    fn text(&self, now: SystemTime) -> String {
        let mut text = format!(
            "{WARN}NOT VERIFIED{WARN:#}: anyone can write a token that says this. \
             `idtoken verify` checks it.\n\n{BOLD}header{BOLD:#}\n"
        );
        for (name, value) in &self.header {
            text.push_str(&row(name, &shown(value)));
        }
        text.push_str(&format!("\n{BOLD}claims{BOLD:#}\n"));
        let known = KNOWN
            .iter()
            .filter_map(|name| self.claims.get_key_value(*name));
        let others = self
            .claims
            .iter()
            .filter(|(name, _)| !KNOWN.contains(&name.as_str()));
        for (name, value) in known.chain(others) {
            text.push_str(&row(name, &self.claim(name, value, now)));
        }
        text.push('\n');
        let signature = match self.signature {
            Signature::Bytes(length) => format!("{length} bytes, not shown"),
            Signature::Removed => "removed by Google's front end after it was checked".to_owned(),
        };
        text.push_str(&row("signature", &signature));
        text.push_str(&row("identity", &printable(&self.identity())));
        text.push_str(&row("looks like", Origin::of(self).description()));
        text
    }

    fn claim(&self, name: &str, value: &Value, now: SystemTime) -> String {
        let Some(time) = TIMES.contains(&name).then(|| self.time_of(name)).flatten() else {
            return shown(value);
        };
        let told = span::local(time);
        match name {
            "exp" if time <= now => format!("{told}, {BAD}{}{BAD:#}", span::expiry(now, time)),
            "exp" => format!("{told}, {}", span::expiry(now, time)),
            _ => told,
        }
    }

    /// Whose token it says it is.
    fn identity(&self) -> String {
        let subject = self.text_of("sub").unwrap_or("no subject");
        match self.text_of("email") {
            None => format!("subject {subject}, no e-mail address"),
            Some(email) => {
                let kind = if email.ends_with(".gserviceaccount.com") {
                    "service account"
                } else {
                    "user"
                };
                let verified = match self.claims.get("email_verified") {
                    Some(Value::Bool(true)) => "",
                    _ => ", address not verified",
                };
                format!("{kind} {email}{verified}, subject {subject}")
            }
        }
    }
}

fn row(name: &str, value: &str) -> String {
    let name = printable(name);
    format!("  {DIM}{name:<14}{DIM:#} {value}\n")
}

/// Text as it is, everything else as JSON.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => printable(text),
        other => printable(&other.to_string()),
    }
}

fn object(part: &str) -> Result<Map<String, Value>, Failure> {
    serde_json::from_slice(&decode(part)?)
        .map_err(|_| Failure::new(Exit::Malformed, "a part of the token is no JSON object"))
}

fn decode(part: &str) -> Result<Vec<u8>, Failure> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| Failure::new(Exit::Malformed, "a part of the token is not base64url"))
}

/// In the order in which people want to know them.
const KNOWN: [&str; 9] = [
    "iss",
    "aud",
    "sub",
    "email",
    "email_verified",
    "azp",
    "hd",
    "iat",
    "exp",
];
const TIMES: [&str; 4] = ["iat", "exp", "nbf", "auth_time"];
const REMOVED: &str = "SIGNATURE_REMOVED_BY_GOOGLE";
