//! OAuth 2.0 access tokens: opaque to all but the one who issued them.

use std::collections::VecDeque;

use serde_json::{Value, json};

use crate::encode::{base64url, sha256};

/// The access tokens that were issued and may still be valid.
#[derive(Debug, Default)]
pub(crate) struct AccessTokens {
    issued: u64,
    /// Oldest first.
    kept: VecDeque<AccessToken>,
}

/// What an access token stands for.
#[derive(Clone, Debug)]
pub(crate) struct AccessToken {
    secret: String,
    /// Who bears it: an e-mail address.
    pub(crate) bearer: String,
    pub(crate) scopes: String,
    pub(crate) expires_at: u64,
}

impl AccessToken {
    /// The text that its bearer shows.
    pub(crate) fn secret(&self) -> &str {
        &self.secret
    }

    /// The answer of an endpoint that issues access tokens.
    pub(crate) fn answer(&self, now: u64) -> Value {
        json!({
            "access_token": self.secret,
            "expires_in": self.expires_at.saturating_sub(now),
            "token_type": "Bearer",
        })
    }
}

impl AccessTokens {
    pub(crate) fn issue(&mut self, bearer: &str, scopes: &str, expires_at: u64) -> &AccessToken {
        self.issued += 1;
        let secret = base64url(sha256(format!("{bearer} {scopes} {}", self.issued)));
        if self.kept.len() == MOST_KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(AccessToken {
            secret: format!("ya29.{secret}"),
            bearer: bearer.to_owned(),
            scopes: scopes.to_owned(),
            expires_at,
        });
        self.kept.back().expect("one was just put there")
    }

    /// What this text stands for, as long as it is valid.
    pub(crate) fn of(&self, secret: &str, now: u64) -> Option<&AccessToken> {
        self.kept
            .iter()
            .find(|token| token.secret == secret && token.expires_at > now)
    }

    /// A token for the same bearer and scopes that lives on beyond `until`.
    pub(crate) fn find(&self, bearer: &str, scopes: &str, until: u64) -> Option<&AccessToken> {
        self.kept.iter().rev().find(|token| {
            token.bearer == bearer && token.scopes == scopes && token.expires_at > until
        })
    }
}

/// The oldest token is forgotten when more than this many are about.
const MOST_KEPT: usize = 10_000;

pub(crate) const CLOUD_PLATFORM: &str = "https://www.googleapis.com/auth/cloud-platform";
pub(crate) const LIFETIME_S: u64 = 3_599;
