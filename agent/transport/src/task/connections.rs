//! Tasks that serve one connection each: one that panics ends its connection alone, and is counted.

use tokio::task::{JoinError, JoinSet};

use super::{AbortOnDrop, fault, panic_message};

/// A task that served `what` has ended like this: a panic is logged and counted.
pub fn ended<T>(what: &str, outcome: Result<T, JoinError>) {
    if let Err(error) = outcome
        && let Some(message) = panic_message(error)
    {
        log::error!("the task of {what} panicked, and that ended: {message}");
    }
}

/// The tasks of some connections. Dropping it ends them.
#[derive(Debug)]
pub struct Connections {
    what: &'static str,
    tasks: JoinSet<()>,
}

impl Connections {
    /// None yet; `what` each serves is told when one panics.
    #[must_use]
    pub fn new(what: &'static str) -> Self {
        Self { what, tasks: JoinSet::new() }
    }

    /// Starts the task of one more.
    pub fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(fault::injected(self.what, task));
    }

    /// The same, and it ends when the handle is dropped.
    pub fn spawn_abortable(
        &mut self,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> AbortOnDrop {
        AbortOnDrop(self.tasks.spawn(fault::injected(self.what, task)))
    }

    /// Looks at those that have ended.
    pub fn reap(&mut self) {
        while let Some(outcome) = self.tasks.try_join_next() {
            ended(self.what, outcome);
        }
    }

    /// Completes when another one has ended; never while there are none. May be cancelled.
    pub async fn next_ended(&mut self) {
        match self.tasks.join_next().await {
            Some(outcome) => ended(self.what, outcome),
            None => std::future::pending().await,
        }
    }

    /// Waits for all of them.
    pub async fn join_all(&mut self) {
        while let Some(outcome) = self.tasks.join_next().await {
            ended(self.what, outcome);
        }
    }

    /// Ends all of them.
    pub fn abort_all(&mut self) {
        self.tasks.abort_all();
    }

    /// Ends all of them, and waits until they have.
    pub async fn shutdown(&mut self) {
        self.tasks.shutdown().await;
    }

    /// How many there are, those included that have ended and were not looked at.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::super::panics;
    use super::*;

    #[tokio::test]
    async fn one_that_panics_ends_alone_and_is_counted() {
        let before = panics();
        let mut connections = Connections::new("a connection");
        connections.spawn(pending());
        connections.spawn(async { panic!("on purpose") });
        connections.next_ended().await;
        // Other tests of this process count, too.
        assert!(connections.len() == 1 && panics() > before);
        connections.abort_all();
        connections.join_all().await;
        assert!(connections.is_empty());
    }
}
