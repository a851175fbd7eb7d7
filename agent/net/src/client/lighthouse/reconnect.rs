//! The task of one hub: gets there, talks, and gets there again.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mpyc_party_core::lighthouse::{Instance, Transport};
use mpyc_party_transport::{Identity, quic};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::Presence;
use super::connect::{HubConnection, connect, over_udp};
use super::merge::{Report, Reports};
use super::session::HubError;

/// The pauses after failures: the first, and the longest while a hub has not been away for long,
/// and later. It doubles in between.
const BACKOFF: [Duration; 3] =
    [Duration::from_millis(250), Duration::from_secs(2), Duration::from_secs(15)];
/// How long a hub is thought to be back any moment.
const RECENT: Duration = Duration::from_secs(60);
/// A connection that lasted so long was one: the next failure is the first.
const STEADY_AFTER: Duration = Duration::from_secs(5);
/// How often QUIC is tried to a hub that is reached over TCP: at first and at most.
const UPGRADE_INTERVAL: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(60)];

/// What is needed to be present at one hub.
pub(super) struct HubTask {
    pub(super) hub: String,
    /// The same at all hubs, as long as the client lives.
    pub(super) instance: Arc<OnceLock<Instance>>,
    pub(super) identity: watch::Receiver<Identity>,
    pub(super) desired: watch::Receiver<Presence>,
    pub(super) quic: Option<quic::Endpoint>,
    pub(super) reports: Reports,
}

impl HubTask {
    pub(super) async fn report(&self, report: Report) {
        // The merger lives as long as this task.
        let _ = self.reports.send((self.hub.clone(), report)).await;
    }

    /// Which instance of its party this is: drawn at random, so that no two are taken for one.
    fn instance(&self) -> Result<Instance, HubError> {
        let mut drawn = [0; 16];
        if self.instance.get().is_none() {
            getrandom::fill(&mut drawn).map_err(|_| HubError::NoRandomness)?;
        }
        Ok(*self.instance.get_or_init(|| Instance(drawn)))
    }

    /// Never ends by itself.
    pub(super) async fn run(self) {
        let mut changes = self.desired.clone();
        let (mut pause, mut lost) = (BACKOFF[0], Instant::now());
        loop {
            changes.mark_unchanged();
            let begun = Instant::now();
            let Err(reason) = self.once().await;
            self.report(Report::Down(reason)).await;
            if begun.elapsed() > STEADY_AFTER {
                (pause, lost) = (BACKOFF[0], Instant::now());
            }
            tokio::select! {
                () = sleep(jittered(pause)) => {
                    let most = if lost.elapsed() < RECENT { BACKOFF[1] } else { BACKOFF[2] };
                    pause = (pause * 2).min(most);
                }
                changed = changes.changed() => match changed {
                    Ok(()) => (pause, lost) = (BACKOFF[0], Instant::now()),
                    Err(_) => return,
                },
            }
        }
    }

    /// One presence at the hub, until its last connection fails.
    async fn once(&self) -> Result<Infallible, HubError> {
        let (identity, instance) = (self.identity.borrow().clone(), self.instance()?);
        let connection = connect(&self.hub, &identity, self.quic.as_ref()).await?;
        let transport = connection.transport();
        let mut session = std::pin::pin!(self.session(connection, instance));
        if transport == Transport::Udp {
            return session.await;
        }
        let better = tokio::select! {
            end = &mut session => return end,
            better = self.upgrade(&identity) => better,
        };
        // As soon as this instance announces itself there, the hub ends the older connection.
        let mut next = std::pin::pin!(self.session(better, instance));
        tokio::select! {
            end = &mut next => end,
            _ = &mut session => next.await,
        }
    }

    /// A connection over QUIC, as soon as one comes up.
    async fn upgrade(&self, identity: &Identity) -> HubConnection {
        let Some(endpoint) = &self.quic else { return std::future::pending().await };
        let mut changes = self.desired.clone();
        let mut pause = UPGRADE_INTERVAL[0];
        loop {
            if let Ok(better) = over_udp(&self.hub, identity, endpoint).await {
                return better;
            }
            tokio::select! {
                () = sleep(jittered(pause)) => pause = (pause * 2).min(UPGRADE_INTERVAL[1]),
                Ok(()) = changes.changed() => pause = UPGRADE_INTERVAL[0],
            }
        }
    }
}

/// Half of `pause` and a random part of the rest (jitter), or all parties would come back at once.
/// Without randomness it is the whole of it; no certificate, and so no connection, is made then.
fn jittered(pause: Duration) -> Duration {
    let random = getrandom::u32().map_or(1000, |random| random % 1000);
    pause / 2 + pause * random / 2000
}
