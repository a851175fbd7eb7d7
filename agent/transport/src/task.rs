//! Supervision of tasks. A panic in tokio ends one task and is told to nobody who does not ask; here
//! somebody asks.
//!
//! A task that lives as long as its process belongs to a [`Supervisor`]: when it ends, the process is
//! told which one it was, and a watchdog is fed only while all of them show that they live. A task that
//! serves one connection belongs to [`Connections`]: a panic ends that connection alone, and is counted.

mod connections;
mod fault;
mod supervisor;

use std::any::Any;
use std::future::pending;
use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::{AbortHandle, JoinError, spawn_blocking};

pub use connections::{Connections, ended};
pub use supervisor::{Heartbeat, Supervisor, TaskFailure, Watchdog};

/// How many tasks of this process have panicked so far.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// How many tasks have panicked since this process began.
#[must_use]
pub fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// What a task said when it panicked, which is counted; none where it has only been aborted.
fn panic_message(error: JoinError) -> Option<String> {
    let payload: Box<dyn Any + Send> = error.try_into_panic().ok()?;
    PANICS.fetch_add(1, Ordering::Relaxed);
    let message = match payload.downcast_ref::<&str>() {
        Some(text) => (*text).to_owned(),
        None => payload.downcast_ref::<String>().cloned().unwrap_or_default(),
    };
    Some(message)
}

/// Completes with `main`. `other` runs beside it in the same task; that it ends first makes no
/// difference.
pub async fn alongside<T>(main: impl Future<Output = T>, other: impl Future<Output = ()>) -> T {
    let (mut main, other) = (pin!(main), pin!(other));
    tokio::select! {
        outcome = &mut main => outcome,
        () = other => main.await,
    }
}

/// Does `work`, which waits for a disk or for another process, on a thread for that. When it panics, so
/// does the task that waits for it.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // Not begun, for the runtime is ending, and with it whoever waits.
            Err(_) => pending().await,
        },
    }
}

/// Ends a task when it is dropped.
#[derive(Debug)]
pub struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
