//! Who reads and who does not: pipes that close, terminals and their absence.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::process::{Command, Stdio};

use idtoken_emulator::{Endpoint, Fault, Gate, TokenRequest};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::support::World;

#[test]
fn a_reader_that_went_away_is_no_failure() {
    for line in ["completions bash", "exit-codes", "--help", "man"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = Command::new(env!("CARGO_BIN_EXE_idtoken"))
            .args(line.split(' '))
            .stdout(Stdio::from(writer))
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
        assert_eq!(output.stderr, b"", "{line}");
    }
}

#[tokio::test]
async fn colour_is_for_terminals_unless_wanted() {
    let world = World::new().await;
    let token = world.google.mint(&TokenRequest::new("x"));
    let run = |line: &str| world.idtoken(line).stdin(&token);
    assert!(!run("inspect").end().await.ok().stdout.contains('\u{1b}'));
    assert!(
        run("inspect --color always")
            .end()
            .await
            .ok()
            .stdout
            .contains('\u{1b}')
    );

    for (line, no_color, colourful) in [
        ("inspect", "", true),
        ("inspect", "1", false),
        ("inspect --color never", "", false),
        ("inspect --json", "", false),
    ] {
        let shown = on_terminal(&format!("{line} {token}"), no_color);
        assert_eq!(shown.contains('\u{1b}'), colourful, "{line}: {shown:?}");
    }
}

#[tokio::test]
async fn progress_is_for_terminals_and_leaves_nothing_behind() {
    let world = World::new().await;
    let gate = Gate::new();
    let held = Fault::Hold(gate.clone());
    world.google.fail(Endpoint::Identity, held);
    let (mut terminal, screen) = terminal();
    let mut child = Command::new(env!("CARGO_BIN_EXE_idtoken"))
        .args(["print", "-a", "x"])
        .env_clear()
        .envs(world.home.env())
        .envs(world.google.env())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::from(screen))
        .spawn()
        .unwrap();
    let watching = tokio::task::spawn_blocking(move || {
        let (mut shown, mut part) = (Vec::new(), [0; 256]);
        // Ends with an error once nobody holds the other side any more.
        while let Ok(length @ 1..) = terminal.read(&mut part) {
            shown.extend_from_slice(&part[..length]);
            if String::from_utf8_lossy(&shown).contains("asking for a token") {
                gate.open();
            }
        }
        String::from_utf8(shown).unwrap()
    });
    let shown = watching.await.unwrap();
    assert!(shown.ends_with("\r\u{1b}[K"), "{shown:?}");
    assert!(child.wait().unwrap().success());
    // `Run` gives the command no terminal, and looks for escapes.
    world.google.heal(Endpoint::Identity);
    assert_eq!(world.idtoken("print -a x").end().await.ok().stderr, "");
}

/// Both sides of a terminal: a person's and a program's.
fn terminal() -> (File, OwnedFd) {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let name = std::ffi::OsStr::from_bytes(name.as_bytes()).to_owned();
    let screen = File::options().read(true).write(true).open(name).unwrap();
    (File::from(terminal), screen.into())
}

/// What appears on a terminal that is there for standard output only.
fn on_terminal(line: &str, no_color: &str) -> String {
    let (mut terminal, screen) = terminal();
    let mut child = Command::new(env!("CARGO_BIN_EXE_idtoken"))
        .args(line.split(' '))
        .env("NO_COLOR", no_color)
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .stdout(Stdio::from(screen))
        .spawn()
        .unwrap();
    let reader = std::thread::spawn(move || {
        let mut shown = Vec::new();
        // Ends with an error once nobody holds the other side any more.
        let _ = terminal.read_to_end(&mut shown);
        String::from_utf8(shown).unwrap()
    });
    assert!(child.wait().unwrap().success());
    reader.join().unwrap()
}
