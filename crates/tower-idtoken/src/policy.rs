//! Which token a request gets, decided from its head alone: synchronous, without I/O.

use idtoken::{Audience, TokenHandle};

pub use self::by_host::ByHost;
pub use self::by_origin::ByOrigin;
pub use self::fixed::Fixed;
pub use self::from_extension::{FromExtension, Others};
pub use self::host::InvalidHostPattern;
pub(crate) use self::host::{host_of_audience as audience_host, same_host};
pub use crate::request::RequestHead;

mod by_host;
mod by_origin;
mod fixed;
mod from_extension;
mod host;

/// Chooses the token of each request.
///
/// Closures are policies:
///
/// ```
/// use idtoken::{Audience, TokenCache};
/// use tower_idtoken::{AddIdTokenLayer, Selection, policy::RequestHead};
///
/// # fn example(tokens: TokenCache) -> Result<(), Box<dyn std::error::Error>> {
/// let reports = Audience::new("reports")?;
/// let policy = move |head: RequestHead<'_>| match head.host() {
///     Some("reports.example.com") => Selection::Audience(reports.clone()),
///     _ => Selection::Skip,
/// };
/// let layer = AddIdTokenLayer::with_policy(tokens, policy);
/// # Ok(())
/// # }
/// ```
pub trait TokenPolicy {
    /// What to do with the request whose head this is.
    ///
    /// Called once for each request, on its way; it must not block.
    fn select(&self, head: RequestHead<'_>) -> Selection;

    /// The handle of the request, where there is one to lend; otherwise [`select`](Self::select) is
    /// asked. A handle that is lent need not be counted, which is what many threads with one handle
    /// would otherwise spend their time on.
    #[doc(hidden)]
    fn lend<'a>(&'a self, head: RequestHead<'a>) -> Option<&'a TokenHandle> {
        let _ = head;
        None
    }
}

impl<F> TokenPolicy for F
where
    F: Fn(RequestHead<'_>) -> Selection,
{
    fn select(&self, head: RequestHead<'_>) -> Selection {
        self(head)
    }
}

/// What a policy decides for one request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Selection {
    /// It gets the token for this audience.
    Audience(Audience),
    /// It gets the token of this handle.
    Handle(TokenHandle),
    /// It is not sent.
    Refuse,
    /// It is sent as it is.
    Skip,
}
