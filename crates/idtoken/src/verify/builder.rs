//! How a verifier is put together.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::Uri;

use super::audience::normal_form;
use super::issuer::{Issuer, KeySource};
use super::judge::Rules;
use super::keeper::{Keeper, KeeperSettings, Remote};
use super::keys::KeySet;
use super::policy::{Policy, Principal};
use super::seen::Seen;
use super::{Claims, CurrentPolicy, Inner, Verifier};
use crate::clock::{Clock, SystemClock};
use crate::danger::CloudRunService;
use crate::inbound::TokenHeader;
use crate::loopback;
use crate::transport::{SharedTransport, Transport};

mod error;

pub use self::error::BuildError;

/// Puts a [`Verifier`] together; see the [module](super) for an example.
///
/// It takes an audience and an identity rule. All else has a default.
#[derive(Clone)]
pub struct VerifierBuilder {
    audiences: Vec<String>,
    clock: Arc<dyn Clock>,
    compares_normal_forms: bool,
    explains_refusals: bool,
    first_issuer_keys: Option<KeySource>,
    issuers: Vec<Issuer>,
    keeper: KeeperSettings,
    leeway: Duration,
    policy: Policy,
    remembered_tokens: usize,
    token_header: TokenHeader,
    transport: Option<SharedTransport>,
    trusted_front_end: Option<CloudRunService>,
}

impl VerifierBuilder {
    /// Accepts tokens for `audience`, compared letter by letter unless
    /// [`compare_audiences_as_urls`](Self::compare_audiences_as_urls) says otherwise.
    ///
    /// For a Cloud Run service it is the service's URL without a path. Call it again for each
    /// further audience, such as the service's other URL and its custom ones.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// Accepts tokens for each of `audiences`.
    #[must_use]
    pub fn audiences(mut self, audiences: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.audiences.extend(audiences.into_iter().map(Into::into));
        self
    }

    /// Takes an audience for ours, too, when it is the same URL in another spelling: scheme and host
    /// in other case, the default port, one trailing slash. For callers that cannot be told to write
    /// it as everybody else does. Scheme, path and query still count.
    #[must_use]
    pub fn compare_audiences_as_urls(mut self) -> Self {
        self.compares_normal_forms = true;
        self
    }

    /// Lets `principal` in. Call it again for each further one: any of them will do.
    #[must_use]
    pub fn allow(mut self, principal: Principal) -> Self {
        self.policy = self.policy.allow(principal);
        self
    }

    /// Lets in, too, whoever `predicate` says yes to; see [`Policy::allow_if`].
    #[must_use]
    pub fn allow_if(mut self, predicate: impl Fn(&Claims) -> bool + Send + Sync + 'static) -> Self {
        self.policy = self.policy.allow_if(predicate);
        self
    }

    /// Lets in everybody on the internet who has a Google account. It speaks of Google's tokens
    /// alone: those of another issuer still need a rule.
    ///
    /// Right only where the handler itself decides by the claims, or where something in front (IAM
    /// on Cloud Run, a load balancer) has already decided *and nobody can get past it*.
    #[must_use]
    pub fn danger_any_google_identity(mut self) -> Self {
        self.policy.allow_anyone();
        self
    }

    /// Believes tokens of Google's whose signature Cloud Run's IAM check took off: it put
    /// `SIGNATURE_REMOVED_BY_GOOGLE` in the place of the one that it had checked.
    ///
    /// All other checks and the identity rules still hold. But nothing is left that this process
    /// could check the token's authenticity by, and *anyone can write that note*. It is a hole
    ///
    /// * when the service is public (`allUsers` may invoke it, or the invoker check is off), now or
    ///   after somebody's later change: then nobody checked anything;
    /// * when requests can come past the front end: from a sidecar, or another port;
    /// * when a proxy in the container takes `X-Serverless-Authorization` away: a note that the
    ///   caller wrote into `Authorization` then passes for the front end's.
    ///
    /// The note counts only in the one header that the front end checked: in
    /// `X-Serverless-Authorization` when the request has it, else in `Authorization`. It passes the
    /// other on as the caller wrote it. So tokens come in by
    /// [`verify_headers`](Verifier::verify_headers) or [`start`](Verifier::start), as all of this
    /// project's layers have it; [`verify`](Verifier::verify) knows no header and refuses them.
    ///
    /// Better: have callers send the token in both headers, as this project's tower layer can. The
    /// front end strips only the one that it checks, and the other is verified here.
    #[must_use]
    pub fn danger_trust_cloud_run_iam(mut self, service: CloudRunService) -> Self {
        self.trusted_front_end = Some(service);
        self
    }

    /// Takes its tokens from `issuer` instead of Google. Call it again for each further one.
    ///
    /// Identity rules speak of the first one unless they say otherwise: see
    /// [`Principal::issued_by`].
    #[must_use]
    pub fn issuer(mut self, issuer: Issuer) -> Self {
        self.issuers.push(issuer);
        self
    }

    /// Fetches the keys of the first issuer from `url`: an emulator, a mirror. It must be `https`,
    /// except on this machine.
    #[must_use]
    pub fn jwks_url(mut self, url: impl Into<String>) -> Self {
        self.first_issuer_keys = Some(KeySource::Url(url.into()));
        self
    }

    /// Uses these keys for the first issuer, and fetches none.
    #[must_use]
    pub fn keys(mut self, keys: KeySet) -> Self {
        self.first_issuer_keys = Some(KeySource::Fixed(keys));
        self
    }

    /// Reads the time from `clock`. Default: the system's.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// How far the clocks of issuer and verifier may be apart. Default: 10 seconds; at most five
    /// minutes.
    #[must_use]
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// The least time from a fetch of an issuer's keys that brought no new one to the next because
    /// of tokens whose key is not known. Default: 10 seconds. After a fetch that did bring one it is
    /// 100 milliseconds at most: that was a rotation, and no stranger can cause those. At most a day.
    #[must_use]
    pub fn key_refetch_pause(mut self, pause: Duration) -> Self {
        self.keeper.refetch_pause = pause.min(MAX_REFETCH_PAUSE);
        self
    }

    /// For how long keys serve past their cache time while the endpoint is down: once a fetch has
    /// failed, and until one succeeds. Default: 12 hours; at most 30 days.
    #[must_use]
    pub fn stale_keys_for(mut self, stale_for: Duration) -> Self {
        self.keeper.stale_for = stale_for.min(MAX_STALE);
        self
    }

    /// For how many verified tokens the verdict is remembered; zero switches that off. Default:
    /// 4,096, at most 1,048,576. Up to three times as many may be held, so that those that count do
    /// not push each other out: of 4,096, some eight mebibytes of claims.
    ///
    /// What is remembered is the SHA-256 of the token and its claims, not the token. It counts no
    /// longer once the token has expired, its key has left the issuer's set, or the policy changed.
    #[must_use]
    pub fn remember_tokens(mut self, count: usize) -> Self {
        self.remembered_tokens = count;
        self
    }

    /// Whether each refusal is logged at debug level with its [`Explanation`](super::Explanation):
    /// every check and the values compared. These name callers' addresses and ids; signature and
    /// token are not in it. Where that is logged, a refusal costs as much again. Default: no.
    #[must_use]
    pub fn explain_refusals(mut self, explain: bool) -> Self {
        self.explains_refusals = explain;
        self
    }

    /// Where requests carry their token. Default: [`TokenHeader::cloud_run`].
    #[must_use]
    pub fn token_header(mut self, header: TokenHeader) -> Self {
        self.token_header = header;
        self
    }

    /// Fetches keys through `transport`. Default, with feature `reqwest`: the ready-made one.
    #[must_use]
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transport = Some(SharedTransport::new(transport));
        self
    }

    /// Builds the verifier. Needs no runtime and fetches nothing yet.
    ///
    /// # Errors
    ///
    /// [`BuildError`] when the audience or the identity rule is missing, or something cannot be
    /// right.
    pub fn build(self) -> Result<Verifier, BuildError> {
        if self.audiences.is_empty() {
            return Err(BuildError::NoAudience);
        }
        if self
            .audiences
            .iter()
            .any(|audience| audience.trim().is_empty())
        {
            return Err(BuildError::EmptyAudience);
        }
        if self.leeway > MAX_LEEWAY {
            return Err(BuildError::LeewayTooLong);
        }
        let issuers = issuers(self.issuers, self.first_issuer_keys)?;
        check_policy(&self.policy, &issuers)?;
        let keepers = keepers(&issuers, self.transport, &self.clock, self.keeper)?;
        let audiences = if self.compares_normal_forms {
            self.audiences
                .iter()
                .map(|ours| normal_form(ours))
                .collect()
        } else {
            self.audiences
        };
        let rules = Rules {
            audiences,
            compares_normal_forms: self.compares_normal_forms,
            issuers,
            leeway: self.leeway,
        };
        let policy = CurrentPolicy {
            policy: Arc::new(self.policy),
            version: 0,
        };
        let policy = ArcSwap::from_pointee(policy);
        let (clock, token_header) = (self.clock, self.token_header);
        let seen = Seen::new(self.remembered_tokens);
        if let Some(service) = &self.trusted_front_end {
            tracing::warn!(
                service = service.name(),
                "tokens without signature are believed: this is safe only while nobody but callers \
                 with the invoker role can reach the service"
            );
        }
        let inner = Inner {
            rules,
            policy,
            keepers,
            clock,
            seen,
            token_header,
            explains_refusals: self.explains_refusals,
            trusts_front_end: self.trusted_front_end.is_some(),
        };
        Ok(Verifier {
            inner: Arc::new(inner),
        })
    }
}

impl Default for VerifierBuilder {
    fn default() -> Self {
        Self {
            audiences: Vec::new(),
            clock: Arc::new(SystemClock),
            compares_normal_forms: false,
            explains_refusals: false,
            first_issuer_keys: None,
            issuers: Vec::new(),
            keeper: KeeperSettings::default(),
            leeway: Duration::from_secs(10),
            policy: Policy::default(),
            remembered_tokens: 4096,
            token_header: TokenHeader::default(),
            transport: None,
            trusted_front_end: None,
        }
    }
}

impl fmt::Debug for VerifierBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifierBuilder")
            .field("audiences", &self.audiences)
            .field("issuers", &self.issuers)
            .field("leeway", &self.leeway)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

pub(super) fn check_policy(policy: &Policy, issuers: &[Issuer]) -> Result<(), BuildError> {
    if policy.is_empty(issuers) {
        return Err(BuildError::NoIdentityRule);
    }
    match policy
        .principals()
        .iter()
        .find_map(|principal| principal.fault(issuers))
    {
        Some(fault) => Err(BuildError::Principal(fault)),
        None => Ok(()),
    }
}

fn issuers(given: Vec<Issuer>, first_keys: Option<KeySource>) -> Result<Vec<Issuer>, BuildError> {
    let mut issuers = if given.is_empty() {
        vec![Issuer::google()]
    } else {
        given
    };
    if let (Some(first), Some(keys)) = (issuers.first_mut(), first_keys) {
        first.set_key_source(keys);
    }
    let names: Vec<_> = issuers.iter().flat_map(Issuer::names).collect();
    for (index, name) in names.iter().enumerate() {
        if names.iter().take(index).any(|other| other == name) {
            return Err(BuildError::RepeatedIssuer((*name).clone()));
        }
    }
    Ok(issuers)
}

fn keepers(
    issuers: &[Issuer],
    mut transport: Option<SharedTransport>,
    clock: &Arc<dyn Clock>,
    settings: KeeperSettings,
) -> Result<Vec<Keeper>, BuildError> {
    let keeper = |issuer: &Issuer| match issuer.key_source() {
        KeySource::Fixed(keys) => Ok(Keeper::Fixed(keys.clone())),
        KeySource::Url(url) => {
            let uri = parse_key_url(url)?;
            if transport.is_none() {
                transport = default_transport();
            }
            let transport = transport.clone().ok_or(BuildError::NoTransport)?;
            Ok(Keeper::Remote(Remote::new(
                uri,
                transport,
                Arc::clone(clock),
                settings,
            )))
        }
    };
    issuers.iter().map(keeper).collect()
}

fn parse_key_url(url: &str) -> Result<Uri, BuildError> {
    let invalid = || BuildError::InvalidKeyUrl(url.to_owned());
    let uri: Uri = url.parse().map_err(|_| invalid())?;
    match (uri.scheme_str(), uri.host()) {
        (Some("https"), Some(_)) => Ok(uri),
        (Some("http"), Some(host)) if loopback::is_loopback(host) => Ok(uri),
        _ => Err(invalid()),
    }
}

#[cfg(feature = "reqwest")]
fn default_transport() -> Option<SharedTransport> {
    crate::transport::ReqwestTransport::new()
        .ok()
        .map(SharedTransport::new)
}

#[cfg(not(feature = "reqwest"))]
fn default_transport() -> Option<SharedTransport> {
    None
}

const MAX_LEEWAY: Duration = Duration::from_secs(300);
const MAX_REFETCH_PAUSE: Duration = Duration::from_secs(24 * 3600);
const MAX_STALE: Duration = Duration::from_secs(30 * 24 * 3600);
