//! Who reads and who does not: pipes that close, terminals and their absence.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::process::{Command, Stdio};

use idtoken_emulator::TokenRequest;
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

/// What appears on a terminal that is there for standard output only.
fn on_terminal(line: &str, no_color: &str) -> String {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let name = std::ffi::OsStr::from_bytes(name.as_bytes()).to_owned();
    let screen: OwnedFd = File::options()
        .read(true)
        .write(true)
        .open(name)
        .unwrap()
        .into();
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
        let _ = File::from(terminal).read_to_end(&mut shown);
        String::from_utf8(shown).unwrap()
    });
    assert!(child.wait().unwrap().success());
    reader.join().unwrap()
}
