//! What a local network says, reduced to what is of use: addresses of peers.
//!
//! Anybody there can say anything. What counts is an [alias](mpyc_party_core::alias) of a peer, with
//! addresses of this machine's own networks; as nobody proves to be who an alias names, a peer may
//! seem to be in a few places at once, and all of them are tried.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use mpyc_party_core::addr::{Address, Vantage, admit};
use mpyc_party_core::alias::{Marks, Salt};
use mpyc_party_core::claims::Fingerprint;
use mpyc_party_core::name::PartyName;
use mpyc_party_core::roster::PeerIndex;
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

/// One peer.
#[derive(Debug)]
struct Peer {
    index: PeerIndex,
    name: PartyName,
    /// That of this party and the peer.
    tag: Tag,
    /// What it announces, the oldest first.
    instances: VecDeque<Instance>,
}

/// The peers of one session on the local network.
#[derive(Debug)]
pub(super) struct Announcements {
    root: Fingerprint,
    own_name: PartyName,
    peers: Vec<Peer>,
}

impl Announcements {
    pub(super) fn new(peers: &SessionPeers) -> Self {
        let others = peers.peers().map(|peer| (peer, peers.name(peer).clone(), peers.tag(peer)));
        Self::of(peers.root(), peers.own_name().clone(), others)
    }

    fn of(
        root: Fingerprint,
        own_name: PartyName,
        others: impl Iterator<Item = (PeerIndex, PartyName, Tag)>,
    ) -> Self {
        let peer = |(index, name, tag)| Peer { index, name, tag, instances: VecDeque::new() };
        Self { root, own_name, peers: others.map(peer).collect() }
    }

    /// A fresh alias of this party.
    pub(super) fn own_alias(&self, salt: Salt) -> (Salt, Marks) {
        (salt, Marks::new(&self.root, self.peers.iter().map(|peer| peer.tag), &self.own_name, salt))
    }

    /// The peer with this alias.
    fn whose(&mut self, label: &str, marks: &Marks) -> Option<&mut Peer> {
        let salt: Salt = label.to_ascii_lowercase().parse().ok()?;
        let root = self.root;
        self.peers.iter_mut().find(|peer| marks.are(&root, &peer.tag, &peer.name, salt))
    }

    /// Takes in the announcement called `name` («salt.type.local.») with these marks, of addresses of
    /// one kind; the peer about whom something new is known. `networks` are those this machine is in.
    pub(super) fn hear(
        &mut self,
        (name, marks): (&str, &Marks),
        kind: &str,
        (addresses, port): (impl Iterator<Item = IpAddr>, u16),
        networks: &[IpNet],
    ) -> Option<PeerIndex> {
        let Peer { index, instances, .. } = self.whose(name.split('.').next()?, marks)?;
        let near = addresses.filter(|ip| networks.iter().any(|network| network.contains(ip)));
        let near: Vec<_> = near.map(|ip| Address::new(kind, SocketAddr::new(ip, port))).collect();
        let mut addresses = admit(&near, Vantage::Elsewhere);
        addresses.sort_unstable();
        if instances.iter().any(|i| i.name == name && i.addresses == addresses) {
            return None;
        }
        instances.retain(|instance| instance.name != name);
        instances.push_back(Instance { name: name.to_owned(), addresses });
        if instances.len() > MAX_INSTANCES {
            instances.pop_front();
        }
        Some(*index)
    }

    /// Forgets the announcement called `name`; the peer whose it was.
    pub(super) fn forget(&mut self, name: &str) -> Option<PeerIndex> {
        let told = |peer: &&mut Peer| peer.instances.iter().any(|told| told.name == name);
        let peer = self.peers.iter_mut().find(told)?;
        peer.instances.retain(|instance| instance.name != name);
        Some(peer.index)
    }

    /// Where `peer` may be, what was announced last first.
    pub(super) fn addresses(&self, peer: PeerIndex) -> Vec<Address> {
        let of = self.peers.iter().filter(|known| known.index == peer);
        let newest = of.flat_map(|known| known.instances.iter().rev());
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

    /// Those of `own` among these parties.
    fn announcements(own: &str, names: &[&str]) -> Announcements {
        let (root, own) = (Fingerprint([1; 32]), own.parse().unwrap());
        let others = names.iter().map(|name| name.parse().unwrap()).enumerate();
        let others =
            others.filter(|(_, name)| *name != own).map(|(index, name): (_, PartyName)| {
                let tag = Tag::pair(&root, &"demo".parse().unwrap(), &own, &name);
                (PeerIndex::new(index), name, tag)
            });
        Announcements::of(root, own.clone(), others)
    }

    fn alice() -> Announcements {
        announcements("alice", &["alice", "bob"])
    }

    /// Bob's announcement with this salt.
    fn bob(salt: u8) -> (String, Marks) {
        announced(&announcements("bob", &["alice", "bob"]), salt)
    }

    fn announced(by: &Announcements, salt: u8) -> (String, Marks) {
        let (salt, marks) = by.own_alias(Salt([salt; 8]));
        (format!("{salt}._mpyc-party._tcp.local."), marks)
    }

    fn tcp(text: &str) -> Address {
        Address::new("tcp", text)
    }

    fn hear(
        announcements: &mut Announcements,
        (name, marks): &(String, Marks),
        addresses: &[&str],
        port: u16,
    ) -> Option<PeerIndex> {
        let networks = [NEAR, "fe80::/64", "127.0.0.0/8", "169.254.0.0/16"];
        let networks = networks.map(|network| network.parse().unwrap());
        let addresses = addresses.iter().map(|text| text.parse().unwrap());
        announcements.hear((name, marks), "tcp", (addresses, port), &networks)
    }

    #[test]
    fn peers_are_recognised_and_nobody_else_is() {
        let mut alice = alice();
        assert_eq!(hear(&mut alice, &bob(1), &["192.168.7.2"], 4747), Some(BOB));
        assert_eq!(alice.addresses(BOB), [tcp("192.168.7.2:4747")]);
        assert_eq!(hear(&mut alice, &bob(1), &["192.168.7.2"], 4747), None, "no news");
        let (name, marks) = bob(2);
        let upper = (name.to_uppercase(), marks.clone());
        assert_eq!(hear(&mut alice, &upper, &["192.168.7.3"], 1), Some(BOB), "names have no case");
        let me = announced(&alice, 3);
        assert_eq!(hear(&mut alice, &me, &["192.168.7.9"], 1), None);
        for name in ["", ".", "bob._mpyc-party._tcp.local.", bob(1).0.as_str()] {
            let stranger = (name.to_owned(), marks.clone());
            assert_eq!(hear(&mut alice, &stranger, &["192.168.7.9"], 1), None, "{name}");
        }
        assert_eq!(alice.forget(&bob(1).0), Some(BOB));
        assert_eq!(alice.forget(&bob(1).0), None);
        assert_eq!(alice.addresses(BOB), [tcp("192.168.7.3:1")]);
    }

    #[test]
    fn two_find_each_other_where_each_names_the_other_whoever_else_is_named() {
        let three = announcements("alice", &["alice", "bob", "carol"]);
        let mut bob = announcements("bob", &["bob", "dave", "alice"]);
        let alice = PeerIndex::new(2);
        assert_eq!(hear(&mut bob, &announced(&three, 1), &["192.168.7.2"], 1), Some(alice));
        let mut dave = announcements("dave", &["alice", "bob", "dave"]);
        assert_eq!(hear(&mut dave, &announced(&three, 1), &["192.168.7.2"], 1), None);
        assert_eq!(hear(&mut dave, &announced(&bob, 1), &["192.168.7.2"], 1), Some(BOB));
    }

    #[test]
    fn only_single_machines_of_the_own_networks_are_tried() {
        let mut alice = alice();
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
        let mut alice = alice();
        for salt in 0..100 {
            let addresses: Vec<String> = (1..200).map(|n| format!("192.168.7.{n}")).collect();
            let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
            hear(&mut alice, &bob(salt), &addresses, 1000 + u16::from(salt));
        }
        assert_eq!(alice.peers[0].instances.len(), MAX_INSTANCES);
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
            let mut alice = alice();
            let networks = [NEAR.parse().unwrap()];
            let near = near.into_iter().map(|n| IpAddr::from([192, 168, 7, n]));
            let all: Vec<IpAddr> = addresses.into_iter().chain(near).collect();
            let (name, marks) = bob(1);
            let at = (all.iter().copied(), port);
            prop_assert_eq!(alice.hear((&label, &marks), "tcp", at, &networks), None);
            alice.hear((&name, &marks), "quic", (all.into_iter(), port), &networks);
            for address in alice.addresses(BOB) {
                let at = address.socket().unwrap();
                prop_assert!(networks[0].contains(&at.ip()) && port != 0);
            }
        }
    }
}
