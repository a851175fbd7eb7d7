//! Ways to a failure: what happened, and who is named for it.

use std::time::Duration;

use super::{Action, BEAT_INTERVAL, EXPLANATION_TIMEOUT, Run};
use crate::component::Digests;
use crate::roster::PeerIndex;
use crate::verdict::{Exit, Failure, MAX_ROSTERS, Reason, Stage};

/// Whether a party that stood still for `time` did so for about as long as others wait for it, or longer.
fn is_about(time: Duration, wait: Duration) -> bool {
    time > Duration::ZERO && time + BEAT_INTERVAL >= wait
}

impl Run {
    /// A program that fails right after a peer's stream ended may be a consequence: the peer's own
    /// explanation, if one comes, is the better verdict.
    pub(super) fn exited(&mut self, exit: Exit) {
        let left: Vec<_> = self.others().filter(|&i| self.peers[i].has_left()).collect();
        let failure = match left.is_empty() {
            true => self.failure(vec![self.me], Reason::Ended(exit)),
            false => self.failure(left, Reason::Left),
        };
        if self.stage == Stage::Run && self.others().any(|i| self.peers[i].ended > 0) {
            self.pending.get_or_insert((self.now + EXPLANATION_TIMEOUT, failure));
        } else {
            self.fail(failure);
        }
    }

    /// A peer says that the run has failed. It is believed that far; who saw it is part of the verdict.
    pub(super) fn aborted(&mut self, peer: PeerIndex, mut failure: Failure) {
        let Some(name) = self.roster.get(peer) else { return };
        failure.via = (failure.observer != *name).then(|| name.clone());
        // It goes into this party's record and on to the others: no more than there is to say.
        failure.who.truncate(self.roster.len());
        match &mut failure.reason {
            Reason::Differs(labels) => {
                labels.sort_unstable();
                labels.dedup();
                labels.truncate(Digests::MAX);
            }
            Reason::Rosters(rosters) => {
                rosters.truncate(MAX_ROSTERS);
                rosters.iter_mut().for_each(|held| held.parties.truncate(self.roster.len()));
            }
            _ => {}
        }
        self.peers[peer].parted = true;
        self.note(peer);
        self.fail(failure);
    }

    /// The run cannot go on without this peer, which is gone; unless nothing more is expected from it.
    pub(super) fn gone(&mut self, peer: PeerIndex, reason: Reason) {
        let failure = self.failure(vec![peer], reason);
        if self.peers[peer].is_over(self.done) {
            // It goes on.
        } else if self.done {
            self.lost_report(peer);
        } else if let Some((_, earlier)) = self.pending.take_if(|(_, f)| f.who == failure.who) {
            self.fail(earlier);
        } else {
            self.fail(failure);
        }
    }

    /// Nothing was heard from this peer for the grace time. Where this party did not listen for about as
    /// long before that, the peer has given it up meanwhile, and rightly.
    fn silent(&mut self, peer: PeerIndex) {
        let (known, grace) = (&self.peers[peer], self.timeouts.grace);
        let time = known.not_listened;
        if !self.done && is_about(time, grace) {
            let (time, grace) = (time.as_secs_f32(), grace.as_secs_f32());
            let text = format!("it stood still for {time:.1} s, and the grace time is {grace} s");
            return self.blame(vec![self.me], Reason::Local(text.into()));
        }
        let reason = known.absence(grace);
        self.gone(peer, reason);
    }

    /// When this peer has held up the program here for the grace time.
    pub(super) fn left_at(&self, peer: PeerIndex) -> Option<Duration> {
        let since = self.peers[peer].holds_up_since(self.connecting)?;
        (!self.done).then(|| since + self.timeouts.grace)
    }

    /// Looks at the clock.
    pub(super) fn watch(&mut self) {
        if let Some((_, failure)) = self.pending.take_if(|(at, _)| *at <= self.now) {
            if self.others().any(|i| self.peers[i].may_explain(self.done)) {
                // The one who could explain it is away: it has the grace time to come back.
                self.pending = Some((self.now + EXPLANATION_TIMEOUT, failure));
            } else if self.done
                && let Some(peer) = failure.who.first().and_then(|name| self.roster.index_of(name))
            {
                return self.lost_report(peer);
            } else {
                return self.fail(failure);
            }
        }
        let grace = self.timeouts.grace;
        for peer in self.others() {
            if self.peers[peer].silent_at(grace, self.done).is_none_or(|at| at > self.now) {
                continue;
            }
            if self.stage == Stage::Find {
                self.actions.push(Action::Unlink(peer));
                self.forget(peer);
            } else {
                self.silent(peer);
            }
        }
        let over = |&i: &PeerIndex| self.left_at(i).is_some_and(|at| at <= self.now);
        let left: Vec<_> = self.others().filter(over).collect();
        if !left.is_empty() && self.verdict.is_none() {
            self.blame(left, Reason::Left);
        }
        if self.verdict.is_none() && self.stage < Stage::Run && self.now >= self.timeouts.deadline {
            self.deadline();
        }
    }

    /// The deadline is over: names those that hold the run up, this party where nobody else does.
    fn deadline(&mut self) {
        let agreement = self.agreement.as_ref();
        let steps: [&dyn Fn(PeerIndex) -> bool; 4] = [
            &|i| self.peers[i].linked,
            &|i| agreement.is_none_or(|a| a.has(i)),
            &|i| agreement.is_none_or(|a| a.confirmed(i)),
            &|i| agreement.is_none() || self.peers[i].ready.is_some(),
        ];
        for (at, step) in steps.iter().enumerate() {
            let who: Vec<PeerIndex> = self.others().filter(|&i| !step(i)).collect();
            // They may have been there, and have given this party up meanwhile.
            let (still, deadline) = (self.longest_standstill, self.timeouts.deadline);
            if at == 0 && !who.is_empty() && is_about(still, deadline) {
                let missing: Vec<_> = self.missing().iter().map(ToString::to_string).collect();
                let (still, deadline) = (still.as_secs_f32(), deadline.as_secs_f32());
                let text = format!(
                    "it stood still for {still:.1} s, and the deadline is {deadline} s; not there: {}",
                    missing.join(", ")
                );
                return self.blame(vec![self.me], Reason::Local(text.into()));
            }
            // Who is held up by the way to it is not to blame.
            let stall = |i: &PeerIndex| self.peers[*i].stall(self.now).cloned();
            if let Some(why) = who.iter().find_map(stall) {
                let held_up = who.into_iter().filter(|i| stall(i).is_some()).collect();
                return self.blame(held_up, Reason::Lost(why));
            }
            if let (0, false, Some(why)) = (at, who.is_empty(), self.isolated.clone()) {
                let own = matches!(why, Reason::Local(_));
                return self.blame(if own { vec![self.me] } else { who }, why);
            }
            if !who.is_empty() {
                let reason = if at == 0 { Reason::Missing } else { Reason::Late };
                return self.blame(who, reason);
            }
        }
        self.blame(vec![self.me], Reason::Late);
    }

    pub(super) fn failure(&self, who: Vec<PeerIndex>, reason: Reason) -> Failure {
        let who = who.into_iter().filter_map(|i| self.roster.get(i).cloned()).collect();
        let observer = self.roster.as_slice()[self.me.get()].clone();
        Failure { who, stage: self.stage, reason, observer, via: None }
    }

    pub(super) fn blame(&mut self, who: Vec<PeerIndex>, reason: Reason) {
        let failure = self.failure(who, reason);
        self.fail(failure);
    }
}
