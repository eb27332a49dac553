//! Measures idtoken beside its peers: same process, same work, rounds in turn.
//!
//! `cargo run --release --manifest-path benches/Cargo.toml -- --help` says how.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::measure::Effort;
use crate::report::Report;

mod alloc;
mod fixtures;
mod inbound;
mod measure;
mod outbound;
mod report;
mod scale;
mod server;
mod storms;

#[global_allocator]
static ALLOCATOR: alloc::Counting = alloc::Counting;

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "--role") {
        return server::roles::play(&arguments.split_off(1));
    }
    let options = match Options::read(&arguments) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("{problem}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(report) => {
            report.print_goals();
            if options.markdown {
                report.print_goals_markdown();
            }
            if report.failures() == 0 {
                ExitCode::SUCCESS
            } else {
                eprintln!("{} measurements could not be taken", report.failures());
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> std::io::Result<Report> {
    let effort = Effort::new(options.short);
    let mut report = Report::new();
    report.print_machine();
    let sections: [(&str, fn(Effort, &mut Report)); 5] = [
        ("outbound", outbound::run),
        ("inbound", inbound::run),
        ("storms", storms::run),
        ("server", server::run),
        ("scale", scale::run),
    ];
    for (name, section) in sections {
        if options.only.as_deref().is_none_or(|only| only == name) {
            let started = std::time::Instant::now();
            section(effort, &mut report);
            println!("\n[{name}: {:.0} s]", started.elapsed().as_secs_f64());
        }
    }
    if let Some(path) = &options.json {
        report.write_json(path)?;
    }
    Ok(report)
}

struct Options {
    short: bool,
    only: Option<String>,
    json: Option<PathBuf>,
    markdown: bool,
}

impl Options {
    fn read(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self {
            short: false,
            only: None,
            json: None,
            markdown: false,
        };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "--short" => options.short = true,
                "--markdown" => options.markdown = true,
                "--only" => {
                    let section = value()?;
                    if !SECTIONS.contains(&section.as_str()) {
                        return Err(format!("there is no section {section:?}"));
                    }
                    options.only = Some(section.clone());
                }
                "--json" => options.json = Some(value()?.into()),
                other => return Err(format!("what is {other:?}?")),
            }
        }
        Ok(options)
    }
}

const SECTIONS: [&str; 5] = ["outbound", "inbound", "storms", "server", "scale"];

const USAGE: &str = "\
usage: idtoken-benches [--short] [--only SECTION] [--json FILE] [--markdown]

  --short         fewer rounds, smaller sizes; under three minutes
  --only SECTION  outbound, inbound, storms, server or scale
  --json FILE     all numbers, for programs
  --markdown      the goals once more, as a table for README.md";
