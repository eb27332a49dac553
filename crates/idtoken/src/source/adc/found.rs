//! A credential of any type: read from its file, and used.

use serde::Deserialize;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::Environment;
use crate::audience::Audience;
use crate::error::SourceError;
use crate::source::TokenSource;
use crate::source::access::Identity;
use crate::source::authorized_user::AuthorizedUser;
use crate::source::endpoint::AllowedHosts;
use crate::source::external_account::ExternalAccount;
use crate::source::file::{self, CredentialsFile};
use crate::source::impersonated::{Impersonated, Target};
use crate::source::metadata::MetadataServer;
use crate::source::service_account::ServiceAccountKey;
use crate::source::wire::Wire;
use crate::token::IdToken;

/// What default credentials turned out to be.
#[derive(Clone, Debug)]
pub(super) enum Found {
    External(ExternalAccount),
    Impersonated(Impersonated),
    Metadata(MetadataServer),
    ServiceAccount(ServiceAccountKey),
    User(AuthorizedUser),
}

impl Found {
    /// Makes a source of a credentials file, by its type.
    pub(super) fn read(
        file: &CredentialsFile,
        allowed: &AllowedHosts,
        environment: &Environment,
        wire: Wire,
    ) -> Result<Self, SourceError> {
        Ok(match file.kind() {
            "authorized_user" => Self::User(user(file, allowed, environment, wire)?),
            "external_account" => Self::External(external(file, allowed, environment, wire)?),
            "impersonated_service_account" => {
                Self::Impersonated(impersonated(file, allowed, environment, wire)?)
            }
            "service_account" => {
                Self::ServiceAccount(ServiceAccountKey::from_credentials(file, allowed, wire)?)
            }
            "gdch_service_account" => {
                return Err(file.fail("is for Google Distributed Cloud, which has no ID tokens"));
            }
            "external_account_authorized_user" => {
                return Err(file
                    .fail("is a workforce login, which has no ID tokens of its own")
                    .with_advice("impersonate a service account from another credential"));
            }
            other => {
                return Err(file
                    .fail(&format!("has the unknown type \"{other}\""))
                    .with_advice(
                        "ID tokens come of service_account, authorized_user, external_account and \
                         impersonated_service_account",
                    ));
            }
        })
    }

    pub(super) async fn fetch(&self, audience: &Audience) -> Result<IdToken, SourceError> {
        match self {
            Self::External(source) => source.fetch(audience).await,
            Self::Impersonated(source) => source.fetch(audience).await,
            Self::Metadata(source) => source.fetch(audience).await,
            Self::ServiceAccount(source) => source.fetch(audience).await,
            Self::User(source) => source.fetch(audience).await,
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::External(_) => "external_account",
            Self::Impersonated(_) => "impersonated_service_account",
            Self::Metadata(_) => "metadata",
            Self::ServiceAccount(_) => "service_account",
            Self::User(_) => "authorized_user",
        }
    }

    pub(super) fn describe(&self) -> String {
        match self {
            Self::External(source) => match source.target() {
                Some(target) => format!("external account, impersonating {target}"),
                None => "external account".to_owned(),
            },
            Self::Impersonated(source) => format!("impersonation of {}", source.target()),
            Self::Metadata(source) => format!("metadata server at {}", source.host()),
            Self::ServiceAccount(source) => format!("service account key of {}", source.email()),
            Self::User(source) => format!("user login with client {}", source.client_id()),
        }
    }

    /// What impersonates a service account, if that is what was found.
    #[cfg(feature = "reqwest")]
    pub(super) fn impersonated(&self) -> Option<&Impersonated> {
        match self {
            Self::External(source) => source.impersonated(),
            Self::Impersonated(source) => Some(source),
            Self::Metadata(_) | Self::ServiceAccount(_) | Self::User(_) => None,
        }
    }

    pub(super) fn into_identity(self) -> Identity {
        match self {
            Self::External(source) => source.into_identity(),
            Self::Impersonated(source) => source.into_identity(),
            Self::Metadata(source) => Identity::Metadata(source),
            Self::ServiceAccount(source) => Identity::ServiceAccount(source),
            Self::User(source) => Identity::User(source),
        }
    }
}

fn user(
    file: &CredentialsFile,
    allowed: &AllowedHosts,
    environment: &Environment,
    wire: Wire,
) -> Result<AuthorizedUser, SourceError> {
    let user = AuthorizedUser::from_credentials(file, allowed, wire)?;
    match environment.get("GOOGLE_CLOUD_QUOTA_PROJECT") {
        Some(project) => user.with_quota_project(project),
        None => Ok(user),
    }
}

fn external(
    file: &CredentialsFile,
    allowed: &AllowedHosts,
    environment: &Environment,
    wire: Wire,
) -> Result<ExternalAccount, SourceError> {
    ExternalAccount::builder()
        .allowed_hosts(allowed.clone())
        .environment(environment.clone())
        .read(file, wire)
}

/// A file that says whom to impersonate, with the base credential inside it.
fn impersonated(
    file: &CredentialsFile,
    allowed: &AllowedHosts,
    environment: &Environment,
    wire: Wire,
) -> Result<Impersonated, SourceError> {
    let fields: Fields = file.fields("impersonated_service_account")?;
    let url = file::required(
        file,
        "service_account_impersonation_url",
        fields.service_account_impersonation_url,
    )?;
    let target = Target::in_file(file, &url, allowed)?;
    let inner = file::required(file, "source_credentials", fields.source_credentials)?;
    // Without a copy, so that none is left behind.
    let inner = Zeroizing::new(String::from(Box::<str>::from(inner)));
    let inner =
        CredentialsFile::parse(inner, format!("\"source_credentials\" in {}", file.name()))?;
    if inner.kind() == "impersonated_service_account" {
        return Err(inner.fail("impersonates too; list the accounts in between as delegates"));
    }
    let base = Found::read(&inner, allowed, environment, wire.clone())?.into_identity();
    let delegates = fields.delegates.unwrap_or_default();
    Ok(Impersonated::in_file(
        "impersonation",
        target,
        &delegates,
        base,
        wire,
    ))
}

#[derive(Deserialize)]
struct Fields {
    service_account_impersonation_url: Option<String>,
    delegates: Option<Vec<String>>,
    source_credentials: Option<Box<RawValue>>,
}
