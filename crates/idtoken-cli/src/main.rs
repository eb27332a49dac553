//! The `idtoken` command: which identity am I, which token do I get, why is it refused.
//!
//! | command | what it does |
//! |---|---|
//! | `print` | prints an ID token |
//! | `inspect` | shows what a token says, unverified |
//! | `verify` | makes every check on a token and tells each |
//! | `doctor` | finds out why a call does not work, and which grant is missing |
//! | `proxy` | a local proxy that attaches tokens |
//! | `emulate` | a local Google, and commands that take it for the real one |
//!
//! # Exit codes
//!
//! They are part of the interface: none changes its meaning. [`exit::Exit`] is their home,
//! `idtoken exit-codes` prints them.

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::exit::{Exit, Failure};
use crate::output::Output;

mod cli;
mod doctor;
mod emulate;
mod exit;
mod inspect;
mod manual;
mod output;
mod print;
mod progress;
mod proxy;
mod signals;
mod source;
mod span;
mod token_text;
mod verify;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return cli::explain(&error),
    };
    let output = cli.output();
    match run(cli.command, &output) {
        Ok(code) => code,
        Err(failure) => failure.report(&output),
    }
}

fn run(command: Command, output: &Output) -> Result<ExitCode, Failure> {
    match command {
        Command::Completions(args) => return manual::completions(&args, output),
        Command::ExitCodes => return manual::exit_codes(output),
        Command::Man(args) => return manual::man(&args, output),
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Internal, "cannot start").with_source(error))?;
    let code = runtime.block_on(async {
        match command {
            Command::Doctor(args) => doctor::run(&args, output).await,
            Command::Emulate(args) => emulate::run(&args, output).await,
            Command::Inspect(args) => inspect::run(&args, output).await,
            Command::Print(args) => print::run(&args, output).await,
            Command::Proxy(args) => proxy::run(&args, output).await,
            Command::Verify(args) => verify::run(&args, output).await,
            Command::Completions(_) | Command::ExitCodes | Command::Man(_) => Ok(ExitCode::SUCCESS),
        }
    });
    // A read of standard input that is still waiting must not keep the process alive.
    runtime.shutdown_background();
    code
}
