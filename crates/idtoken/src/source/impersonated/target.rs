//! Which service account is meant, and where IAM Credentials has it.

use http::Uri;

use crate::error::{SourceError, SourceErrorKind};
use crate::source::endpoint::{self, AllowedHosts};
use crate::source::file::CredentialsFile;

/// A service account, and the URL of its resource, to which a method's name is added.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) url: Uri,
}

impl Target {
    /// `name` at the IAM Credentials of `origin`.
    pub(crate) fn at(
        source_name: &'static str,
        origin: &str,
        name: &str,
    ) -> Result<Self, SourceError> {
        let fail =
            |message: &str| SourceError::new(SourceErrorKind::Misconfigured, source_name, message);
        if !is_account_name(name) {
            return Err(fail(
                "the target is no service account's e-mail address or unique id",
            ));
        }
        let origin = origin.trim_end_matches('/');
        let url = format!("{origin}/v1/projects/-/serviceAccounts/{name}");
        let url = endpoint::https_or_local(&url).ok_or_else(|| {
            fail("the endpoint makes no https URL (plain http only on this machine)")
        })?;
        Ok(Self {
            name: name.to_owned(),
            url,
        })
    }

    /// What a credentials file's `service_account_impersonation_url` leads to.
    pub(crate) fn in_file(
        file: &CredentialsFile,
        url: &str,
        allowed: &AllowedHosts,
    ) -> Result<Self, SourceError> {
        let url = endpoint::checked(file, "service_account_impersonation_url", url, allowed)?;
        Self::of_method(&url).ok_or_else(|| {
            file.fail("has a \"service_account_impersonation_url\" that names no service account")
        })
    }

    /// From the URL as it is sent and not as it is written, so that the account which people are
    /// told of is the one that is asked for.
    fn of_method(url: &Uri) -> Option<Self> {
        let account = ["generateAccessToken", "generateIdToken"]
            .into_iter()
            .find_map(|method| url.path().strip_suffix(method)?.strip_suffix(':'))?;
        let (folder, name) = account.rsplit_once('/')?;
        let named = folder.ends_with("/serviceAccounts") && is_account_name(name);
        let (scheme, authority) = (url.scheme_str()?, url.authority()?);
        let resource = format!("{scheme}://{authority}{account}");
        (named && url.query().is_none()).then_some(Self {
            name: name.to_owned(),
            url: resource.parse().ok()?,
        })
    }
}

/// An e-mail address or a unique id, of characters that mean nothing to a URL or a shell: it stands
/// in both, and in commands that people are advised to run.
fn is_account_name(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._@".contains(c);
    !text.is_empty() && !text.starts_with('-') && text.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_is_the_one_that_the_url_sends_to() {
        let read = |url: &str| Target::of_method(&url.parse().unwrap());
        for method in ["generateAccessToken", "generateIdToken"] {
            let url = format!("https://h/v1/projects/-/serviceAccounts/a@b.c:{method}");
            let target = read(&url).unwrap();
            assert_eq!(target.name, "a@b.c");
            assert_eq!(target.url, "https://h/v1/projects/-/serviceAccounts/a@b.c");
        }
        for url in [
            "https://h/serviceAccounts/a@b.c",
            "https://h/v1/projects/-/serviceAccounts/a@b.c:signJwt",
            "https://h/v1/projects/-/serviceAccounts/:generateIdToken",
            "https://h/v1/projects/-/serviceAccounts/a;id:generateIdToken",
            "https://h/v1/projects/-/serviceAccounts/a$(id):generateIdToken",
            "https://h/v1/projects/-/serviceAccounts/-a:generateIdToken",
            "https://h/v1/projects/-/serviceAccounts/a%2Fb:generateIdToken",
            "https://h/v1/projects/-/serviceAccounts/a@b.c:generateIdToken?x=y",
            "https://h/x#/serviceAccounts/a@b.c:generateIdToken",
            "https://h/x?/serviceAccounts/a@b.c:generateIdToken",
            "https://h/v1/a@b.c:generateIdToken",
        ] {
            assert!(read(url).is_none(), "{url}");
        }
    }
}
