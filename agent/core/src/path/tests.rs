//! Two ends and the network between them, with a clock that is a number.

mod schedules;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::*;

const SECOND: Duration = Duration::from_secs(1);
/// How long an attempt over a dead route takes.
const ATTEMPT: Duration = Duration::from_secs(5);

/// A message, or the end of something, on its way to one end.
#[derive(Clone, Debug)]
enum Parcel {
    Event(Event),
    /// A beat of the other end on this connection.
    Beat(ConnectionId, u32),
    /// An attempt over a route that was dead knocks again, so many seconds after its beginning.
    Knock(Target, u32),
}

/// Two ends; the first controls.
struct World {
    ends: [Paths; 2],
    instances: [u64; 2],
    /// What can be reached by whom: the end that dials, and the target.
    routes: BTreeSet<(usize, Target)>,
    /// Connections that are up, with the target they were dialled at and the end that did.
    connections: BTreeMap<ConnectionId, (usize, Target)>,
    /// The ends that have closed a connection.
    closed: BTreeSet<(usize, ConnectionId)>,
    /// The link of each end, and its epoch.
    links: [Option<(ConnectionId, u64)>; 2],
    /// How often each end has changed its link.
    changes: [u32; 2],
    parcels: BTreeMap<(Duration, u64), (usize, Parcel)>,
    delay: Duration,
    now: Duration,
    next: u64,
}

fn target(kind: Kind) -> Target {
    Target { kind, place: "there".into() }
}

const KINDS: [Kind; 3] = [Kind::Tcp, Kind::Quic, Kind::Relay];

impl World {
    /// Ends that know all of each other; `kinds` can be reached, from both.
    fn new(kinds: &[Kind]) -> Self {
        let mut world = Self {
            ends: [Paths::new(true), Paths::new(false)],
            instances: [1, 2],
            routes: BTreeSet::new(),
            connections: BTreeMap::new(),
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

    fn open(&mut self, kinds: &[Kind]) {
        let routes = kinds.iter().flat_map(|kind| [(0, target(*kind)), (1, target(*kind))]);
        self.routes.extend(routes);
    }

    /// These kinds are dead from now on; what was connected stays, and is silent.
    fn kill(&mut self, kinds: &[Kind]) {
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

    fn give(&mut self, end: usize, event: Event) {
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
                    self.post(other, delay, taken);
                }
            }
            Action::Adopt(id, epoch) => self.change(end, id, epoch),
            Action::Close(id) => {
                self.closed.insert((end, id));
                self.post(other, delay, Parcel::Event(Event::Closed(id)));
            }
            Action::Beat(number) => {
                if let Some((id, _)) = self.links[end] {
                    self.post(other, delay, Parcel::Beat(id, number));
                }
            }
            Action::Lost => self.links[end] = None,
        }
    }

    /// Tries a route: as TCP and QUIC do, again and again until the attempt is over.
    fn knock(&mut self, end: usize, target: Target, seconds: u32) {
        let (route, delay) = ((end, target.clone()), self.delay);
        if SECOND * seconds >= ATTEMPT {
            return self.post(end, Duration::ZERO, Parcel::Event(Event::Tried(target)));
        }
        if !self.routes.contains(&route) {
            return self.post(end, SECOND, Parcel::Knock(target, seconds + 1));
        }
        self.next += 1;
        let (id, kind, lost) = (self.next, target.kind, self.ends[end].lost());
        self.connections.insert(id, route);
        for (to, times) in [(end, 3), (1 - end, 2)] {
            let opened = Parcel::Event(Event::Opened { id, kind, lost });
            self.post(to, delay * times, opened);
        }
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
            Parcel::Event(
                event @ (Event::Opened { id, .. } | Event::Taken { id, .. } | Event::Closed(id)),
            ) if self.alive(id) => {
                if matches!(event, Event::Closed(_)) {
                    self.closed.insert((to, id));
                }
                self.give(to, event);
            }
            Parcel::Beat(id, number) if self.alive(id) && self.uses(to, id) => {
                // An end answers on the connection that the beat came over.
                let echoed = Parcel::Event(Event::Echoed(id, number));
                self.post(1 - to, self.delay, echoed);
            }
            Parcel::Event(event @ Event::Echoed(id, _)) if self.alive(id) => self.give(to, event),
            _ => {}
        }
    }

    fn pass(&mut self, time: Duration) {
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
    fn breaks(&mut self, end: usize, id: ConnectionId) {
        self.closed.insert((end, id));
        self.give(end, Event::Closed(id));
    }

    fn reset(&mut self, id: ConnectionId) {
        if self.connections.remove(&id).is_some() {
            (0..2).for_each(|end| self.give(end, Event::Closed(id)));
        }
    }

    fn kinds(&self) -> [Option<Kind>; 2] {
        [self.ends[0].healthy(), self.ends[1].healthy()]
    }

    fn agree_on(&self, kind: Kind) {
        assert_eq!(self.kinds(), [Some(kind); 2]);
        assert!(self.links[0].is_some() && self.links[0] == self.links[1], "{:?}", self.links);
    }
}

#[test]
fn the_best_path_there_is_becomes_the_link() {
    for (kinds, best) in
        [(&KINDS[..], Kind::Tcp), (&KINDS[1..], Kind::Quic), (&KINDS[2..], Kind::Relay)]
    {
        let mut world = World::new(kinds);
        world.pass(SECOND);
        world.agree_on(best);
        assert!(world.changes[0] == 1, "found at once, not by way of a worse one");
    }
}

#[test]
fn a_relay_is_used_at_once_while_nothing_else_comes_up() {
    let mut world = World::new(&[Kind::Relay]);
    world.pass(Duration::from_millis(800));
    world.agree_on(Kind::Relay);
}

#[test]
fn a_better_path_that_opens_is_taken_within_seconds() {
    for (before, better) in
        [(Kind::Relay, Kind::Quic), (Kind::Relay, Kind::Tcp), (Kind::Quic, Kind::Tcp)]
    {
        let mut world = World::new(&[before]);
        world.pass(SECOND * 3);
        world.agree_on(before);
        world.open(&[better]);
        world.pass(SECOND * 2);
        world.agree_on(better);
    }
}

#[test]
fn better_paths_are_tried_ever_more_seldom_but_for_ever() {
    let mut world = World::new(&[Kind::Relay]);
    world.pass(SECOND * 600);
    world.open(&[Kind::Tcp]);
    world.pass(SECOND * 61);
    world.agree_on(Kind::Tcp);
}

#[test]
fn a_silent_link_is_replaced_within_two_seconds() {
    let mut world = World::new(&KINDS);
    world.pass(SECOND * 20);
    world.kill(&[Kind::Tcp]);
    world.pass(Duration::from_millis(2500));
    assert_ne!(world.kinds()[0], Some(Kind::Tcp));
    world.agree_on(Kind::Quic);
}

#[test]
fn a_link_that_comes_back_in_time_is_kept_where_there_is_no_other() {
    let mut world = World::new(&[Kind::Tcp]);
    world.pass(SECOND * 20);
    let before = world.links;
    world.kill(&[Kind::Tcp]);
    world.pass(SECOND);
    world.open(&[Kind::Tcp]);
    world.pass(SECOND * 5);
    assert_eq!(world.links, before);
    world.agree_on(Kind::Tcp);
}

#[test]
fn a_long_outage_ends_within_two_seconds_of_its_cause() {
    for kind in KINDS {
        let mut world = World::new(&[kind]);
        world.pass(SECOND * 20);
        world.kill(&KINDS);
        world.pass(SECOND * 25);
        assert_eq!(world.kinds(), [None, None]);
        world.open(&[kind]);
        world.pass(Duration::from_millis(1500));
        world.agree_on(kind);
    }
}

#[test]
fn who_has_moved_gets_another_link_as_soon_as_the_other_end_agrees() {
    for (mover, soon) in [(0, 200), (1, 1300)] {
        let mut world = World::new(&[Kind::Tcp]);
        world.pass(SECOND * 20);
        let before = world.links[0].unwrap();
        world.connections.remove(&before.0);
        world.give(mover, Event::Moved { uprooted: true });
        world.pass(Duration::from_millis(soon));
        world.agree_on(Kind::Tcp);
        assert!(world.links[0].unwrap().1 > before.1);
    }
}

#[test]
fn a_link_that_only_one_end_has_lost_is_replaced_by_both() {
    for lonely in 0..2 {
        let mut world = World::new(&[Kind::Tcp]);
        world.pass(SECOND * 20);
        let before = world.links[0].unwrap();
        world.breaks(lonely, before.0);
        world.pass(SECOND);
        world.agree_on(Kind::Tcp);
        assert!(world.links[0].unwrap().1 > before.1);
    }
}

#[test]
fn a_worse_path_never_replaces_a_good_one() {
    let mut world = World::new(&[Kind::Tcp]);
    world.pass(SECOND * 20);
    let before = world.links;
    for kind in KINDS {
        world.next += 1;
        let id = world.next;
        world.connections.insert(id, (1, target(kind)));
        world.give(0, Event::Opened { id, kind, lost: 0 });
    }
    world.pass(SECOND * 5);
    assert_eq!(world.links, before);
}

#[test]
fn an_older_epoch_of_the_same_instance_is_not_adopted() {
    let mut end = Paths::new(false);
    let taken = |id, instance, epoch| Event::Taken { id, kind: Kind::Tcp, instance, epoch };
    let adopts = |actions: &[Action]| actions.iter().any(|a| matches!(a, Action::Adopt(..)));
    assert!(adopts(&end.handle(SECOND, taken(1, 7, 5))));
    for epoch in [4, 5] {
        let actions = end.handle(SECOND, taken(2, 7, epoch));
        assert!(!adopts(&actions) && actions.contains(&Action::Close(2)));
    }
    assert!(adopts(&end.handle(SECOND, taken(3, 8, 1))), "one that was started anew");
}

#[test]
fn a_path_that_dies_again_and_again_is_left_alone_for_longer_each_time() {
    let mut world = World::new(&[Kind::Relay]);
    world.pass(SECOND * 3);
    for _ in 0..100 {
        // It opens, and dies three seconds later.
        world.open(&[Kind::Tcp]);
        world.pass(SECOND * 3);
        world.kill(&[Kind::Tcp]);
        world.pass(SECOND * 3);
    }
    assert!(world.changes[0] < 60, "{} changes in ten minutes", world.changes[0]);
}

#[test]
fn one_who_was_asleep_does_not_suspect_the_others() {
    let mut end = Paths::new(false);
    end.handle(SECOND, Event::Taken { id: 1, kind: Kind::Tcp, instance: 1, epoch: 1 });
    end.handle(SECOND * 60, Event::Tick);
    assert_eq!(end.healthy(), Some(Kind::Tcp));
    for seconds in 61..65 {
        end.handle(SECOND * seconds, Event::Tick);
    }
    assert_eq!(end.healthy(), None);
}

/// Targets of one kind at these places.
fn at(places: std::ops::Range<u32>) -> Vec<Target> {
    places.map(|n| Target { kind: Kind::Tcp, place: format!("{n:05}") }).collect()
}

#[test]
fn whoever_tells_where_a_peer_is_does_not_decide_how_much_is_dialled() {
    let mut paths = Paths::new(true);
    let mut dialled = 0;
    for n in 0..1000 {
        let now = Duration::from_millis(u64::from(n) * 10);
        let actions = paths.handle(now, Event::Targets(at(n * 32..(n + 1) * 32)));
        dialled += actions.iter().filter(|action| matches!(action, Action::Dial(_))).count();
    }
    assert!((400..=500).contains(&dialled), "{dialled} attempts in 10 s");
}

#[test]
fn who_has_waited_longest_is_tried_first() {
    let mut paths = Paths::new(true);
    // The true one sorts last, and was there before the others came.
    let known = Target { kind: Kind::Tcp, place: "true".into() };
    let mut tries = 0;
    for n in 0..20_u32 {
        let lies = at(n * 200..(n + 1) * 200).into_iter();
        let targets = lies.chain([known.clone()]).collect();
        for action in paths.handle(SECOND * n, Event::Targets(targets)) {
            if action == Action::Dial(known.clone()) {
                tries += 1;
                paths.handle(SECOND * n, Event::Tried(known.clone()));
            }
        }
    }
    assert!(tries >= 10, "tried {tries} times in 20 s");
}
