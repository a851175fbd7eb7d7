//! The wish that this process ends: Ctrl-C, `systemctl stop`, a closed terminal.

use std::task::Poll;

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use tokio::signal::unix::{SignalKind, signal};

/// Completes when somebody asks this process to end, or its terminal is closed.
pub(super) async fn asked() {
    any(&[SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()]).await;
}

/// Completes when somebody asks this process to end; for one that takes SIGHUP for something else.
pub(super) async fn terminated() {
    any(&[SignalKind::interrupt(), SignalKind::terminate()]).await;
}

async fn any(kinds: &[SignalKind]) {
    let mut signals = Vec::new();
    for &kind in kinds {
        match signal(kind) {
            Ok(signal) => signals.push(signal),
            Err(error) => log::warn!("a signal cannot be watched: {error}"),
        }
    }
    std::future::poll_fn(|context| {
        let asked = signals.iter_mut().any(|signal| signal.poll_recv(context).is_ready());
        if asked { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Lets this process be asked to end when `parent`, which started it, ends. False where that has
/// happened already.
pub(super) fn die_with(parent: i32) -> bool {
    let set = set_parent_process_death_signal(Some(Signal::TERM));
    set.is_ok() && getppid() == Pid::from_raw(parent)
}
