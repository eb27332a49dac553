//! Single flight: work that many want at once is done once.
//!
//! The work runs in a task of its own, so a caller that is cancelled takes nothing from the others.
//! However the task ends (value, panic, abort, runtime shut down) the flight ends with it, by a
//! guard; the next caller starts a new one.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::sync::{AbortHandle, Handle, Instant, Mutex, MutexGuard, PoisonError};

/// At most one piece of work under way, whose outcome all who wait share.
///
/// Dropping it aborts the work.
pub(crate) struct Flight<T> {
    state: Arc<Mutex<State<T>>>,
    /// How long the work may take before it counts as lost with its runtime, and is replaced.
    time_limit: Duration,
}

impl<T: Clone + Send + Sync + 'static> Flight<T> {
    pub(crate) fn new(time_limit: Duration) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                current: None,
                started: 0,
            })),
            time_limit,
        }
    }

    /// Joins the work under way, or starts it.
    ///
    /// `recheck` runs under the lock: when it has the answer (a flight landed since the caller
    /// looked), nothing is started.
    pub(crate) fn enter<F>(
        &self,
        recheck: impl FnOnce() -> Option<T>,
        start: impl FnOnce() -> F,
    ) -> Result<Boarding<T>, FlightError>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut state = lock(&self.state);
        if let Some(running) = state.current.as_ref().filter(|running| running.is_alive()) {
            return Ok(Boarding::Wait(Waiter {
                outcome: running.outcome.clone(),
            }));
        }
        if let Some(answer) = recheck() {
            return Ok(Boarding::Landed(answer));
        }
        let runtime = Handle::try_current().map_err(|_| FlightError::NoRuntime)?;
        let (sender, outcome) = watch::channel(None);
        state.started += 1;
        let number = state.started;
        let replaced = state.current.replace(Running {
            number,
            outcome: outcome.clone(),
            task: None,
            lost_after: Instant::now() + self.time_limit,
        });
        drop(state);
        if let Some(task) = replaced.and_then(|lost| lost.task) {
            task.abort();
        }
        let landing = Landing {
            state: Arc::clone(&self.state),
            number,
        };
        let work = start();
        // Not under the lock: a runtime that is shutting down drops the future on the spot, and
        // `landing` with it.
        let task = runtime.spawn(async move {
            let value = work.await;
            // Off the board first, so that whoever is woken by the value can start the next flight.
            drop(landing);
            sender.send_replace(Some(value));
        });
        if let Some(running) = &mut lock(&self.state).current
            && running.number == number
        {
            running.task = Some(task.abort_handle());
        }
        Ok(Boarding::Wait(Waiter { outcome }))
    }

    /// Whether work is under way.
    pub(crate) fn is_under_way(&self) -> bool {
        lock(&self.state)
            .current
            .as_ref()
            .is_some_and(Running::is_alive)
    }
}

impl<T> Drop for Flight<T> {
    fn drop(&mut self) {
        // Taken out first: aborting drops the task's `Landing`, which takes the lock itself.
        let running = lock(&self.state).current.take();
        if let Some(task) = running.and_then(|running| running.task) {
            task.abort();
        }
    }
}

/// Where a caller stands after [`Flight::enter`].
pub(crate) enum Boarding<T> {
    /// The answer was there already.
    Landed(T),
    /// Work is under way.
    Wait(Waiter<T>),
}

/// A place among those who wait for one flight.
pub(crate) struct Waiter<T> {
    outcome: watch::Receiver<Option<T>>,
}

impl<T: Clone> Waiter<T> {
    /// Waits for the outcome. Cancel-safe: dropping this future leaves the flight alone.
    pub(crate) async fn wait(mut self) -> Result<T, FlightError> {
        match self.outcome.wait_for(Option::is_some).await {
            Ok(value) => value.clone().ok_or(FlightError::Lost),
            Err(_) => Err(FlightError::Lost),
        }
    }
}

/// No outcome came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum FlightError {
    /// The work panicked, or its runtime was shut down.
    Lost,
    /// The caller is not inside a tokio runtime, so no work can be started.
    NoRuntime,
}

impl<T> fmt::Debug for Flight<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flight")
            .field("started", &lock(&self.state).started)
            .finish()
    }
}

struct State<T> {
    current: Option<Running<T>>,
    started: u64,
}

struct Running<T> {
    number: u64,
    outcome: watch::Receiver<Option<T>>,
    /// None for the moment between taking off and being spawned.
    task: Option<AbortHandle>,
    lost_after: Instant,
}

impl<T> Running<T> {
    /// A task that was dropped has closed its channel. A runtime that nobody drives any more would
    /// hold its flight for ever; time tells.
    fn is_alive(&self) -> bool {
        self.outcome.has_changed().is_ok() && Instant::now() < self.lost_after
    }
}

/// Takes the flight off the board when its task ends, whichever way.
struct Landing<T> {
    state: Arc<Mutex<State<T>>>,
    number: u64,
}

impl<T> Drop for Landing<T> {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        if state
            .current
            .as_ref()
            .is_some_and(|running| running.number == self.number)
        {
            state.current = None;
        }
    }
}

/// A panic elsewhere must not end single flight for good: the state is whole at every unlock.
fn lock<T>(state: &Mutex<State<T>>) -> MutexGuard<'_, State<T>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::oneshot;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    async fn outcome(boarding: Result<Boarding<u32>, FlightError>) -> Result<u32, FlightError> {
        match boarding? {
            Boarding::Landed(value) => Ok(value),
            Boarding::Wait(waiter) => waiter.wait().await,
        }
    }

    #[tokio::test]
    async fn a_thousand_callers_share_one_flight() {
        let flight = Arc::new(Flight::new(LIMIT));
        let runs = Arc::new(AtomicU32::new(0));
        let callers: Vec<_> = (0..1000)
            .map(|_| {
                let (flight, runs) = (Arc::clone(&flight), Arc::clone(&runs));
                tokio::spawn(async move {
                    let boarding = flight.enter(
                        || None,
                        || async move {
                            tokio::time::sleep(Duration::from_millis(5)).await;
                            runs.fetch_add(1, Ordering::SeqCst)
                        },
                    );
                    outcome(boarding).await
                })
            })
            .collect();
        for caller in callers {
            assert_eq!(caller.await.unwrap(), Ok(0));
        }
        assert_eq!(runs.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn an_answer_found_under_the_lock_starts_nothing() {
        let flight = Flight::new(LIMIT);
        let boarding = flight.enter(|| Some(7), || async { unreachable!() });
        assert_eq!(outcome(boarding).await, Ok(7));
        assert!(!flight.is_under_way());
    }

    #[tokio::test]
    async fn a_panic_ends_the_flight_and_the_next_one_works() {
        let flight = Flight::new(LIMIT);
        let boarding = flight.enter(|| None, || async { panic!("as this test wants") });
        assert_eq!(outcome(boarding).await, Err(FlightError::Lost));
        let boarding = flight.enter(|| None, || async { 2 });
        assert_eq!(outcome(boarding).await, Ok(2));
    }

    #[tokio::test]
    async fn a_cancelled_caller_leaves_the_flight_to_the_others() {
        let flight = Flight::new(LIMIT);
        let (go, gate) = oneshot::channel::<()>();
        let first = flight.enter(|| None, || async { gate.await.map_or(0, |()| 3) });
        let second = flight.enter(|| None, || async { unreachable!() });
        drop(first);
        go.send(()).unwrap();
        assert_eq!(outcome(second).await, Ok(3));
    }

    #[tokio::test]
    async fn dropping_the_flight_aborts_its_task() {
        let flight = Flight::<u32>::new(LIMIT);
        let (sender, dropped) = oneshot::channel::<()>();
        let boarding = flight.enter(
            || None,
            || async move {
                let _held = sender;
                std::future::pending().await
            },
        );
        tokio::task::yield_now().await;
        drop(flight);
        assert!(
            dropped.await.is_err(),
            "the task must let go of what it held"
        );
        assert_eq!(outcome(boarding).await, Err(FlightError::Lost));
    }

    #[test]
    fn a_runtime_that_is_gone_does_not_hold_the_flight() {
        let flight = Flight::<u32>::new(LIMIT);
        let first = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let stranded = first.block_on(async { flight.enter(|| None, std::future::pending::<u32>) });
        drop(first);
        let second = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        second.block_on(async {
            assert_eq!(outcome(stranded).await, Err(FlightError::Lost));
            assert_eq!(outcome(flight.enter(|| None, || async { 4 })).await, Ok(4));
        });
    }

    #[test]
    fn a_runtime_that_nobody_drives_holds_the_flight_no_longer_than_its_limit() {
        let flight = Flight::<u32>::new(Duration::ZERO);
        let idle = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let _stranded = idle.block_on(async { flight.enter(|| None, std::future::pending::<u32>) });
        let other = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        other.block_on(async {
            assert_eq!(outcome(flight.enter(|| None, || async { 5 })).await, Ok(5));
        });
    }

    #[test]
    fn a_runtime_that_is_shutting_down_drops_the_flight_and_does_not_deadlock() {
        struct CallsAtTheEnd(Arc<Flight<u32>>);

        impl Drop for CallsAtTheEnd {
            fn drop(&mut self) {
                let boarding = self.0.enter(|| None, || async { 1 });
                assert!(matches!(boarding, Ok(Boarding::Wait(_))));
            }
        }

        let flight = Arc::new(Flight::new(LIMIT));
        let at_the_end = CallsAtTheEnd(Arc::clone(&flight));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.spawn(async move {
            let _held = at_the_end;
            std::future::pending::<()>().await;
        });
        runtime.block_on(tokio::task::yield_now());
        drop(runtime);
        assert!(!flight.is_under_way());
    }

    #[test]
    fn outside_a_runtime_is_an_error_and_not_a_panic() {
        let flight = Flight::<u32>::new(LIMIT);
        assert!(matches!(
            flight.enter(|| None, || async { 1 }),
            Err(FlightError::NoRuntime)
        ));
    }
}
