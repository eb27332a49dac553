//! Makes text from outside fit to show: short, one line, and without anything like a token.

/// The most characters of foreign text that are shown.
const MAX_CHARS: usize = 500;

/// `text` with white space folded, secrets taken out, and its end cut off past [`MAX_CHARS`].
pub(crate) fn excerpt(text: &str) -> String {
    let mut shown = String::new();
    let mut room = MAX_CHARS;
    for word in text.split_whitespace() {
        // First, for a secret must not come together again when they are gone.
        let word = scrub_word(&word.replace(char::is_control, ""));
        if !shown.is_empty() {
            shown.push(' ');
            room = room.saturating_sub(1);
        }
        for character in word.chars() {
            if room == 0 {
                shown.push('…');
                return shown;
            }
            shown.push(character);
            room -= 1;
        }
    }
    shown
}

/// Replaces each run of token characters in `word` that looks like a secret.
fn scrub_word(word: &str) -> String {
    let mut clean = String::with_capacity(word.len());
    for run in word.split_inclusive(|c: char| !is_token_character(c)) {
        let (body, delimiter) = match run.chars().next_back() {
            Some(last) if !is_token_character(last) => run.split_at(run.len() - last.len_utf8()),
            _ => (run, ""),
        };
        clean.push_str(if looks_secret(body) {
            "[redacted]"
        } else {
            body
        });
        clean.push_str(delimiter);
    }
    clean
}

fn is_token_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '+' | '=' | '~')
}

/// JWTs start with `eyJ` (`{"` in base64url); Google's access tokens with `ya29.`, refresh tokens
/// with `1//`, client secrets with `GOCSPX-`.
fn looks_secret(run: &str) -> bool {
    ["eyJ", "ya29.", "1//", "GOCSPX-"]
        .iter()
        .any(|start| run.contains(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_out_tokens_wherever_they_stand() {
        for (text, shown) in [
            ("token=eyJhbGciOiJSUzI1NiJ9.e30.c2ln&x=1", "token=eyJ"),
            ("\"ya29.c.Kl6iB\"", "ya29"),
            ("Bearer eyJhbGciOiJSUzI1NiJ9.e30.c2ln", "eyJ"),
            ("refresh_token:1//0abc", "1//"),
            ("secret GOCSPX-abc", "GOCSPX"),
            ("ey\u{7f}JhbGciOiJSUzI1NiJ9.e30.c2ln", "eyJ"),
        ] {
            let clean = excerpt(text);
            assert!(clean.contains("[redacted]"), "{clean}");
            assert!(
                !clean.contains(shown) || shown.starts_with("token="),
                "{clean}"
            );
            assert!(!clean.contains("eyJ"), "{clean}");
        }
    }

    #[test]
    fn folds_white_space_and_cuts_the_end() {
        assert_eq!(excerpt("<p>a\n\n\tb</p>\u{7}"), "<p>a b</p>");
        let long = excerpt(&"x".repeat(10_000));
        assert_eq!(long.chars().count(), MAX_CHARS + 1);
        assert_eq!(
            excerpt("plain text, with: punctuation."),
            "plain text, with: punctuation."
        );
    }
}
