//! What a service manager is told: whether the agent or a hub is ready, what it waits for, that it
//! lives.

use sd_notify::NotifyState;
use tokio::time::{Interval, interval};

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

/// What a service manager that watches is told, for as long as the event loop goes round in which
/// this is awaited.
pub(crate) struct Heartbeat(Option<Interval>);

impl Heartbeat {
    /// Twice as often as the service manager demands; never where it does not watch. Inside a tokio
    /// runtime.
    pub(crate) fn begin() -> Self {
        let beat = sd_notify::watchdog_enabled().map(|patience| patience / 2);
        Self(beat.filter(|beat| !beat.is_zero()).map(interval))
    }

    /// Tells it when that is due. May be cancelled.
    pub(crate) async fn beat(&mut self) {
        match &mut self.0 {
            Some(interval) => drop(interval.tick().await),
            None => std::future::pending().await,
        }
        tell(&[NotifyState::Watchdog]);
    }
}
