//! What a service manager is told: whether the agent or a hub is ready, what it waits for, that it
//! lives.

use mpyc_party_transport::task::Watchdog;
use sd_notify::NotifyState;

use crate::session::words::visible;

/// Tells the service manager; without one, nobody.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::warn!("the service manager cannot be told: {error}");
    }
}

/// What the agent is doing, for `systemctl status`.
pub(super) fn status(text: &str) {
    tell(&[NotifyState::Status(&line(text))]);
}

/// In the protocol a line is an assignment.
fn line(text: &str) -> String {
    visible(&text.replace(char::is_control, " "))
}

/// It does its work.
pub(crate) fn ready(text: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(&line(text))]);
}

/// The configuration is being read again; [`ready`] follows.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// It ends.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// The watchdog of the service manager (`WatchdogSec=`); none where it does not watch.
pub(crate) fn watchdog() -> Option<Watchdog> {
    let timeout = sd_notify::watchdog_enabled().filter(|timeout| !timeout.is_zero())?;
    Some(Watchdog { timeout, feed: || tell(&[NotifyState::Watchdog]) })
}
