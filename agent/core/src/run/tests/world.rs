//! All parties of one session in one process: links as queues, a clock that is a number.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::super::{Action, Event, Run, Timeouts};
use crate::agreement::{EncodedEntry, Entry, RunId};
use crate::claims::{Fingerprint, PublicKey};
use crate::component::Components;
use crate::control::Control;
use crate::label::Label;
use crate::name::PartyName;
use crate::numbers::Numbers;
use crate::roster::{PeerIndex, Roster};
use crate::verdict::{Failure, Stage, Verdict};
use crate::waits::Waits;

pub(super) const GRACE: Duration = Duration::from_secs(30);
pub(super) const DEADLINE: Duration = Duration::from_secs(300);
/// How often links say that they are there: often enough for the grace time.
const BEAT: Duration = Duration::from_secs(5);

impl Numbers {
    pub(super) fn index(&mut self, end: usize) -> usize {
        usize::try_from(self.below(end as u64)).unwrap()
    }
}

/// All parties of one session and the links between them.
pub(super) struct World {
    pub(super) runs: Vec<Run>,
    /// Pairs between which there is a link, the lower index first.
    pub(super) links: BTreeSet<(usize, usize)>,
    /// Messages under way, by sender and receiver.
    pub(super) wires: Vec<Vec<VecDeque<Control>>>,
    /// What each was shown of who waits for what.
    pub(super) shown: Vec<Vec<(usize, Waits)>>,
    pub(super) verdicts: Vec<Option<Verdict>>,
    pub(super) left: Vec<bool>,
    pub(super) agreed: Vec<Option<RunId>>,
    pub(super) started: Vec<Option<RunId>>,
    /// How often somebody closed a link to look for another.
    pub(super) unlinks: usize,
    /// Links that drop what is sent from the first to the second.
    pub(super) cut: Vec<(usize, usize)>,
    /// Parties whose machine stands still.
    pub(super) frozen: Vec<usize>,
    /// What waits for them.
    asleep: VecDeque<(usize, Event)>,
    pub(super) now: Duration,
    next_beat: Duration,
}

pub(super) fn key(index: usize) -> PublicKey {
    PublicKey([u8::try_from(index).unwrap(); 32])
}

/// The party at this position.
pub(super) fn at(position: usize) -> PeerIndex {
    PeerIndex::new(position)
}

/// All components that this version knows, `odd` with a value of its own.
pub(super) fn components(odd: Option<&Label>) -> Components {
    let part = |(label, _): &(Label, _)| (label.clone(), vec![vec![u8::from(odd == Some(label))]]);
    Components::new(Label::KNOWN.iter().map(part))
}

pub(super) fn fields(roster: &Roster, index: usize, components: &Components, salt: u8) -> Entry {
    let nonce = [salt.wrapping_add(key(index).0[0]); 32];
    Entry {
        party: roster.get(at(index)).unwrap().clone(),
        key: key(index),
        nonce,
        digests: components.salted(&nonce),
        versions: "test".into(),
    }
}

pub(super) fn entry(
    roster: &Roster,
    index: usize,
    components: &Components,
    salt: u8,
) -> EncodedEntry {
    fields(roster, index, components, salt).encode().unwrap()
}

/// The entry as a later version might write it, with more behind what this one knows.
pub(super) fn with_more(entry: &EncodedEntry, more: &[u8]) -> EncodedEntry {
    [entry.as_bytes(), more].concat().into()
}

fn run(me: usize, roster: &Roster) -> Run {
    let timeouts = Timeouts { deadline: DEADLINE, grace: GRACE };
    Run::new(at(me), roster.clone(), Fingerprint([9; 32]), timeouts)
}

impl World {
    pub(super) fn new(parties: usize) -> Self {
        let names: Vec<PartyName> =
            (0..parties).map(|i| format!("p{i}").parse().unwrap()).collect();
        let roster = Roster::try_from(names).unwrap();
        Self {
            runs: (0..parties).map(|me| run(me, &roster)).collect(),
            links: BTreeSet::new(),
            wires: vec![vec![VecDeque::new(); parties]; parties],
            shown: vec![Vec::new(); parties],
            verdicts: vec![None; parties],
            left: vec![false; parties],
            agreed: vec![None; parties],
            started: vec![None; parties],
            unlinks: 0,
            cut: Vec::new(),
            frozen: Vec::new(),
            asleep: VecDeque::new(),
            now: Duration::ZERO,
            next_beat: BEAT,
        }
    }

    pub(super) fn running(parties: usize) -> Self {
        let mut world = Self::new(parties);
        world.link_all();
        world.prepare_all();
        world.settle();
        assert!(world.started.iter().all(Option::is_some));
        world
    }

    pub(super) fn give(&mut self, to: usize, event: Event) {
        let mut events = VecDeque::from([(to, event)]);
        while let Some((to, event)) = events.pop_front() {
            if self.left[to] {
                continue;
            }
            if self.frozen.contains(&to) {
                self.asleep.push_back((to, event));
                continue;
            }
            for action in self.runs[to].handle(self.now, event) {
                self.act(to, action, &mut events);
            }
        }
    }

    fn act(&mut self, me: usize, action: Action, events: &mut VecDeque<(usize, Event)>) {
        match action {
            Action::Send(peer, message) => {
                let peer = peer.get();
                if self.linked(me, peer) && !self.cut.contains(&(me, peer)) {
                    self.wires[me][peer].push_back(message);
                }
            }
            Action::Dial { .. } | Action::Recognised(_) | Action::FailedLate(_) => {}
            Action::Agreed(id) => self.agreed[me] = Some(id),
            Action::Waits { party, now, .. } => {
                self.shown[me].push((party.get(), now));
            }
            Action::Start => self.started[me] = self.agreed[me],
            Action::End(verdict) => {
                assert!(self.verdicts[me].is_none(), "a second verdict");
                self.verdicts[me] = Some(verdict);
            }
            Action::Unlink(peer) => {
                self.unlinks += 1;
                let (peer, closed) = (peer.get(), "the peer closed it".into());
                self.break_link(me, peer);
                events.push_back((peer, Event::Unlinked(at(me), closed)));
            }
            Action::Leave => {
                self.left[me] = true;
                let linked = (0..self.runs.len()).filter(|&peer| self.linked(me, peer));
                for peer in linked.collect::<Vec<_>>() {
                    // What it said last arrives before its goodbye does.
                    let last = std::mem::take(&mut self.wires[me][peer]);
                    events.extend(last.into_iter().map(|m| (peer, Event::Received(at(me), m))));
                    events.push_back((peer, Event::Unlinked(at(me), "the peer closed it".into())));
                }
                self.links.retain(|&(a, b)| a != me && b != me);
            }
        }
    }

    pub(super) fn linked(&self, a: usize, b: usize) -> bool {
        self.links.contains(&(a.min(b), a.max(b)))
    }

    fn break_link(&mut self, a: usize, b: usize) -> bool {
        self.wires[a][b].clear();
        self.wires[b][a].clear();
        self.links.remove(&(a.min(b), a.max(b)))
    }

    /// A link comes up, in place of the one there was; what was under way on that is lost.
    pub(super) fn link(&mut self, a: usize, b: usize) {
        if !self.left[a] && !self.left[b] {
            self.break_link(a, b);
            self.links.insert((a.min(b), a.max(b)));
            self.give(a, Event::Linked(at(b), key(b)));
            self.give(b, Event::Linked(at(a), key(a)));
        }
    }

    /// A link dies, and what was under way on it is lost.
    pub(super) fn unlink(&mut self, a: usize, b: usize) {
        if self.break_link(a, b) {
            self.give(a, Event::Unlinked(at(b), "reset".into()));
            self.give(b, Event::Unlinked(at(a), "reset".into()));
        }
    }

    pub(super) fn pairs(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let m = self.runs.len();
        (0..m).flat_map(move |a| (a + 1..m).map(move |b| (a, b)))
    }

    pub(super) fn link_all(&mut self) {
        self.pairs().for_each(|(a, b)| self.link(a, b));
    }

    pub(super) fn prepare(&mut self, index: usize, odd: Option<&Label>) {
        self.prepare_salted(index, odd, 1);
    }

    pub(super) fn prepare_salted(&mut self, index: usize, odd: Option<&Label>, salt: u8) {
        let components = components(odd);
        let own = entry(&self.runs[index].roster, index, &components, salt);
        self.prepare_as(index, components, own);
    }

    pub(super) fn prepare_as(&mut self, index: usize, components: Components, own: EncodedEntry) {
        self.give(index, Event::Prepared { components: Box::new(components), own });
    }

    pub(super) fn prepare_all(&mut self) {
        (0..self.runs.len()).for_each(|index| self.prepare(index, None));
    }

    /// The party's runner is killed and started anew: it knows nothing.
    pub(super) fn restart(&mut self, index: usize, salt: u8) {
        for peer in (0..self.runs.len()).filter(|&peer| peer != index) {
            if self.break_link(index, peer) {
                self.give(peer, Event::Unlinked(at(index), "reset".into()));
            }
        }
        self.runs[index] = run(index, &self.runs[index].roster.clone());
        (self.verdicts[index], self.left[index]) = (None, false);
        (self.agreed[index], self.started[index]) = (None, None);
        self.prepare_salted(index, None, salt);
    }

    /// Delivers one message, chosen by `pick` among the wires that hold one.
    pub(super) fn deliver(&mut self, pick: usize) -> bool {
        let m = self.runs.len();
        let pairs = (0..m).flat_map(|a| (0..m).map(move |b| (a, b)));
        let ready =
            |&(a, b): &(usize, usize)| !self.wires[a][b].is_empty() && !self.frozen.contains(&b);
        let waiting: Vec<(usize, usize)> = pairs.filter(ready).collect();
        if waiting.is_empty() {
            return false;
        }
        let (from, to) = waiting[pick % waiting.len()];
        let message = self.wires[from][to].pop_front().unwrap();
        self.give(to, Event::Received(at(from), message));
        true
    }

    pub(super) fn settle(&mut self) {
        while self.deliver(0) {}
    }

    /// A party's machine stands still for `time`, and goes on with what came meanwhile.
    pub(super) fn freeze(&mut self, index: usize, time: Duration) {
        self.frozen = vec![index];
        self.pass(time);
        self.frozen.clear();
        self.runs[index].listen_anew(self.now, time);
        // The clock may be looked at before anything that has come.
        self.give(index, Event::Tick);
        for (to, event) in std::mem::take(&mut self.asleep) {
            self.give(to, event);
        }
    }

    /// Lets the time pass, in the steps that the machines ask for; messages arrive at once.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.wait_until(end);
            self.settle();
        }
    }

    /// Lets the time pass while messages are under way: of these only beats arrive.
    pub(super) fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.wait_until(end);
        }
    }

    /// One step, at most to `end`.
    fn wait_until(&mut self, end: Duration) {
        let awake = |i: &usize| !self.frozen.contains(i) && !self.left[*i];
        let due = (0..self.runs.len()).filter(awake).filter_map(|i| self.runs[i].next_tick());
        let due = due.min().unwrap_or(end).min(self.next_beat);
        self.now = due.max(self.now + Duration::from_millis(1)).min(end);
        if self.now >= self.next_beat {
            self.next_beat = self.now + BEAT;
            self.beat();
        }
        for index in 0..self.runs.len() {
            if !self.frozen.contains(&index) {
                self.give(index, Event::Tick);
                let next = self.runs[index].next_tick();
                assert!(self.left[index] || next.is_none_or(|at| at > self.now), "a busy loop");
            }
        }
    }

    fn beat(&mut self) {
        for (a, b) in self.links.clone().into_iter().flat_map(|(a, b)| [(a, b), (b, a)]) {
            let silent = self.frozen.contains(&a) || self.frozen.contains(&b);
            if !silent && !self.cut.contains(&(a, b)) && self.linked(a, b) {
                // What a link begins with is not delayed for as long as the grace time.
                while self.runs[b].stage() >= Stage::Agree
                    && !self.runs[b].peers[at(a)].introduced
                    && let Some(message) = self.wires[a][b].pop_front()
                {
                    self.give(b, Event::Received(at(a), message));
                }
                self.give(b, Event::Received(at(a), Control::Beat(0)));
            }
        }
    }

    pub(super) fn failure(&self, index: usize) -> &Failure {
        match &self.verdicts[index] {
            Some(Verdict::Failed(failure)) => failure,
            other => panic!("party {index}: {other:?}"),
        }
    }

    pub(super) fn blamed(&self, index: usize) -> Vec<&str> {
        self.failure(index).who.iter().map(PartyName::as_str).collect()
    }
}
