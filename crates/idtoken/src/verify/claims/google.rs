//! The `google` claim.

use serde::Deserialize;

/// Google's own claim about where a token comes from.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
#[non_exhaustive]
pub struct GoogleClaims {
    /// Access levels that the request met, set by Identity-Aware Proxy.
    pub access_levels: Vec<String>,
    /// The virtual machine, when the token was asked for with `format=full`.
    pub compute_engine: Option<ComputeEngine>,
    /// The organisation's number, when it was asked for.
    pub organization_number: Option<u64>,
}

/// The virtual machine that asked its metadata server for the token.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
#[non_exhaustive]
pub struct ComputeEngine {
    /// When the instance was made, in seconds since 1970.
    pub instance_creation_timestamp: Option<u64>,
    /// The instance's number; a string because it may exceed what other languages' numbers hold.
    pub instance_id: String,
    /// The instance's name.
    pub instance_name: String,
    /// The licences of the instance's images, when they were asked for.
    pub license_id: Vec<String>,
    /// The project's id.
    pub project_id: String,
    /// The project's number.
    pub project_number: Option<u64>,
    /// The zone that the instance runs in.
    pub zone: String,
}
