//! The sessions that are declared here, and who is heard of at the hubs.

use std::collections::BTreeMap;

use mpyc_party_core::candidate::Candidate;
use mpyc_party_core::name::{PartyName, SessionName};
use mpyc_party_core::sni::Tag;
use mpyc_party_net::lighthouse::{Client, Event, Presence};
use mpyc_party_net::link::Circle;
use mpyc_party_transport::Identity;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::config::{Config, Place, Start};
use crate::session::{self, Definition, SessionError};

/// How many sessions are watched at the hubs: a hub gives a party 16 connections, and runners need
/// some, too.
const MOST_WATCHED: usize = 10;

/// A session, and who meets in it.
#[derive(Clone, Debug)]
pub(super) struct Declared {
    pub(super) definition: Definition,
    pub(super) circle: Circle,
}

/// All sessions of which `party` is a part. One that cannot be used is told and left out.
///
/// # Errors
/// Where they cannot be listed.
pub(super) fn all(
    config: &Config,
    place: &Place,
    party: &PartyName,
    identity: &watch::Receiver<Identity>,
) -> Result<BTreeMap<SessionName, Declared>, SessionError> {
    let mut all = BTreeMap::new();
    for name in session::names(config, place)? {
        let found = session::find(config, place, &name);
        match found.and_then(|definition| definition.index_of(party).map(|me| (definition, me))) {
            Ok((definition, me)) => {
                let roster = definition.settings.parties.clone();
                let pins = definition.pins(config);
                let circle = Circle::new(identity.clone(), &name, roster, me.get(), pins);
                all.insert(name, Declared { definition, circle });
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
    for left_out in names.iter().skip(MOST_WATCHED) {
        log::warn!(MPYC_SESSION = left_out.as_str();
            "session {left_out} is not watched at the hubs: {MOST_WATCHED} sessions are");
    }
    names.truncate(MOST_WATCHED);
    names
}

/// What tells a runner from another one of the same party: where it accepts. How the hubs see its
/// UDP socket comes later, and changes, while it stays the same runner.
pub(super) fn place(candidates: &[Candidate]) -> String {
    let tcp = candidates.iter().filter(|candidate| matches!(candidate, Candidate::Tcp(_)));
    tcp.map(Candidate::to_string).collect::<Vec<_>>().join(" ")
}

/// What a hub says: about a session, or, without one, about itself.
pub(super) type Hearsay = (Option<SessionName>, Event);

/// Listens at the hubs for as long as it is held.
#[derive(Debug)]
pub(super) struct Ear {
    /// What is listened for.
    pub(super) tag: Tag,
    _task: JoinSet<()>,
}

impl Ear {
    /// Hears of `others` under `tag`. Nobody is told that this party listens: only a runner is one
    /// to be met.
    pub(super) fn new(
        session: Option<SessionName>,
        (tag, others): (Tag, Vec<PartyName>),
        hubs: &[String],
        identity: &watch::Receiver<Identity>,
        hearsay: mpsc::Sender<Hearsay>,
    ) -> Self {
        let (candidates, allow, groups) = Default::default();
        let presence = Presence { tag, candidates, allow, groups, watch: others };
        let (client, mut events) = Client::start(hubs, identity, presence, None);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let _client = client;
            while let Some(event) = events.recv().await {
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
        hubs: &[String],
        identity: &watch::Receiver<Identity>,
        hearsay: mpsc::Sender<Hearsay>,
    ) -> Self {
        let circle = &declared.circle;
        let me = circle.own_name();
        let others = circle.roster.iter().filter(|party| *party != me).cloned().collect();
        Self::new(Some(name.clone()), (circle.tag, others), hubs, identity, hearsay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runner_whose_udp_address_is_found_later_is_the_same_runner() {
        let at = |port: u16| std::net::SocketAddr::from(([192, 0, 2, 1], port));
        let known = place(&[Candidate::Tcp(at(4747))]);
        assert_eq!(known, place(&[Candidate::Tcp(at(4747)), Candidate::Udp(at(61000))]));
        assert_ne!(known, place(&[Candidate::Tcp(at(4748))]));
    }
}
