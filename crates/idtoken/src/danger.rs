//! Whatever a reviewer should look at twice.

use std::error::Error;
use std::fmt;

/// Proof that this process runs as a Cloud Run service, as far as its environment tells.
///
/// Wanted by [`VerifierBuilder::danger_trust_cloud_run_iam`], so that the switch is not left on by
/// mistake where no front end of Google's stands before the process: on a virtual machine, on a
/// developer's desk. It is no more than that: Knative sets the same variables in any cluster, and
/// anyone can set them.
///
/// [`VerifierBuilder::danger_trust_cloud_run_iam`]: crate::VerifierBuilder::danger_trust_cloud_run_iam
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudRunService {
    name: String,
    revision: String,
}

impl CloudRunService {
    /// Reads what Cloud Run sets for every service: `K_SERVICE`, `K_REVISION`, `K_CONFIGURATION`.
    ///
    /// # Errors
    ///
    /// When one of them is absent or empty.
    #[allow(
        clippy::disallowed_methods,
        reason = "what it proves is what the environment says"
    )]
    pub fn from_environment() -> Result<Self, NotOnCloudRun> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// The service's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of the running revision.
    #[must_use]
    pub fn revision(&self) -> &str {
        &self.revision
    }

    fn from_variables(
        read: impl Fn(&'static str) -> Option<String>,
    ) -> Result<Self, NotOnCloudRun> {
        let required = |variable| {
            read(variable)
                .filter(|value| !value.is_empty())
                .ok_or(NotOnCloudRun { variable })
        };
        required("K_CONFIGURATION")?;
        Ok(Self {
            name: required("K_SERVICE")?,
            revision: required("K_REVISION")?,
        })
    }
}

/// This process does not run as a Cloud Run service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotOnCloudRun {
    variable: &'static str,
}

impl fmt::Display for NotOnCloudRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "not a Cloud Run service: `{}` is not set; elsewhere nobody checks a token before you \
             do, so it must keep its signature",
            self.variable
        )
    }
}

impl Error for NotOnCloudRun {}

#[cfg(test)]
impl CloudRunService {
    pub(crate) fn for_tests() -> Self {
        Self {
            name: "f".to_owned(),
            revision: "f-1".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_has_all_three_variables() {
        let service = CloudRunService::from_variables(|name| Some(format!("value of {name}")));
        assert_eq!(service.unwrap().name(), "value of K_SERVICE");
        for variable in ["K_SERVICE", "K_REVISION", "K_CONFIGURATION"] {
            for lack in [None, Some(String::new())] {
                let read = |name| {
                    if name == variable {
                        lack.clone()
                    } else {
                        Some("x".into())
                    }
                };
                assert_eq!(
                    CloudRunService::from_variables(read),
                    Err(NotOnCloudRun { variable })
                );
            }
        }
    }
}
