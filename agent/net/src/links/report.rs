//! What is known of each peer's link, for those who look on: plain values, as text or JSON.

use mpyc_party_core::name::PartyName;
use mpyc_party_core::waits::Waits;
use serde::{Deserialize, Serialize};

/// A peer and the way to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerReport {
    /// Who it is.
    pub party: PartyName,
    /// The path its link takes, or took that has grown silent; none where there is no link.
    pub path: Option<PathReport>,
    /// For how many seconds there has been no link that works, where there was one before.
    #[serde(default)]
    pub away_s: Option<f64>,
    /// Bytes of streams sent to it in this run.
    pub sent: u64,
    /// Bytes of streams received from it in this run.
    pub received: u64,
    /// Connections to it that ended because something on the way changed what they carried.
    #[serde(default)]
    pub tampered: u64,
    /// What became of the ways that were tried last.
    pub attempts: Vec<Attempt>,
    /// By what its addresses were found: hubs, the local network, the configuration.
    #[serde(default)]
    pub found_by: Vec<String>,
    /// What it waits for, as it says itself; nothing while it is away.
    #[serde(default)]
    pub waits: Waits,
}

impl PeerReport {
    /// The path of a link that works.
    #[must_use]
    pub fn working_path(&self) -> Option<&PathReport> {
        self.path.as_ref().filter(|_| self.away_s.is_none())
    }
}

/// A path in use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PathReport {
    /// The name of its kind, as in «tcp».
    pub kind: String,
    /// What people call that kind; only where the link itself is.
    #[serde(skip)]
    pub label: String,
    /// The other end as this machine sees it: the peer, or the relaying hub.
    pub address: String,
    /// The hub that relays, «host:port».
    pub via: Option<String>,
    /// Since when, in Unix seconds.
    pub since: u64,
    /// The newest round trip in seconds.
    pub round_trip: Option<f64>,
    /// Counts the links to this peer, from 1.
    pub epoch: u64,
}

/// One way that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The name of the kind of path.
    #[serde(default)]
    pub kind: String,
    /// Where, as in «tcp 192.0.2.1:4747».
    pub candidate: String,
    /// What came of it, in words for people.
    pub outcome: String,
}
