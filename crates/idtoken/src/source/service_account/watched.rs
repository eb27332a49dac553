//! A key file that may be replaced while the program runs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;

use super::key_file::KeyFile;
use crate::error::SourceError;

/// The key in use and, when it came from a file, how to tell that the file has changed.
pub(super) struct WatchedKey {
    key: ArcSwap<KeyFile>,
    file: Option<Watched>,
}

impl WatchedKey {
    pub(super) fn read(path: &Path) -> Result<Self, SourceError> {
        // The stamp first: a change between the two is then seen as one at the next look.
        let stamp = Stamp::of(path);
        let key = KeyFile::read(path)?;
        Ok(Self {
            key: ArcSwap::from_pointee(key),
            file: Some(Watched {
                path: path.to_owned(),
                stamp: Mutex::new(stamp),
            }),
        })
    }

    pub(super) fn given(json: &str) -> Result<Self, SourceError> {
        Ok(Self::fixed(KeyFile::parse(json, "the key given")?))
    }

    pub(super) fn fixed(key: KeyFile) -> Self {
        Self {
            key: ArcSwap::from_pointee(key),
            file: None,
        }
    }

    /// The key in use.
    pub(super) fn current(&self) -> Arc<KeyFile> {
        self.key.load_full()
    }

    /// The key in use, after a look at whether its file has changed. A file that is being replaced
    /// may be unreadable for a moment: the old key then stays.
    pub(super) fn latest(&self) -> Arc<KeyFile> {
        if let Some(file) = &self.file
            && let Some(stamp) = file.changed()
        {
            match KeyFile::read(&file.path) {
                Ok(key) => {
                    self.key.store(Arc::new(key));
                    *file.stamp.lock().unwrap_or_else(PoisonError::into_inner) = Some(stamp);
                }
                Err(error) => tracing::warn!(%error, "the changed key file is not used"),
            }
        }
        self.current()
    }
}

struct Watched {
    path: PathBuf,
    stamp: Mutex<Option<Stamp>>,
}

impl Watched {
    /// The file's new stamp, if it is another than when it was last read.
    fn changed(&self) -> Option<Stamp> {
        let found = Stamp::of(&self.path)?;
        let known = *self.stamp.lock().unwrap_or_else(PoisonError::into_inner);
        (known != Some(found)).then_some(found)
    }
}

/// What tells one version of a file from the next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Stamp {
    bytes: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let file = std::fs::metadata(path).ok()?;
        Some(Self {
            bytes: file.len(),
            modified: file.modified().ok(),
        })
    }
}
