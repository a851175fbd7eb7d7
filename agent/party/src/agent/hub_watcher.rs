//! What is watched at the hubs: whose runners are there.

use mpyc_party_core::addr::{Address, Vantage};
use mpyc_party_core::name::{PartyName, SessionName};
use mpyc_party_core::sni::Tag;
use mpyc_party_net::Stack;
use mpyc_party_net::client::lighthouse::{Client, Event, Presence};
use mpyc_party_transport::Identity;
use mpyc_party_transport::task::{AbortOnDrop, Supervisor};
use tokio::sync::{mpsc, watch};

use super::declared::Declared;

/// What a hub says.
#[derive(Debug)]
pub(super) struct HubEvent {
    /// About which session; about itself without one.
    pub(super) session: Option<SessionName>,
    /// What.
    pub(super) event: Event,
}

/// Watches hubs for as long as it is held.
#[derive(Debug)]
pub(super) struct HubWatcher {
    /// For whom is watched, under which tag.
    watched: (Tag, Vec<PartyName>),
    _task: AbortOnDrop,
}

impl HubWatcher {
    /// Hears of the parties that are to be `watched`, under their tag. Nobody is told that this party
    /// watches: only a runner is one to be found.
    pub(super) fn new(
        session: Option<SessionName>,
        watched: (Tag, Vec<PartyName>),
        (hubs, identity): (&[String], &watch::Receiver<Identity>),
        events: mpsc::Sender<HubEvent>,
        supervisor: &mut Supervisor,
    ) -> Self {
        let (own, allow, groups) = Default::default();
        let (tag, watch) = watched.clone();
        let presence = Presence { tag, own, allow, groups, watch };
        let (client, mut heard) = Client::start(hubs, identity, presence, None);
        let name = match &session {
            Some(session) => format!("hub watcher of session {session}"),
            None => "hub watcher".to_owned(),
        };
        let task = supervisor.spawn_abortable(name, |mut heartbeat| async move {
            let _client = client;
            loop {
                let event = tokio::select! {
                    event = heard.recv() => event,
                    () = heartbeat.tick() => continue,
                };
                // Without events, the client of the hubs has failed, and said so.
                let Some(event) = event else { return };
                if events.send(HubEvent { session: session.clone(), event }).await.is_err() {
                    return;
                }
            }
        });
        Self { watched, _task: task }
    }

    /// Watches for the runners of a declared session.
    pub(super) fn of(
        name: &SessionName,
        declared: &Declared,
        hubs: (&[String], &watch::Receiver<Identity>),
        events: mpsc::Sender<HubEvent>,
        supervisor: &mut Supervisor,
    ) -> Self {
        Self::new(Some(name.clone()), to_watch(declared), hubs, events, supervisor)
    }

    /// Whether this watches for the runners of `declared`, as it is now.
    pub(super) fn is_of(&self, declared: &Declared) -> bool {
        self.watched == to_watch(declared)
    }
}

/// The parties whose runners are watched for, and under which tag.
fn to_watch(declared: &Declared) -> (Tag, Vec<PartyName>) {
    let peers = &declared.peers;
    (peers.hub_tag, peers.peers().map(|peer| peers.name(peer).clone()).collect())
}

/// What tells a runner from another one of the same party: where it accepts. How the hubs see the
/// sockets of kinds that open NATs comes later, and changes, while it stays the same runner.
pub(super) fn steady_address(stack: &Stack, addresses: &[(Address, Vantage)]) -> String {
    let steady =
        |address: &&Address| stack.kind(&address.kind).is_some_and(|kind| !kind.kind().opens_nats);
    let steady = addresses.iter().map(|(address, _)| address).filter(steady);
    steady.map(Address::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runner_whose_udp_address_is_found_later_is_the_same_runner() {
        let at = |kind, port| {
            let at = std::net::SocketAddr::from(([192, 0, 2, 1], port));
            (Address::new(kind, at), Vantage::Elsewhere)
        };
        let address = |addresses: &[_]| steady_address(&Stack::default(), addresses);
        let known = address(&[at("tcp", 4747)]);
        assert_eq!(known, address(&[at("tcp", 4747), at("quic", 61000)]));
        assert_ne!(known, address(&[at("tcp", 4748)]));
    }
}
