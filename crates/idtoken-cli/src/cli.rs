//! The command line: what can be said, and what is answered when it was said wrong.

use std::process::ExitCode;

use anstream::ColorChoice;
use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::doctor::DoctorArgs;
use crate::emulate::EmulateArgs;
use crate::exit::{self, Exit, Failure};
use crate::inspect::InspectArgs;
use crate::manual::{CompletionsArgs, ManArgs};
use crate::output::Output;
use crate::print::PrintArgs;
use crate::proxy::ProxyArgs;
use crate::verify::VerifyArgs;

/// Google-signed ID tokens: which identity am I, which token do I get, why is it refused
#[derive(Debug, Parser)]
#[command(
    name = "idtoken",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    after_long_help = format!("Exit codes:\n{}", exit::table())
)]
pub(crate) struct Cli {
    #[command(flatten)]
    general: General,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    pub(crate) fn output(&self) -> Output {
        let color = match self.general.color {
            When::Always => ColorChoice::Always,
            When::Auto => ColorChoice::Auto,
            When::Never => ColorChoice::Never,
        };
        Output::new(self.general.json, color)
    }
}

#[derive(Args, Debug)]
struct General {
    /// Results, and errors on standard error, as one line of JSON each
    #[arg(long, global = true)]
    json: bool,

    /// When to use colour; `auto` means on terminals, unless NO_COLOR is set
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = When::Auto)]
    color: When,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum When {
    Always,
    Auto,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Print(PrintArgs),
    Inspect(InspectArgs),
    Verify(VerifyArgs),
    Doctor(DoctorArgs),
    Proxy(ProxyArgs),
    Emulate(EmulateArgs),
    /// Print what this program's exit codes mean
    #[command(after_help = exit::table())]
    ExitCodes,
    Completions(CompletionsArgs),
    Man(ManArgs),
}

/// Answers what could not be parsed: help on standard output as it was asked for, anything else
/// with one line on standard error.
pub(crate) fn explain(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Whoever asked for help and went away needs none.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            Exit::Usage.code()
        }
        _ => {
            // Nothing has been parsed, so the wish for JSON is looked for by hand.
            let json = std::env::args_os().any(|arg| arg == "--json");
            let output = Output::new(json, ColorChoice::Auto);
            Failure::new(Exit::Usage, first_paragraph(error)).report(&output)
        }
    }
}

/// clap's message without its usage, in one line.
fn first_paragraph(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let mut line = String::new();
    for part in text.split("\n\n") {
        let part: Vec<_> = part.split_whitespace().collect();
        let is_usage = part.first().is_some_and(|word| *word == "Usage:");
        let is_pointer = part.starts_with(&["For", "more", "information,"]);
        if part.is_empty() || is_usage || is_pointer {
            continue;
        }
        if !line.is_empty() {
            line.push_str("; ");
        }
        line.push_str(&part.join(" "));
    }
    line
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_is_wrong_is_told_in_one_line() {
        for (line, told) in [
            ("idtoken print", "--audience <AUDIENCE>"),
            ("idtoken print --audienze x", "'--audience'"),
            ("idtoken verify --leeway soon x", "soon"),
            ("idtoken explode", "explode"),
        ] {
            let error = Cli::try_parse_from(line.split(' ')).unwrap_err();
            let text = first_paragraph(&error);
            assert!(text.contains(told), "{line}: {text}");
            assert!(!text.contains('\n') && !text.contains("Usage"), "{text}");
        }
    }
}
