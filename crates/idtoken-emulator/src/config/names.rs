//! Words that may stand in a `world.toml`, each checked where it stands.

use std::time::Duration;

use serde::Deserialize;

use crate::endpoint::Endpoint;
use crate::fault::Fault;
use crate::iam::Role;
use crate::metadata::Platform;

/// An e-mail address, or at least something around an at sign.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Email(pub(super) String);

impl TryFrom<String> for Email {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parts = text.split_once('@');
        let is_address = parts.is_some_and(|(name, domain)| {
            !name.is_empty() && !domain.is_empty() && !text.contains(char::is_whitespace)
        });
        if is_address {
            Ok(Self(text))
        } else {
            Err(format!("`{text}` is no e-mail address"))
        }
    }
}

/// Whatever tokens can be for.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Audience(pub(super) String);

impl TryFrom<String> for Audience {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match idtoken::Audience::new(&text) {
            Ok(_) => Ok(Self(text)),
            Err(error) => Err(format!("`{text}` is no audience: {error}")),
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct EndpointName(pub(super) Endpoint);

impl TryFrom<String> for EndpointName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let names = || Endpoint::ALL.map(Endpoint::name).join(", ");
        Endpoint::named(&text)
            .map(Self)
            .ok_or_else(|| format!("`{text}` is no endpoint; they are {}", names()))
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) enum RoleName {
    #[serde(rename = "roles/iam.serviceAccountOpenIdTokenCreator")]
    OpenIdTokenCreator,
    #[serde(rename = "roles/iam.serviceAccountTokenCreator")]
    TokenCreator,
    #[serde(rename = "roles/iam.workloadIdentityUser")]
    WorkloadIdentityUser,
}

impl RoleName {
    pub(super) fn role(self) -> Role {
        match self {
            Self::OpenIdTokenCreator => Role::OpenIdTokenCreator,
            Self::TokenCreator => Role::TokenCreator,
            Self::WorkloadIdentityUser => Role::WorkloadIdentityUser,
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum PlatformName {
    AppEngine,
    CloudFunctions,
    CloudRun,
    Gce,
    Gke,
}

impl PlatformName {
    pub(super) fn platform(self) -> Platform {
        match self {
            Self::AppEngine => Platform::AppEngine,
            Self::CloudFunctions => Platform::CloudFunctions,
            Self::CloudRun => Platform::CloudRun,
            Self::Gce => Platform::Gce,
            Self::Gke => Platform::Gke,
        }
    }
}

/// Those faults that a word or a number says all about.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FaultName {
    Body(String),
    DelayMs(u64),
    Empty,
    ExpiredToken,
    Garbage,
    Hang,
    NoFlavor,
    Redirect(String),
    Reset,
    Status(HttpStatus),
    Truncated,
    WrongAudience,
}

impl FaultName {
    pub(crate) fn fault(&self) -> Fault {
        match self {
            Self::Body(text) => Fault::Body(text.clone()),
            Self::DelayMs(milliseconds) => Fault::Delay(Duration::from_millis(*milliseconds)),
            Self::Empty => Fault::Empty,
            Self::ExpiredToken => Fault::ExpiredToken,
            Self::Garbage => Fault::Garbage,
            Self::Hang => Fault::Hang,
            Self::NoFlavor => Fault::NoFlavor,
            Self::Redirect(to) => Fault::Redirect(to.clone()),
            Self::Reset => Fault::Reset,
            Self::Status(HttpStatus(code)) => Fault::Status(*code),
            Self::Truncated => Fault::Truncated,
            Self::WrongAudience => Fault::WrongAudience,
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "u16")]
pub(crate) struct HttpStatus(u16);

impl TryFrom<u16> for HttpStatus {
    type Error = String;

    fn try_from(code: u16) -> Result<Self, String> {
        match code {
            200..=599 => Ok(Self(code)),
            _ => Err(format!("{code} is no status of an answer")),
        }
    }
}
