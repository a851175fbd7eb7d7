//! Where the other parties may be reached: what the configuration says, what hubs tell, and what
//! the local network does.

mod local;
pub mod nat;
mod nearby;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mpyc_party_core::name::PartyName;
use mpyc_party_core::roster::Roster;
use mpyc_party_core::sni::Tag;
use mpyc_party_hub::lighthouse::{Client, Event, Presence};
use mpyc_party_transport::Identity;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

use crate::config::Config;
use local::Local;
use nearby::Nearby;

/// What a connection to a hub runs over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Over {
    /// TLS over TCP.
    Tcp,
    /// QUIC, from the socket that speaks to peers as well.
    Udp,
}

/// A hub, as a party finds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HubReport {
    /// The hub, «host:port».
    pub hub: String,
    /// How it sees this party, while it can be used.
    pub observed: Option<SocketAddr>,
    /// Over what.
    pub over: Option<Over>,
    /// Why it cannot be used.
    pub problem: Option<String>,
}

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
    /// What the local network says; none where it is not to be asked.
    nearby: BTreeMap<usize, Vec<SocketAddr>>,
    looks_nearby: bool,
    local: Option<Local>,
    fresh: Vec<usize>,
    heard: BTreeMap<String, Result<SocketAddr, String>>,
    /// Where this party says that it is reached.
    own: Vec<SocketAddr>,
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
        Self {
            roster,
            me,
            tag,
            hubs,
            identity,
            fixed,
            told: BTreeMap::new(),
            lighthouse: None,
            nearby: BTreeMap::new(),
            looks_nearby: config.network.local_discovery,
            local: None,
            fresh,
            heard: BTreeMap::new(),
            own: Vec::new(),
            only_asks: false,
        }
    }

    /// Tells the hubs and the local network that this party accepts connections on `port`, and asks
    /// for the others. Without a port it only asks: nobody is told, or they would look here for a
    /// run of this party that waits elsewhere.
    pub fn announce(&mut self, port: Option<u16>) {
        self.only_asks = port.is_none();
        self.own = port.map(own_candidates).unwrap_or_default();
        if self.looks_nearby {
            let root = self.identity.borrow().root().fingerprint;
            let nearby = Nearby::new(root, self.tag, self.roster.clone(), self.me);
            self.local = Some(Local::start(nearby, port));
        }
        if self.hubs.is_empty() {
            return;
        }
        let me = self.roster.get(self.me);
        let others: Vec<PartyName> =
            self.roster.iter().filter(|name| Some(*name) != me).cloned().collect();
        let presence = Presence {
            tag: self.tag,
            candidates: self.own.clone(),
            allow: if port.is_some() { others.clone() } else { Vec::new() },
            watch: others,
        };
        self.lighthouse = Some(Client::start(&self.hubs, &self.identity, presence));
    }

    /// The hubs that were tried so far: how each sees this party, or why it cannot be used.
    #[must_use]
    pub fn hubs(&self) -> &BTreeMap<String, Result<SocketAddr, String>> {
        &self.heard
    }

    /// The same, for those who look on.
    #[must_use]
    pub fn reports(&self) -> Vec<HubReport> {
        let report = |(hub, heard): (&String, &Result<SocketAddr, String>)| HubReport {
            hub: hub.clone(),
            observed: heard.as_ref().ok().copied(),
            over: heard.as_ref().ok().map(|_| Over::Tcp),
            problem: heard.as_ref().err().cloned(),
        };
        self.heard.iter().map(report).collect()
    }

    /// Where this party says that it is reached.
    #[must_use]
    pub fn candidates(&self) -> &[SocketAddr] {
        &self.own
    }

    /// The next peer of whom something new is known, and all its addresses. Never ends; may be
    /// cancelled.
    pub async fn next(&mut self) -> (usize, Vec<String>) {
        loop {
            if let Some(peer) = self.fresh.pop() {
                return (peer, self.addresses(peer));
            }
            tokio::select! {
                event = event(&mut self.lighthouse) => self.take(event),
                (peer, addresses) = news(&mut self.local) => {
                    self.nearby.insert(peer, addresses);
                    self.fresh.push(peer);
                }
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Connected { hub, observed } => {
                log::debug!("hub {hub} sees this party at {observed}");
                self.heard.insert(hub, Ok(observed));
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
        let nearby = self.nearby.get(&peer).into_iter().flatten();
        let told =
            self.told.get(&peer).into_iter().flatten().filter(|a| !nearby.clone().any(|n| n == *a));
        let both = nearby.clone().chain(told).map(SocketAddr::to_string);
        self.fixed.get(&peer).cloned().into_iter().chain(both).collect()
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
