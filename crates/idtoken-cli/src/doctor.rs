//! `idtoken doctor`: goes the way of a call step by step, and stops guessing.

use std::process::ExitCode;

use clap::Args;
use http::Uri;
use idtoken::source::Environment;
use idtoken::{Audience, IdToken};

use self::report::{Finding, Report};
use crate::exit::Failure;
use crate::output::Output;
use crate::print::jwt_of;
use crate::progress::Progress;
use crate::source::SourceArgs;
use crate::span;

mod call;
mod cloud_run;
mod google;
mod report;

/// Find out why a call does not work: credentials, identity, clock, audience, permission
#[derive(Args, Debug)]
pub(crate) struct DoctorArgs {
    /// Whom tokens shall be for; without it, what needs one is left out
    #[arg(long, short)]
    audience: Option<Audience>,

    /// The URL to be called, if it is not the audience
    #[arg(long, requires = "audience")]
    url: Option<Uri>,

    /// Call it, once, with GET, and say what the answer means
    #[arg(long, requires = "audience")]
    call: bool,

    /// Where Google's keys are: an emulator's URL
    #[arg(long, value_name = "URL", default_value = GOOGLE_KEYS)]
    jwks_url: Uri,

    #[command(flatten)]
    source: SourceArgs,
}

impl DoctorArgs {
    /// The URL that tokens are for.
    fn target(&self) -> Option<Uri> {
        let is_url = |uri: &Uri| uri.scheme().is_some() && uri.host().is_some();
        match (&self.url, &self.audience) {
            (Some(url), _) => Some(url.clone()),
            (None, Some(audience)) => audience.as_str().parse().ok().filter(is_url),
            (None, None) => None,
        }
    }
}

pub(crate) async fn run(args: &DoctorArgs, output: &Output) -> Result<ExitCode, Failure> {
    let report = {
        let _progress = Progress::start(output, "examining");
        examine(args).await
    };
    output.result(|| report.json(), || report.text())?;
    match report.first_fault() {
        None => Ok(ExitCode::SUCCESS),
        Some(fault) => Err(Failure::new(fault.exit(), fault.line())),
    }
}

async fn examine(args: &DoctorArgs) -> Report {
    let mut report = Report::default();
    report.add(environment());
    let token = token(args, &mut report).await;
    google::examine(args, token.as_deref(), &mut report).await;
    let claims = token.as_deref().and_then(|jwt| IdToken::new(jwt).ok());
    let claims = claims.as_ref().map(IdToken::claims);
    if let Some(audience) = &args.audience {
        let target = args.target();
        report.add(cloud_run::audience(audience, target.as_ref()));
        report.add(cloud_run::permission(audience, target.as_ref(), claims));
        if args.call {
            report.add(call::make(target, token.as_deref()).await);
        }
    }
    report
}

/// The variables that decide where credentials are looked for.
fn environment() -> Finding {
    let environment = Environment::of_process();
    let set: Vec<_> = LOOKED_AT
        .iter()
        .filter_map(|name| Some(format!("{name}={}", environment.get(name)?)))
        .collect();
    if set.is_empty() {
        Finding::good("environment", "no variable says where credentials are")
    } else {
        Finding::good("environment", set.join(", "))
    }
}

/// What credentials there are, whose, and a token of theirs.
async fn token(args: &DoctorArgs, report: &mut Report) -> Option<String> {
    let opened = match args.source.open().await {
        Ok(opened) => opened,
        Err(failure) => {
            report.add(Finding::bad("credentials", failure.exit(), failure.line()));
            return None;
        }
    };
    report.add(Finding::good("credentials", opened.description()));
    let audience = match &args.audience {
        Some(audience) => audience.clone(),
        None => Audience::new(PROBE).ok()?,
    };
    let bearer = opened.into_tokens().handle(&audience).bearer().await;
    let bearer = bearer.map_err(Failure::from);
    let token = bearer.and_then(|bearer| jwt_of(&bearer).map(str::to_owned));
    let token = match token {
        Ok(token) => token,
        Err(failure) => {
            report.add(Finding::bad("token", failure.exit(), failure.line()));
            return None;
        }
    };
    let read = IdToken::new(&token).ok()?;
    let left = span::expiry(now(), read.expires_at());
    report.add(Finding::good("token", format!("for {audience}, {left}")));
    let claims = read.claims();
    let subject = claims.sub().unwrap_or("none");
    report.add(match claims.email() {
        Some(email) => Finding::good("identity", format!("{email}, subject {subject}")),
        None => Finding::note(
            "identity",
            format!("subject {subject}; the token names no e-mail address"),
            "receivers that know their callers by address will refuse it",
        ),
    });
    Some(token)
}

fn now() -> std::time::SystemTime {
    use idtoken::Clock as _;

    idtoken::clock::SystemClock.now()
}

const GOOGLE_KEYS: &str = "https://www.googleapis.com/oauth2/v3/certs";
/// An audience that nobody has, to see whether a token can be had at all.
const PROBE: &str = "https://idtoken-doctor.invalid";
const LOOKED_AT: [&str; 9] = [
    "GOOGLE_APPLICATION_CREDENTIALS",
    "CLOUDSDK_CONFIG",
    "GCE_METADATA_HOST",
    "GCE_METADATA_ROOT",
    "GCE_METADATA_IP",
    "METADATA_SERVER_DETECTION",
    "NO_GCE_CHECK",
    "K_SERVICE",
    "CLOUD_RUN_JOB",
];
