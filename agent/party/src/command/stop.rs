//! Requests that this process ends, as the commands hear of it.

use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use tokio::time::sleep;

use crate::runner::stop;
pub(super) use crate::runner::stop::{StopSignals, asked as heard, settle_inherited};

/// From now on requests are kept, as [`stop::watch`] does.
pub(super) fn watch(signals: StopSignals) -> anyhow::Result<()> {
    stop::watch(signals).context("cannot watch for being asked to end")
}

/// Completes when somebody asks this process to end, or its terminal is closed; for a command that
/// is simply ended by that before.
pub(super) async fn asked() {
    if let Err(error) = watch(StopSignals::WithHangup) {
        log::warn!("{error:#}");
    }
    heard().await;
}

/// How long a daemon has to end in order once it was asked to.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// This process has not ended in time.
#[derive(Debug, thiserror::Error)]
#[error("this process did not end in order within {} s: a file may be on a mount that hangs", END_TIMEOUT.as_secs())]
pub(super) struct Overdue;

/// Completes with `work`, which ends when this process is asked to end; waits for that no longer than
/// it may take.
///
/// # Errors
/// Where it takes longer.
pub(super) async fn in_time<T>(work: impl Future<Output = T>) -> Result<T, Overdue> {
    let overdue = async {
        heard().await;
        sleep(END_TIMEOUT).await;
    };
    tokio::select! {
        done = work => Ok(done),
        () = overdue => Err(Overdue),
    }
}

/// Lets this process be asked to end when `parent`, which started it, ends. False where that has
/// happened already.
pub(super) fn die_with(parent: i32) -> bool {
    let set = set_parent_process_death_signal(Some(Signal::TERM));
    set.is_ok() && getppid() == Pid::from_raw(parent)
}
