//! The task of one hub: gets there, talks, and gets there again.

use std::convert::Infallible;
use std::time::Duration;

use mpyc_party_core::lighthouse::{Instance, Over};
use mpyc_party_transport::{Identity, quic};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::Presence;
use super::known::{Report, Reports};
use super::meet::{Met, meet, over_udp};

/// The pauses after failures: the first, and the longest while a hub has not been away for long,
/// and later. It doubles in between.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(250), Duration::from_secs(2), Duration::from_secs(15)];
/// How long a hub is thought to be back any moment.
const SHORTLY: Duration = Duration::from_secs(60);
/// A connection that lasted so long was one: the next failure is the first.
const STEADY: Duration = Duration::from_secs(5);
/// How often QUIC is tried to a hub that is reached over TCP: at first and at most.
const UPGRADE: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(60)];

/// What is needed to be present at one hub.
pub(super) struct Visit {
    pub(super) hub: String,
    pub(super) instance: Instance,
    pub(super) identity: watch::Receiver<Identity>,
    pub(super) wishes: watch::Receiver<Presence>,
    pub(super) quic: Option<quic::Endpoint>,
    pub(super) reports: Reports,
}

impl Visit {
    pub(super) async fn report(&self, report: Report) {
        // The merger lives as long as this task.
        let _ = self.reports.send((self.hub.clone(), report)).await;
    }

    /// Never ends by itself.
    pub(super) async fn run(self) {
        let mut changes = self.wishes.clone();
        let (mut pause, mut lost) = (PAUSES[0], Instant::now());
        loop {
            changes.mark_unchanged();
            let begun = Instant::now();
            let Err(reason) = self.once().await;
            self.report(Report::Down(reason)).await;
            if begun.elapsed() > STEADY {
                (pause, lost) = (PAUSES[0], Instant::now());
            }
            tokio::select! {
                () = sleep(random_part(pause)) => {
                    let most = if lost.elapsed() < SHORTLY { PAUSES[1] } else { PAUSES[2] };
                    pause = (pause * 2).min(most);
                }
                changed = changes.changed() => match changed {
                    Ok(()) => (pause, lost) = (PAUSES[0], Instant::now()),
                    Err(_) => return,
                },
            }
        }
    }

    /// One presence at the hub, until its last connection fails.
    async fn once(&self) -> Result<Infallible, String> {
        let identity = self.identity.borrow().clone();
        let met = meet(&self.hub, &identity, self.quic.as_ref()).await?;
        let over = met.over();
        let mut talk = std::pin::pin!(self.talk(met));
        if over == Over::Udp {
            return talk.await;
        }
        let better = tokio::select! {
            end = &mut talk => return end,
            better = self.upgrade(&identity) => better,
        };
        // As soon as this instance announces itself there, the hub ends the older connection.
        let mut next = std::pin::pin!(self.talk(better));
        tokio::select! {
            end = &mut next => end,
            _ = &mut talk => next.await,
        }
    }

    /// A connection over QUIC, as soon as one comes up.
    async fn upgrade(&self, identity: &Identity) -> Met {
        let Some(endpoint) = &self.quic else { return std::future::pending().await };
        let mut changes = self.wishes.clone();
        let mut pause = UPGRADE[0];
        loop {
            if let Ok(met) = over_udp(&self.hub, identity, endpoint).await {
                return met;
            }
            tokio::select! {
                () = sleep(random_part(pause)) => pause = (pause * 2).min(UPGRADE[1]),
                Ok(()) = changes.changed() => pause = UPGRADE[0],
            }
        }
    }
}

/// Half of `pause` and a random part of the rest, or all parties would come back at once.
fn random_part(pause: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or(0) % 1000;
    pause / 2 + pause * random / 2000
}
