//! What happened lately, for people to look at.

use std::collections::VecDeque;

use http::Method;

/// The latest requests and the latest tokens, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    pub(crate) requests: VecDeque<Entry>,
    pub(crate) tokens: VecDeque<Issued>,
    issued: u64,
}

/// A request, and what became of it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) at: u64,
    /// An endpoint of Google's, or a service.
    pub(crate) to: String,
    pub(crate) method: Method,
    /// Without the query, which may hold secrets.
    pub(crate) path: String,
    /// 0 if there was no answer.
    pub(crate) status: u16,
    pub(crate) verdict: String,
}

/// An ID token that was given out.
pub(crate) struct Issued {
    pub(crate) number: u64,
    pub(crate) token: String,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl Journal {
    pub(crate) fn note(&mut self, entry: Entry) {
        if self.requests.len() == MOST_KEPT {
            self.requests.pop_front();
        }
        self.requests.push_back(entry);
    }

    pub(crate) fn issue(&mut self, token: &str) {
        if self.tokens.len() == MOST_KEPT {
            self.tokens.pop_front();
        }
        self.issued += 1;
        self.tokens.push_back(Issued {
            number: self.issued,
            token: token.to_owned(),
        });
    }
}

const MOST_KEPT: usize = 100;
