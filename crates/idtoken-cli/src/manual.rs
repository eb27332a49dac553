//! What the program says about itself: manual pages, completions, exit codes.

use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use serde_json::json;

use crate::cli::Cli;
use crate::exit::{self, Exit, Failure};
use crate::output::Output;

/// Print a script that completes this command's arguments in a shell
#[derive(Args, Debug)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Print the manual page, for `man -l -`
#[derive(Args, Debug)]
pub(crate) struct ManArgs {
    /// The command whose page it shall be; the program's own if none is named
    command: Option<String>,
}

pub(crate) fn completions(args: &CompletionsArgs, output: &Output) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "idtoken", &mut script);
    write(script, output)
}

pub(crate) fn man(args: &ManArgs, output: &Output) -> Result<ExitCode, Failure> {
    let mut command = Cli::command();
    command.build();
    let page = match &args.command {
        None => command,
        Some(name) => command
            .find_subcommand(name)
            .cloned()
            .ok_or_else(|| Failure::new(Exit::Usage, format!("there is no command '{name}'")))?,
    };
    let mut text = Vec::new();
    Man::new(page)
        .render(&mut text)
        .map_err(|error| Failure::new(Exit::Internal, "cannot make the page").with_source(error))?;
    write(text, output)
}

pub(crate) fn exit_codes(output: &Output) -> Result<ExitCode, Failure> {
    let json = || {
        Exit::ALL
            .iter()
            .map(|exit| {
                json!({
                    "exit_code": exit.number(),
                    "kind": exit.name(),
                    "meaning": exit.meaning(),
                })
            })
            .collect()
    };
    output.result(json, || format!("{}\n", exit::table()))?;
    Ok(ExitCode::SUCCESS)
}

fn write(text: Vec<u8>, output: &Output) -> Result<ExitCode, Failure> {
    let text = String::from_utf8(text)
        .map_err(|error| Failure::new(Exit::Internal, "not text").with_source(error))?;
    output.write(&text)?;
    Ok(ExitCode::SUCCESS)
}
