//! What a service manager is told: whether the agent or a hub is ready, what it waits for, that it
//! lives.

use std::time::Duration;

use sd_notify::NotifyState;

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
    text.replace(char::is_control, " ")
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

/// How often [`alive`] is to be told; half of what the service manager waits. None where it does
/// not watch.
#[must_use]
pub(crate) fn heartbeat() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|patience| patience / 2).filter(|beat| !beat.is_zero())
}

/// The agent's event loop goes round.
pub(crate) fn alive() {
    tell(&[NotifyState::Watchdog]);
}
