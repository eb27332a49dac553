//! One audience for every request, bound to the hosts it is meant for.

use std::sync::Arc;

use http::Uri;
use idtoken::TokenHandle;

use super::host::{HostPattern, InvalidHostPattern};
use super::{RequestHead, Selection, TokenPolicy};

/// Every request gets the token of one handle, if it goes to a host that the token is meant for.
///
/// By default that is the host in the audience. A token is a credential: sent to another host, it
/// can be used there against the service it was made for. So a request elsewhere, say where a
/// redirect led, is refused. An audience that is not a URL has no host of its own: name its hosts
/// with [`for_hosts`](Self::for_hosts).
///
/// Ports do not count: whoever may listen on one port of a host may on the others. URIs with user
/// information are refused.
///
/// ```
/// use idtoken::{Audience, TokenCache};
/// use tower_idtoken::{AddIdTokenLayer, Fixed};
///
/// # fn example(tokens: TokenCache) -> Result<(), Box<dyn std::error::Error>> {
/// let reports = tokens.handle(&Audience::new("reports")?);
/// let policy = Fixed::new(reports).for_hosts(["reports.example.com"])?;
/// let layer = AddIdTokenLayer::with_policy(tokens, policy);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Fixed {
    handle: TokenHandle,
    hosts: Hosts,
    others: Selection,
}

impl Fixed {
    /// The token of `handle`, for requests to the host in its audience; others are refused.
    #[must_use]
    pub fn new(handle: TokenHandle) -> Self {
        let own_host = handle
            .audience()
            .as_str()
            .parse::<Uri>()
            .ok()
            .and_then(|uri| {
                uri.scheme()?;
                HostPattern::parse(uri.host()?).ok()
            });
        let hosts = Hosts::These(own_host.into_iter().collect());
        Self {
            handle,
            hosts,
            others: Selection::Refuse,
        }
    }

    /// For requests to these hosts instead; patterns as in [`ByOrigin`](super::ByOrigin).
    ///
    /// # Errors
    ///
    /// [`InvalidHostPattern`], naming the pattern at fault.
    pub fn for_hosts<'a>(
        mut self,
        hosts: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, InvalidHostPattern> {
        let hosts = hosts
            .into_iter()
            .map(HostPattern::parse)
            .collect::<Result<_, _>>()?;
        self.hosts = Hosts::These(hosts);
        Ok(self)
    }

    /// For requests to any host, and to none: a URI that is only a path passes too.
    ///
    /// Whoever can choose where requests go, by input or by a redirect, is then handed the token.
    /// Use it only where something else pins the host, such as a connection that is already made.
    #[must_use]
    pub fn danger_any_host(mut self) -> Self {
        self.hosts = Hosts::Any;
        self
    }

    /// Requests to other hosts are sent without a token instead of being refused.
    #[must_use]
    pub fn skipping_others(mut self) -> Self {
        self.others = Selection::Skip;
        self
    }
}

impl TokenPolicy for Fixed {
    fn select(&self, head: RequestHead<'_>) -> Selection {
        match self.lend(head) {
            Some(handle) => Selection::Handle(handle.clone()),
            None if self.hosts.are_named(head) => Selection::Refuse,
            None => self.others.clone(),
        }
    }

    #[inline]
    fn lend<'a>(&'a self, head: RequestHead<'a>) -> Option<&'a TokenHandle> {
        let meant = match &self.hosts {
            Hosts::Any => true,
            Hosts::These(hosts) => hosts.iter().any(|known| known.is_target(head)),
        };
        meant.then_some(&self.handle)
    }
}

#[derive(Clone, Debug)]
enum Hosts {
    Any,
    These(Arc<[HostPattern]>),
}

impl Hosts {
    fn are_named(&self, head: RequestHead<'_>) -> bool {
        match self {
            Self::Any => true,
            Self::These(hosts) => hosts.iter().any(|known| known.is_named(head)),
        }
    }
}
