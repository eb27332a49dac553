//! Verifiers for those who send tokens to a function.
//!
//! Each preset sets the header, the form of the audience and the identity rule of one kind of
//! sender, from what the sender's own configuration holds. It gives a builder, so that a second
//! audience, another clock or a key set for tests can be added.
//!
//! | sender | header | audience | who |
//! |---|---|---|---|
//! | [`service_to_service`] | either of Cloud Run's | the service's URL | the calling services' accounts |
//! | [`pubsub_push`], [`eventarc`], [`cloud_scheduler`], [`cloud_tasks`] | `Authorization` | the whole target URL, unless set otherwise | the account set for the sender |
//! | [`api_gateway`] | `Authorization` | the backend's address | the gateway's account |
//! | [`iap`] | `X-Goog-IAP-JWT-Assertion` | an [`IapAudience`] | whom Identity-Aware Proxy lets in |
//!
//! Where the service is also protected by Cloud Run's IAM check, that check takes the signature off
//! the `Authorization` header that these senders use, and the token cannot be verified a second
//! time: let one of the two do it.

use std::time::Duration;

use http::header::AUTHORIZATION;

use crate::inbound::TokenHeader;
use crate::verify::{Issuer, Principal, Verifier, VerifierBuilder};

pub mod gateway;

/// Other services of yours, each with its own service account.
///
/// `service_url` is the URL of this service without a path.
///
/// ```
/// # fn main() -> Result<(), idtoken::verify::BuildError> {
/// # #[cfg(feature = "reqwest")]
/// let verifier = idtoken::preset::service_to_service(
///     "https://hello-abc.a.run.app",
///     ["front@project.iam.gserviceaccount.com", "batch@project.iam.gserviceaccount.com"],
/// )
/// .build()?;
/// # Ok(())
/// # }
/// ```
pub fn service_to_service(
    service_url: impl Into<String>,
    callers: impl IntoIterator<Item = impl Into<String>>,
) -> VerifierBuilder {
    callers.into_iter().map(Principal::service_account).fold(
        Verifier::builder().audience(service_url),
        VerifierBuilder::allow,
    )
}

/// A Pub/Sub push subscription.
///
/// `audience` is the subscription's `oidcToken.audience`, or its whole push endpoint, path and
/// query included, when none is set. `service_account` is its `oidcToken.serviceAccountEmail`.
///
/// ```
/// # fn main() -> Result<(), idtoken::verify::BuildError> {
/// # #[cfg(feature = "reqwest")]
/// let verifier = idtoken::preset::pubsub_push(
///     "https://hello-abc.a.run.app/push?kind=orders",
///     "push@project.iam.gserviceaccount.com",
/// )
/// .build()?;
/// # Ok(())
/// # }
/// ```
pub fn pubsub_push(
    audience: impl Into<String>,
    service_account: impl Into<String>,
) -> VerifierBuilder {
    pushed(audience, service_account)
}

/// An Eventarc trigger.
///
/// `audience` is the destination's whole URI unless the trigger sets another; `service_account` is
/// the trigger's.
///
/// ```
/// # fn main() -> Result<(), idtoken::verify::BuildError> {
/// # #[cfg(feature = "reqwest")]
/// let verifier = idtoken::preset::eventarc(
///     "https://hello-abc.a.run.app/events",
///     "trigger@project.iam.gserviceaccount.com",
/// )
/// .build()?;
/// # Ok(())
/// # }
/// ```
pub fn eventarc(
    audience: impl Into<String>,
    service_account: impl Into<String>,
) -> VerifierBuilder {
    pushed(audience, service_account)
}

/// A Cloud Scheduler job with an HTTP target.
///
/// `audience` is the job's `oidcToken.audience`, or its whole target URI when none is set;
/// `service_account` is its `oidcToken.serviceAccountEmail`.
///
/// ```
/// # fn main() -> Result<(), idtoken::verify::BuildError> {
/// # #[cfg(feature = "reqwest")]
/// let verifier = idtoken::preset::cloud_scheduler(
///     "https://hello-abc.a.run.app/nightly",
///     "cron@project.iam.gserviceaccount.com",
/// )
/// .build()?;
/// # Ok(())
/// # }
/// ```
pub fn cloud_scheduler(
    audience: impl Into<String>,
    service_account: impl Into<String>,
) -> VerifierBuilder {
    pushed(audience, service_account)
}

/// A Cloud Tasks queue with HTTP targets.
///
/// `audience` is the task's `oidcToken.audience`, or its whole URL when none is set: then every URL
/// that tasks are made for has to be added. `service_account` is the task's
/// `oidcToken.serviceAccountEmail`.
///
/// ```
/// # fn main() -> Result<(), idtoken::verify::BuildError> {
/// # #[cfg(feature = "reqwest")]
/// let verifier = idtoken::preset::cloud_tasks(
///     "https://hello-abc.a.run.app/work",
///     "queue@project.iam.gserviceaccount.com",
/// )
/// .build()?;
/// # Ok(())
/// # }
/// ```
pub fn cloud_tasks(
    audience: impl Into<String>,
    service_account: impl Into<String>,
) -> VerifierBuilder {
    pushed(audience, service_account)
}

/// API Gateway, or ESPv2 of your own.
///
/// `audience` is the backend's address in the gateway's configuration, or its `jwt_audience`;
/// `service_account` is the gateway's. The verified caller is then the *gateway*; what it says of
/// its own caller is read with a [`Gateway`](gateway::Gateway).
///
/// ```
/// # fn main() -> Result<(), idtoken::verify::BuildError> {
/// # #[cfg(feature = "reqwest")]
/// let verifier = idtoken::preset::api_gateway(
///     "https://hello-abc.a.run.app",
///     "gateway@project.iam.gserviceaccount.com",
/// )
/// .build()?;
/// # Ok(())
/// # }
/// ```
pub fn api_gateway(
    audience: impl Into<String>,
    service_account: impl Into<String>,
) -> VerifierBuilder {
    pushed(audience, service_account)
}

/// Identity-Aware Proxy, for everyone whom it lets in.
///
/// The audience is bound to one backend, and only Identity-Aware Proxy can sign for it, so its own
/// access rules are the identity rule; [`allow`](VerifierBuilder::allow) cannot narrow that down.
/// To let in fewer build on [`Issuer::iap`] yourself. Thirty seconds of clock skew are allowed for.
///
/// ```
/// use idtoken::preset::{self, IapAudience};
///
/// # fn main() -> Result<(), idtoken::verify::BuildError> {
/// # #[cfg(feature = "reqwest")]
/// let verifier = preset::iap(&IapAudience::backend_service(1029, 815)).build()?;
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn iap(audience: &IapAudience) -> VerifierBuilder {
    let issuer = Issuer::iap();
    Verifier::builder()
        .audience(audience.as_str())
        .allow(Principal::anyone_of(&issuer))
        .issuer(issuer)
        .token_header(TokenHeader::iap())
        .leeway(Duration::from_secs(30))
}

/// The audience of Identity-Aware Proxy's assertions: the thing that it stands before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IapAudience(String);

impl IapAudience {
    /// An App Engine app.
    #[must_use]
    pub fn app_engine(project_number: u64, project_id: &str) -> Self {
        Self(format!("/projects/{project_number}/apps/{project_id}"))
    }

    /// A backend service of a global load balancer.
    #[must_use]
    pub fn backend_service(project_number: u64, backend_service_id: u64) -> Self {
        Self(format!(
            "/projects/{project_number}/global/backendServices/{backend_service_id}"
        ))
    }

    /// A Cloud Run service with Identity-Aware Proxy switched on directly.
    #[must_use]
    pub fn cloud_run(project_number: u64, region: &str, service: &str) -> Self {
        Self(format!(
            "/projects/{project_number}/locations/{region}/services/{service}"
        ))
    }

    /// A backend service of a regional load balancer.
    #[must_use]
    pub fn regional_backend_service(
        project_number: u64,
        region: &str,
        backend_service_id: u64,
    ) -> Self {
        Self(format!(
            "/projects/{project_number}/{region}/backendServices/{backend_service_id}"
        ))
    }

    /// The audience as it stands in the assertion.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What all who push have in common: one account, one URL, the plain header.
fn pushed(audience: impl Into<String>, service_account: impl Into<String>) -> VerifierBuilder {
    Verifier::builder()
        .audience(audience)
        .allow(Principal::service_account(service_account))
        .token_header(TokenHeader::bearer(AUTHORIZATION))
}

#[cfg(test)]
mod tests;
