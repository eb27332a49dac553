//! People who signed in, and the refresh tokens that stand for it.

use crate::encode::{base64url, hex, sha256};

/// A person's sign-in through an OAuth client.
///
/// By default the one that `gcloud auth application-default login` makes.
///
/// ```
/// use idtoken_emulator::User;
///
/// let ann = User::new("ann@shop.example").scopes("openid");
/// assert!(ann.client_id().starts_with("764086051850-"));
/// assert!(User::new("ann@shop.example").gcloud_login().client_id().starts_with("32555940559."));
/// ```
#[derive(Clone, Debug)]
pub struct User {
    email: String,
    client_id: String,
    scopes: String,
}

impl User {
    /// The person with this e-mail address, signed in with all that Google Cloud asks for.
    #[must_use]
    pub fn new(email: impl Into<String>) -> Self {
        Self {
            email: email.into(),
            client_id: APPLICATION_DEFAULT_CLIENT.to_owned(),
            scopes: format!("openid {EMAIL_SCOPE} {}", crate::access::CLOUD_PLATFORM),
        }
    }

    /// Signed in with `gcloud auth login`, whose client Cloud Run accepts as an audience.
    #[must_use]
    pub fn gcloud_login(self) -> Self {
        self.client(GCLOUD_CLIENT)
    }

    /// Signed in through this OAuth client.
    #[must_use]
    pub fn client(mut self, id: impl Into<String>) -> Self {
        self.client_id = id.into();
        self
    }

    /// Having granted these scopes only, blanks between them.
    #[must_use]
    pub fn scopes(mut self, scopes: impl Into<String>) -> Self {
        self.scopes = scopes.into();
        self
    }

    /// The person's e-mail address.
    #[must_use]
    pub fn email(&self) -> &str {
        &self.email
    }

    /// The OAuth client, which is the audience of every ID token of this sign-in.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    pub(crate) fn client_secret(&self) -> String {
        let mut secret = base64url(sha256(&self.client_id));
        secret.truncate(24);
        format!("GOCSPX-{secret}")
    }

    pub(crate) fn granted(&self) -> &str {
        &self.scopes
    }

    pub(crate) fn granted_openid(&self) -> bool {
        self.has_scope("openid")
    }

    pub(crate) fn granted_email(&self) -> bool {
        self.has_scope("email") || self.has_scope(EMAIL_SCOPE)
    }

    fn has_scope(&self, wanted: &str) -> bool {
        self.scopes.split(' ').any(|scope| scope == wanted)
    }
}

/// Why a sign-in is no longer enough, where an organization wants its people to prove themselves
/// again from time to time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Reauth {
    /// The proof that was sent is not good any more: `invalid_rapt`.
    InvalidRapt,
    /// A proof is wanted and none was sent: `rapt_required`.
    RaptRequired,
}

impl Reauth {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::InvalidRapt => "invalid_rapt",
            Self::RaptRequired => "rapt_required",
        }
    }
}

/// All sign-ins.
#[derive(Debug, Default)]
pub(crate) struct Logins {
    all: Vec<Login>,
}

#[derive(Debug)]
pub(crate) struct Login {
    pub(crate) user: User,
    pub(crate) reauth: Option<Reauth>,
    refresh_token: String,
}

impl Logins {
    /// Makes a sign-in and gives its refresh token.
    pub(crate) fn add(&mut self, user: User) -> String {
        let place = self.all.len();
        let secret = hex(&sha256(format!(
            "{} {} {place}",
            user.email, user.client_id
        )));
        let refresh_token = format!("1//{secret}");
        self.all.push(Login {
            user,
            reauth: None,
            refresh_token: refresh_token.clone(),
        });
        refresh_token
    }

    pub(crate) fn find(&self, refresh_token: &str) -> Option<&Login> {
        self.all
            .iter()
            .find(|login| login.refresh_token == refresh_token)
    }

    pub(crate) fn knows_client(&self, id: &str, secret: &str) -> bool {
        self.all
            .iter()
            .any(|login| login.user.client_id == id && login.user.client_secret() == secret)
    }

    pub(crate) fn set_reauth(&mut self, email: &str, reauth: Option<Reauth>) {
        for login in self
            .all
            .iter_mut()
            .filter(|login| login.user.email == email)
        {
            login.reauth = reauth;
        }
    }

    pub(crate) fn remove(&mut self, email: &str) {
        self.all.retain(|login| login.user.email != email);
    }
}

const APPLICATION_DEFAULT_CLIENT: &str =
    "764086051850-6qr4p6gpi6hn506pt8ejuq83di341hur.apps.googleusercontent.com";
const GCLOUD_CLIENT: &str = "32555940559.apps.googleusercontent.com";
const EMAIL_SCOPE: &str = "https://www.googleapis.com/auth/userinfo.email";
