//! Requests that this process ends, as the commands hear of it.

use anyhow::Context;
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

use crate::runner::stop;
pub(super) use crate::runner::stop::{StopSignals, asked as heard};

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

/// Lets this process be asked to end when `parent`, which started it, ends. False where that has
/// happened already.
pub(super) fn die_with(parent: i32) -> bool {
    let set = set_parent_process_death_signal(Some(Signal::TERM));
    set.is_ok() && getppid() == Pid::from_raw(parent)
}
