//! `idtoken print`.

use std::process::ExitCode;

use clap::Args;
use idtoken::{Audience, IdToken};
use serde_json::json;

use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::progress::Progress;
use crate::source::SourceArgs;
use crate::span;

/// Print an ID token: the token on standard output, and nothing else
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  curl -H \"$(idtoken print --header --audience https://hello-abc.a.run.app)\" \\
      https://hello-abc.a.run.app/
  idtoken print --audience my-api --impersonate caller@project.iam.gserviceaccount.com")]
pub(crate) struct PrintArgs {
    /// Whom the token is for: a Cloud Run service's URL without a path, or one of its custom
    /// audiences
    #[arg(long, short)]
    audience: Audience,

    /// Print a whole header, `Authorization: Bearer …`
    #[arg(long)]
    header: bool,

    #[command(flatten)]
    source: SourceArgs,
}

pub(crate) async fn run(args: &PrintArgs, output: &Output) -> Result<ExitCode, Failure> {
    let token = {
        let _progress = Progress::start(output, "asking for a token");
        let tokens = args.source.open().await?.into_tokens();
        let bearer = tokens.handle(&args.audience).bearer().await?;
        jwt_of(&bearer)?.to_owned()
    };
    let json = || {
        let read = IdToken::new(&token).ok();
        json!({
            "audience": args.audience.as_str(),
            "expires_at": read.as_ref().and_then(|read| span::utc(read.expires_at())),
            "header": format!("Authorization: Bearer {token}"),
            "token": token,
        })
    };
    output.result(json, || {
        if args.header {
            format!("Authorization: Bearer {token}\n")
        } else {
            format!("{token}\n")
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The token in a header value that the cache gave out.
pub(crate) fn jwt_of(bearer: &http::HeaderValue) -> Result<&str, Failure> {
    bearer
        .to_str()
        .ok()
        .and_then(|value| value.strip_prefix("Bearer "))
        .ok_or_else(|| Failure::new(Exit::Internal, "the token has a strange form"))
}
