//! Who may call.

use std::fmt;
use std::sync::Arc;

use super::claims::{Claim, Claims, Known, Payload};
use super::issuer::Issuer;

/// Somebody who may call: one identity rule.
///
/// The audience says whom a token is *for*, and whoever asks Google for a token chooses it freely.
/// Only an identity rule says whom it must be *from*.
///
/// E-mail addresses and domains are compared letter by letter, except that ASCII letters match in
/// either case. Nothing else is folded: no dots, no `+tag`, no Unicode. E-mail addresses, and the
/// projects that are read from them, count only when `email_verified` is the JSON value `true`; `hd`,
/// `azp` and `sub` are the issuer's own word and stand by themselves.
///
/// A rule speaks of the verifier's first issuer unless [`issued_by`](Self::issued_by) names
/// another: what one issuer says of an e-mail address must not open the door to another's word.
///
/// ```
/// use idtoken::Principal;
///
/// let caller = Principal::service_account("caller@project.iam.gserviceaccount.com");
/// let staff = Principal::domain("example.com");
/// # let _ = (caller, staff);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    rule: Rule,
    issuer: Option<String>,
}

impl Principal {
    /// Anyone for whom `issuer` signs, for issuers that do not sign for strangers: your own,
    /// Identity-Aware Proxy, which has its own access rules, or a Firebase project whose users you
    /// make. In a Firebase project where people can sign up, or sign in anonymously, anyone on the
    /// internet is somebody it signs for: that is right for a public application and for nothing
    /// else. The builder refuses it for Google itself.
    #[must_use]
    pub fn anyone_of(issuer: &Issuer) -> Self {
        Self::from(Rule::Anyone).issued_by(issuer)
    }

    /// The party with this `azp`. What it holds depends on where the token was made: a service
    /// account's number or e-mail address, or a user's OAuth client id.
    pub fn azp(azp: impl Into<String>) -> Self {
        Self::from(Rule::Azp(azp.into()))
    }

    /// Any user of the Workspace `domain`, by the `hd` claim. Service accounts have none.
    pub fn domain(domain: impl Into<String>) -> Self {
        Self::from(Rule::Domain(domain.into()))
    }

    /// The user or service account with this verified e-mail address.
    pub fn email(email: impl Into<String>) -> Self {
        Self::from(Rule::Email(email.into()))
    }

    /// Any service account that was made in the project `project_id`, by the domain
    /// `PROJECT.iam.gserviceaccount.com` of its verified e-mail address. Accounts that Google makes
    /// for a project, such as Compute Engine's default one, live in other domains. The project
    /// `example.com:p` has its accounts in `p.example.com`: give it so.
    pub fn project(project_id: impl Into<String>) -> Self {
        Self::from(Rule::Project(project_id.into()))
    }

    /// The service account with this e-mail address, verified. The builder refuses an address that
    /// no service account can have.
    pub fn service_account(email: impl Into<String>) -> Self {
        Self::from(Rule::ServiceAccount(email.into()))
    }

    /// The account with this unique id, the `sub` claim. Never given to another account, where an
    /// e-mail address of a deleted account can be.
    pub fn subject(sub: impl Into<String>) -> Self {
        Self::from(Rule::Subject(sub.into()))
    }

    /// The same rule, for tokens of `issuer` instead of the verifier's first one.
    #[must_use]
    pub fn issued_by(self, issuer: &Issuer) -> Self {
        Self {
            issuer: Some(issuer.name().to_owned()),
            ..self
        }
    }

    /// Why the rule could never be right, or be too right.
    pub(crate) fn fault(&self, issuers: &[Issuer]) -> Option<PrincipalFault> {
        let issuer = match &self.issuer {
            Some(name) => issuers.iter().find(|issuer| issuer.name() == name),
            None => issuers.first(),
        };
        let Some(issuer) = issuer else {
            return Some(PrincipalFault::UnknownIssuer);
        };
        match &self.rule {
            Rule::Anyone if issuer.is_open() => Some(PrincipalFault::OpenIssuer),
            Rule::Anyone => None,
            Rule::Azp(text) | Rule::Subject(text) => {
                text.is_empty().then_some(PrincipalFault::Empty)
            }
            Rule::Domain(domain) | Rule::Project(domain) => {
                let sound = !domain.is_empty() && !domain.contains(['@', ':']);
                (!sound).then_some(PrincipalFault::NotADomain)
            }
            Rule::Email(email) => (!is_email(email)).then_some(PrincipalFault::NotAnEmail),
            Rule::ServiceAccount(email) => {
                let sound = is_email(email) && ends_with(email, ".gserviceaccount.com");
                (!sound).then_some(PrincipalFault::NotAServiceAccount)
            }
        }
    }

    fn admits(&self, payload: &Payload<'_>, issuer: &Issuer, is_first: bool) -> bool {
        let issuer_fits = match &self.issuer {
            Some(name) => issuer.name() == name,
            None => is_first,
        };
        issuer_fits && self.rule.admits(payload)
    }
}

impl From<Rule> for Principal {
    fn from(rule: Rule) -> Self {
        Self { rule, issuer: None }
    }
}

/// Who may call: any one of these.
#[derive(Clone, Default)]
pub struct Policy {
    principals: Vec<Principal>,
    predicates: Vec<Predicate>,
    any_google_identity: bool,
}

type Predicate = Arc<dyn Fn(&Claims) -> bool + Send + Sync>;

impl Policy {
    /// Lets in any of `principals`.
    pub fn new(principals: impl IntoIterator<Item = Principal>) -> Self {
        Self {
            principals: principals.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Lets in `principal`, too.
    #[must_use]
    pub fn allow(mut self, principal: Principal) -> Self {
        self.principals.push(principal);
        self
    }

    /// Lets in, too, whoever `predicate` says yes to.
    ///
    /// It sees claims whose signature, issuer, audience and times were checked. It must look at
    /// [`Claims::iss`] when the verifier has several issuers, and at [`Claims::email_verified`]
    /// before it believes an e-mail address.
    ///
    /// Patterns are for here. A prefix should end where a part of the name does:
    ///
    /// ```
    /// use idtoken::Policy;
    ///
    /// let policy = Policy::default().allow_if(|claims| claims.sub().starts_with("repo:ours/"));
    /// # let _ = policy;
    /// ```
    #[must_use]
    pub fn allow_if(mut self, predicate: impl Fn(&Claims) -> bool + Send + Sync + 'static) -> Self {
        self.predicates.push(Arc::new(predicate));
        self
    }

    pub(crate) fn allow_anyone(&mut self) {
        self.any_google_identity = true;
    }

    pub(crate) fn principals(&self) -> &[Principal] {
        &self.principals
    }

    /// Whether some rule goes by an e-mail address.
    pub(crate) fn wants_email(&self) -> bool {
        let goes_by_email = |rule: &Rule| {
            matches!(
                rule,
                Rule::Email(_) | Rule::Project(_) | Rule::ServiceAccount(_)
            )
        };
        self.principals
            .iter()
            .any(|principal| goes_by_email(&principal.rule))
    }

    /// Whether nobody could pass, whatever `issuers` sign.
    pub(crate) fn is_empty(&self, issuers: &[Issuer]) -> bool {
        let waives = self.any_google_identity && issuers.iter().any(Issuer::is_open);
        self.principals.is_empty() && self.predicates.is_empty() && !waives
    }

    /// The claims, when their bearer may call.
    pub(crate) fn admit(
        &self,
        payload: &Payload<'_>,
        issuer: &Issuer,
        is_first: bool,
    ) -> Option<Claims> {
        let admits = |principal: &Principal| principal.admits(payload, issuer, is_first);
        let is_waived = self.any_google_identity && issuer.is_open();
        if is_waived || self.principals.iter().any(admits) {
            return Some(Claims::accepted(payload));
        }
        if self.predicates.is_empty() {
            return None;
        }
        let claims = Claims::accepted(payload);
        self.predicates
            .iter()
            .any(|predicate| predicate(&claims))
            .then_some(claims)
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("principals", &self.principals)
            .field("predicates", &self.predicates.len())
            .field("any_google_identity", &self.any_google_identity)
            .finish()
    }
}

/// Why a principal is refused when the verifier is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PrincipalFault {
    /// Its text is empty.
    Empty,
    /// Its text is no domain or project.
    NotADomain,
    /// Its text is no e-mail address.
    NotAnEmail,
    /// Its text is no address that a service account can have.
    NotAServiceAccount,
    /// It would let in everyone, and its issuer signs for everyone.
    OpenIssuer,
    /// Its issuer is none of the verifier's.
    UnknownIssuer,
}

impl fmt::Display for PrincipalFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "its text is empty",
            Self::NotADomain => "its text is no domain or project id",
            Self::NotAnEmail => "its text is not an e-mail address",
            Self::NotAServiceAccount => "its text is not a service account's e-mail address",
            Self::OpenIssuer => "its issuer signs for everyone",
            Self::UnknownIssuer => "its issuer is not one of the verifier's",
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    Anyone,
    Azp(String),
    Domain(String),
    Email(String),
    Project(String),
    ServiceAccount(String),
    Subject(String),
}

impl Rule {
    fn admits(&self, payload: &Payload<'_>) -> bool {
        let text = |known| match payload.get(known) {
            Claim::Present(text) => Some(text),
            Claim::Absent | Claim::Mistyped => None,
        };
        let email = || text(Known::Email).filter(|_| payload.email_verified);
        match self {
            Self::Anyone => true,
            Self::Azp(azp) => text(Known::Azp) == Some(azp),
            Self::Domain(domain) => {
                text(Known::Hd).is_some_and(|found| found.eq_ignore_ascii_case(domain))
            }
            Self::Email(wanted) | Self::ServiceAccount(wanted) => {
                email().is_some_and(|found| found.eq_ignore_ascii_case(wanted))
            }
            Self::Project(project) => email().is_some_and(|found| is_of_project(found, project)),
            Self::Subject(sub) => text(Known::Sub) == Some(sub),
        }
    }
}

/// Whether `email` is `NAME@PROJECT.iam.gserviceaccount.com`, with no second `@` to hide behind.
fn is_of_project(email: &str, project: &str) -> bool {
    let Some((name, domain)) = email.split_once('@') else {
        return false;
    };
    let Some((head, tail)) = domain.split_at_checked(project.len()) else {
        return false;
    };
    !name.is_empty()
        && head.eq_ignore_ascii_case(project)
        && tail.eq_ignore_ascii_case(".iam.gserviceaccount.com")
}

fn is_email(text: &str) -> bool {
    text.split_once('@').is_some_and(|(name, domain)| {
        !name.is_empty() && !domain.is_empty() && !domain.contains('@')
    }) && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

fn ends_with(text: &str, suffix: &str) -> bool {
    text.len()
        .checked_sub(suffix.len())
        .and_then(|start| text.get(start..))
        .is_some_and(|tail| tail.eq_ignore_ascii_case(suffix))
}
