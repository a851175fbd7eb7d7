//! The wish that this process ends: Ctrl-C, `systemctl stop`, a closed terminal.

use std::task::Poll;

use tokio::signal::unix::{SignalKind, signal};

/// Completes when somebody asks this process to end.
pub(super) async fn asked() {
    let mut signals = Vec::new();
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
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
