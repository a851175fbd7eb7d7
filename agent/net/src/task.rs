//! Tasks that serve one connection each: one that panics ends its connection alone, and is counted.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::{AbortHandle, JoinError, JoinSet};

/// How many tasks of this process have panicked so far.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// How many tasks that served one connection have panicked since this process began.
#[must_use]
pub fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// A task that served `what` has ended like this.
pub(crate) fn ended(what: &str, outcome: Result<(), JoinError>) {
    if let Err(error) = outcome
        && error.is_panic()
    {
        PANICS.fetch_add(1, Ordering::Relaxed);
        log::error!("the task of {what} panicked, and that ended: {error}");
    }
}

/// The tasks of some connections. Dropping it ends them.
#[derive(Debug)]
pub(crate) struct Connections {
    what: &'static str,
    tasks: JoinSet<()>,
}

impl Connections {
    /// None yet; `what` each serves is told when one panics.
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, tasks: JoinSet::new() }
    }

    pub(crate) fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// The same, and it ends when the handle is dropped.
    pub(crate) fn spawn_abortable(
        &mut self,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> AbortOnDrop {
        AbortOnDrop(self.tasks.spawn(task))
    }

    /// Looks at those that have ended.
    pub(crate) fn reap(&mut self) {
        while let Some(outcome) = self.tasks.try_join_next() {
            ended(self.what, outcome);
        }
    }

    /// Waits for all of them.
    pub(crate) async fn join_all(&mut self) {
        while let Some(outcome) = self.tasks.join_next().await {
            ended(self.what, outcome);
        }
    }

    /// Ends all of them.
    pub(crate) fn abort_all(&mut self) {
        self.tasks.abort_all();
    }

    pub(crate) fn len(&self) -> usize {
        self.tasks.len()
    }
}

/// Ends a task when it is dropped.
#[derive(Debug)]
pub(crate) struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
