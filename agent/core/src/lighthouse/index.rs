//! What is looked up again and again, so that no event looks at every connection: the connections
//! of a party, those that watch a party under a tag, and how many there are from an address.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};

use super::ConnectionId;
use crate::name::PartyName;
use crate::sni::Tag;

/// The indexes over a lighthouse's connections.
#[derive(Debug, Default)]
pub(super) struct Index {
    parties: HashMap<PartyName, BTreeSet<ConnectionId>>,
    watchers: HashMap<(Tag, PartyName), BTreeSet<ConnectionId>>,
    origins: HashMap<IpAddr, usize>,
}

/// The whole address, or the /64 that belongs to one customer.
fn origin(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

fn remove<K: Hash + Eq>(map: &mut HashMap<K, BTreeSet<ConnectionId>>, key: &K, id: ConnectionId) {
    if let Some(set) = map.get_mut(key) {
        set.remove(&id);
        if set.is_empty() {
            map.remove(key);
        }
    }
}

impl Index {
    pub(super) fn enter(&mut self, id: ConnectionId, party: &PartyName, from: IpAddr) {
        self.parties.entry(party.clone()).or_default().insert(id);
        *self.origins.entry(origin(from)).or_default() += 1;
    }

    pub(super) fn leave(&mut self, id: ConnectionId, party: &PartyName, from: IpAddr) {
        remove(&mut self.parties, party, id);
        self.leave_address(from);
    }

    fn leave_address(&mut self, from: IpAddr) {
        let origin = origin(from);
        if let Some(count) = self.origins.get_mut(&origin) {
            *count -= 1;
            if *count == 0 {
                self.origins.remove(&origin);
            }
        }
    }

    pub(super) fn move_address(&mut self, from: IpAddr, to: IpAddr) {
        self.leave_address(from);
        *self.origins.entry(origin(to)).or_default() += 1;
    }

    pub(super) fn watch(&mut self, id: ConnectionId, tag: Tag, party: &PartyName) {
        self.watchers.entry((tag, party.clone())).or_default().insert(id);
    }

    pub(super) fn unwatch(&mut self, id: ConnectionId, tag: Tag, party: &PartyName) {
        remove(&mut self.watchers, &(tag, party.clone()), id);
    }

    /// The connections of `party`, oldest first.
    pub(super) fn of_party(&self, party: &PartyName) -> impl Iterator<Item = ConnectionId> + Clone {
        self.parties.get(party).into_iter().flatten().copied()
    }

    /// How many connections there are from where `address` is.
    pub(super) fn count_from(&self, address: IpAddr) -> usize {
        self.origins.get(&origin(address)).copied().unwrap_or_default()
    }

    /// Who watches `party` under `tag`, oldest first.
    pub(super) fn watchers(&self, tag: Tag, party: &PartyName) -> Vec<ConnectionId> {
        self.watchers.get(&(tag, party.clone())).into_iter().flatten().copied().collect()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.parties.is_empty() && self.watchers.is_empty() && self.origins.is_empty()
    }
}
