//! Credentials files: JSON objects with a `type`, read once and within bounds.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::answer::shape;
use crate::error::{SourceError, SourceErrorKind};

/// The text of a credentials file, what it is called, and its type.
pub(crate) struct CredentialsFile {
    name: String,
    place: Option<Place>,
    text: Zeroizing<String>,
    kind: String,
}

impl CredentialsFile {
    pub(crate) fn read(path: &Path) -> Result<Self, SourceError> {
        let name = format!("credentials file {}", path.display());
        // The stamp first: a change between the two is then seen as one at the next look.
        let place = Place {
            path: path.to_owned(),
            stamp: Stamp::of(path),
        };
        let text = read_text(path, |problem| misconfigured(format!("{name} {problem}")))?;
        Ok(Self {
            place: Some(place),
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
                place: None,
                text,
                kind,
            }),
            None => Err(misconfigured(format!("{name} has no field \"type\""))),
        }
    }

    pub(crate) fn kind(&self) -> &str {
        &self.kind
    }

    /// Where it was read from, unless it was given as text.
    pub(crate) fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
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

/// A file on disk, and which version of it was read.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) path: PathBuf,
    pub(crate) stamp: Option<Stamp>,
}

/// What tells one version of a file from the next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Stamp {
    bytes: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let file = std::fs::metadata(path).ok()?;
        Some(Self {
            bytes: file.len(),
            modified: file.modified().ok(),
        })
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

/// The text at `path`, of at most 64 KiB; or what `fail` makes of the problem with it.
pub(crate) fn read_text(
    path: &Path,
    fail: impl Fn(&str) -> SourceError,
) -> Result<Zeroizing<String>, SourceError> {
    let mut text = Zeroizing::new(String::new());
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text))
        .map_err(|error| fail("cannot be read").with_cause(error))?;
    if text.len() as u64 > MAX_BYTES {
        return Err(fail("is longer than 64 KiB"));
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
