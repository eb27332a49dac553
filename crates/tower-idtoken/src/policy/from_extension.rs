//! The audience travels with the request, in its extensions.

use std::sync::Arc;

use idtoken::{Audience, TokenHandle};

use super::host::{HostPattern, InvalidHostPattern, host_of_audience, same_host};
use super::{RequestHead, Selection, TokenPolicy};

/// A request gets the token for the [`Audience`], or of the [`TokenHandle`], in its extensions; one
/// without either is left to another policy.
///
/// The host is still looked at, since a redirect may take a request and its extensions elsewhere: a
/// token is attached only when the request goes to the host in the audience, or to one named with
/// [`for_hosts`](Self::for_hosts), as audiences that are no URLs need. Ports do not count. Other
/// hosts, and URIs with user information, are refused.
///
/// A `reqwest::Request` has no extensions to see, so all of them are left to the other policy; but
/// through `reqwest-middleware` the extensions of that crate are seen.
///
/// ```
/// use http::Request;
/// use idtoken::{Audience, TokenCache};
/// use tower_idtoken::{AddIdTokenLayer, FromExtension};
///
/// # fn example(tokens: TokenCache) -> Result<(), Box<dyn std::error::Error>> {
/// let policy = FromExtension::skipping_others().for_hosts(["reports.example.com"])?;
/// let layer = AddIdTokenLayer::with_policy(tokens, policy);
///
/// let request = Request::get("https://reports.example.com/today")
///     .extension(Audience::new("reports")?)
///     .body(())?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct FromExtension<P = Others> {
    hosts: Arc<[HostPattern]>,
    others: P,
}

impl FromExtension {
    /// Requests without an audience of their own are not sent.
    #[must_use]
    pub fn refusing_others() -> Self {
        Self::or(Others(Selection::Refuse))
    }

    /// Requests without an audience of their own are sent as they are.
    #[must_use]
    pub fn skipping_others() -> Self {
        Self::or(Others(Selection::Skip))
    }
}

impl<P> FromExtension<P> {
    /// Requests without an audience of their own are left to `policy`.
    pub fn or(policy: P) -> Self {
        Self {
            hosts: [].into(),
            others: policy,
        }
    }

    /// An audience in the extensions may also be sent to these hosts; patterns as in
    /// [`ByOrigin`](super::ByOrigin).
    ///
    /// # Errors
    ///
    /// [`InvalidHostPattern`], naming the pattern at fault.
    pub fn for_hosts<'a>(
        mut self,
        hosts: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, InvalidHostPattern> {
        self.hosts = hosts
            .into_iter()
            .map(HostPattern::parse)
            .collect::<Result<_, _>>()?;
        Ok(self)
    }

    fn is_meant(&self, audience: &Audience, head: RequestHead<'_>) -> bool {
        !head.has_user_info()
            && head.host().is_some_and(|host| {
                let own = host_of_audience(audience.as_str());
                own.is_some_and(|own| same_host(own, host))
                    || self.hosts.iter().any(|known| known.matches(host))
            })
    }
}

impl<P: TokenPolicy> TokenPolicy for FromExtension<P> {
    fn select(&self, head: RequestHead<'_>) -> Selection {
        if head.extension::<TokenHandle>().is_some() {
            let lent = self.lend(head);
            return lent.map_or(Selection::Refuse, |handle| {
                Selection::Handle(handle.clone())
            });
        }
        let Some(audience) = head.extension::<Audience>() else {
            return self.others.select(head);
        };
        if !self.is_meant(audience, head) {
            return Selection::Refuse;
        }
        match head.held(audience.as_str()) {
            Some(handle) => Selection::Handle(handle),
            None => Selection::Audience(audience.clone()),
        }
    }

    fn lend<'a>(&'a self, head: RequestHead<'a>) -> Option<&'a TokenHandle> {
        let handle = head.extension::<TokenHandle>()?;
        self.is_meant(handle.audience(), head).then_some(handle)
    }
}

/// What [`FromExtension`] does with requests that carry no audience, when no policy was given.
#[derive(Clone, Debug)]
pub struct Others(Selection);

impl TokenPolicy for Others {
    fn select(&self, _: RequestHead<'_>) -> Selection {
        self.0.clone()
    }
}
