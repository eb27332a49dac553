//! loom's primitives under the names that the library uses. The watch channel stays tokio's own:
//! loom takes each call to it for one step.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
pub(crate) use loom::sync::{Mutex, MutexGuard};
pub(crate) use std::sync::PoisonError;

/// A runtime with a thread for each task.
pub(crate) struct Handle(());

impl Handle {
    pub(crate) fn try_current() -> Result<Self, std::convert::Infallible> {
        Ok(Self(()))
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle {
        let aborted = Arc::new(loom::sync::atomic::AtomicBool::new(false));
        let flag = Arc::clone(&aborted);
        loom::thread::spawn(move || {
            let mut task: Pin<Box<dyn Future<Output = ()>>> = Box::pin(task);
            loom::future::block_on(std::future::poll_fn(move |cx| {
                if flag.load(Ordering::SeqCst) {
                    return Poll::Ready(());
                }
                let polled = task.as_mut().poll(cx);
                if ABANDONED.with(|abandoned| abandoned.replace(false)) {
                    return Poll::Ready(());
                }
                polled
            }));
        });
        JoinHandle(aborted)
    }
}

/// Ends the task that is being polled, as a panic would: its future is dropped where it stands.
pub(crate) fn abandon() {
    ABANDONED.with(|abandoned| abandoned.set(true));
}

loom::thread_local! {
    static ABANDONED: std::cell::Cell<bool> = std::cell::Cell::new(false);
}

pub(crate) struct JoinHandle(Arc<loom::sync::atomic::AtomicBool>);

impl JoinHandle {
    pub(crate) fn abort_handle(&self) -> AbortHandle {
        AbortHandle(Arc::clone(&self.0))
    }
}

pub(crate) struct AbortHandle(Arc<loom::sync::atomic::AtomicBool>);

impl AbortHandle {
    pub(crate) fn abort(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Time stands still.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Instant(Duration);

impl Instant {
    pub(crate) fn now() -> Self {
        Self(Duration::ZERO)
    }
}

impl std::ops::Add<Duration> for Instant {
    type Output = Self;

    fn add(self, by: Duration) -> Self {
        Self(self.0 + by)
    }
}
