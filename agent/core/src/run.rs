//! One run of a session as one party lives it: from nobody there to a verdict.
//!
//! ```text
//! find ──all linked──▶ agree ──m identical lists──▶ start ──all ready──▶ run ──done here──▶ end
//! ```
//!
//! [`Run`] is the machine behind it. The runner feeds it events and the time, and carries out the
//! actions it returns; every wait in it is bounded by the deadline (until the program starts) or by
//! the grace time (from then on), so that a party that is missing, silent, different or gone always
//! ends in a verdict that names it.

mod peer;

use std::time::Duration;

use crate::agreement::{Agreement, Entry, Fault, RunId};
use crate::claims::{Fingerprint, PublicKey};
use crate::component::Components;
use crate::control::Control;
use crate::name::PartyName;
use crate::roster::Roster;
use crate::verdict::{Exit, Failure, Reason, Remark, Stage, Verdict};
use peer::Peer;

/// How long a failure waits for a peer's explanation where it may be the consequence of another.
const SETTLE: Duration = Duration::from_secs(1);
/// How long a known difference waits for the other entries, so that the odd one out can be named.
const DIFFERENCE_SETTLE: Duration = Duration::from_secs(3);
/// Longest time between two messages to a peer.
const BEAT: Duration = Duration::from_secs(1);

/// How long this party waits.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// From the start until all parties run the program.
    pub deadline: Duration,
    /// How long a peer may be silent.
    pub grace: Duration,
}

/// What happened, as the runner saw it.
#[derive(Clone, Debug)]
pub enum Event {
    /// The MPyC process is ready in its sandbox and this is what it would run.
    Prepared(Box<Components>, Entry),
    /// A control link to this peer is up; its certificate shows this key.
    Linked(usize, PublicKey),
    /// The control link to this peer has ended.
    Unlinked(usize, Remark),
    /// A message came over the control link.
    Received(usize, Control),
    /// A stream from this peer ended as streams should.
    StreamEnded(usize),
    /// A stream to this peer was cut.
    StreamCut(usize, Remark),
    /// This peer did what it may not.
    Faulty(usize, Reason),
    /// Something failed here.
    Failed(Reason),
    /// The MPyC process ended.
    Exited(Exit),
    /// Time has passed.
    Tick,
}

/// What the runner shall do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send a message over the control link to this peer.
    Send(usize, Control),
    /// Close the control link to this peer and look for another.
    Unlink(usize),
    /// All parties hold the same agreement: streams of this run may come.
    Agreed(RunId),
    /// Let the program start.
    Start,
    /// Dial the stream that this peer's MPyC opens.
    Dial(usize, u32),
    /// The run is over: end the MPyC process, write the record, close the links.
    End(Verdict),
}

/// The state of a run at one party.
#[derive(Debug)]
pub struct Run {
    me: usize,
    roster: Roster,
    root: Fingerprint,
    patience: Patience,
    stage: Stage,
    agreement: Option<Agreement>,
    peers: Vec<Peer>,
    done: bool,
    over: bool,
    next_beat: Duration,
    difference_due: Option<Duration>,
    pending: Option<(Duration, Failure)>,
    actions: Vec<Action>,
}

impl Run {
    /// A run of the party at roster index `me`, at time zero.
    #[must_use]
    pub fn new(me: usize, roster: Roster, root: Fingerprint, patience: Patience) -> Self {
        let peers = (0..roster.len()).map(|_| Peer::default()).collect();
        Self {
            me,
            roster,
            root,
            patience,
            stage: Stage::Find,
            agreement: None,
            peers,
            done: false,
            over: false,
            next_beat: Duration::ZERO,
            difference_due: None,
            pending: None,
            actions: Vec::new(),
        }
    }

    /// Where the run is.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// The peers without a control link.
    #[must_use]
    pub fn missing(&self) -> Vec<PartyName> {
        self.names(|peer| !peer.linked())
    }

    /// When [`Event::Tick`] is due at the latest, in the time that `handle` is given.
    #[must_use]
    pub fn next_tick(&self) -> Duration {
        let silent = self.others().filter_map(|i| self.peers[i].silent_at(self.patience.grace));
        let deadline = (self.stage < Stage::Run).then_some(self.patience.deadline);
        let pending = self.pending.as_ref().map(|(at, _)| *at);
        let more = [deadline, self.difference_due, pending].into_iter().flatten();
        silent.chain(more).fold(self.next_beat, Duration::min)
    }

    /// Takes one event at time `now` (since the start of this run) and says what to do.
    pub fn handle(&mut self, now: Duration, event: Event) -> Vec<Action> {
        if !self.over {
            self.take(now, event);
        }
        if !self.over {
            self.advance(now);
        }
        if !self.over {
            self.watch(now);
        }
        std::mem::take(&mut self.actions)
    }

    fn take(&mut self, now: Duration, event: Event) {
        match event {
            Event::Prepared(components, own) => self.prepared(*components, own),
            Event::Linked(peer, key) => {
                if self.peers[peer].linked() {
                    self.gone(peer, Reason::Lost("the peer opened another".into()));
                }
                self.peers[peer] = Peer::linked_at(now, key);
                self.greet(peer);
            }
            Event::Unlinked(peer, why) => self.gone(peer, Reason::Lost(why)),
            Event::Received(peer, _) if !self.peers[peer].linked() => {}
            Event::Received(peer, message) => {
                self.peers[peer].heard = now;
                self.receive(peer, message);
            }
            Event::StreamEnded(peer) => self.peers[peer].stream_ended = true,
            Event::StreamCut(peer, why) => {
                self.peers[peer].stream_ended = true;
                if !self.done && !self.peers[peer].done {
                    let failure = self.failure(vec![peer], Reason::Lost(why));
                    self.pending.get_or_insert((now + SETTLE, failure));
                }
            }
            Event::Faulty(peer, reason) => self.blame(vec![peer], reason),
            Event::Failed(reason) => self.blame(vec![self.me], reason),
            Event::Exited(Exit::Status(0)) if self.stage == Stage::Run => {
                self.stage = Stage::End;
                self.done = true;
                self.send_all(&Control::Done);
            }
            Event::Exited(exit) => self.exited(now, exit),
            Event::Tick => {}
        }
    }

    fn prepared(&mut self, components: Components, own: Entry) {
        let agreement = Agreement::new(self.me, self.roster.clone(), self.root, components, own);
        self.agreement = Some(agreement);
        for peer in self.linked() {
            self.greet(peer);
            if let Some(entry) = self.peers[peer].early_entry.take() {
                self.on_entry(peer, entry);
            }
        }
    }

    /// Sends this party's entry, if it has one yet.
    fn greet(&mut self, peer: usize) {
        let own = self.agreement.as_ref().and_then(|a| a.own().cloned());
        if let Some(entry) = own {
            self.send(peer, Control::Entry(entry));
        }
    }

    /// A program that fails right after a peer's stream ended may be a consequence: the peer's own
    /// explanation, if one comes, is the better verdict.
    fn exited(&mut self, now: Duration, exit: Exit) {
        let failure = self.failure(vec![self.me], Reason::Ended(exit));
        if self.stage == Stage::Run && self.others().any(|i| self.peers[i].stream_ended) {
            self.pending.get_or_insert((now + SETTLE, failure));
        } else {
            self.fail(failure);
        }
    }

    fn receive(&mut self, peer: usize, message: Control) {
        match message {
            Control::Beat => {}
            Control::Entry(entry) if self.agreement.is_some() => self.on_entry(peer, entry),
            Control::Entry(entry) if self.peers[peer].early_entry.is_none() => {
                self.peers[peer].early_entry = Some(entry);
            }
            Control::List(list) if self.peers[peer].list.is_none() => {
                self.peers[peer].list = Some(list);
            }
            Control::Ready(id) if self.peers[peer].ready.is_none() => {
                self.peers[peer].ready = Some(id);
            }
            Control::Dial { cycle } if self.stage >= Stage::Start => {
                self.actions.push(Action::Dial(peer, cycle));
            }
            Control::Done if self.stage >= Stage::Start => self.peers[peer].done = true,
            Control::Abort(failure) => self.aborted(peer, failure),
            _ => self.blame(vec![peer], Reason::Protocol("sent a message out of turn".into())),
        }
    }

    fn on_entry(&mut self, peer: usize, entry: Entry) {
        let Some(key) = self.peers[peer].key else { return };
        let Some(agreement) = &mut self.agreement else { return };
        if let Err(fault) = agreement.on_entry(peer, &key, entry) {
            self.blame(fault.who, fault.reason);
        }
    }

    /// A peer says that the run has failed. It is believed that far; who saw it is part of the verdict.
    fn aborted(&mut self, peer: usize, mut failure: Failure) {
        let Some(name) = self.roster.get(peer) else { return };
        failure.via = (failure.observer != *name).then(|| name.clone());
        failure.who.truncate(self.roster.len());
        self.fail(failure);
    }

    /// The peer's link has ended or it is silent: before the agreement it may come back, later the
    /// run cannot go on without it.
    fn gone(&mut self, peer: usize, reason: Reason) {
        let was_done = self.peers[peer].done;
        self.peers[peer] = Peer { done: was_done, ..Peer::default() };
        if was_done {
            return;
        }
        if self.stage == Stage::Find {
            if let Some(agreement) = &mut self.agreement {
                agreement.forget(peer);
            }
            return;
        }
        let failure = self.failure(vec![peer], reason);
        if self.done {
            self.unconfirmed(failure);
        } else if let Some((_, earlier)) = self.pending.take_if(|(_, f)| f.who == failure.who) {
            self.fail(earlier);
        } else {
            self.fail(failure);
        }
    }

    /// Takes every step that what is known allows.
    fn advance(&mut self, now: Duration) {
        if self.stage == Stage::Find {
            self.compare(now);
        }
        if self.stage == Stage::Agree {
            self.confirm();
        }
        if self.stage == Stage::Start {
            self.start();
        }
        if self.done && self.others().all(|i| self.peers[i].done) {
            self.end(Verdict::Completed);
        }
    }

    /// Compares the entries that are there; sends the list when all are.
    fn compare(&mut self, now: Duration) {
        let Some(agreement) = &self.agreement else { return };
        let (list, differences) = (agreement.list(), agreement.differences());
        if differences.is_empty() {
            self.difference_due = None;
            if let Some(list) = list {
                self.stage = Stage::Agree;
                self.send_all(&Control::List(list));
            }
            return;
        }
        let due = *self.difference_due.get_or_insert(now + DIFFERENCE_SETTLE);
        if (list.is_some() || now >= due)
            && let Some(fault) = agreement.verdict_on(&differences)
        {
            self.stage = Stage::Agree;
            self.blame(fault.who, fault.reason);
        }
    }

    fn confirm(&mut self) {
        for peer in self.linked() {
            let Some(list) = self.peers[peer].list.take() else { continue };
            let Some(agreement) = &mut self.agreement else { return };
            if let Err(Fault { who, reason }) = agreement.on_list(peer, &list) {
                return self.blame(who, reason);
            }
        }
        if let Some(id) = self.run_id() {
            self.stage = Stage::Start;
            self.actions.push(Action::Agreed(id));
            self.send_all(&Control::Ready(id));
        }
    }

    fn start(&mut self) {
        let Some(id) = self.run_id() else { return };
        for peer in self.linked() {
            match self.peers[peer].ready {
                Some(theirs) if theirs != id => {
                    let reason = Reason::Protocol("is ready for another run".into());
                    return self.blame(vec![peer], reason);
                }
                Some(_) => {}
                None => return,
            }
        }
        self.stage = Stage::Run;
        self.actions.push(Action::Start);
    }

    /// Looks at the clock.
    fn watch(&mut self, now: Duration) {
        if let Some((_, failure)) = self.pending.take_if(|(at, _)| *at <= now) {
            return self.fail(failure);
        }
        for peer in self.linked() {
            if self.peers[peer].silent_at(self.patience.grace).is_some_and(|at| at <= now) {
                self.actions.push(Action::Unlink(peer));
                self.gone(peer, Reason::Silent(self.patience.grace));
            }
        }
        if !self.over && self.stage < Stage::Run && now >= self.patience.deadline {
            return self.deadline();
        }
        if !self.over && now >= self.next_beat {
            self.next_beat = now + BEAT.min(self.patience.grace / 4);
            self.send_all(&Control::Beat);
        }
    }

    /// The deadline is over: names those that hold the run up, this party where nobody else does.
    fn deadline(&mut self) {
        let agreement = self.agreement.as_ref();
        let steps: [&dyn Fn(usize) -> bool; 4] = [
            &|i| self.peers[i].linked(),
            &|i| agreement.is_none_or(|a| a.has(i)),
            &|i| agreement.is_none_or(|a| a.confirmed(i)),
            &|i| agreement.is_none() || self.peers[i].ready.is_some(),
        ];
        for (at, step) in steps.iter().enumerate() {
            let who: Vec<usize> = self.others().filter(|&i| !step(i)).collect();
            if !who.is_empty() {
                let reason = if at == 0 { Reason::Missing } else { Reason::Late };
                return self.blame(who, reason);
            }
        }
        self.blame(vec![self.me], Reason::Late);
    }

    fn run_id(&self) -> Option<RunId> {
        self.agreement.as_ref().and_then(Agreement::run_id)
    }

    fn failure(&self, who: Vec<usize>, reason: Reason) -> Failure {
        let who = who.into_iter().filter_map(|i| self.roster.get(i).cloned()).collect();
        let observer = self.roster.as_slice()[self.me].clone();
        Failure { who, stage: self.stage, reason, observer, via: None }
    }

    fn blame(&mut self, who: Vec<usize>, reason: Reason) {
        let failure = self.failure(who, reason);
        self.fail(failure);
    }

    fn fail(&mut self, failure: Failure) {
        self.tell(&failure);
        self.end(Verdict::Failed(failure));
    }

    /// The program succeeded here, and a peer's last report is lost: the others hear of it.
    fn unconfirmed(&mut self, failure: Failure) {
        self.tell(&failure);
        let who = self.names(|peer| !peer.done);
        self.end(Verdict::Unconfirmed(who));
    }

    fn tell(&mut self, failure: &Failure) {
        if !self.over {
            self.send_all(&Control::Abort(Failure { via: None, ..failure.clone() }));
        }
    }

    fn end(&mut self, verdict: Verdict) {
        if !self.over {
            self.over = true;
            self.actions.push(Action::End(verdict));
        }
    }

    fn send(&mut self, to: usize, message: Control) {
        self.actions.push(Action::Send(to, message));
    }

    fn send_all(&mut self, message: &Control) {
        for peer in self.linked() {
            self.send(peer, message.clone());
        }
    }

    fn others(&self) -> impl Iterator<Item = usize> + use<> {
        let me = self.me;
        (0..self.roster.len()).filter(move |&i| i != me)
    }

    fn linked(&self) -> Vec<usize> {
        self.others().filter(|&i| self.peers[i].linked()).collect()
    }

    fn names(&self, which: impl Fn(&Peer) -> bool) -> Vec<PartyName> {
        let chosen = self.others().filter(|&i| which(&self.peers[i]));
        chosen.filter_map(|i| self.roster.get(i).cloned()).collect()
    }
}

#[cfg(test)]
mod tests;
