//! What is written where: results to standard output, all else to standard error.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};

use crate::exit::{Exit, Failure};

/// How results are written. Colour is for terminals, unless somebody says otherwise: by `--color`,
/// or by the variables `NO_COLOR` and `CLICOLOR_FORCE`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
    color: ColorChoice,
}

impl Output {
    pub(crate) fn new(json: bool, color: ColorChoice) -> Self {
        Self { json, color }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Writes a result, as JSON or as text.
    pub(crate) fn result(
        &self,
        json: impl FnOnce() -> Value,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        if self.json {
            self.write(&format!("{}\n", json()))
        } else {
            self.write(&text())
        }
    }

    /// Writes text with styles in it to standard output.
    pub(crate) fn write(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = AutoStream::new(io::stdout().lock(), self.choice(&io::stdout()));
        stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
            .map_err(|error| match error.kind() {
                io::ErrorKind::BrokenPipe => Failure::reader_gone(),
                _ => Failure::new(Exit::Internal, "cannot write the output").with_source(error),
            })
    }

    /// Says something to a person, after the program's name.
    pub(crate) fn tell(&self, line: &str) {
        self.tell_raw(&format!("{ERROR}idtoken{ERROR:#}: {line}"));
    }

    /// Says what does not keep the program from going on.
    pub(crate) fn warn(&self, line: &str) {
        if self.json {
            self.tell_raw(&json!({ "warning": line }).to_string());
        } else {
            self.tell(line);
        }
    }

    /// Writes a line to standard error. There is nobody to tell when that fails.
    ///
    /// Terminals are looked at and logs are kept, so no token gets here, wherever it came from.
    pub(crate) fn tell_raw(&self, line: &str) {
        let mut stderr = AutoStream::new(io::stderr().lock(), self.choice(&io::stderr()));
        let _ = writeln!(stderr, "{}", without_tokens(line));
    }

    /// Whether somebody watches standard error who would like to see that something goes on.
    pub(crate) fn shows_progress(&self) -> bool {
        !self.json && io::stderr().is_terminal()
    }

    fn choice(&self, stream: &impl anstream::stream::RawStream) -> ColorChoice {
        match self.color {
            ColorChoice::Auto => AutoStream::choice(stream),
            chosen => chosen,
        }
    }
}

/// Text from outside, made fit for a terminal: control characters, which could move the cursor or
/// hide text, and those that reverse its direction are shown as escapes.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => shown.push_str("\\n"),
            '\t' => shown.push(' '),
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                let _ = write!(shown, "{}", character.escape_unicode());
            }
            _ if character.is_control() => {
                let _ = write!(shown, "{}", character.escape_unicode());
            }
            _ => shown.push(character),
        }
    }
    shown
}

/// Puts a remark in the place of each word that has the start of a token of Google's in it: what
/// people paste into the wrong place comes back in messages about it.
pub(crate) fn without_tokens(text: &str) -> String {
    let is_part =
        |character: char| character.is_ascii_alphanumeric() || "-_.=+~".contains(character);
    text.split_inclusive(|character| !is_part(character))
        .map(|word| {
            let body = word.trim_end_matches(|character| !is_part(character));
            match start_of_token(body) {
                Some(at) if body.len() - at > SHORTEST_TOKEN => {
                    format!("{}[redacted]{}", &body[..at], &word[body.len()..])
                }
                _ => word.to_owned(),
            }
        })
        .collect()
}

/// Hosts come back in small letters. In these it is a start only where a word begins, since
/// `moneyjar` is a name.
fn start_of_token(body: &str) -> Option<usize> {
    let mut places = body.char_indices().map(|(at, _)| body.split_at(at));
    let found = places.find(|(before, rest)| {
        let begins_word = !before.ends_with(|last: char| last.is_ascii_alphanumeric());
        TOKEN_STARTS.iter().any(|start| {
            let begin = rest.get(..start.len()).unwrap_or_default();
            begin == *start || begins_word && begin.eq_ignore_ascii_case(start)
        })
    });
    found.map(|(before, _)| before.len())
}

/// JWTs, since their header is JSON, and access tokens.
const TOKEN_STARTS: [&str; 2] = ["eyJ", "ya29."];
const SHORTEST_TOKEN: usize = 12;

pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default().bold();
const ERROR: Style = AnsiColor::Red.on_default();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_can_steer_a_terminal() {
        let hostile = "a\u{1b}[2Jb\u{7}\u{9b}31m\u{202e}c\r\n";
        assert_eq!(
            printable(hostile),
            "a\\u{1b}[2Jb\\u{7}\\u{9b}31m\\u{202e}c\\u{d}\\n"
        );
        assert_eq!(printable("grüße 世界"), "grüße 世界");
    }

    #[test]
    fn words_like_tokens_are_not_repeated() {
        for (text, shown) in [
            (
                "argument 'eyJhbGciOi.eyJpc3Mi.c2ln' found",
                "argument '[redacted]' found",
            ),
            (
                "'http://x/?t=eyJhbGciOi.eyJpc3Mi.c2ln'",
                "'http://x/?t=[redacted]'",
            ),
            ("ya29.a0AfB_by0123456789 übrig", "[redacted] übrig"),
            ("http://eyjhbgcioi.eyjpc3mi.c2ln/", "http://[redacted]/"),
            ("v1eyJhbGciOi.eyJpc3Mi.c2ln", "v1[redacted]"),
            (
                "https://moneyjar-backend-abc.a.run.app",
                "https://moneyjar-backend-abc.a.run.app",
            ),
            ("eyJ", "eyJ"),
            (
                "https://hello-abc.a.run.app, 'keyJar'",
                "https://hello-abc.a.run.app, 'keyJar'",
            ),
        ] {
            assert_eq!(without_tokens(text), shown);
        }
    }
}
