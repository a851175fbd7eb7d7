//! Where the other parties may be reached: what the configuration says, and what hubs tell.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mpyc_party_core::candidate::Candidate;
use mpyc_party_core::name::PartyName;
use mpyc_party_core::relay::CallId;
use mpyc_party_core::roster::Roster;
use mpyc_party_core::sni::Tag;
use mpyc_party_hub::lighthouse::{Client, Event, Presence};
use mpyc_party_transport::{Identity, quic};
use tokio::sync::{mpsc, watch};

use crate::config::Config;

/// All that is known about where a peer is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whereabouts {
    /// What the configuration says, «host:port»: a TCP candidate whose name is looked up when dialled.
    pub fixed: Option<String>,
    /// What hubs tell.
    pub candidates: Vec<Candidate>,
    /// The hubs, «host:port», over whose relay it can be called.
    pub hubs: Vec<String>,
}

impl Whereabouts {
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
    fresh: Vec<usize>,
    heard: BTreeMap<String, Result<(), String>>,
    /// Whoever only asks tells by itself which hubs answer.
    only_asks: bool,
}

impl Finder {
    /// A finder for the peers of the party at roster index `me`. Static peers come from `config`;
    /// `hubs` are asked once [`Finder::announce`] has told them where this party is.
    #[must_use]
    pub fn new(
        config: &Config,
        roster: Roster,
        me: usize,
        tag: Tag,
        hubs: Vec<String>,
        identity: watch::Receiver<Identity>,
    ) -> Self {
        let address = |name| config.peers.get(name).and_then(|peer| peer.address.clone());
        let others = roster.iter().enumerate().filter(|(index, _)| *index != me);
        let fixed = |fixed| Whereabouts { fixed: Some(fixed), ..Whereabouts::default() };
        let known: BTreeMap<usize, Whereabouts> =
            others.filter_map(|(index, name)| Some((index, fixed(address(name)?)))).collect();
        let fresh = known.keys().copied().collect();
        let (lighthouse, heard, only_asks) = (None, BTreeMap::new(), false);
        Self { roster, me, tag, hubs, identity, known, lighthouse, fresh, heard, only_asks }
    }

    /// Tells the hubs that this party accepts connections on TCP `port` and on the UDP socket of
    /// `quic`, over which the hubs are then asked as well, and asks for the others. Without a port
    /// it only asks: nobody is told, or they would look here for a run of this party that waits
    /// elsewhere.
    pub fn announce(&mut self, port: Option<u16>, quic: Option<quic::Endpoint>) {
        if self.hubs.is_empty() {
            return;
        }
        self.only_asks = port.is_none();
        let udp = quic.as_ref().map(quic::Endpoint::port);
        let presence = self.presence(port, udp);
        self.lighthouse = Some(Client::start(&self.hubs, &self.identity, presence, quic));
    }

    fn presence(&self, port: Option<u16>, udp: Option<u16>) -> Presence {
        let me = self.roster.get(self.me);
        let others: Vec<PartyName> =
            self.roster.iter().filter(|name| Some(*name) != me).cloned().collect();
        Presence {
            tag: self.tag,
            candidates: port.map(|port| own_candidates(port, udp)).unwrap_or_default(),
            allow: if port.is_some() { others.clone() } else { Vec::new() },
            watch: others,
        }
    }

    /// The hubs that were tried so far, and why one cannot be used.
    #[must_use]
    pub fn hubs(&self) -> &BTreeMap<String, Result<(), String>> {
        &self.heard
    }

    /// What is new. Never ends; may be cancelled.
    pub async fn next(&mut self) -> Found {
        loop {
            if let Some(peer) = self.fresh.pop() {
                return Found::Peer(peer, self.known.get(&peer).cloned().unwrap_or_default());
            }
            let Some((_, events)) = &mut self.lighthouse else {
                return std::future::pending().await;
            };
            match events.recv().await {
                Some(Event::Call { hub, from, call }) => {
                    if let Some(peer) = self.peer(&from) {
                        return Found::Call { peer, hub, call };
                    }
                }
                Some(event) => self.take(event),
                None => self.lighthouse = None,
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Connected { hub, observed, over } => {
                log::debug!("hub {hub} sees this party at {observed} over {over}");
                self.heard.insert(hub, Ok(()));
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
        self.roster.index_of(party).filter(|&peer| peer != self.me)
    }

    fn tell(&mut self, party: &PartyName, candidates: Vec<Candidate>, hubs: Vec<String>) {
        if let Some(peer) = self.peer(party) {
            let known = self.known.entry(peer).or_default();
            (known.candidates, known.hubs) = (candidates, hubs);
            self.fresh.push(peer);
        }
    }
}

/// The addresses of this machine with these ports. Loopback is among them: hubs pass it on only
/// where both parties are on the hub's own machine.
fn own_candidates(tcp: u16, udp: Option<u16>) -> Vec<Candidate> {
    let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let interfaces = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        log::warn!("the addresses of this machine cannot be listed: {error}");
        Vec::new()
    });
    let addresses = interfaces.iter().map(if_addrs::Interface::ip).filter(|ip| !ip.is_loopback());
    let both = |ip| {
        let udp = udp.map(|port| Candidate::Udp(SocketAddr::new(ip, port)));
        std::iter::once(Candidate::Tcp(SocketAddr::new(ip, tcp))).chain(udp)
    };
    addresses.chain(loopback).flat_map(both).collect()
}
