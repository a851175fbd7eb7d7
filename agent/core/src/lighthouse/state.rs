//! The state of a lighthouse: events in, actions out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;

use super::index::Index;
use super::{Action, Answer, ConnectionId, Instance, Limits, Member, Reason, Request, Transport};
use crate::addr::{self, Address, Reflexive, Vantage, canonical};
use crate::name::{GroupName, PartyName};
use crate::sni::Tag;

/// The most addresses of one announcement that are completed here: one for each kind of path.
const MAX_REFLEXIVE: usize = 8;

/// Where a party says that it is.
#[derive(Debug)]
struct Announced {
    addresses: Vec<Address>,
    reflexive: Vec<Reflexive>,
}

#[derive(Debug)]
struct Announcement {
    /// Whatever of it can be passed on to anybody: nothing else takes room here.
    announced: Announced,
    /// Those that may be passed on, with what is seen from here.
    addresses: Vec<Address>,
    allow: BTreeSet<PartyName>,
    groups: BTreeSet<GroupName>,
    /// Of two instances of a party under one tag, the one that announced last counts.
    sequence: u64,
}

impl Announcement {
    fn allows(&self, asker: &PartyName, groups: &[String]) -> bool {
        let admitted = |group: &GroupName| groups.iter().any(|own| own == group.as_str());
        self.allow.contains(asker) || self.groups.iter().any(admitted)
    }
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) party: PartyName,
    groups: Vec<String>,
    observed: SocketAddr,
    transport: Transport,
    instance: Option<Instance>,
    /// Let in above this limit, for it may be there to replace an older connection.
    surplus: Option<Reason>,
    announced: BTreeMap<Tag, Announcement>,
    pub(super) watched: BTreeMap<Tag, BTreeSet<PartyName>>,
    /// What this connection was told last about each party it watches.
    told: BTreeMap<(Tag, PartyName), Vec<Address>>,
}

impl Connection {
    #[cfg(test)]
    pub(super) fn instance(&self) -> Option<Instance> {
        self.instance
    }

    /// Bytes that the kinds and values of its announcements take.
    #[cfg(test)]
    pub(super) fn announced_bytes(&self) -> usize {
        let all = self.announced.values().map(|announcement| &announcement.announced);
        let bytes = |announced: &Announced| {
            let addresses = announced.addresses.iter().map(|a| a.kind.len() + a.value.len());
            addresses.chain(announced.reflexive.iter().map(|r| r.kind.len())).sum::<usize>()
        };
        all.map(bytes).sum()
    }

    fn vantage(&self) -> Vantage {
        Vantage::of(self.observed.ip())
    }

    /// What may be passed on of `announced`, after what is seen from here. Who announces nothing does
    /// not want to be dialled.
    fn addresses(&self, announced: &Announced) -> Vec<Address> {
        let seen = announced.reflexive.iter().filter_map(|reflexive| self.complete(reflexive));
        let all: Vec<Address> = seen.chain(announced.addresses.iter().cloned()).collect();
        addr::admit(&all, self.vantage())
    }

    /// How this party appears from here. Over TCP no port that is seen accepts anything.
    fn complete(&self, Reflexive { kind, port }: &Reflexive) -> Option<Address> {
        let seen = match port {
            Some(port) => SocketAddr::new(self.observed.ip(), *port),
            None if self.transport == Transport::Udp => self.observed,
            None => return None,
        };
        Some(Address::new(kind, seen))
    }
}

/// The state of a lighthouse. All of it is soft: it goes with the connections.
#[derive(Debug)]
pub struct Lighthouse {
    limits: Limits,
    pub(super) connections: HashMap<ConnectionId, Connection>,
    pub(super) index: Index,
    next: u64,
}

impl Lighthouse {
    /// An empty lighthouse.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, connections: HashMap::new(), index: Index::default(), next: 0 }
    }

    /// A new instance of `party`, whose other end is seen as `observed` at this `time`, in Unix
    /// seconds.
    ///
    /// # Errors
    /// When there is no room for it. A party that is here already has one connection above every
    /// limit: it may be there to replace another, and its first announcement decides.
    pub fn connect(
        &mut self,
        party: impl Into<Member>,
        observed: SocketAddr,
        transport: Transport,
        time: u64,
    ) -> Result<(ConnectionId, Vec<Action>), Reason> {
        let (Member { party, groups }, observed) = (party.into(), canonical(observed));
        let surplus = self.full(&party, observed);
        if let Some(reason) = surplus {
            let mut own = self.index.of_party(&party).filter_map(|id| self.connections.get(&id));
            if own.clone().next().is_none() || own.any(|c| c.surplus.is_some()) {
                return Err(reason);
            }
        }
        let id = ConnectionId(self.bump());
        self.index.enter(id, &party, observed.ip());
        let (instance, announced, watched, told) = Default::default();
        let connection = Connection {
            party,
            groups,
            observed,
            transport,
            instance,
            surplus,
            announced,
            watched,
            told,
        };
        self.connections.insert(id, connection);
        Ok((id, vec![Action::Send(id, Answer::Welcome { observed, time })]))
    }

    fn full(&self, party: &PartyName, observed: SocketAddr) -> Option<Reason> {
        match self.limits {
            limits if self.connections.len() >= limits.connections => Some(Reason::Full),
            limits if self.index.of_party(party).count() >= limits.per_party => {
                Some(Reason::PartyFull)
            }
            limits if self.index.count_from(observed.ip()) >= limits.per_address => {
                Some(Reason::AddressFull)
            }
            _ => None,
        }
    }

    fn bump(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// What follows from `request` of connection `id`.
    pub fn hear(&mut self, id: ConnectionId, request: Request) -> Vec<Action> {
        let outcome = match request {
            Request::Announce { tag, instance, addresses, reflexive, allow } => {
                self.announce(id, tag, instance, Announced { addresses, reflexive }, allow)
            }
            Request::Watch { tag, parties } => self.watch(id, tag, parties),
            Request::Admit { tag, groups } => self.admit(id, tag, groups),
            Request::Ping => Ok(vec![Action::Send(id, Answer::Pong)]),
        };
        outcome.unwrap_or_else(|reason| vec![Action::Close(id, reason)])
    }

    fn announce(
        &mut self,
        id: ConnectionId,
        tag: Tag,
        instance: Instance,
        mut announced: Announced,
        allow: Vec<PartyName>,
    ) -> Result<Vec<Action>, Reason> {
        let (limits, sequence) = (self.limits, self.bump());
        let Some(connection) = self.connections.get(&id) else { return Ok(Vec::new()) };
        let full = connection.announced.len() >= limits.tags;
        if full && !connection.announced.contains_key(&tag) || allow.len() > limits.parties {
            return Err(Reason::TooMuch);
        }
        if connection.instance.is_some_and(|known| known != instance) {
            return Err(Reason::Instance);
        }
        let older = self.older_connection(id, instance)?;
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(Vec::new()) };
        (connection.instance, connection.surplus) = (Some(instance), None);
        announced.addresses = addr::well_formed(&announced.addresses);
        announced.reflexive.retain(|reflexive| addr::is_kind(&reflexive.kind));
        announced.reflexive.truncate(MAX_REFLEXIVE);
        let addresses = connection.addresses(&announced);
        let allow = allow.into_iter().collect();
        let before = connection.announced.remove(&tag);
        let groups = before.map(|before| before.groups).unwrap_or_default();
        let announcement = Announcement { announced, addresses, allow, groups, sequence };
        connection.announced.insert(tag, announcement);
        let party = connection.party.clone();
        let mut changed = BTreeSet::from([tag]);
        let mut actions = Vec::new();
        if let Some(older) = older {
            actions.push(Action::Close(older, Reason::Replaced));
            let forgotten = self.forget(older).into_iter();
            changed.extend(forgotten.flat_map(|connection| connection.announced.into_keys()));
        }
        actions.extend(changed.into_iter().flat_map(|tag| self.tell(tag, &party)));
        Ok(actions)
    }

    /// The other connection of the same instance, which `id` replaces.
    fn older_connection(
        &self,
        id: ConnectionId,
        instance: Instance,
    ) -> Result<Option<ConnectionId>, Reason> {
        let Some(connection) = self.connections.get(&id) else { return Ok(None) };
        let same = |other: &ConnectionId| {
            self.connections.get(other).is_some_and(|c| c.instance == Some(instance))
        };
        match self.index.of_party(&connection.party).filter(|other| *other != id).find(same) {
            Some(newer) if newer > id => Err(Reason::Replaced),
            None => connection.surplus.map_or(Ok(None), Err),
            older => Ok(older),
        }
    }

    fn admit(
        &mut self,
        id: ConnectionId,
        tag: Tag,
        groups: Vec<GroupName>,
    ) -> Result<Vec<Action>, Reason> {
        let limits = self.limits;
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(Vec::new()) };
        if groups.len() > limits.parties {
            return Err(Reason::TooMuch);
        }
        let announcement = connection.announced.get_mut(&tag).ok_or(Reason::Instance)?;
        announcement.groups = groups.into_iter().collect();
        let party = connection.party.clone();
        Ok(self.tell(tag, &party))
    }

    fn watch(
        &mut self,
        id: ConnectionId,
        tag: Tag,
        parties: Vec<PartyName>,
    ) -> Result<Vec<Action>, Reason> {
        let limits = self.limits;
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(Vec::new()) };
        if connection.instance.is_none() {
            return Err(Reason::Instance);
        }
        let full = connection.watched.len() >= limits.tags;
        if full && !connection.watched.contains_key(&tag) || parties.len() > limits.parties {
            return Err(Reason::TooMuch);
        }
        let parties: BTreeSet<_> = parties.into_iter().collect();
        connection.told.retain(|(of, party), _| *of != tag || parties.contains(party));
        let before = connection.watched.insert(tag, parties.clone()).unwrap_or_default();
        before.difference(&parties).for_each(|party| self.index.unwatch(id, tag, party));
        parties.difference(&before).for_each(|party| self.index.watch(id, tag, party));
        Ok(parties.iter().filter_map(|party| self.update(id, tag, party)).collect())
    }

    /// Connection `id` is seen as `observed` at this `time`: its packets come from elsewhere.
    pub fn moved(&mut self, id: ConnectionId, observed: SocketAddr, time: u64) -> Vec<Action> {
        let observed = canonical(observed);
        let Some(connection) = self.connections.get_mut(&id) else { return Vec::new() };
        if connection.observed == observed {
            return Vec::new();
        }
        self.index.move_address(connection.observed.ip(), observed.ip());
        connection.observed = observed;
        let (party, watched) = (connection.party.clone(), connection.watched.clone());
        let mut announced = std::mem::take(&mut connection.announced);
        for announcement in announced.values_mut() {
            announcement.addresses = connection.addresses(&announcement.announced);
        }
        let tags: Vec<Tag> = announced.keys().copied().collect();
        connection.announced = announced;
        let mut actions = vec![Action::Send(id, Answer::Welcome { observed, time })];
        actions.extend(tags.into_iter().flat_map(|tag| self.tell(tag, &party)));
        // What it may see depends on where it is.
        let seen = watched.iter().flat_map(|(tag, parties)| parties.iter().map(|p| (*tag, p)));
        actions.extend(seen.filter_map(|(tag, party)| self.update(id, tag, party)));
        actions
    }

    /// Forgets connection `id`; reporting it twice does no harm.
    pub fn disconnect(&mut self, id: ConnectionId) -> Vec<Action> {
        let Some(gone) = self.forget(id) else { return Vec::new() };
        gone.announced.keys().flat_map(|tag| self.tell(*tag, &gone.party)).collect()
    }

    fn forget(&mut self, id: ConnectionId) -> Option<Connection> {
        let gone = self.connections.remove(&id)?;
        self.index.leave(id, &gone.party, gone.observed.ip());
        for (tag, parties) in &gone.watched {
            parties.iter().for_each(|party| self.index.unwatch(id, *tag, party));
        }
        Some(gone)
    }

    /// The connection at which `from`, in these `groups`, may call `to`: where it would be told that
    /// `to` is.
    #[must_use]
    pub fn callee(
        &self,
        from: &PartyName,
        groups: &[String],
        tag: Tag,
        to: &PartyName,
    ) -> Option<ConnectionId> {
        self.latest((from, groups), tag, to).map(|(id, _)| id)
    }

    /// Tells every watcher of `party` under `tag` what has changed for it.
    fn tell(&mut self, tag: Tag, party: &PartyName) -> Vec<Action> {
        let watchers = self.index.watchers(tag, party);
        watchers.into_iter().filter_map(|id| self.update(id, tag, party)).collect()
    }

    /// The difference between what `watcher` was told and what it may see.
    fn update(&mut self, watcher: ConnectionId, tag: Tag, party: &PartyName) -> Option<Action> {
        let seen = self.visible(self.connections.get(&watcher)?, tag, party);
        let told = &mut self.connections.get_mut(&watcher)?.told;
        let (key, party) = ((tag, party.clone()), party.clone());
        let answer = match seen {
            Some(addresses) if told.get(&key) == Some(&addresses) => return None,
            Some(addresses) => {
                told.insert(key, addresses.clone());
                Answer::Present { party, tag, addresses }
            }
            None => {
                told.remove(&key)?;
                Answer::Gone { party, tag }
            }
        };
        Some(Action::Send(watcher, answer))
    }

    /// Where `asker` may be told that `party` is, without loopback unless both are on this machine.
    pub(super) fn visible(
        &self,
        asker: &Connection,
        tag: Tag,
        party: &PartyName,
    ) -> Option<Vec<Address>> {
        let (_, latest) = self.latest((&asker.party, &asker.groups), tag, party)?;
        Some(addr::admit(&latest.addresses, asker.vantage()))
    }

    /// The latest announcement of `party` under `tag` that allows `asker`, and whose it is.
    fn latest(
        &self,
        (asker, groups): (&PartyName, &[String]),
        tag: Tag,
        party: &PartyName,
    ) -> Option<(ConnectionId, &Announcement)> {
        let instances = self.index.of_party(party);
        let announcements =
            instances.filter_map(|id| Some((id, self.connections.get(&id)?.announced.get(&tag)?)));
        let allowing = announcements.filter(|(_, a)| a.allows(asker, groups));
        allowing.max_by_key(|(_, a)| a.sequence)
    }
}
