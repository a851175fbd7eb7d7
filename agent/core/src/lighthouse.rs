//! The lighthouse: who is where, told only to those who may know.
//!
//! A connection is one instance of a party. It announces under which tags (see
//! [`Tag`]) it takes part, where it can be reached and which parties may know, and it says whom it
//! wants to hear of. [`Lighthouse`] compares, after every event, what each watcher may see with
//! what it was told last and sends the difference. A party that is absent and one that does not
//! allow the asker are the same: nothing is sent for either.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::candidate::{self, Vantage};
use crate::name::PartyName;
use crate::sni::Tag;

/// The most bytes of one message, in either direction.
pub const LONGEST: usize = 16 * 1024;

/// What an instance of a party says. The version is the ALPN's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// «I take part under this tag, am reached there, and these may know.» Replaces what the
    /// connection announced under the tag before.
    Announce {
        /// The session.
        tag: Tag,
        /// Where this instance accepts connections; may be empty for one that only dials.
        candidates: Vec<SocketAddr>,
        /// Who may know.
        allow: Vec<PartyName>,
    },
    /// «Tell me about these parties under this tag, from now on.» Replaces earlier wishes.
    Watch {
        /// The session.
        tag: Tag,
        /// The parties.
        parties: Vec<PartyName>,
    },
    /// «Are you there?» The answer comes after everything that was asked before.
    Ping,
}

/// What the lighthouse says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// First of all: how the lighthouse sees this connection.
    Welcome {
        /// The connection's other end.
        observed: SocketAddr,
    },
    /// A party one watches can be reached there; replaces what was said before.
    Present {
        /// The party.
        party: PartyName,
        /// The session.
        tag: Tag,
        /// Where to try.
        candidates: Vec<SocketAddr>,
    },
    /// A party said to be present is not any more.
    Gone {
        /// The party.
        party: PartyName,
        /// The session.
        tag: Tag,
    },
    /// «I am here.»
    Pong,
}

/// What a lighthouse holds at most, so that nobody fills it.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections in all.
    pub connections: usize,
    /// Connections of one party; the oldest gives way to a new one.
    pub per_party: usize,
    /// Connections from one address.
    pub per_address: usize,
    /// Tags of one connection.
    pub tags: usize,
    /// Parties allowed or watched under one tag.
    pub parties: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 4096, per_party: 16, per_address: 512, tags: 16, parties: 64 }
    }
}

/// One connection; numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(u64);

/// What the sockets around a lighthouse have to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this.
    Send(ConnectionId, Answer),
    /// End this connection, for this reason; then report it with [`Lighthouse::disconnect`].
    Close(ConnectionId, &'static str),
}

/// No room for one more connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the lighthouse is full")]
pub struct Full;

#[derive(Debug)]
struct Announcement {
    candidates: Vec<SocketAddr>,
    allow: BTreeSet<PartyName>,
    /// Of two instances of a party under one tag, the one that announced last counts.
    sequence: u64,
}

#[derive(Debug)]
struct Connection {
    party: PartyName,
    observed: SocketAddr,
    announced: BTreeMap<Tag, Announcement>,
    watched: BTreeMap<Tag, BTreeSet<PartyName>>,
    /// What this connection was told last about each party it watches.
    told: BTreeMap<(Tag, PartyName), Vec<SocketAddr>>,
}

impl Connection {
    fn vantage(&self) -> Vantage {
        Vantage::of(self.observed.ip())
    }

    /// The announced candidates that may be passed on, after the address seen from here with the
    /// port announced first: what a forwarded port or a public address looks like.
    fn candidates(&self, announced: &[SocketAddr]) -> Vec<SocketAddr> {
        let reflexive = announced.first().map(|c| SocketAddr::new(self.observed.ip(), c.port()));
        let all: Vec<_> = reflexive.into_iter().chain(announced.iter().copied()).collect();
        candidate::admit(&all, self.vantage())
    }
}

/// The state of a lighthouse. All of it is soft: it goes with the connections.
#[derive(Debug)]
pub struct Lighthouse {
    limits: Limits,
    connections: HashMap<ConnectionId, Connection>,
    next: u64,
}

impl Lighthouse {
    /// An empty lighthouse.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, connections: HashMap::new(), next: 0 }
    }

    /// A new instance of `party`, whose other end is seen as `observed`.
    ///
    /// # Errors
    /// When the lighthouse or the address has too many connections.
    pub fn connect(
        &mut self,
        party: PartyName,
        observed: SocketAddr,
    ) -> Result<(ConnectionId, Vec<Action>), Full> {
        let observed = SocketAddr::new(observed.ip().to_canonical(), observed.port());
        let here = self.connections.values().filter(|c| c.observed.ip() == observed.ip()).count();
        if self.connections.len() >= self.limits.connections || here >= self.limits.per_address {
            return Err(Full);
        }
        let own: Vec<_> =
            self.connections.iter().filter(|(_, c)| c.party == party).map(|(id, _)| *id).collect();
        let mut actions = Vec::new();
        if own.len() >= self.limits.per_party
            && let Some(oldest) = own.into_iter().min()
        {
            actions.push(Action::Close(oldest, "too many connections of this party"));
        }
        let id = ConnectionId(self.bump());
        let (announced, watched, told) = Default::default();
        self.connections.insert(id, Connection { party, observed, announced, watched, told });
        actions.push(Action::Send(id, Answer::Welcome { observed }));
        Ok((id, actions))
    }

    fn bump(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// What follows from `request` of connection `id`.
    pub fn hear(&mut self, id: ConnectionId, request: Request) -> Vec<Action> {
        match request {
            Request::Announce { tag, candidates, allow } => {
                self.announce(id, tag, &candidates, allow)
            }
            Request::Watch { tag, parties } => self.watch(id, tag, parties),
            Request::Ping => vec![Action::Send(id, Answer::Pong)],
        }
    }

    fn announce(
        &mut self,
        id: ConnectionId,
        tag: Tag,
        candidates: &[SocketAddr],
        allow: Vec<PartyName>,
    ) -> Vec<Action> {
        let (limits, sequence) = (self.limits, self.bump());
        let Some(connection) = self.connections.get_mut(&id) else { return Vec::new() };
        let full = connection.announced.len() >= limits.tags;
        if full && !connection.announced.contains_key(&tag) || allow.len() > limits.parties {
            return vec![Action::Close(id, "more announcements than allowed")];
        }
        let candidates = connection.candidates(candidates);
        let allow = allow.into_iter().collect();
        connection.announced.insert(tag, Announcement { candidates, allow, sequence });
        let party = connection.party.clone();
        self.tell(tag, &party)
    }

    fn watch(&mut self, id: ConnectionId, tag: Tag, parties: Vec<PartyName>) -> Vec<Action> {
        let limits = self.limits;
        let Some(connection) = self.connections.get_mut(&id) else { return Vec::new() };
        let full = connection.watched.len() >= limits.tags;
        if full && !connection.watched.contains_key(&tag) || parties.len() > limits.parties {
            return vec![Action::Close(id, "more wishes than allowed")];
        }
        let parties: BTreeSet<_> = parties.into_iter().collect();
        connection.told.retain(|(of, party), _| *of != tag || parties.contains(party));
        connection.watched.insert(tag, parties.clone());
        parties.iter().filter_map(|party| self.update(id, tag, party)).collect()
    }

    /// Forgets connection `id`; reporting it twice does no harm.
    pub fn disconnect(&mut self, id: ConnectionId) -> Vec<Action> {
        let Some(gone) = self.connections.remove(&id) else { return Vec::new() };
        gone.announced.keys().flat_map(|tag| self.tell(*tag, &gone.party)).collect()
    }

    /// Tells every watcher of `party` under `tag` what has changed for it.
    fn tell(&mut self, tag: Tag, party: &PartyName) -> Vec<Action> {
        let watches = |c: &Connection| c.watched.get(&tag).is_some_and(|w| w.contains(party));
        let mut watchers: Vec<_> =
            self.connections.iter().filter(|(_, c)| watches(c)).map(|(id, _)| *id).collect();
        watchers.sort_unstable();
        watchers.into_iter().filter_map(|id| self.update(id, tag, party)).collect()
    }

    /// The difference between what `watcher` was told and what it may see.
    fn update(&mut self, watcher: ConnectionId, tag: Tag, party: &PartyName) -> Option<Action> {
        let seen = self.visible(self.connections.get(&watcher)?, tag, party);
        let told = &mut self.connections.get_mut(&watcher)?.told;
        let (key, party) = ((tag, party.clone()), party.clone());
        let answer = match seen {
            Some(candidates) if told.get(&key) == Some(&candidates) => return None,
            Some(candidates) => {
                told.insert(key, candidates.clone());
                Answer::Present { party, tag, candidates }
            }
            None => {
                told.remove(&key)?;
                Answer::Gone { party, tag }
            }
        };
        Some(Action::Send(watcher, answer))
    }

    /// Where `asker` may be told that `party` is: its latest announcement under `tag` that allows
    /// the asker, without loopback unless both are on this machine.
    fn visible(&self, asker: &Connection, tag: Tag, party: &PartyName) -> Option<Vec<SocketAddr>> {
        let instances = self.connections.values().filter(|c| c.party == *party);
        let announcements = instances.filter_map(|c| c.announced.get(&tag));
        let allowing = announcements.filter(|a| a.allow.contains(&asker.party));
        let latest = allowing.max_by_key(|a| a.sequence)?;
        Some(candidate::admit(&latest.candidates, asker.vantage()))
    }
}

#[cfg(test)]
mod tests;
