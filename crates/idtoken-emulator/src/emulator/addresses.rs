//! Where to find what, and how to tell other processes.

use std::io;

use super::Emulator;
use crate::home::Home;

/// # Addresses and environments
impl Emulator {
    /// Where it is, without a slash at the end: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The same without the scheme, which is what `GCE_METADATA_HOST` holds.
    #[must_use]
    pub fn host(&self) -> &str {
        self.url.strip_prefix("http://").unwrap_or(&self.url)
    }

    /// The page for people: what there is, what happened, and buttons for keys, clock and faults.
    #[must_use]
    pub fn page_url(&self) -> String {
        format!("{}{}", self.url, crate::page::HOME)
    }

    /// The same over HTTPS, on the same port, for clients that trust [`ca_pem`](Self::ca_pem).
    #[must_use]
    pub fn https_url(&self) -> String {
        format!("https://{}", self.host())
    }

    /// The certificate of the authority that vouches for the emulator, and for every host that it
    /// plays as a proxy.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The environment in which a child process takes the emulator for its proxy, and so for
    /// Google, even if it has Google's addresses built in. `ca_file` is a file that holds
    /// [`ca_pem`](Self::ca_pem).
    ///
    /// The emulator answers by path, whatever the host; requests to 127.0.0.1 go there directly.
    #[must_use]
    pub fn proxy_env(&self, ca_file: &str) -> Vec<(&'static str, String)> {
        let ca_file = || ca_file.to_owned();
        vec![
            ("HTTPS_PROXY", self.url.clone()),
            ("NODE_EXTRA_CA_CERTS", ca_file()),
            ("NO_PROXY", "127.0.0.1".to_owned()),
            ("REQUESTS_CA_BUNDLE", ca_file()),
            ("SSL_CERT_FILE", ca_file()),
            ("https_proxy", self.url.clone()),
            ("no_proxy", "127.0.0.1".to_owned()),
        ]
    }

    /// A home for child processes, with [`ca_pem`](Self::ca_pem) in it and no credentials.
    ///
    /// # Errors
    ///
    /// If it cannot be made.
    pub fn home(&self) -> io::Result<Home> {
        Home::new(&self.ca_pem)
    }

    /// The token endpoint, which key files name in `token_uri`.
    #[must_use]
    pub fn token_url(&self) -> String {
        format!("{}/token", self.url)
    }

    /// The keys of Google's ID tokens, as JWKS.
    #[must_use]
    pub fn jwks_url(&self) -> String {
        format!("{}/oauth2/v3/certs", self.url)
    }

    /// The keys of Google's ID tokens, as X.509 certificates by key id.
    #[must_use]
    pub fn pem_url(&self) -> String {
        format!("{}/oauth2/v1/certs", self.url)
    }

    /// The keys of Identity-Aware Proxy, as JWKS.
    #[must_use]
    pub fn iap_jwks_url(&self) -> String {
        format!("{}/iap/verify/public_key-jwk", self.url)
    }

    /// The keys of Identity-Aware Proxy, as PEM by key id.
    #[must_use]
    pub fn iap_pem_url(&self) -> String {
        format!("{}/iap/verify/public_key", self.url)
    }

    /// The environment in which a child process takes this emulator for its metadata server, in
    /// the variables that the clients of several languages read.
    #[must_use]
    pub fn env(&self) -> Vec<(&'static str, String)> {
        let host = || self.host().to_owned();
        vec![
            ("GCE_METADATA_DETECT_RETRIES", "1".to_owned()),
            ("GCE_METADATA_HOST", host()),
            ("GCE_METADATA_IP", host()),
            ("GCE_METADATA_ROOT", host()),
            ("METADATA_SERVER_DETECTION", "ping-only".to_owned()),
            ("NO_PROXY", "127.0.0.1".to_owned()),
        ]
    }

    /// A method of the IAM Credentials API, such as `generateIdToken`, on a service account.
    #[must_use]
    pub fn iam_url(&self, email: &str, method: &str) -> String {
        format!(
            "{}/v1/projects/-/serviceAccounts/{email}:{method}",
            self.url
        )
    }
}
