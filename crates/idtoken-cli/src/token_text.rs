//! A token as people have it: an argument, a pipe, a header copied from somewhere.

use std::io::IsTerminal;

use idtoken::UnverifiedClaims;
use tokio::io::AsyncReadExt;

use crate::exit::{Exit, Failure};
use crate::output::Output;

/// Reads what `argument` stands for, and takes the token out of it.
pub(crate) async fn read(argument: &str, output: &Output) -> Result<String, Failure> {
    let text = if argument == "-" {
        from_stdin(output).await?
    } else {
        argument.to_owned()
    };
    let token = strip(&text).ok_or_else(|| malformed("there is no token"))?;
    match UnverifiedClaims::read_without_verifying(token) {
        Ok(_) => Ok(token.to_owned()),
        Err(error) => Err(malformed(what_it_is(token)).with_source(error)),
    }
}

async fn from_stdin(output: &Output) -> Result<String, Failure> {
    if std::io::stdin().is_terminal() {
        output.tell("paste the token, then press Enter and Ctrl-D");
    }
    let mut text = Vec::new();
    tokio::io::stdin()
        .take(MAX_BYTES + 1)
        .read_to_end(&mut text)
        .await
        .map_err(|error| {
            Failure::new(Exit::File, "cannot read standard input").with_source(error)
        })?;
    if text.len() as u64 > MAX_BYTES {
        return Err(malformed("what came on standard input is too long"));
    }
    String::from_utf8(text).map_err(|_| malformed("what came on standard input is not text"))
}

/// The token alone, of a whole header line or a value with its scheme.
fn strip(text: &str) -> Option<&str> {
    let mut words = text.split_whitespace();
    let token = words.next_back()?;
    words
        .all(|word| is_header_name(word) || word.eq_ignore_ascii_case("bearer"))
        .then_some(token)
        .or_else(|| Some(text.trim()))
}

fn is_header_name(word: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    word.strip_suffix(':')
        .is_some_and(|name| name.bytes().all(is_part))
}

fn what_it_is(text: &str) -> &'static str {
    if text.starts_with("ya29.") {
        "this is an OAuth access token, and no ID token: `idtoken print` gets one"
    } else if text.starts_with('{') {
        "this is JSON, and no token"
    } else if text.split('.').count() == 5 {
        "this is an encrypted token, and Google sends none"
    } else {
        "this is no ID token"
    }
}

fn malformed(message: &str) -> Failure {
    Failure::new(Exit::Malformed, message)
}

/// Eight times the largest token that is accepted.
const MAX_BYTES: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_in_what_people_paste() {
        for (text, token) in [
            ("a.b.c", Some("a.b.c")),
            ("a.b.c\n", Some("a.b.c")),
            ("Bearer a.b.c", Some("a.b.c")),
            ("authorization: bearer a.b.c\r\n", Some("a.b.c")),
            ("X-Goog-IAP-JWT-Assertion: a.b.c", Some("a.b.c")),
            ("two words", Some("two words")),
            ("{\"a\": 1}", Some("{\"a\": 1}")),
            (" \n", None),
        ] {
            assert_eq!(strip(text), token, "{text:?}");
        }
    }
}
