//! What a local network says, reduced to what is of use: addresses of peers.
//!
//! Anybody there can say anything. What counts is an [`Alias`] of a peer, with addresses of this
//! machine's own networks; as nobody proves to be who an alias names, a peer may seem to be in a few
//! places at once, and all of them are tried.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use mpyc_party_core::addr::{Address, Vantage, admit};
use mpyc_party_core::alias::Alias;
use mpyc_party_core::claims::Fingerprint;
use mpyc_party_core::name::PartyName;
use mpyc_party_core::roster::{PeerIndex, Roster};
use mpyc_party_core::sni::Tag;

use crate::peers::SessionPeers;

/// The most announcements that one peer is believed at a time, the newest ones: its own for TCP and
/// for UDP, those that an earlier runner left, and some forged ones.
const MAX_INSTANCES: usize = 8;

/// One announcement.
#[derive(Debug)]
struct Instance {
    name: String,
    addresses: Vec<Address>,
}

/// The peers of one session on the local network.
#[derive(Debug)]
pub(super) struct Announcements {
    root: Fingerprint,
    tag: Tag,
    me: PeerIndex,
    roster: Roster,
    /// What each party announces, by its index, the oldest first.
    instances: Vec<VecDeque<Instance>>,
}

impl Announcements {
    pub(super) fn new(peers: &SessionPeers) -> Self {
        Self::of(peers.root(), peers.tag, peers.roster.clone(), peers.me)
    }

    fn of(root: Fingerprint, tag: Tag, roster: Roster, me: PeerIndex) -> Self {
        let instances = roster.iter().map(|_| VecDeque::new()).collect();
        Self { root, tag, me, roster, instances }
    }

    /// A fresh alias of this party.
    pub(super) fn own_alias(&self, salt: [u8; 8]) -> Option<Alias> {
        Some(Alias::new(&self.root, &self.tag, self.roster.get(self.me)?, salt))
    }

    /// The peer with this alias.
    fn whose(&self, label: &str) -> Option<PeerIndex> {
        let alias: Alias = label.to_ascii_lowercase().parse().ok()?;
        let is = |party: &PartyName| alias.is(&self.root, &self.tag, party);
        let mut others = self.roster.indices().filter(|&peer| peer != self.me);
        others.find(|&peer| self.roster.get(peer).is_some_and(is))
    }

    /// Takes in the announcement called `name` («alias.type.local.») of addresses of one kind; the
    /// peer about whom something new is known. `networks` are those this machine is in.
    pub(super) fn hear(
        &mut self,
        name: &str,
        kind: &str,
        (addresses, port): (impl Iterator<Item = IpAddr>, u16),
        networks: &[IpNet],
    ) -> Option<PeerIndex> {
        let peer = self.whose(name.split('.').next()?)?;
        let near = addresses.filter(|ip| networks.iter().any(|network| network.contains(ip)));
        let near: Vec<_> = near.map(|ip| Address::new(kind, SocketAddr::new(ip, port))).collect();
        let mut addresses = admit(&near, Vantage::Elsewhere);
        addresses.sort_unstable();
        let instances = &mut self.instances[peer.get()];
        if instances.iter().any(|i| i.name == name && i.addresses == addresses) {
            return None;
        }
        instances.retain(|instance| instance.name != name);
        instances.push_back(Instance { name: name.to_owned(), addresses });
        if instances.len() > MAX_INSTANCES {
            instances.pop_front();
        }
        Some(peer)
    }

    /// Forgets the announcement called `name`; the peer whose it was.
    pub(super) fn forget(&mut self, name: &str) -> Option<PeerIndex> {
        let told = |all: &VecDeque<Instance>| all.iter().any(|instance| instance.name == name);
        let peer = self.roster.indices().find(|peer| told(&self.instances[peer.get()]))?;
        self.instances[peer.get()].retain(|instance| instance.name != name);
        Some(peer)
    }

    /// Where `peer` may be, what was announced last first.
    pub(super) fn addresses(&self, peer: PeerIndex) -> Vec<Address> {
        let newest = self.instances[peer.get()].iter().rev();
        let all: Vec<Address> = newest.flat_map(|instance| instance.addresses.clone()).collect();
        admit(&all, Vantage::Elsewhere)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;

    const BOB: PeerIndex = PeerIndex::new(1);
    const NEAR: &str = "192.168.7.0/24";

    fn announcements(me: usize) -> Announcements {
        let names: Vec<PartyName> = ["alice", "bob"].map(|name| name.parse().unwrap()).into();
        let root = Fingerprint([1; 32]);
        let tag = Tag::new(&root, &"demo".parse().unwrap(), &names);
        Announcements::of(root, tag, Roster::try_from(names).unwrap(), PeerIndex::new(me))
    }

    /// Bob's announcement with this salt.
    fn bob(salt: u8) -> String {
        format!("{}._mpyc-party._tcp.local.", announcements(1).own_alias([salt; 8]).unwrap())
    }

    fn tcp(text: &str) -> Address {
        Address::new("tcp", text)
    }

    fn hear(
        announcements: &mut Announcements,
        name: &str,
        addresses: &[&str],
        port: u16,
    ) -> Option<PeerIndex> {
        let networks = [NEAR, "fe80::/64", "127.0.0.0/8", "169.254.0.0/16"];
        let networks = networks.map(|network| network.parse().unwrap());
        let addresses = addresses.iter().map(|text| text.parse().unwrap());
        announcements.hear(name, "tcp", (addresses, port), &networks)
    }

    #[test]
    fn peers_are_recognised_and_nobody_else_is() {
        let mut alice = announcements(0);
        assert_eq!(hear(&mut alice, &bob(1), &["192.168.7.2"], 4747), Some(BOB));
        assert_eq!(alice.addresses(BOB), [tcp("192.168.7.2:4747")]);
        assert_eq!(hear(&mut alice, &bob(1), &["192.168.7.2"], 4747), None, "no news");
        let upper = bob(2).to_uppercase();
        assert_eq!(hear(&mut alice, &upper, &["192.168.7.3"], 1), Some(BOB), "names have no case");
        let me = format!("{}._mpyc-party._tcp.local.", alice.own_alias([3; 8]).unwrap());
        let stranger = bob(1).replace('-', "-0").replacen("0-0", "-", 1);
        for name in ["", ".", "bob._mpyc-party._tcp.local.", me.as_str(), stranger.as_str()] {
            assert_eq!(hear(&mut alice, name, &["192.168.7.9"], 1), None, "{name}");
        }
        assert_eq!(alice.forget(&bob(1)), Some(BOB));
        assert_eq!(alice.forget(&bob(1)), None);
        assert_eq!(alice.addresses(BOB), [tcp("192.168.7.3:1")]);
    }

    #[test]
    fn only_single_machines_of_the_own_networks_are_tried() {
        let mut alice = announcements(0);
        let astray = [
            "127.0.0.1",
            "169.254.169.254",
            "fe80::a9fe:a9fe",
            "fe80::1",
            "224.0.0.251",
            "10.0.0.1",
            "203.0.113.7",
            "192.168.8.2",
        ];
        hear(&mut alice, &bob(1), &astray, 22);
        hear(&mut alice, &bob(2), &["192.168.7.2"], 0);
        assert_eq!(alice.addresses(BOB), []);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_newest_counts() {
        let mut alice = announcements(0);
        for salt in 0..100 {
            let addresses: Vec<String> = (1..200).map(|n| format!("192.168.7.{n}")).collect();
            let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
            hear(&mut alice, &bob(salt), &addresses, 1000 + u16::from(salt));
        }
        assert_eq!(alice.instances[1].len(), MAX_INSTANCES);
        let tried = alice.addresses(BOB);
        assert_eq!(tried.len(), mpyc_party_core::addr::MAX_ADDRESSES);
        assert!(tried.iter().all(|address| address.socket().unwrap().port() == 1099));
    }

    proptest! {
        #[test]
        fn whatever_is_announced_nobody_is_led_out_of_the_own_networks(
            label in "\\PC{0,80}",
            addresses: Vec<IpAddr>,
            near: Vec<u8>,
            port: u16,
        ) {
            let mut alice = announcements(0);
            let networks = [NEAR.parse().unwrap()];
            let near = near.into_iter().map(|n| IpAddr::from([192, 168, 7, n]));
            let all: Vec<IpAddr> = addresses.into_iter().chain(near).collect();
            prop_assert_eq!(alice.hear(&label, "tcp", (all.iter().copied(), port), &networks), None);
            alice.hear(&bob(1), "quic", (all.into_iter(), port), &networks);
            for address in alice.addresses(BOB) {
                let at = address.socket().unwrap();
                prop_assert!(networks[0].contains(&at.ip()) && port != 0);
            }
        }
    }
}
