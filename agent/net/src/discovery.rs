//! Where the other parties may be reached: what the configuration says, what hubs tell, and what
//! the local network does.

pub mod findable;
mod local;
pub mod nat;
mod nearby;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mpyc_party_core::candidate::{Candidate, Vantage, admit};
use mpyc_party_core::lighthouse::Over;
use mpyc_party_core::name::PartyName;
use mpyc_party_core::relay::CallId;
use mpyc_party_core::roster::{PeerIndex, Roster};
use mpyc_party_core::sni::Tag;
use mpyc_party_transport::{Identity, quic};

use crate::lighthouse::{Client, Event, Presence};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

use local::Local;
use nat::Nat;
use nearby::Nearby;

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

/// How a hub sees this party.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The address, as the hub's side of this network sees it.
    pub address: SocketAddr,
    /// Over UDP it is that of the socket which speaks to peers as well.
    pub udp: bool,
}

/// All that is known about where a peer is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whereabouts {
    /// What the configuration says, «host:port»: a TCP candidate whose name is looked up when dialled.
    pub fixed: Option<String>,
    /// What the local network and hubs tell.
    pub candidates: Vec<Candidate>,
    /// The hubs, «host:port», over whose relay it can be called.
    pub hubs: Vec<String>,
}

impl Whereabouts {
    /// What can be dialled over UDP, «host:port».
    #[must_use]
    pub fn udp(&self) -> Vec<String> {
        let udp = |candidate: &Candidate| match candidate {
            Candidate::Udp(address) => Some(address.to_string()),
            Candidate::Tcp(_) => None,
        };
        self.candidates.iter().filter_map(udp).collect()
    }

    /// What can be dialled over TCP, «host:port».
    #[must_use]
    pub fn tcp(&self) -> Vec<String> {
        let told = self.candidates.iter().filter_map(|candidate| match candidate {
            Candidate::Tcp(address) => Some(address.to_string()),
            Candidate::Udp(_) => None,
        });
        self.fixed.clone().into_iter().chain(told).collect()
    }
}

/// News from a [`Finder`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Where a peer is now; replaces what was known.
    Peer(usize, Whereabouts),
    /// A peer calls over a hub's relay and waits for a few seconds.
    Call {
        /// Who the hub says it is.
        peer: usize,
        /// The hub, «host:port».
        hub: String,
        /// What to join.
        call: CallId,
    },
}

/// Where is looked beside the hubs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// Addresses that are known beforehand, «host:port».
    pub addresses: BTreeMap<PartyName, String>,
    /// Whether the local network is looked at.
    pub local: bool,
}

/// Looks for the other parties of one session.
#[derive(Debug)]
pub struct Finder {
    roster: Roster,
    me: usize,
    tag: Tag,
    hubs: Vec<String>,
    identity: watch::Receiver<Identity>,
    known: BTreeMap<usize, Whereabouts>,
    lighthouse: Option<(Client, mpsc::Receiver<Event>)>,
    /// What the local network says of each peer.
    near: BTreeMap<usize, Vec<Candidate>>,
    looks_nearby: bool,
    local: Option<Local>,
    fresh: Vec<usize>,
    heard: BTreeMap<String, Result<Seen, String>>,
    /// Where this party says that it is reached, and on which TCP and UDP ports.
    own: Vec<Candidate>,
    ports: Option<(u16, Option<u16>)>,
    /// Whoever only asks tells by itself which hubs answer.
    only_asks: bool,
}

impl Finder {
    /// A finder for the peers of the party at roster index `me`. Static peers come from `sources`;
    /// `hubs` are asked once [`Finder::announce`] has told them where this party is.
    #[must_use]
    pub fn new(
        sources: &Sources,
        roster: Roster,
        me: usize,
        tag: Tag,
        hubs: Vec<String>,
        identity: watch::Receiver<Identity>,
    ) -> Self {
        let address = |name| sources.addresses.get(name).cloned();
        let others = roster.iter().enumerate().filter(|(index, _)| *index != me);
        let fixed = |fixed| Whereabouts { fixed: Some(fixed), ..Whereabouts::default() };
        let known: BTreeMap<usize, Whereabouts> =
            others.filter_map(|(index, name)| Some((index, fixed(address(name)?)))).collect();
        let fresh = known.keys().copied().collect();
        Self {
            roster,
            me,
            tag,
            hubs,
            identity,
            known,
            lighthouse: None,
            near: BTreeMap::new(),
            looks_nearby: sources.local,
            local: None,
            fresh,
            heard: BTreeMap::new(),
            own: Vec::new(),
            ports: None,
            only_asks: false,
        }
    }

    /// Tells the hubs and the local network that this party accepts connections on TCP `port` and on
    /// the UDP socket of `quic`, over which the hubs are then asked as well, and asks for the
    /// others. Without a port it only asks: nobody is told, or they would look here for a run of
    /// this party that waits elsewhere.
    pub fn announce(&mut self, port: Option<u16>, quic: Option<quic::Endpoint>) {
        self.only_asks = port.is_none();
        let udp = quic.as_ref().map(quic::Endpoint::port);
        self.ports = port.map(|port| (port, udp));
        self.own = self.ports.map(own_candidates).unwrap_or_default();
        if self.looks_nearby {
            let root = self.identity.borrow().root().fingerprint;
            let nearby = Nearby::new(root, self.tag, self.roster.clone(), self.me);
            self.local = Some(Local::start(nearby, port, port.and(udp)));
        }
        if !self.hubs.is_empty() {
            let presence = self.presence();
            self.lighthouse = Some(Client::start(&self.hubs, &self.identity, presence, quic));
        }
    }

    /// The addresses of this machine have changed: the hubs are told, and asked again.
    pub fn moved(&mut self) {
        self.own = self.ports.map(own_candidates).unwrap_or_default();
        if let Some((client, _)) = &self.lighthouse {
            client.set(self.presence());
        }
    }

    /// A peer was lost: the hubs are asked where it is now.
    pub fn nudge(&self) {
        if let Some((client, _)) = &self.lighthouse {
            client.nudge();
        }
    }

    fn presence(&self) -> Presence {
        let me = self.roster.get(PeerIndex::new(self.me));
        let others: Vec<PartyName> =
            self.roster.iter().filter(|name| Some(*name) != me).cloned().collect();
        Presence {
            tag: self.tag,
            candidates: self.own.clone(),
            allow: if self.ports.is_some() { others.clone() } else { Vec::new() },
            groups: Vec::new(),
            watch: others,
        }
    }

    /// The hubs that were tried so far: how each sees this party, or why it cannot be used.
    #[must_use]
    pub fn hubs(&self) -> &BTreeMap<String, Result<Seen, String>> {
        &self.heard
    }

    /// The same, for those who look on.
    #[must_use]
    pub fn reports(&self) -> Vec<HubReport> {
        let report = |(hub, heard): (&String, &Result<Seen, String>)| HubReport {
            hub: hub.clone(),
            seen: heard.as_ref().ok().copied(),
            problem: heard.as_ref().err().cloned(),
        };
        self.heard.iter().map(report).collect()
    }

    /// Where this party says that it is reached.
    #[must_use]
    pub fn candidates(&self) -> &[Candidate] {
        &self.own
    }

    /// Where peers might get through over UDP to the socket on this `port`, from which hubs are asked:
    /// how the hubs see it, and this machine's own addresses.
    #[must_use]
    pub fn reachable(&self, port: u16) -> Vec<Candidate> {
        let seen = self.heard.values().flatten().filter(|seen| seen.udp);
        let seen = seen.map(|seen| Candidate::Udp(seen.address));
        let own = own_candidates((port, Some(port))).into_iter();
        let own = own.filter(|candidate| matches!(candidate, Candidate::Udp(_)));
        admit(&seen.chain(own).collect::<Vec<_>>(), Vantage::SameHost)
    }

    /// The NAT before this party, as the hubs tell that see its UDP.
    #[must_use]
    pub fn nat(&self) -> Nat {
        let seen = self.heard.values().flatten().filter(|seen| seen.udp);
        let observed: Vec<_> = seen.map(|seen| seen.address).collect();
        Nat::judge(&observed, &own_addresses())
    }

    /// What is new. Never ends; may be cancelled.
    pub async fn next(&mut self) -> Found {
        loop {
            if let Some(peer) = self.fresh.pop() {
                return Found::Peer(peer, self.whereabouts(peer));
            }
            tokio::select! {
                event = event(&mut self.lighthouse) => match event {
                    Event::Call { hub, from, call } => if let Some(peer) = self.peer(&from) {
                        return Found::Call { peer, hub, call };
                    }
                    event => self.take(event),
                },
                (peer, candidates) = news(&mut self.local) => {
                    self.near.insert(peer, candidates);
                    self.fresh.push(peer);
                }
            }
        }
    }

    /// All that is known about where `peer` is; what is near comes first.
    fn whereabouts(&self, peer: usize) -> Whereabouts {
        let mut all = self.known.get(&peer).cloned().unwrap_or_default();
        let mut candidates = self.near.get(&peer).cloned().unwrap_or_default();
        all.candidates.retain(|told| !candidates.contains(told));
        candidates.append(&mut all.candidates);
        Whereabouts { candidates, ..all }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Connected { hub, observed, over } => {
                log::debug!("hub {hub} sees this party at {observed} over {over}");
                let seen = Seen { address: observed, udp: over == Over::Udp };
                self.heard.insert(hub, Ok(seen));
            }
            Event::Disconnected { hub, reason } => {
                // It is tried again and again; the same answer is no news.
                let known = self.heard.get(&hub).is_some_and(|h| h.as_ref().err() == Some(&reason));
                if !known && !self.only_asks {
                    log::warn!("hub {hub}: {reason}");
                }
                self.heard.insert(hub, Err(reason));
            }
            Event::Present { party, candidates, hubs } => self.tell(&party, candidates, hubs),
            Event::Gone { party } => self.tell(&party, Vec::new(), Vec::new()),
            Event::Call { .. } => {}
        }
    }

    fn peer(&self, party: &PartyName) -> Option<usize> {
        self.roster.index_of(party).map(PeerIndex::get).filter(|&peer| peer != self.me)
    }

    fn tell(&mut self, party: &PartyName, candidates: Vec<Candidate>, hubs: Vec<String>) {
        if let Some(peer) = self.peer(party) {
            let known = self.known.entry(peer).or_default();
            (known.candidates, known.hubs) = (candidates, hubs);
            self.fresh.push(peer);
        }
    }
}

/// The next event of the hubs, where there are any. May be cancelled.
async fn event(lighthouse: &mut Option<(Client, mpsc::Receiver<Event>)>) -> Event {
    if let Some((_, events)) = lighthouse
        && let Some(event) = events.recv().await
    {
        return event;
    }
    std::future::pending().await
}

/// The next news of the local network, where it is looked at. May be cancelled.
async fn news(local: &mut Option<Local>) -> local::News {
    match local {
        Some(local) => local.next().await,
        None => std::future::pending().await,
    }
}

/// The addresses of this machine with these ports. Loopback is among them: hubs pass it on only
/// where both parties are on the hub's own machine.
fn own_candidates((tcp, udp): (u16, Option<u16>)) -> Vec<Candidate> {
    let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let both = |ip| {
        let udp = udp.map(|port| Candidate::Udp(SocketAddr::new(ip, port)));
        std::iter::once(Candidate::Tcp(SocketAddr::new(ip, tcp))).chain(udp)
    };
    own_addresses().into_iter().chain(loopback).flat_map(both).collect()
}

/// The addresses of this machine, without loopback.
fn own_addresses() -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        log::warn!("the addresses of this machine cannot be listed: {error}");
        Vec::new()
    });
    interfaces.iter().map(if_addrs::Interface::ip).filter(|ip| !ip.is_loopback()).collect()
}
