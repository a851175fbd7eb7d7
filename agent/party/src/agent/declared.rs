//! The sessions that are declared here, and which of them are watched at the hubs.

use std::collections::BTreeMap;

use mpyc_party_core::name::{PartyName, SessionName};
use mpyc_party_net::peers::SessionPeers;
use mpyc_party_transport::Identity;
use tokio::sync::watch;

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
    for (name, found) in session::all(config, dirs)? {
        match found.and_then(|definition| definition.index_of(party).map(|me| (definition, me))) {
            Ok((definition, me)) => {
                let roster = definition.settings.parties.clone();
                let pins = definition.pins(config);
                let name = definition.name.clone();
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
