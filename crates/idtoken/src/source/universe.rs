//! The universe that a credential belongs to: Google Cloud itself, or one that stands apart.

use super::endpoint::AllowedHosts;
use super::file::CredentialsFile;
use crate::error::{SourceError, SourceErrorKind};

/// A universe by the domain of its APIs.
///
/// The domain stands in a credentials file, so it is believed no further than a URL would be: a
/// host of another universe is asked only where it was allowed.
#[derive(Clone, Debug)]
pub(crate) struct Universe {
    domain: String,
    allowed: AllowedHosts,
}

impl Universe {
    pub(crate) fn in_file(
        file: &CredentialsFile,
        domain: Option<String>,
        allowed: &AllowedHosts,
    ) -> Result<Self, SourceError> {
        let domain = domain.unwrap_or_else(|| DEFAULT_UNIVERSE.to_owned());
        if !is_domain(&domain) {
            return Err(file.fail("has a \"universe_domain\" that is no domain"));
        }
        Ok(Self {
            domain,
            allowed: allowed.clone(),
        })
    }

    pub(crate) fn is_default(&self) -> bool {
        self.domain == DEFAULT_UNIVERSE
    }

    /// Where its IAM Credentials are.
    pub(crate) fn iam_origin(&self, source_name: &'static str) -> Result<String, SourceError> {
        let host = format!("iamcredentials.{}", self.domain);
        if self.is_default() || self.allowed.contains(&host) {
            return Ok(format!("https://{host}"));
        }
        let domain = &self.domain;
        Err(SourceError::new(
            SourceErrorKind::Misconfigured,
            source_name,
            format!("the credentials file leads to the universe {domain}, which is not Google's"),
        )
        .with_advice(format!(
            "if that universe is meant, allow it by name when the source is built: \
             DefaultSource::builder().allow_host(\".{domain}\")"
        )))
    }
}

impl Default for Universe {
    fn default() -> Self {
        Self {
            domain: DEFAULT_UNIVERSE.to_owned(),
            allowed: AllowedHosts::default(),
        }
    }
}

/// Labels between dots, as RFC 1123 §2.1 has them, so that it can end a host and do nothing else.
fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    text.len() <= 200 && text.contains('.') && text.split('.').all(is_label)
}

pub(crate) const DEFAULT_UNIVERSE: &str = "googleapis.com";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_labels_and_nothing_that_ends_a_host() {
        for good in ["googleapis.com", "apis-x1.goog", "s3nsapis.fr"] {
            assert!(is_domain(good), "{good}");
        }
        for bad in [
            "", "goog", ".goog", "a..b", "a.b.", "-a.b", "a-.b", "a.b/", "a.b:1", "a.b#", "a.b?c",
            "x@a.b", "a b.c", "ä.b",
        ] {
            assert!(!is_domain(bad), "{bad}");
        }
    }
}
