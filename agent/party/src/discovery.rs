//! Where the other parties may be reached: what the configuration says, and what hubs tell.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mpyc_party_core::name::PartyName;
use mpyc_party_core::roster::Roster;
use mpyc_party_core::sni::Tag;
use mpyc_party_hub::lighthouse::{Client, Event, Presence};
use mpyc_party_transport::Identity;
use tokio::sync::{mpsc, watch};

use crate::config::Config;

/// Looks for the other parties of one session.
#[derive(Debug)]
pub struct Finder {
    roster: Roster,
    me: usize,
    tag: Tag,
    hubs: Vec<String>,
    identity: watch::Receiver<Identity>,
    fixed: BTreeMap<usize, String>,
    told: BTreeMap<usize, Vec<SocketAddr>>,
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
        let fixed: BTreeMap<usize, String> =
            others.filter_map(|(index, name)| Some((index, address(name)?))).collect();
        let fresh = fixed.keys().copied().collect();
        let told = BTreeMap::new();
        let (lighthouse, heard, only_asks) = (None, BTreeMap::new(), false);
        Self { roster, me, tag, hubs, identity, fixed, told, lighthouse, fresh, heard, only_asks }
    }

    /// Tells the hubs that this party accepts connections on `port`, and asks for the others.
    /// Without a port it only asks: nobody is told, or they would look here for a run of this party
    /// that waits elsewhere.
    pub fn announce(&mut self, port: Option<u16>) {
        if self.hubs.is_empty() {
            return;
        }
        self.only_asks = port.is_none();
        let me = self.roster.get(self.me);
        let others: Vec<PartyName> =
            self.roster.iter().filter(|name| Some(*name) != me).cloned().collect();
        let presence = Presence {
            tag: self.tag,
            candidates: port.map(own_candidates).unwrap_or_default(),
            allow: if port.is_some() { others.clone() } else { Vec::new() },
            watch: others,
        };
        self.lighthouse = Some(Client::start(&self.hubs, &self.identity, presence));
    }

    /// The hubs that were tried so far, and why one cannot be used.
    #[must_use]
    pub fn hubs(&self) -> &BTreeMap<String, Result<(), String>> {
        &self.heard
    }

    /// The next peer of whom something new is known, and all its addresses. Never ends; may be
    /// cancelled.
    pub async fn next(&mut self) -> (usize, Vec<String>) {
        loop {
            if let Some(peer) = self.fresh.pop() {
                return (peer, self.addresses(peer));
            }
            let Some((_, events)) = &mut self.lighthouse else {
                return std::future::pending().await;
            };
            match events.recv().await {
                Some(event) => self.take(event),
                None => self.lighthouse = None,
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Connected { hub, observed } => {
                log::debug!("hub {hub} sees this party at {observed}");
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
            Event::Present { party, candidates } => self.tell(&party, candidates),
            Event::Gone { party } => self.tell(&party, Vec::new()),
        }
    }

    fn tell(&mut self, party: &PartyName, candidates: Vec<SocketAddr>) {
        if let Some(peer) = self.roster.index_of(party).filter(|&peer| peer != self.me) {
            self.told.insert(peer, candidates);
            self.fresh.push(peer);
        }
    }

    fn addresses(&self, peer: usize) -> Vec<String> {
        let told = self.told.get(&peer).into_iter().flatten().map(SocketAddr::to_string);
        self.fixed.get(&peer).cloned().into_iter().chain(told).collect()
    }
}

/// The addresses of this machine with `port`. Loopback is among them: hubs pass it on only where
/// both parties are on the hub's own machine.
fn own_candidates(port: u16) -> Vec<SocketAddr> {
    let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let interfaces = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        log::warn!("the addresses of this machine cannot be listed: {error}");
        Vec::new()
    });
    let addresses = interfaces.iter().map(if_addrs::Interface::ip).filter(|ip| !ip.is_loopback());
    addresses.chain(loopback).map(|ip| SocketAddr::new(ip, port)).collect()
}
