//! Which source a token looks like it is from.

use super::{Signature, Token};

/// A guess by the claims that each source sets. None of it is proof.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Origin {
    AdcUser,
    ComputeEngine,
    Firebase,
    GcloudUser,
    Iap,
    Key,
    NumberOnly,
    NumberWithEmail,
    Other,
    OtherUser,
    Stripped,
}

impl Origin {
    pub(super) fn of(token: &Token) -> Self {
        if matches!(token.signature, Signature::Removed) {
            return Self::Stripped;
        }
        match token.text_of("iss") {
            Some("https://cloud.google.com/iap") => return Self::Iap,
            Some(iss) if iss.starts_with("https://securetoken.google.com/") => {
                return Self::Firebase;
            }
            Some("https://accounts.google.com" | "accounts.google.com") => {}
            _ => return Self::Other,
        }
        let compute = token
            .claims
            .get("google")
            .and_then(|google| google.get("compute_engine"));
        if compute.is_some() {
            return Self::ComputeEngine;
        }
        let Some(azp) = token.text_of("azp") else {
            return Self::Other;
        };
        if azp.starts_with(GCLOUD_CLIENT) {
            Self::GcloudUser
        } else if azp.starts_with(ADC_CLIENT) {
            Self::AdcUser
        } else if azp.ends_with(".apps.googleusercontent.com") {
            Self::OtherUser
        } else if Some(azp) == token.text_of("email") {
            Self::Key
        } else if token.text_of("email").is_some() {
            Self::NumberWithEmail
        } else {
            Self::NumberOnly
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::AdcUser => "adc-user",
            Self::ComputeEngine => "compute-engine",
            Self::Firebase => "firebase",
            Self::GcloudUser => "gcloud-user",
            Self::Iap => "iap",
            Self::Key => "service-account-key",
            Self::NumberOnly => "metadata-or-impersonation-without-email",
            Self::NumberWithEmail => "metadata-or-impersonation-or-push",
            Self::Other => "unknown",
            Self::OtherUser => "user-of-oauth-client",
            Self::Stripped => "cloud-run-container",
        }
    }

    pub(super) fn description(self) -> &'static str {
        match self {
            Self::AdcUser => {
                "a person after `gcloud auth application-default login`; Cloud Run does not take it"
            }
            Self::ComputeEngine => "the metadata server of a virtual machine, full format",
            Self::Firebase => "a user of a Firebase project",
            Self::GcloudUser => {
                "a person after `gcloud auth login`; Cloud Run takes it from developers"
            }
            Self::Iap => "an assertion by Identity-Aware Proxy",
            Self::Key => "a service account key, or generateIdToken with `useEmailAzp`",
            Self::NumberOnly => {
                "a virtual machine's metadata server, or impersonation without `includeEmail`"
            }
            Self::NumberWithEmail => {
                "a metadata server, impersonation, or a push by Pub/Sub, Scheduler, Tasks or Eventarc"
            }
            Self::Other => "no source that is known here",
            Self::OtherUser => "a person who signed in to some OAuth client",
            Self::Stripped => {
                "what a container behind Cloud Run's IAM check is given; nobody can verify it now"
            }
        }
    }
}

/// The OAuth client of `gcloud auth login`.
const GCLOUD_CLIENT: &str = "32555940559.";
/// The OAuth client of `gcloud auth application-default login`.
const ADC_CLIENT: &str = "764086051850-";

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn token(claims: Value) -> Token {
        let Value::Object(claims) = claims else {
            panic!("an object");
        };
        Token {
            header: serde_json::Map::new(),
            claims,
            signature: Signature::Bytes(256),
        }
    }

    #[test]
    fn each_source_is_told_by_its_claims() {
        let google = "https://accounts.google.com";
        let sa = "a@p.iam.gserviceaccount.com";
        for (claims, origin) in [
            (
                json!({"iss": google, "azp": "1", "sub": "1"}),
                Origin::NumberOnly,
            ),
            (
                json!({"iss": google, "azp": "1", "email": sa}),
                Origin::NumberWithEmail,
            ),
            (json!({"iss": google, "azp": sa, "email": sa}), Origin::Key),
            (
                json!({"iss": google, "azp": "1", "google": {"compute_engine": {}}}),
                Origin::ComputeEngine,
            ),
            (
                json!({"iss": google, "azp": "32555940559.apps.googleusercontent.com"}),
                Origin::GcloudUser,
            ),
            (
                json!({"iss": google, "azp": "764086051850-x.apps.googleusercontent.com"}),
                Origin::AdcUser,
            ),
            (
                json!({"iss": google, "azp": "1-x.apps.googleusercontent.com"}),
                Origin::OtherUser,
            ),
            (json!({"iss": "https://cloud.google.com/iap"}), Origin::Iap),
            (
                json!({"iss": "https://securetoken.google.com/shop"}),
                Origin::Firebase,
            ),
            (json!({"iss": "https://example.com"}), Origin::Other),
            (json!({}), Origin::Other),
        ] {
            assert_eq!(Origin::of(&token(claims.clone())), origin, "{claims}");
        }
        let mut stripped = token(json!({"iss": google}));
        stripped.signature = Signature::Removed;
        assert_eq!(Origin::of(&stripped), Origin::Stripped);
    }
}
