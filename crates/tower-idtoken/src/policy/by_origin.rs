//! The audience is the request's own origin, for hosts on a list.

use idtoken::Audience;

use super::host::{HostPattern, InvalidHostPattern, Origin, Target};
use super::{RequestHead, Selection, TokenPolicy};

/// Each request gets the token for its own origin, if its host is on the list.
///
/// This is what Cloud Run expects: the audience of a service is its URL without the path. The list
/// keeps tokens from hosts that a request was led to by a redirect or a stranger's input. A pattern
/// is a host (`hello.example.com`) or every host below a domain (`*.run.app`); there is none for
/// "any host".
///
/// Origins have one normal form: lower case, no default port, no trailing dot. IPv6 addresses are
/// taken as they are written. URIs with user information are refused.
///
/// ```
/// use idtoken::TokenCache;
/// use tower_idtoken::{AddIdTokenLayer, ByOrigin};
///
/// # fn example(tokens: TokenCache) -> Result<(), Box<dyn std::error::Error>> {
/// let policy = ByOrigin::refusing_others(["*.run.app", "*.cloudfunctions.net"])?;
/// let layer = AddIdTokenLayer::with_policy(tokens, policy);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ByOrigin {
    hosts: Box<[HostPattern]>,
    others: Selection,
}

impl ByOrigin {
    /// Requests to hosts on the list get a token; others are not sent.
    ///
    /// # Errors
    ///
    /// [`InvalidHostPattern`], naming the pattern at fault.
    pub fn refusing_others<'a>(
        hosts: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, InvalidHostPattern> {
        Self::new(hosts, Selection::Refuse)
    }

    /// Requests to hosts on the list get a token; others are sent as they are.
    ///
    /// # Errors
    ///
    /// [`InvalidHostPattern`], naming the pattern at fault.
    pub fn skipping_others<'a>(
        hosts: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, InvalidHostPattern> {
        Self::new(hosts, Selection::Skip)
    }

    fn new<'a>(
        hosts: impl IntoIterator<Item = &'a str>,
        others: Selection,
    ) -> Result<Self, InvalidHostPattern> {
        let hosts = hosts
            .into_iter()
            .map(HostPattern::parse)
            .collect::<Result<_, _>>()?;
        Ok(Self { hosts, others })
    }
}

impl TokenPolicy for ByOrigin {
    fn select(&self, head: RequestHead<'_>) -> Selection {
        let target = Target::of(head);
        let meant = |target: &Target<'_>| self.hosts.iter().any(|known| target.is_meant_by(known));
        let Some(target) = target.filter(meant) else {
            let named = self.hosts.iter().any(|known| known.is_named(head));
            return match named {
                true => Selection::Refuse,
                false => self.others.clone(),
            };
        };
        let selected = Origin::with(head, target, |origin| match head.held(origin) {
            Some(handle) => Selection::Handle(handle),
            None => Audience::new(origin).map_or(Selection::Refuse, Selection::Audience),
        });
        selected.unwrap_or(Selection::Refuse)
    }
}
