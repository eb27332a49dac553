//! The audience is looked up by the request's host, for custom audiences.

use std::cmp::Ordering;
use std::sync::Arc;

use idtoken::Audience;

use super::host::{HostPattern, InvalidHostPattern, without_trailing_dot};
use super::{RequestHead, Selection, TokenPolicy};

/// Each request gets the token for the audience that is written down for its host.
///
/// For services whose audience is not their URL: one reached by a domain of its own, or with a
/// custom audience. Patterns are as in [`ByOrigin`](super::ByOrigin); an exact host counts before a
/// domain, a longer domain before a shorter one, and of two equal patterns the first. Ports do not
/// count, and URIs with user information are refused.
///
/// ```
/// use idtoken::{Audience, TokenCache};
/// use tower_idtoken::{AddIdTokenLayer, ByHost};
///
/// # fn example(tokens: TokenCache) -> Result<(), Box<dyn std::error::Error>> {
/// let policy = ByHost::refusing_others([
///     ("reports.example.com", Audience::new("reports")?),
///     ("*.internal.example.com", Audience::new("internal")?),
/// ])?;
/// let layer = AddIdTokenLayer::with_policy(tokens, policy);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ByHost {
    rules: Arc<Rules>,
    others: Selection,
}

impl ByHost {
    /// Requests to the hosts named get the audience beside the name; others are not sent.
    ///
    /// # Errors
    ///
    /// [`InvalidHostPattern`], naming the pattern at fault.
    pub fn refusing_others<'a>(
        hosts: impl IntoIterator<Item = (&'a str, Audience)>,
    ) -> Result<Self, InvalidHostPattern> {
        Self::new(hosts, Selection::Refuse)
    }

    /// Requests to the hosts named get the audience beside the name; others are sent as they are.
    ///
    /// # Errors
    ///
    /// [`InvalidHostPattern`], naming the pattern at fault.
    pub fn skipping_others<'a>(
        hosts: impl IntoIterator<Item = (&'a str, Audience)>,
    ) -> Result<Self, InvalidHostPattern> {
        Self::new(hosts, Selection::Skip)
    }

    fn new<'a>(
        hosts: impl IntoIterator<Item = (&'a str, Audience)>,
        others: Selection,
    ) -> Result<Self, InvalidHostPattern> {
        let mut rules = Rules::default();
        for (pattern, audience) in hosts {
            match HostPattern::parse(pattern)? {
                HostPattern::Exactly(host) => rules.exact.push((host, audience)),
                below @ HostPattern::Below(_) => rules.below.push((below, audience)),
            }
        }
        // Both sorts are stable, so that the first of two equals stays the first.
        rules.exact.sort_by(|(a, _), (b, _)| compare(a, b));
        rules.exact.dedup_by(|(a, _), (b, _)| compare(a, b).is_eq());
        rules
            .below
            .sort_by_key(|(pattern, _)| std::cmp::Reverse(pattern.domain().len()));
        Ok(Self {
            rules: Arc::new(rules),
            others,
        })
    }
}

impl TokenPolicy for ByHost {
    fn select(&self, head: RequestHead<'_>) -> Selection {
        let Some(audience) = head.host().and_then(|host| self.rules.audience_of(host)) else {
            return self.others.clone();
        };
        if head.has_user_info() {
            return Selection::Refuse;
        }
        match head.held(audience.as_str()) {
            Some(handle) => Selection::Handle(handle),
            None => Selection::Audience(audience.clone()),
        }
    }
}

#[derive(Debug, Default)]
struct Rules {
    /// Sorted by host.
    exact: Vec<(Box<str>, Audience)>,
    /// The longest domain first.
    below: Vec<(HostPattern, Audience)>,
}

impl Rules {
    fn audience_of(&self, host: &str) -> Option<&Audience> {
        let bare = without_trailing_dot(host);
        if let Ok(found) = self
            .exact
            .binary_search_by(|(known, _)| compare(known, bare))
        {
            return self.exact.get(found).map(|(_, audience)| audience);
        }
        self.below
            .iter()
            .find(|(pattern, _)| pattern.matches(host))
            .map(|(_, audience)| audience)
    }
}

/// Orders hosts without regard to case.
fn compare(a: &str, b: &str) -> Ordering {
    a.bytes()
        .map(|byte| byte.to_ascii_lowercase())
        .cmp(b.bytes().map(|byte| byte.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_hosts_come_before_domains_and_longer_domains_before_shorter() {
        let policy = ByHost::refusing_others(
            [
                ("*.example.com", "domain"),
                ("*.eu.example.com", "longer"),
                ("A.eu.example.com", "exact"),
                ("a.eu.example.com", "second"),
                ("b.example.org.", "other"),
            ]
            .map(|(host, audience)| (host, Audience::new(audience).unwrap())),
        )
        .unwrap();
        for (host, audience) in [
            ("a.eu.example.com", Some("exact")),
            ("A.EU.example.com.", Some("exact")),
            ("b.eu.example.com", Some("longer")),
            ("b.example.com", Some("domain")),
            ("B.example.org", Some("other")),
            ("example.com", None),
            ("a.eu.example.com.evil.net", None),
        ] {
            let found = policy.rules.audience_of(host).map(Audience::as_str);
            assert_eq!(found, audience, "{host}");
        }
    }
}
