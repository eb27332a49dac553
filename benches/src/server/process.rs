//! Child processes that end with us.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// A server in a process of its own, on a port of its choosing.
#[derive(Debug)]
pub struct Process {
    pub port: u16,
    child: Child,
}

impl Process {
    /// This very program in another role, which prints its port and serves until its standard input
    /// ends.
    pub fn of_ours(role: &[&str]) -> io::Result<Self> {
        let mut child = on_core(SERVERS, std::env::current_exe()?)
            // One worker, on one core.
            .env("TOKIO_WORKER_THREADS", "1")
            .arg("--role")
            .args(role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let port = line.trim().parse();
        let port =
            port.map_err(|_| io::Error::other(format!("{role:?} did not start: {line:?}")))?;
        Ok(Self { port, child })
    }

    pub fn new(child: Child, port: u16) -> Self {
        Self { port, child }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// CPU time so far, user and system, in clock ticks of 10 ms.
    pub fn cpu_ticks(&self) -> io::Result<u64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name in parentheses may hold spaces; utime and stime are fields 14 and 15.
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let ticks = fields.split_whitespace().skip(11).take(2);
        Ok(ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum())
    }
}

/// A command to be run on one core, where there is more than one and the means to choose.
pub fn on_core(core: usize, program: impl AsRef<OsStr>) -> Command {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let taskset = Command::new("taskset").arg("--version").output();
    if cores == 1 || taskset.is_err() {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.args(["-c", &core.to_string()]).arg(program);
    command
}

/// The core of all servers, and the one of the load: neither takes the other's time, and the load
/// is not what the numbers show.
pub const SERVERS: usize = 0;
pub const LOAD: usize = 1;

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
