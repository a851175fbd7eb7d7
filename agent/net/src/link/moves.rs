//! Notices that this machine's addresses change: the fastest sign that a link will not come back.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

/// How often is looked.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Looks at this machine's addresses from time to time.
#[derive(Debug)]
pub struct Moves {
    known: BTreeSet<IpAddr>,
    ticks: Interval,
}

impl Moves {
    /// Begins with the addresses there are; inside a tokio runtime.
    #[must_use]
    pub fn watch() -> Self {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { known: addresses().unwrap_or_default(), ticks }
    }

    /// Waits until the addresses have changed; returns those that have gone. May be cancelled.
    pub async fn next(&mut self) -> Vec<IpAddr> {
        loop {
            self.ticks.tick().await;
            if let Some(now) = addresses().filter(|now| *now != self.known) {
                let before = std::mem::replace(&mut self.known, now);
                return before.difference(&self.known).copied().collect();
            }
        }
    }
}

/// The addresses now; none where the system does not tell.
fn addresses() -> Option<BTreeSet<IpAddr>> {
    let interfaces = if_addrs::get_if_addrs().ok()?;
    Some(interfaces.iter().map(|interface| interface.ip().to_canonical()).collect())
}
