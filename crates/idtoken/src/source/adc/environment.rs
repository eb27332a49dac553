//! The one home of the process's environment.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// The variables and paths that decide which credentials are found, as plain values.
///
/// ```
/// use idtoken::source::Environment;
///
/// let environment = Environment::default()
///     .set("GOOGLE_APPLICATION_CREDENTIALS", "/etc/credentials.json");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    product_name_file: Option<PathBuf>,
}

impl Environment {
    /// The process's own, as of now: only the variables that are looked at are taken.
    #[must_use]
    pub fn of_process() -> Self {
        let variables = VARIABLES
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), Self::variable_of_process(name)?)))
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
        self.variables.insert(name.into(), value.into());
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
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// A variable of the process, if it is set, not empty, and text.
    #[allow(clippy::disallowed_methods, reason = "the one home of the environment")]
    pub(crate) fn variable_of_process(name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }

    pub(crate) fn credentials_path(&self) -> Option<PathBuf> {
        self.get("GOOGLE_APPLICATION_CREDENTIALS")
            .map(PathBuf::from)
    }

    /// Where gcloud leaves application default credentials.
    pub(crate) fn well_known_path(&self) -> Option<PathBuf> {
        let folder = if let Some(folder) = self.get("CLOUDSDK_CONFIG") {
            PathBuf::from(folder)
        } else if let Some(app_data) = self.get("APPDATA") {
            PathBuf::from(app_data).join("gcloud")
        } else {
            PathBuf::from(self.get("HOME")?)
                .join(".config")
                .join("gcloud")
        };
        Some(folder.join("application_default_credentials.json"))
    }

    /// The metadata server's address, where a variable gives it.
    pub(crate) fn metadata_host(&self) -> Option<&str> {
        ["GCE_METADATA_HOST", "GCE_METADATA_ROOT", "GCE_METADATA_IP"]
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

const VARIABLES: [&str; 21] = [
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
    "GCE_METADATA_HOST",
    "GCE_METADATA_IP",
    "GCE_METADATA_ROOT",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES",
    "HOME",
    "K_CONFIGURATION",
    "K_REVISION",
    "K_SERVICE",
    "METADATA_SERVER_DETECTION",
    "NO_GCE_CHECK",
];

const PRODUCT_NAME_FILE: &str = "/sys/class/dmi/id/product_name";
