//! `idtoken verify`.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use idtoken::clock::SystemClock;
use idtoken::verify::{Check, Explanation};
use idtoken::{Claims, Clock, Issuer, Principal, Verifier, VerifyError};
use serde_json::{Value, json};

use crate::exit::{Exit, Failure};
use crate::output::{BAD, DIM, GOOD, Output, printable};
use crate::progress::Progress;
use crate::token_text;

/// Make every check on a token, and tell each
#[derive(Args, Debug)]
#[command(
    after_help = "A token's audience is chosen by whoever asks for the token: only an \
identity rule says who that was. One of --allow and --danger-any-google-identity is therefore \
needed."
)]
pub(crate) struct VerifyArgs {
    /// The token, or a header with it; `-` reads standard input
    #[arg(default_value = "-", hide_default_value = true)]
    token: String,

    /// Whom the token must be for, letter by letter; may be repeated
    #[arg(long, short, required = true)]
    audience: Vec<String>,

    /// Whom it may be from: an e-mail address, `sub:ID`, `domain:NAME`, `azp:PARTY` or
    /// `project:ID`; may be repeated
    #[arg(long, value_name = "WHO", value_parser = principal, required_unless_present = "danger_any_google_identity")]
    allow: Vec<Principal>,

    /// Accept whoever has a Google account
    #[arg(long, conflicts_with = "allow")]
    danger_any_google_identity: bool,

    /// Who signs: `google`, `iap` or `firebase:PROJECT`
    #[arg(long, value_name = "ISSUER", default_value = "google", value_parser = issuer)]
    issuer: Issuer,

    /// Where the issuer's keys are, if not at its usual address: an emulator's URL
    #[arg(long, value_name = "URL")]
    jwks_url: Option<String>,

    /// How far the clocks of issuer and verifier may be apart, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    leeway: u64,
}

impl VerifyArgs {
    fn verifier(&self) -> Result<Verifier, Failure> {
        let mut builder = Verifier::builder()
            .audiences(&self.audience)
            .issuer(self.issuer.clone())
            .leeway(Duration::from_secs(self.leeway));
        for principal in &self.allow {
            builder = builder.allow(principal.clone());
        }
        if self.danger_any_google_identity {
            builder = builder.danger_any_google_identity();
        }
        if let Some(url) = &self.jwks_url {
            builder = builder.jwks_url(url);
        }
        builder
            .build()
            .map_err(|error| Failure::new(Exit::Usage, "").with_source(error))
    }
}

pub(crate) async fn run(args: &VerifyArgs, output: &Output) -> Result<ExitCode, Failure> {
    let verifier = args.verifier()?;
    let jwt = token_text::read(&args.token, output).await?;
    let verdict = {
        let _progress = Progress::start(output, "fetching the issuer's keys");
        verifier.verify(&jwt).await
    };
    let explanation = verifier.explain(&jwt, SystemClock.now());
    output.result(
        || json_of(&explanation, &verdict),
        || table(&explanation, &verdict),
    )?;
    match verdict {
        Ok(_) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(failure(error)),
    }
}

/// The verdict as an error: what is wrong, what to do, and what caused it.
pub(crate) fn failure(error: VerifyError) -> Failure {
    let message = match error.advice() {
        Some(advice) => format!("not accepted: {advice}"),
        None => "not accepted".to_owned(),
    };
    Failure::new(Exit::of_verdict(error.kind()), message).with_source(error)
}

fn table(explanation: &Explanation, verdict: &Result<Claims, VerifyError>) -> String {
    let mut table = String::new();
    for check in explanation.checks() {
        let (style, mark) = match check.passed() {
            Some(true) => (GOOD, "pass"),
            Some(false) => (BAD, "FAIL"),
            None => (DIM, "-"),
        };
        table.push_str(&format!(
            "{style}{mark:<4}{style:#}  {:<10} {}\n",
            check.name(),
            printable(check.detail())
        ));
    }
    if let Ok(claims) = verdict {
        let who = claims.email().unwrap_or_else(|| claims.sub());
        table.push_str(&format!("\n{GOOD}accepted{GOOD:#}: {}\n", printable(who)));
    }
    table
}

fn json_of(explanation: &Explanation, verdict: &Result<Claims, VerifyError>) -> Value {
    let check = |check: &Check| {
        json!({
            "detail": check.detail(),
            "name": check.name(),
            "passed": check.passed(),
        })
    };
    let checks: Vec<_> = explanation.checks().iter().map(check).collect();
    let (claims, error) = match verdict {
        Ok(claims) => (
            serde_json::from_str(claims.as_json()).unwrap_or(Value::Null),
            None,
        ),
        Err(error) => (Value::Null, Some(error)),
    };
    json!({
        "accepted": verdict.is_ok(),
        "checks": checks,
        "claims": claims,
        "error": error.map(ToString::to_string),
        "status": error.map_or(200, |error| error.status().as_u16()),
    })
}

fn principal(text: &str) -> Result<Principal, String> {
    match text.split_once(':') {
        Some((_, "")) => Err("there is nothing after the colon".to_owned()),
        Some(("azp", azp)) => Ok(Principal::azp(azp)),
        Some(("domain", domain)) => Ok(Principal::domain(domain)),
        Some(("project", project)) => Ok(Principal::project(project)),
        Some(("sub", sub)) => Ok(Principal::subject(sub)),
        None if text.ends_with(".gserviceaccount.com") => Ok(Principal::service_account(text)),
        None if text.contains('@') => Ok(Principal::email(text)),
        _ => {
            Err("it is an e-mail address, sub:ID, domain:NAME, azp:PARTY or project:ID".to_owned())
        }
    }
}

fn issuer(text: &str) -> Result<Issuer, String> {
    match text.split_once(':') {
        None if text == "google" => Ok(Issuer::google()),
        None if text == "iap" => Ok(Issuer::iap()),
        Some(("firebase", project)) if !project.is_empty() => Ok(Issuer::firebase(project)),
        _ => Err("it is google, iap or firebase:PROJECT".to_owned()),
    }
}
