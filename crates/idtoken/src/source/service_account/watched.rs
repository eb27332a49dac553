//! A key file that may be replaced while the program runs.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::key_file::KeyFile;
use crate::error::SourceError;
use crate::source::endpoint::AllowedHosts;
use crate::source::file::{CredentialsFile, Stamp};

/// The key in use and, when it came from a file, how to tell that the file has changed.
pub(super) struct WatchedKey {
    key: ArcSwap<KeyFile>,
    allowed: AllowedHosts,
    file: Option<Watched>,
}

impl WatchedKey {
    pub(super) fn of(file: &CredentialsFile, allowed: &AllowedHosts) -> Result<Self, SourceError> {
        Ok(Self {
            key: ArcSwap::from_pointee(KeyFile::read(file, allowed)?),
            allowed: allowed.clone(),
            file: file.place().map(|place| Watched {
                path: place.path.clone(),
                stamp: Mutex::new(place.stamp),
            }),
        })
    }

    /// The key in use.
    pub(super) fn current(&self) -> Arc<KeyFile> {
        self.key.load_full()
    }

    /// The key in use, after a look at whether its file has changed. A file that is being replaced
    /// may be unreadable for a moment: the old key then stays.
    pub(super) fn latest(&self) -> Arc<KeyFile> {
        if let Some(watched) = &self.file
            && let Some(stamp) = watched.changed()
        {
            let key = CredentialsFile::read(&watched.path)
                .and_then(|file| KeyFile::read(&file, &self.allowed));
            match key {
                Ok(key) => {
                    self.key.store(Arc::new(key));
                    *watched.stamp.lock().unwrap_or_else(PoisonError::into_inner) = Some(stamp);
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
