//! Notices that this machine's addresses change: the fastest sign that a link will not come back.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use crate::addr::all_ips;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// How often this machine's addresses are listed.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Looks at this machine's addresses from time to time.
#[derive(Debug)]
pub struct NetworkMonitor {
    known: BTreeSet<IpAddr>,
    ticks: Interval,
}

impl NetworkMonitor {
    /// Begins with the addresses there are; inside a tokio runtime.
    #[must_use]
    pub fn watch() -> Self {
        let mut ticks = interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { known: all_ips().unwrap_or_default(), ticks }
    }

    /// Waits until the addresses have changed; returns those that have gone. May be cancelled.
    pub async fn next(&mut self) -> Vec<IpAddr> {
        loop {
            self.ticks.tick().await;
            if let Some(now) = all_ips().filter(|now| *now != self.known) {
                let before = std::mem::replace(&mut self.known, now);
                return before.difference(&self.known).copied().collect();
            }
        }
    }
}
