//! Discovery: where the other parties may be reached, and by whom that is told.
//!
//! A [`Discovery`] publishes where this party is and finds where the others are: by what the
//! configuration says, in the local network, at the hubs. Each is one file, and one row of the table in
//! [`standard`]. An [address book](crate::address_book) runs all of them for the peers of one session
//! and puts together what they find; whoever dials does not know by whom an address was found, and
//! people are told.

mod configured;
mod hub;
mod mdns;
pub mod nat;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use mpyc_party_core::addr::{Address, Vantage};
use mpyc_party_core::name::PartyName;
use mpyc_party_core::roster::PeerIndex;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

use crate::addr::OwnAddresses;
use crate::client::lighthouse::Event;
use crate::dial::{BoxFuture, LocalEnd, PathKind};
use crate::peers::SessionPeers;

pub use configured::parse_address;

/// Every discovery that comes with mpyc-party, one row each.
#[must_use]
pub fn standard() -> Vec<Arc<dyn Discovery>> {
    vec![Arc::new(configured::Configured), Arc::new(mdns::Mdns), Arc::new(hub::Hubs)]
}

/// A way to find peers and be found by them.
pub trait Discovery: fmt::Debug + Send + Sync {
    /// What people call it: «hub», «local network», «configuration».
    fn name(&self) -> &'static str;

    /// Whether `sources` give it anything to look at.
    fn is_used(&self, sources: &Sources) -> bool {
        let _ = sources;
        true
    }

    /// Publishes where this party is and looks for the peers of `search`, for ever, where it
    /// [is used](Self::is_used). Dropping it ends both.
    fn start(&self, search: Search) -> BoxFuture<'static, ()>;
}

/// Where is looked: what the settings of this process say for all discoveries. A discovery with
/// settings of its own has a field here, which `Config::sources` of the binary fills.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// The hubs, «host:port».
    pub hubs: Vec<String>,
    /// Addresses that are known beforehand, «host:port» or «kind address» ([`parse_address`]).
    pub addresses: BTreeMap<PartyName, String>,
    /// Whether the local network is looked at.
    pub local: bool,
}

/// Who looks for whom, and who is told.
#[derive(Clone, Debug)]
pub struct Search {
    /// Who meets, and as whom this party is there.
    pub peers: SessionPeers,
    /// Where is looked.
    pub sources: Sources,
    /// The kinds of path that this process knows.
    pub kinds: Vec<Arc<dyn PathKind>>,
    /// What this process dials from and is dialled at.
    pub local: LocalEnd,
    /// Where this party is, to be published: nothing for one that only asks. It changes, also without
    /// being another value, when everything is to be said and asked again.
    pub own: watch::Receiver<OwnAddresses>,
    pub(crate) findings: mpsc::Sender<(&'static str, Finding)>,
    pub(crate) hub_events: mpsc::Sender<Event>,
    pub(crate) name: &'static str,
}

/// Where a peer is; replaces what the same discovery found before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The peer's index.
    pub peer: PeerIndex,
    /// Its addresses, and from where each was told.
    pub addresses: Vec<(Address, Vantage)>,
}

impl Search {
    /// Tells what was found.
    pub async fn found(&self, finding: Finding) {
        // Whoever does not listen any more drops the discovery as well.
        let _ = self.findings.send((self.name, finding)).await;
    }

    /// Whether others are told where this party is.
    #[must_use]
    pub fn publishes(&self) -> bool {
        *self.own.borrow() != OwnAddresses::default()
    }
}

/// A hub, as a party finds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HubReport {
    /// The hub, «host:port».
    pub hub: String,
    /// How it sees this party, while it can be used.
    pub seen: Option<Seen>,
    /// Why it cannot be used.
    pub problem: Option<String>,
}

/// Why `hub` cannot be used; most reasons name it.
#[must_use]
pub fn named(hub: &str, why: &str) -> String {
    if why.contains(hub) { why.to_owned() } else { format!("{hub}: {why}") }
}

/// How a hub sees this party.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The address, as the hub's side of this network sees it.
    pub address: SocketAddr,
    /// Over UDP it is that of the socket which speaks to peers as well.
    pub udp: bool,
}
