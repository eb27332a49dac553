//! What the concurrent parts stand on, named in one place, so that a model checker can put its own
//! in the place of these and run the same source.

pub(crate) use std::sync::atomic::{AtomicU64, Ordering};
pub(crate) use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) use tokio::runtime::Handle;
pub(crate) use tokio::task::AbortHandle;
pub(crate) use tokio::time::Instant;
