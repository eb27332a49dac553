//! `idtoken emulate`: a local Google, and commands that take it for the real one.

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus};

use clap::Args;
use idtoken::source::{DefaultSource, Environment};
use idtoken_emulator::{CloudRun, Emulator, Furnished, Home, WorldFile};
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};

use crate::exit::{Exit, Failure};
use crate::output::{DIM, Output};
use crate::progress::Progress;
use crate::signals::Signals;

/// Run a local Google: alone, or for as long as a command runs
///
/// Serves tokens, keys and the IAM Credentials API on this machine. Whatever runs with the
/// environment printed takes it for the metadata server. Its tokens are worth nothing elsewhere.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  idtoken emulate -- cargo run
  idtoken emulate --port 8010 --config world.toml
  idtoken emulate --account caller@shop.iam.gserviceaccount.com -- python app.py

With a command, its exit code is passed on. gcloud's own login and GOOGLE_APPLICATION_CREDENTIALS \
are hidden from it.")]
pub(crate) struct EmulateArgs {
    /// The port to listen on, on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,

    /// A `world.toml` to start from: accounts, keys, grants, people, external pools, services,
    /// faults and the clock
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// The service account that the metadata server speaks for
    #[arg(long, value_name = "EMAIL")]
    account: Option<String>,

    /// Go on although there is a real metadata server here, whose tokens would then not be seen
    #[arg(long)]
    allow_shadowing: bool,

    /// The command to run, and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(crate) async fn run(args: &EmulateArgs, output: &Output) -> Result<ExitCode, Failure> {
    let file = world_file(args).await?;
    if !args.allow_shadowing {
        let _progress = Progress::start(output, "looking for a real metadata server");
        if let Some(real) = real_metadata_server().await {
            return Err(Failure::new(
                Exit::Shadowing,
                format!("there is a real {real}; to hide it from programs, add --allow-shadowing"),
            ));
        }
    }
    let cannot_listen = |error| {
        let message = format!("cannot listen on port {} of 127.0.0.1", args.port);
        Failure::new(Exit::CannotListen, message).with_source(error)
    };
    let google = {
        let _progress = Progress::start(output, "making keys");
        Emulator::builder()
            .port(args.port)
            .start()
            .await
            .map_err(cannot_listen)?
    };
    let home = google.home().map_err(|error| {
        Failure::new(Exit::Internal, "cannot make a temporary folder").with_source(error)
    })?;
    let furnished = google.furnish(&file, &home).await.map_err(|error| {
        let exit = match error.kind() {
            ErrorKind::InvalidInput => Exit::File,
            ErrorKind::AddrInUse | ErrorKind::PermissionDenied => Exit::CannotListen,
            _ => Exit::Internal,
        };
        Failure::new(exit, "cannot make this world").with_source(error)
    })?;
    if let Some(email) = &args.account {
        google.attach(email);
    }
    let world = Local {
        google,
        home,
        furnished,
    };
    // From here on a signal ends us in good order, with the folder removed.
    let mut signals = Signals::new();
    match args.command.split_first() {
        None => {
            output.result(
                || world.json(),
                || {
                    output.tell_raw(&world.greeting());
                    world.exports()
                },
            )?;
            signals.stop().await;
            Ok(ExitCode::SUCCESS)
        }
        Some((program, arguments)) => {
            if !output.is_json() {
                output.tell_raw(&world.greeting());
            }
            let mut child = world.spawn(program, arguments)?;
            let status = wait(&mut child, &mut signals).await?;
            Ok(passed_on(status))
        }
    }
}

/// What `--config` names, or an empty world.
async fn world_file(args: &EmulateArgs) -> Result<WorldFile, Failure> {
    let Some(path) = &args.config else {
        return Ok(WorldFile::default());
    };
    let fault = |source: Box<dyn Error + Send + Sync>| {
        Failure::new(Exit::File, path.display().to_string()).with_source(source)
    };
    let text = read(path).await.map_err(|error| fault(error.into()))?;
    WorldFile::parse(&text).map_err(|error| fault(error.into()))
}

/// No more than a world can be long, whatever the path leads to.
async fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = tokio::fs::File::open(path).await?;
    file.take(MAX_CONFIG_BYTES + 1)
        .read_to_string(&mut text)
        .await?;
    Ok(text)
}

/// An emulator, with a folder that stands for gcloud's, empty.
struct Local {
    google: Emulator,
    home: Home,
    furnished: Furnished,
}

impl Local {
    fn environment(&self) -> Vec<(&'static str, OsString)> {
        let variables = self.google.env();
        let variables = variables
            .into_iter()
            .map(|(name, value)| (name, value.into()));
        let gcloud = self
            .home
            .env()
            .into_iter()
            .filter(|(name, _)| *name == "CLOUDSDK_CONFIG")
            .map(|(name, path)| (name, path.into_os_string()));
        let keys = (KEYS, self.google.jwks_url().into());
        variables.chain(gcloud).chain([keys]).collect()
    }

    fn greeting(&self) -> String {
        let mut text = format!(
            "{DIM}a local Google at {}, to be looked at on {}\nits keys, for those who verify, at \
             {}{DIM:#}",
            self.google.url(),
            self.google.page_url(),
            self.google.jwks_url()
        );
        for service in self.furnished.services() {
            let (name, url, audience) = (service.name(), service.url(), service.audience());
            text.push_str(&format!(
                "\n{DIM}{name} at {url}, which is {audience}{DIM:#}"
            ));
        }
        for file in self.furnished.files() {
            text.push_str(&format!("\n{DIM}credentials in {}{DIM:#}", file.display()));
        }
        text
    }

    fn exports(&self) -> String {
        let mut text = String::new();
        for (name, value) in self.environment() {
            let value = value.to_string_lossy().replace('\'', r"'\''");
            text.push_str(&format!("export {name}='{value}'\n"));
        }
        text.push_str(&format!("unset {HIDDEN}\n"));
        text
    }

    fn json(&self) -> serde_json::Value {
        let environment: serde_json::Map<_, _> = self
            .environment()
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_string_lossy().into()))
            .collect();
        let files: Vec<_> = self
            .furnished
            .files()
            .iter()
            .map(|file| file.display().to_string())
            .collect();
        let service = |service: &CloudRun| {
            json!({
                "audience": service.audience(),
                "name": service.name(),
                "url": service.url(),
            })
        };
        let services: Vec<_> = self.furnished.services().iter().map(service).collect();
        json!({
            "env": environment,
            "event": "listening",
            "files": files,
            "jwks_url": self.google.jwks_url(),
            "page_url": self.google.page_url(),
            "services": services,
            "token_url": self.google.token_url(),
            "unset": [HIDDEN],
            "url": self.google.url(),
        })
    }

    fn spawn(&self, program: &OsString, arguments: &[OsString]) -> Result<Child, Failure> {
        Command::new(program)
            .args(arguments)
            .envs(self.environment())
            .env_remove(HIDDEN)
            .spawn()
            .map_err(|error| {
                let exit = match error.kind() {
                    ErrorKind::NotFound => Exit::NoSuchCommand,
                    _ => Exit::CannotRun,
                };
                let message = format!("cannot run {}", program.display());
                Failure::new(exit, message).with_source(error)
            })
    }
}

/// Waits for the child. A termination is passed on to it; an interrupt it got from the terminal.
async fn wait(child: &mut Child, signals: &mut Signals) -> Result<ExitStatus, Failure> {
    loop {
        let pid = child.id();
        tokio::select! {
            status = child.wait() => {
                return status.map_err(|error| {
                    Failure::new(Exit::Internal, "cannot wait for the command").with_source(error)
                });
            }
            () = signals.terminate() => terminate(pid),
        }
    }
}

#[cfg(unix)]
fn terminate(pid: Option<u32>) {
    let pid = pid
        .and_then(|pid| i32::try_from(pid).ok())
        .and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // It has ended by itself if this fails.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}

#[cfg(not(unix))]
fn terminate(_: Option<u32>) {}

#[cfg(unix)]
fn passed_on(status: ExitStatus) -> ExitCode {
    use std::os::unix::process::ExitStatusExt as _;

    let code = match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 1,
    };
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}

#[cfg(not(unix))]
fn passed_on(status: ExitStatus) -> ExitCode {
    let code = status.code().unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// What programs would find here without us, if it is not on this machine itself.
async fn real_metadata_server() -> Option<String> {
    let environment = Environment::of_process();
    let named = ["GCE_METADATA_HOST", "GCE_METADATA_ROOT", "GCE_METADATA_IP"]
        .into_iter()
        .find_map(|name| environment.get(name));
    if let Some(host) = named {
        let host: http::uri::Authority = host.parse().ok()?;
        if idtoken::loopback::is_loopback(host.host()) {
            return None;
        }
    }
    // Files come before the metadata server, and say nothing about it.
    let environment = [HIDDEN, "APPDATA", "CLOUDSDK_CONFIG", "HOME"]
        .into_iter()
        .fold(environment, |environment, name| environment.set(name, ""));
    let found = DefaultSource::builder()
        .environment(environment)
        .build()
        .await;
    found.ok().map(|found| found.describe())
}

/// For programs that verify tokens, and choose to look at it.
const KEYS: &str = "IDTOKEN_JWKS_URL";
/// It would be found before the metadata server.
const HIDDEN: &str = "GOOGLE_APPLICATION_CREDENTIALS";
/// As much as a world may have; one byte more is enough to see that it is too long.
const MAX_CONFIG_BYTES: u64 = 1 << 20;
