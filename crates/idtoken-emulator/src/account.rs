//! Who tokens are about.

use crate::encode;

/// An account that Google knows: a service account, or a person.
///
/// Plain data. What is not given is derived from the e-mail address, always the same way, so a test
/// may name an account in one place and expect its unique id in another.
///
/// ```
/// use idtoken_emulator::Account;
///
/// let caller = Account::new("caller@shop.iam.gserviceaccount.com");
/// assert_eq!(caller.project(), "shop");
/// assert_eq!(caller.unique_id().len(), 21);
/// assert_eq!(caller, Account::new("caller@shop.iam.gserviceaccount.com"));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Account {
    email: String,
    unique_id: String,
    project: String,
}

impl Account {
    /// An account with this e-mail address, and an id and project derived from it.
    #[must_use]
    pub fn new(email: impl Into<String>) -> Self {
        let email = email.into();
        let unique_id = format!("1{:020}", encode::number_from(&email) % 10_u128.pow(20));
        let project = project_of(&email).unwrap_or(DEFAULT_PROJECT).to_owned();
        Self {
            email,
            unique_id,
            project,
        }
    }

    /// The same account under another unique id: Google's are 21 digits.
    #[must_use]
    pub fn with_unique_id(mut self, unique_id: impl Into<String>) -> Self {
        self.unique_id = unique_id.into();
        self
    }

    /// The same account in another project.
    #[must_use]
    pub fn with_project(mut self, project: impl Into<String>) -> Self {
        self.project = project.into();
        self
    }

    /// The e-mail address: claim `email`.
    #[must_use]
    pub fn email(&self) -> &str {
        &self.email
    }

    /// The identifier that is never reused, 21 digits: claim `sub`.
    #[must_use]
    pub fn unique_id(&self) -> &str {
        &self.unique_id
    }

    /// The project that owns the account.
    #[must_use]
    pub fn project(&self) -> &str {
        &self.project
    }

    /// The project's number, twelve digits, derived from its id.
    #[must_use]
    pub fn project_number(&self) -> u64 {
        let derived = encode::number_from(&self.project) % 900_000_000_000;
        100_000_000_000 + u64::try_from(derived).unwrap_or_default()
    }

    /// The Workspace domain, for a person who has one: claim `hd`.
    #[must_use]
    pub fn hosted_domain(&self) -> Option<&str> {
        let (_, domain) = self.email.rsplit_once('@')?;
        (!domain.ends_with(".gserviceaccount.com") && domain != "gmail.com").then_some(domain)
    }
}

fn project_of(email: &str) -> Option<&str> {
    let (_, domain) = email.rsplit_once('@')?;
    domain.strip_suffix(".iam.gserviceaccount.com")
}

pub(crate) const DEFAULT_PROJECT: &str = "emulated-project";
