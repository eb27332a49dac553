//! Credentials files: JSON objects with a `type`, read once and within bounds.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::oauth::shape;
use crate::error::{SourceError, SourceErrorKind};

/// The text of a credentials file, what it is called, and its type.
pub(crate) struct CredentialsFile {
    name: String,
    path: Option<PathBuf>,
    text: Zeroizing<String>,
    kind: String,
}

impl CredentialsFile {
    pub(crate) fn read(path: &Path) -> Result<Self, SourceError> {
        let name = format!("credentials file {}", path.display());
        let text = read_text(path).map_err(|(problem, cause)| {
            let error = misconfigured(format!("{name} {problem}"));
            match cause {
                Some(cause) => error.with_cause(cause),
                None => error,
            }
        })?;
        Ok(Self {
            path: Some(path.to_owned()),
            ..Self::parse(text, name)?
        })
    }

    pub(crate) fn parse(text: Zeroizing<String>, name: String) -> Result<Self, SourceError> {
        let typed: Typed = serde_json::from_str(&text).map_err(|error| {
            misconfigured(format!("{name} is not the JSON of a credential"))
                .with_cause(shape(&error))
        })?;
        match typed.kind {
            Some(kind) => Ok(Self {
                name,
                path: None,
                text,
                kind,
            }),
            None => Err(misconfigured(format!("{name} has no field \"type\""))),
        }
    }

    pub(crate) fn kind(&self) -> &str {
        &self.kind
    }

    /// Where it was read from, unless it stood inside another.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The file's fields, if it is of type `expected`.
    pub(crate) fn fields<T: DeserializeOwned>(&self, expected: &str) -> Result<T, SourceError> {
        if self.kind != expected {
            let found = &self.kind;
            return Err(self.fail(&format!("has type \"{found}\", not \"{expected}\"")));
        }
        serde_json::from_str(&self.text).map_err(|error| {
            self.fail(&format!("is not the JSON of type \"{expected}\""))
                .with_cause(shape(&error))
        })
    }

    pub(crate) fn fail(&self, problem: &str) -> SourceError {
        misconfigured(format!("{} {problem}", self.name))
    }
}

/// The value of a field that must be there.
pub(crate) fn required<T>(
    file: &CredentialsFile,
    field: &str,
    value: Option<T>,
) -> Result<T, SourceError> {
    value.ok_or_else(|| file.fail(&format!("has no field \"{field}\"")))
}

/// The text at `path`, of at most 64 KiB; or what is wrong with it, and why.
pub(crate) fn read_text(
    path: &Path,
) -> Result<Zeroizing<String>, (&'static str, Option<std::io::Error>)> {
    let mut text = Zeroizing::new(String::new());
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text))
        .map_err(|error| ("cannot be read", Some(error)))?;
    if text.len() as u64 > MAX_BYTES {
        return Err(("is longer than 64 KiB", None));
    }
    Ok(text)
}

fn misconfigured(message: impl AsRef<str>) -> SourceError {
    SourceError::new(SourceErrorKind::Misconfigured, "credentials", message)
}

#[derive(Deserialize)]
struct Typed {
    #[serde(rename = "type")]
    kind: Option<String>,
}

/// Real credentials files have about 2,300 bytes.
const MAX_BYTES: u64 = 64 * 1024;
