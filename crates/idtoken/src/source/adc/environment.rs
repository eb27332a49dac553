//! The one home of the process's environment.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;

use zeroize::Zeroizing;

/// The variables and paths that decide which credentials are found, as plain values.
///
/// ```
/// use idtoken::source::Environment;
///
/// let environment = Environment::default()
///     .set("GOOGLE_APPLICATION_CREDENTIALS", "/etc/credentials.json");
/// ```
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, Zeroizing<String>>,
    product_name_file: Option<PathBuf>,
}

impl Environment {
    /// The process's own, as of now: only the variables that are looked at are taken.
    #[must_use]
    pub fn of_process() -> Self {
        let variables = VARIABLES
            .iter()
            .chain(&METADATA_HOST_VARIABLES)
            .filter_map(|name| {
                let value = Self::variable_of_process(name)?;
                Some(((*name).to_owned(), Zeroizing::new(value)))
            })
            .collect();
        let product_name_file = cfg!(target_os = "linux").then(|| PathBuf::from(PRODUCT_NAME_FILE));
        Self {
            variables,
            product_name_file,
        }
    }

    /// Sets a variable.
    #[must_use]
    pub fn set(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let value = Zeroizing::new(value.into());
        self.variables.insert(name.into(), value);
        self
    }

    /// Takes the machine's product name, which starts with `Google` on Compute Engine, from this
    /// file.
    #[must_use]
    pub fn product_name_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.product_name_file = Some(path.into());
        self
    }

    /// A variable's value, if it is set and not empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(|value| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// A variable of the process, if it is set and not empty.
    #[allow(clippy::disallowed_methods, reason = "the one home of the environment")]
    pub(crate) fn variable_of_process(name: &str) -> Option<String> {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(|value| text(&value))
    }

    pub(crate) fn credentials_path(&self) -> Option<PathBuf> {
        self.get("GOOGLE_APPLICATION_CREDENTIALS")
            .map(PathBuf::from)
    }

    /// Where gcloud leaves application default credentials.
    pub(crate) fn well_known_path(&self) -> Option<PathBuf> {
        let folder = if let Some(folder) = self.get("CLOUDSDK_CONFIG") {
            PathBuf::from(folder)
        } else if cfg!(windows) {
            PathBuf::from(self.get("APPDATA")?).join("gcloud")
        } else {
            PathBuf::from(self.get("HOME")?)
                .join(".config")
                .join("gcloud")
        };
        Some(folder.join("application_default_credentials.json"))
    }

    /// The metadata server's address, where a variable gives it.
    pub(crate) fn metadata_host(&self) -> Option<&str> {
        METADATA_HOST_VARIABLES
            .into_iter()
            .find_map(|name| self.get(name))
    }

    /// Whether the machine's firmware names Google as its maker.
    pub(crate) fn is_google_machine(&self) -> bool {
        self.product_name_file.as_ref().is_some_and(|path| {
            std::fs::read_to_string(path).is_ok_and(|name| name.trim().starts_with("Google"))
        })
    }
}

/// By name only: among the values are AWS's secrets.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("variables", &self.variables.keys())
            .field("product_name_file", &self.product_name_file)
            .finish()
    }
}

/// What is not Unicode is spelt otherwise rather than taken for unset: a credentials file that is
/// named must not be skipped.
fn text(value: &OsStr) -> String {
    value.to_string_lossy().into_owned()
}

const VARIABLES: [&str; 19] = [
    "APPDATA",
    "AWS_ACCESS_KEY_ID",
    "AWS_DEFAULT_REGION",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "CLOUDSDK_CONFIG",
    "CLOUD_RUN_JOB",
    "FUNCTION_TARGET",
    "GAE_SERVICE",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_CLOUD_QUOTA_PROJECT",
    "GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES",
    "HOME",
    "K_CONFIGURATION",
    "K_REVISION",
    "K_SERVICE",
    "METADATA_SERVER_DETECTION",
    "NO_GCE_CHECK",
];

/// What Google's libraries call the metadata server's address, by rank.
const METADATA_HOST_VARIABLES: [&str; 3] =
    ["GCE_METADATA_HOST", "GCE_METADATA_ROOT", "GCE_METADATA_IP"];

const PRODUCT_NAME_FILE: &str = "/sys/class/dmi/id/product_name";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_names_and_no_values() {
        let environment = Environment::default().set("AWS_SECRET_ACCESS_KEY", "SECRET");
        let shown = format!("{environment:?}");
        assert!(shown.contains("AWS_SECRET_ACCESS_KEY"), "{shown}");
        assert!(!shown.contains("\"SECRET\""), "{shown}");
    }

    #[cfg(unix)]
    #[test]
    fn a_value_that_is_not_unicode_is_still_a_value() {
        use std::os::unix::ffi::OsStrExt;

        assert_eq!(text(OsStr::from_bytes(b"/k\xff.json")), "/k\u{fffd}.json");
    }
}
