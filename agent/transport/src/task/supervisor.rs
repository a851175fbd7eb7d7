//! Supervision of long-lived tasks, and the watchdog that is fed while they live.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::{AbortOnDrop, fault, panic_message};

/// A task has ended that is to live as long as its process.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TaskFailure {
    /// By a panic.
    #[error("the task «{task}» panicked: {message}")]
    Panicked {
        /// Its name.
        task: String,
        /// What it said.
        message: String,
    },
    /// By returning.
    #[error("the task «{task}» has ended, which it should never do")]
    Ended {
        /// Its name.
        task: String,
    },
}

/// A watchdog outside of this process, such as that of systemd (`WatchdogSec=`, `sd_notify(3)`).
#[derive(Clone, Copy, Debug)]
pub struct Watchdog {
    /// How long it may go unfed before it ends the process.
    pub timeout: Duration,
    /// Feeds it.
    pub feed: fn(),
}

/// By this a long-lived task shows that it lives: its loop waits for [`Heartbeat::tick`] beside
/// everything else that it waits for. The default is one that nobody looks at.
#[derive(Debug, Default)]
pub struct Heartbeat {
    pulse: Option<(Interval, watch::Sender<Instant>)>,
}

impl Heartbeat {
    /// Completes whenever it is time to show life, and shows it; never where nobody looks. May be
    /// cancelled.
    pub async fn tick(&mut self) {
        let Some((interval, last)) = &mut self.pulse else { return std::future::pending().await };
        interval.tick().await;
        last.send_replace(Instant::now());
    }

    /// Completes with `work`, and shows life until then: for what may rightly take long.
    pub async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                outcome = &mut work => return outcome,
                () = self.tick() => {}
            }
        }
    }
}

/// The long-lived tasks of a process. Dropping it ends them.
///
/// None of them is to end before the process does: whoever has this waits for
/// [`failure`](Self::failure) beside everything else, and ends when it completes. There the watchdog is
/// fed as well, so that it starves when any task, or the one that waits, does not go round any more.
#[derive(Debug, Default)]
pub struct Supervisor {
    tasks: JoinSet<()>,
    known: HashMap<Id, Known>,
    watchdog: Option<Fed>,
}

/// One task.
#[derive(Debug)]
struct Known {
    name: String,
    /// When it showed that it lives.
    last: Option<watch::Receiver<Instant>>,
}

/// A watchdog, and when to feed it.
#[derive(Debug)]
struct Fed {
    watchdog: Watchdog,
    interval: Interval,
    /// For want of which task it is not fed.
    lacking: Option<String>,
}

impl Watchdog {
    /// How often tasks show life, and the watchdog is fed: four times as often as it demands.
    fn interval(&self) -> Interval {
        let mut interval = interval((self.timeout / 4).max(Duration::from_millis(1)));
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        interval
    }

    /// How old a sign of life may be.
    fn max_age(&self) -> Duration {
        self.timeout / 2
    }
}

impl Supervisor {
    /// No tasks yet; `watchdog` is fed while they live. Inside a tokio runtime.
    #[must_use]
    pub fn new(watchdog: Option<Watchdog>) -> Self {
        let fed =
            |watchdog: Watchdog| Fed { watchdog, interval: watchdog.interval(), lacking: None };
        Self { watchdog: watchdog.map(fed), ..Self::default() }
    }

    /// Starts the task `name`, which shows that it lives by the heartbeat that it is given.
    pub fn spawn<F>(&mut self, name: impl Into<String>, task: impl FnOnce(Heartbeat) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.start(name.into(), task);
    }

    /// The same for `work` that shows no life of its own: it lives for as long as it is polled.
    pub fn spawn_polled(
        &mut self,
        name: impl Into<String>,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        self.spawn(name, |mut heartbeat| async move { heartbeat.during(work).await });
    }

    /// The same as [`spawn`](Self::spawn), and it ends, as it may, when the handle is dropped.
    pub fn spawn_abortable<F>(
        &mut self,
        name: impl Into<String>,
        task: impl FnOnce(Heartbeat) -> F,
    ) -> AbortOnDrop
    where
        F: Future<Output = ()> + Send + 'static,
    {
        AbortOnDrop(self.start(name.into(), task))
    }

    fn start<F>(&mut self, name: String, task: impl FnOnce(Heartbeat) -> F) -> AbortHandle
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let pulse = self.watchdog.as_ref().map(|fed| {
            let last = watch::Sender::new(Instant::now());
            (fed.watchdog.interval(), last)
        });
        let last = pulse.as_ref().map(|(_, last)| last.subscribe());
        let handle = self.tasks.spawn(fault::injected(name.clone(), task(Heartbeat { pulse })));
        self.known.insert(handle.id(), Known { name, last });
        handle
    }

    /// Feeds the watchdog, and completes when a task has ended by itself. May be cancelled.
    pub async fn failure(&mut self) -> TaskFailure {
        loop {
            tokio::select! {
                Some(ended) = self.tasks.join_next_with_id() => {
                    if let Some(failure) = self.take_in(ended) {
                        return failure;
                    }
                }
                () = due(&mut self.watchdog) => self.feed(),
            }
        }
    }

    /// A task has ended; whether that is a failure.
    fn take_in(&mut self, ended: Result<(Id, ()), JoinError>) -> Option<TaskFailure> {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, ())| *id);
        let Known { name: task, .. } = self.known.remove(&id)?;
        match ended {
            Ok(_) => Some(TaskFailure::Ended { task }),
            Err(error) => {
                panic_message(error).map(|message| TaskFailure::Panicked { task, message })
            }
        }
    }

    /// Feeds the watchdog if all tasks live.
    fn feed(&mut self) {
        let Some(fed) = &mut self.watchdog else { return };
        let max_age = fed.watchdog.max_age();
        let is_late = |known: &&Known| {
            known.last.as_ref().is_some_and(|last| last.borrow().elapsed() > max_age)
        };
        let late = self.known.values().find(is_late).map(|known| known.name.clone());
        match (&late, &fed.lacking) {
            (Some(task), None) => {
                log::error!(
                    "the watchdog is not fed: the task «{task}» has not shown that it lives for {max_age:?}"
                );
            }
            (None, Some(task)) => log::warn!("the task «{task}» goes on: the watchdog is fed"),
            _ => {}
        }
        if late.is_none() {
            (fed.watchdog.feed)();
        }
        fed.lacking = late;
    }
}

/// When the watchdog is to be fed; never where there is none.
async fn due(fed: &mut Option<Fed>) {
    match fed {
        Some(fed) => drop(fed.interval.tick().await),
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
