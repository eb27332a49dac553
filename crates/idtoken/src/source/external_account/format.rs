//! How a subject token stands in what is read: as the whole text, or as a field of JSON.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::NAME;
use crate::error::{SourceError, SourceErrorKind};
use crate::source::file::CredentialsFile;

/// Where the token is.
#[derive(Clone, Debug)]
pub(super) enum Format {
    Json { field: String },
    Text,
}

impl Format {
    pub(super) fn new(file: &CredentialsFile, fields: FormatFields) -> Result<Self, SourceError> {
        match (fields.kind.as_deref(), fields.subject_token_field_name) {
            (None | Some("text"), _) => Ok(Self::Text),
            (Some("json"), Some(field)) => Ok(Self::Json { field }),
            (Some("json"), None) => {
                Err(file.fail("has no \"subject_token_field_name\" for its JSON format"))
            }
            (Some(other), _) => {
                Err(file.fail(&format!("has an unknown subject token format \"{other}\"")))
            }
        }
    }

    pub(super) fn token_in(&self, text: &str) -> Result<Zeroizing<String>, SourceError> {
        let invalid =
            |message: &str| SourceError::new(SourceErrorKind::InvalidAnswer, NAME, message);
        let token = match self {
            Self::Text => Zeroizing::new(text.trim().to_owned()),
            Self::Json { field } => {
                // Borrowed, so that no copy of a secret is left behind.
                let object: BTreeMap<String, &RawValue> = serde_json::from_str(text)
                    .map_err(|_| invalid("the subject token source gave no JSON object"))?;
                object
                    .get(field)
                    .and_then(|value| serde_json::from_str(value.get()).ok())
                    .ok_or_else(|| invalid(&format!("the subject token JSON has no \"{field}\"")))?
            }
        };
        if token.is_empty() {
            return Err(invalid("the subject token is empty"));
        }
        Ok(token)
    }
}

/// What a credentials file says of it.
#[derive(Default, Deserialize)]
pub(super) struct FormatFields {
    #[serde(rename = "type")]
    kind: Option<String>,
    subject_token_field_name: Option<String>,
}
