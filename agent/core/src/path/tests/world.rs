//! Two ends and the network between them, with a clock that is a number.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::*;

pub(super) const SECOND: Duration = Duration::from_secs(1);
/// How long an attempt over a dead route takes.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// A message, or the end of something, on its way to one end.
#[derive(Clone, Debug)]
pub(super) enum Parcel {
    Event(Event),
    /// A beat of the other end on this connection.
    Beat(ConnectionId, u32),
    /// The answer to one.
    Echo(ConnectionId, u32),
    /// An attempt over a route that was dead knocks again, so many seconds after its beginning.
    Knock(Target, u32),
}

/// Two ends; the first controls.
pub(super) struct World {
    pub(super) ends: [Paths; 2],
    pub(super) instances: [u64; 2],
    /// What can be reached by whom: the end that dials, and the target.
    pub(super) routes: BTreeSet<(usize, Target)>,
    /// Connections that are up, with the target they were dialled at and the end that did.
    pub(super) connections: BTreeMap<ConnectionId, (usize, Target)>,
    /// Kinds over which packets of full size vanish, and those that have been told to send none.
    pub(super) narrow: BTreeSet<Kind>,
    small: BTreeSet<Kind>,
    /// Connections over which nothing more comes from this end: it has sent one of full size.
    stuck: BTreeSet<(usize, ConnectionId)>,
    /// Connections that send small packets alone.
    careful: BTreeSet<ConnectionId>,
    /// The ends that have closed a connection.
    closed: BTreeSet<(usize, ConnectionId)>,
    /// The link of each end, and its epoch.
    pub(super) links: [Option<(ConnectionId, u64)>; 2],
    /// How often each end has changed its link.
    pub(super) changes: [u32; 2],
    pub(super) parcels: BTreeMap<(Duration, u64), (usize, Parcel)>,
    pub(super) delay: Duration,
    now: Duration,
    pub(super) next: u64,
}

/// A kind like those that there are.
const fn kind(preference: u8, name: &'static str, head_start: u64) -> Kind {
    let head_start = Duration::from_millis(head_start);
    Kind { preference, name, head_start, opens_nats: preference == 2, relayed: preference == 3 }
}

pub(super) const TCP: Kind = kind(1, "tcp", 0);
pub(super) const QUIC: Kind = kind(2, "quic", 50);
pub(super) const RELAY: Kind = kind(3, "relay", 100);
pub(super) const KINDS: [Kind; 3] = [TCP, QUIC, RELAY];

pub(super) fn target(kind: Kind) -> Target {
    Target { kind, address: Address::new(kind.name, "there") }
}

/// The connection whose state an event is about.
fn connection(event: &Event) -> Option<ConnectionId> {
    match event {
        Event::Opened { id, .. } | Event::Introduced { id, .. } => Some(*id),
        Event::Taken { id, .. } | Event::Closed(id) | Event::Echoed(id, _) => Some(*id),
        _ => None,
    }
}

impl World {
    /// Ends that know all of each other; `kinds` can be reached, from both.
    pub(super) fn new(kinds: &[Kind]) -> Self {
        let mut world = Self {
            ends: [Paths::new(true), Paths::new(false)],
            instances: [1, 2],
            routes: BTreeSet::new(),
            connections: BTreeMap::new(),
            narrow: BTreeSet::new(),
            small: BTreeSet::new(),
            stuck: BTreeSet::new(),
            careful: BTreeSet::new(),
            closed: BTreeSet::new(),
            links: [None, None],
            changes: [0, 0],
            parcels: BTreeMap::new(),
            delay: Duration::from_millis(20),
            now: Duration::ZERO,
            next: 10,
        };
        world.open(kinds);
        for end in 0..2 {
            world.give(end, Event::Targets(KINDS.map(target).to_vec()));
        }
        world
    }

    pub(super) fn open(&mut self, kinds: &[Kind]) {
        let routes = kinds.iter().flat_map(|kind| [(0, target(*kind)), (1, target(*kind))]);
        self.routes.extend(routes);
    }

    /// These kinds are dead from now on; what was connected stays, and is silent.
    pub(super) fn kill(&mut self, kinds: &[Kind]) {
        self.routes.retain(|(_, target)| !kinds.contains(&target.kind));
    }

    fn alive(&self, id: ConnectionId) -> bool {
        self.connections.get(&id).is_some_and(|route| self.routes.contains(route))
    }

    fn uses(&self, end: usize, id: ConnectionId) -> bool {
        self.links[end].is_some_and(|(link, _)| link == id)
    }

    fn post(&mut self, to: usize, after: Duration, parcel: Parcel) {
        self.next += 1;
        self.parcels.insert((self.now + after, self.next), (to, parcel));
    }

    pub(super) fn give(&mut self, end: usize, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for action in self.ends[end].handle(self.now, event) {
                self.act(end, action);
            }
        }
        assert!(self.ends[end].next_tick() > self.now, "a busy loop");
    }

    fn act(&mut self, end: usize, action: Action) {
        let (other, delay) = (1 - end, self.delay);
        match action {
            Action::Dial(target) => self.knock(end, target, 0),
            Action::Use(id, epoch) => {
                assert_eq!(end, 0, "only the controlling end chooses");
                self.change(end, id, epoch);
                if let Some((_, Target { kind, .. })) = self.connections.get(&id) {
                    let (kind, instance) = (*kind, self.instances[end]);
                    let taken = Parcel::Event(Event::Taken { id, kind, instance, epoch });
                    self.send(end, id, false, taken);
                }
            }
            Action::Adopt(id, epoch) => self.change(end, id, epoch),
            Action::Close(id) => {
                self.closed.insert((end, id));
                self.post(other, delay, Parcel::Event(Event::Closed(id)));
            }
            Action::Beat { number, full } => {
                if let Some((id, _)) = self.links[end] {
                    self.send(end, id, full, Parcel::Beat(id, number));
                }
            }
            Action::Stalled(_) => {}
            Action::Shrink(id) => {
                if let Some((_, target)) = self.connections.get(&id) {
                    self.small.insert(target.kind);
                }
            }
            Action::Lost => self.links[end] = None,
        }
    }

    /// Sends over a connection, which keeps the order: behind a packet that does not pass nothing does.
    fn send(&mut self, end: usize, id: ConnectionId, full: bool, parcel: Parcel) {
        let kind = self.connections.get(&id).map(|(_, target)| target.kind);
        let narrow = kind.is_some_and(|kind| self.narrow.contains(&kind));
        if full && narrow && !self.careful.contains(&id) {
            self.stuck.insert((end, id));
        }
        if !self.stuck.contains(&(end, id)) {
            self.post(1 - end, self.delay, parcel);
        }
    }

    /// Tries a route: as TCP and QUIC do, again and again until the attempt is over.
    fn knock(&mut self, end: usize, target: Target, seconds: u32) {
        let (route, delay) = ((end, target.clone()), self.delay);
        if SECOND * seconds >= ATTEMPT_TIMEOUT {
            return self.post(end, Duration::ZERO, Parcel::Event(Event::Tried(target)));
        }
        if !self.routes.contains(&route) {
            return self.post(end, SECOND, Parcel::Knock(target, seconds + 1));
        }
        self.next += 1;
        let (id, kind, lost) = (self.next, target.kind, self.ends[end].lost());
        self.connections.insert(id, route);
        if self.small.contains(&kind) {
            self.careful.insert(id);
        }
        for (to, times) in [(end, 3), (1 - end, 2)] {
            let opened = Parcel::Event(Event::Opened { id, kind, lost });
            self.post(to, delay * times, opened);
        }
        let introduced = Event::Introduced { id, instance: self.instances[1] };
        self.post(0, delay * 4, Parcel::Event(introduced));
        self.post(end, delay * 3, Parcel::Event(Event::Tried(target)));
    }

    fn change(&mut self, end: usize, id: ConnectionId, epoch: u64) {
        self.links[end] = Some((id, epoch));
        self.changes[end] += 1;
    }

    fn arrive(&mut self, to: usize, parcel: Parcel) {
        let over = match &parcel {
            Parcel::Beat(id, _) | Parcel::Event(Event::Taken { id, .. }) => {
                self.closed.contains(&(to, *id)).then_some(*id)
            }
            _ => None,
        };
        match parcel {
            // Who has closed a connection says so to whatever still comes over it.
            _ if over.is_some_and(|id| self.alive(id)) => {
                let closed = Event::Closed(over.unwrap_or_default());
                self.post(1 - to, self.delay, Parcel::Event(closed));
            }
            Parcel::Knock(target, seconds) => self.knock(to, target, seconds),
            // Only the local end of an attempt is told without the network.
            Parcel::Event(event @ Event::Tried(_)) => self.give(to, event),
            Parcel::Event(event) if connection(&event).is_some_and(|id| self.alive(id)) => {
                if let Event::Closed(id) = event {
                    self.closed.insert((to, id));
                }
                self.give(to, event);
            }
            Parcel::Beat(id, number) if self.alive(id) && self.uses(to, id) => {
                // An end answers on the connection that the beat came over.
                self.send(to, id, false, Parcel::Echo(id, number));
            }
            Parcel::Echo(id, number) if self.alive(id) => self.give(to, Event::Echoed(id, number)),
            _ => {}
        }
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let parcel = self.parcels.keys().next().map(|(at, _)| *at);
            let ticks = self.ends.iter().map(Paths::next_tick);
            let next = ticks.chain(parcel).min().unwrap_or(end);
            if next > end {
                self.now = end;
                return;
            }
            self.now = next.max(self.now);
            if let Some(first) = self.parcels.first_entry().filter(|f| f.key().0 <= self.now) {
                let (to, parcel) = first.remove();
                self.arrive(to, parcel);
                continue;
            }
            (0..2).for_each(|end| self.give(end, Event::Tick));
        }
    }

    /// One end finds the connection of its link broken.
    pub(super) fn breaks(&mut self, end: usize, id: ConnectionId) {
        self.closed.insert((end, id));
        self.give(end, Event::Closed(id));
    }

    pub(super) fn reset(&mut self, id: ConnectionId) {
        if self.connections.remove(&id).is_some() {
            (0..2).for_each(|end| self.give(end, Event::Closed(id)));
        }
    }

    pub(super) fn kinds(&self) -> [Option<Kind>; 2] {
        [self.ends[0].healthy(), self.ends[1].healthy()]
    }

    /// Both ends have the same link, over which packets of full size pass, or are not sent.
    pub(super) fn carries(&self) -> bool {
        let healthy = self.kinds().iter().all(Option::is_some);
        let Some((id, _)) = self.links[0].filter(|_| self.links[0] == self.links[1]) else {
            return false;
        };
        let kind = self.connections.get(&id).map(|(_, target)| target.kind);
        let narrow = kind.is_some_and(|kind| self.narrow.contains(&kind));
        healthy && (!narrow || self.careful.contains(&id))
    }

    pub(super) fn agree_on(&self, kind: Kind) {
        assert_eq!(self.kinds(), [Some(kind); 2]);
        assert!(self.links[0].is_some() && self.links[0] == self.links[1], "{:?}", self.links);
    }
}
