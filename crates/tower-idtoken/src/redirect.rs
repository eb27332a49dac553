//! Redirects that reqwest follows by itself.

/// A redirect policy for `reqwest::Client` that follows up to ten redirects, and none that leads
/// to another scheme, host or port: the redirect itself is then the response.
///
/// reqwest drops `Authorization` on the way to another host, but no header that HTTP does not know
/// as a credential; with this policy there is no such way.
///
/// ```
/// use idtoken::TokenHandle;
/// use tower::ServiceBuilder;
/// use tower_idtoken::{AddIdTokenLayer, Header, redirect};
///
/// # fn example(hello: TokenHandle) -> Result<(), reqwest::Error> {
/// let http_client = reqwest::Client::builder().redirect(redirect::same_host()).build()?;
/// let layer = AddIdTokenLayer::new(hello)
///     .header(Header::XServerlessAuthorization)
///     .assume_no_cross_host_redirects();
/// let client = ServiceBuilder::new().layer(layer).service(http_client);
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn same_host() -> reqwest::redirect::Policy {
    reqwest::redirect::Policy::custom(|attempt| {
        let previous = attempt.previous();
        let stays = previous
            .last()
            .is_some_and(|last| last.origin() == attempt.url().origin());
        if !stays {
            attempt.stop()
        } else if previous.len() > MAX_REDIRECTS {
            attempt.error("too many redirects")
        } else {
            attempt.follow()
        }
    })
}

const MAX_REDIRECTS: usize = 10;
