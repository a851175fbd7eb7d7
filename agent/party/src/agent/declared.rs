//! The sessions that are declared here, and who is heard of at the hubs.

use std::collections::BTreeMap;

use mpyc_party_core::addr::{Address, Vantage};
use mpyc_party_core::name::{PartyName, SessionName};
use mpyc_party_core::sni::Tag;
use mpyc_party_net::Stack;
use mpyc_party_net::client::lighthouse::{Client, Event, Presence};
use mpyc_party_net::peers::SessionPeers;
use mpyc_party_transport::Identity;
use mpyc_party_transport::task::{AbortOnDrop, Supervisor};
use tokio::sync::{mpsc, watch};

use crate::config::{Config, Directories, Start};
use crate::session::{self, Definition, SessionError};

/// How many sessions are watched at the hubs: a hub gives a party 16 connections, and runners need
/// some, too.
const MAX_WATCHED: usize = 10;

/// A session, and who meets in it.
#[derive(Clone, Debug)]
pub(super) struct Declared {
    pub(super) definition: Definition,
    pub(super) peers: SessionPeers,
}

/// All sessions of which `party` is a part. One that cannot be used is told and left out.
///
/// # Errors
/// Where they cannot be listed.
pub(super) fn all(
    config: &Config,
    dirs: &Directories,
    party: &PartyName,
    identity: &watch::Receiver<Identity>,
) -> Result<BTreeMap<SessionName, Declared>, SessionError> {
    let mut all = BTreeMap::new();
    for name in session::names(config, dirs)? {
        let found = session::find(config, dirs, &name);
        match found.and_then(|definition| definition.index_of(party).map(|me| (definition, me))) {
            Ok((definition, me)) => {
                let roster = definition.settings.parties.clone();
                let pins = definition.pins(config);
                let peers = SessionPeers::new(identity.clone(), &name, roster, me, pins);
                all.insert(name, Declared { definition, peers });
            }
            Err(error) => {
                log::warn!(MPYC_SESSION = name.as_str(); "session {name} is left out: {error}");
            }
        }
    }
    Ok(all)
}

/// The sessions that are watched: those that may start by themselves come first.
pub(super) fn watched(all: &BTreeMap<SessionName, Declared>) -> Vec<SessionName> {
    let by_itself = |declared: &Declared| declared.definition.settings.start == Start::OnProposal;
    let (first, then): (Vec<_>, Vec<_>) = all.iter().partition(|(_, declared)| by_itself(declared));
    let mut names: Vec<SessionName> =
        first.into_iter().chain(then).map(|(name, _)| name.clone()).collect();
    for left_out in names.iter().skip(MAX_WATCHED) {
        log::warn!(MPYC_SESSION = left_out.as_str();
            "session {left_out} is not watched at the hubs: {MAX_WATCHED} sessions are");
    }
    names.truncate(MAX_WATCHED);
    names
}

/// What tells a runner from another one of the same party: where it accepts. How the hubs see the
/// sockets of kinds that open NATs comes later, and changes, while it stays the same runner.
pub(super) fn steady_address(stack: &Stack, addresses: &[(Address, Vantage)]) -> String {
    let steady =
        |address: &&Address| stack.kind(&address.kind).is_some_and(|kind| !kind.kind().opens_nats);
    let steady = addresses.iter().map(|(address, _)| address).filter(steady);
    steady.map(Address::to_string).collect::<Vec<_>>().join(" ")
}

/// What a hub says: about a session, or, without one, about itself.
pub(super) type Hearsay = (Option<SessionName>, Event);

/// Listens at the hubs for as long as it is held.
#[derive(Debug)]
pub(super) struct Ear {
    /// What is listened for.
    pub(super) tag: Tag,
    _task: AbortOnDrop,
}

impl Ear {
    /// Hears of `others` under `tag`. Nobody is told that this party listens: only a runner is one
    /// to be met.
    pub(super) fn new(
        session: Option<SessionName>,
        (tag, others): (Tag, Vec<PartyName>),
        (hubs, identity): (&[String], &watch::Receiver<Identity>),
        hearsay: mpsc::Sender<Hearsay>,
        supervisor: &mut Supervisor,
    ) -> Self {
        let (own, allow, groups) = Default::default();
        let presence = Presence { tag, own, allow, groups, watch: others };
        let (client, mut events) = Client::start(hubs, identity, presence, None);
        let name = match &session {
            Some(session) => format!("hub watcher of session {session}"),
            None => "hub watcher".to_owned(),
        };
        let task = supervisor.spawn_abortable(name, |mut heartbeat| async move {
            let _client = client;
            loop {
                let event = tokio::select! {
                    event = events.recv() => event,
                    () = heartbeat.tick() => continue,
                };
                // Without events, what listens at the hubs has failed, and said so.
                let Some(event) = event else { return };
                if hearsay.send((session.clone(), event)).await.is_err() {
                    return;
                }
            }
        });
        Self { tag, _task: task }
    }

    /// Listens for the runners of a declared session.
    pub(super) fn of(
        name: &SessionName,
        declared: &Declared,
        hubs: (&[String], &watch::Receiver<Identity>),
        hearsay: mpsc::Sender<Hearsay>,
        supervisor: &mut Supervisor,
    ) -> Self {
        let peers = &declared.peers;
        let me = peers.own_name();
        let others = peers.roster.iter().filter(|party| *party != me).cloned().collect();
        Self::new(Some(name.clone()), (peers.tag, others), hubs, hearsay, supervisor)
    }
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
