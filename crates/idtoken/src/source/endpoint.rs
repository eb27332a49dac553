//! Which URLs out of a credentials file may be asked.
//!
//! A credentials file is untrusted input: people download them, tools write them, and some fetch a
//! secret from one place to carry it to another. So a URL in one must be https and lead to Google,
//! or to this machine, or to a host that the program itself allowed.

use http::{HeaderValue, Uri};

use super::file::CredentialsFile;
use crate::error::{SourceError, SourceErrorKind};
use crate::loopback::is_loopback;

/// Hosts allowed beside Google's own.
#[derive(Clone, Debug, Default)]
pub(crate) struct AllowedHosts(Vec<String>);

impl AllowedHosts {
    pub(crate) fn allow(&mut self, host: impl Into<String>) {
        self.0.push(host.into().to_ascii_lowercase());
    }

    pub(crate) fn contains(&self, host: &str) -> bool {
        self.0.iter().any(|allowed| {
            allowed.eq_ignore_ascii_case(host)
                || allowed
                    .strip_prefix('.')
                    .is_some_and(|domain| is_below(host, domain))
        })
    }
}

/// A URL to Google, to this machine, or to an allowed host; https, except on this machine.
pub(crate) fn checked(
    file: &CredentialsFile,
    field: &str,
    text: &str,
    allowed: &AllowedHosts,
) -> Result<Uri, SourceError> {
    let uri = https_or_local(text).ok_or_else(|| {
        file.fail(&format!(
            "has a \"{field}\" that is no https URL (plain http only on this machine)"
        ))
    })?;
    let host = uri.host().unwrap_or_default();
    if is_googles(host) || is_loopback(host) || allowed.contains(host) {
        return Ok(uri);
    }
    Err(file
        .fail(&format!(
            "has a \"{field}\" that leads to {host}, which is not Google's"
        ))
        .with_advice(format!(
            "if that host is meant, allow it by name when the source is built: \
             DefaultSource::builder().allow_host(\"{host}\")"
        )))
}

/// An https URL, or an http one on this machine; no user information, and a host.
pub(crate) fn https_or_local(text: &str) -> Option<Uri> {
    let uri: Uri = text.parse().ok()?;
    let host = uri.host().filter(|host| !host.is_empty())?;
    let has_user_info = uri
        .authority()
        .is_some_and(|whole| whole.as_str().contains('@'));
    let secure = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => is_loopback(host),
        _ => false,
    };
    (secure && !has_user_info).then_some(uri)
}

/// A project's id or number as the value of a header.
pub(crate) fn project(source_name: &'static str, text: &str) -> Result<HeaderValue, SourceError> {
    // A colon stands in the ids of projects that belong to a domain.
    let is_id = |c: char| c.is_ascii_alphanumeric() || "-.:".contains(c);
    HeaderValue::try_from(text)
        .ok()
        .filter(|_| !text.is_empty() && text.chars().all(is_id))
        .ok_or_else(|| {
            SourceError::new(
                SourceErrorKind::Misconfigured,
                source_name,
                "the quota project is not the id of one",
            )
        })
}

/// A URL that a workload's platform serves on this machine alone: its instance metadata, over http
/// at one of the link-local addresses.
pub(crate) fn instance_metadata(text: &str) -> Option<Uri> {
    let uri: Uri = text.parse().ok()?;
    let host = uri.host()?;
    let has_user_info = uri
        .authority()
        .is_some_and(|whole| whole.as_str().contains('@'));
    let plain = uri.scheme_str() == Some("http");
    (plain && !has_user_info && METADATA_HOSTS.contains(&host)).then_some(uri)
}

fn is_googles(host: &str) -> bool {
    is_below(host, "googleapis.com") || host.eq_ignore_ascii_case(OLD_TOKEN_HOST)
}

fn is_below(host: &str, domain: &str) -> bool {
    let host = host.to_ascii_lowercase();
    host.strip_suffix(domain)
        .is_some_and(|below| below.len() > 1 && below.ends_with('.'))
}

/// Where key files of 2017 and earlier have their token endpoint.
const OLD_TOKEN_HOST: &str = "accounts.google.com";

/// AWS and Azure both answer at the first, AWS at the second as well.
const METADATA_HOSTS: [&str; 2] = ["169.254.169.254", "[fd00:ec2::254]"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leads_to_google_or_this_machine_or_where_allowed() {
        let mut allowed = AllowedHosts::default();
        allowed.allow("STS.example.goog");
        allowed.allow(".Corp.Example");
        let file = r#"{"type":"test"}"#.to_owned().into();
        let file = CredentialsFile::parse(file, "the file".to_owned()).unwrap();
        let ok = |text| checked(&file, "token_url", text, &allowed).is_ok();
        for text in [
            "https://sts.googleapis.com/v1/token",
            "https://iamcredentials.mtls.googleapis.com/v1/x",
            "https://accounts.google.com/o/oauth2/token",
            "http://127.0.0.1:8080/token",
            "https://localhost/token",
            "https://sts.example.goog/v1/token",
            "https://a.corp.example/",
            "https://STS.Example.goog/v1/token",
            "https://A.CORP.example/",
        ] {
            assert!(ok(text), "{text}");
        }
        for text in [
            "http://sts.googleapis.com/v1/token",
            "https://googleapis.com.evil.example/",
            "https://evilgoogleapis.com/",
            "https://googleapis.com/",
            "https://sts.googleapis.com@evil.example/",
            "https://user@sts.googleapis.com/",
            "https://corp.example/",
            "https://evil.accounts.google.com/",
            "https://accounts.google.com.evil.example/",
            "file:///etc/passwd",
            "sts.googleapis.com",
            "",
        ] {
            assert!(!ok(text), "{text}");
        }
    }

    #[test]
    fn instance_metadata_is_plain_link_local_and_nothing_else() {
        for text in [
            "http://169.254.169.254/metadata/identity/oauth2/token?x=1",
            "http://[fd00:ec2::254]/latest/api/token",
        ] {
            assert!(instance_metadata(text).is_some(), "{text}");
        }
        for text in [
            "https://169.254.169.254/",
            "http://169.254.169.254.evil.example/",
            "http://me@169.254.169.254/",
            "http://169.254.169.253/",
            "http://127.0.0.1/",
        ] {
            assert!(instance_metadata(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_quota_project_is_an_id_or_a_number() {
        for text in ["my-project", "example.com:my-project", "123456"] {
            assert_eq!(project("test", text).unwrap(), text);
        }
        for text in ["", "a b", "a\nb", "a/b"] {
            assert!(project("test", text).is_err(), "{text:?}");
        }
    }
}
