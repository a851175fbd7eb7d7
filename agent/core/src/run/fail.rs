//! Ways to an end: what failed, who is named for it, and who is told.

use std::time::Duration;

use super::peer::Peer;
use super::{Action, BEAT, Run, SETTLE};
use crate::control::Control;
use crate::verdict::{Exit, Failure, Reason, Stage, Verdict};

impl Run {
    /// A program that fails right after a peer's stream ended may be a consequence: the peer's own
    /// explanation, if one comes, is the better verdict.
    pub(super) fn exited(&mut self, now: Duration, exit: Exit) {
        let failure = self.failure(vec![self.me], Reason::Ended(exit));
        if self.stage == Stage::Run && self.others().any(|i| self.peers[i].stream_ended) {
            self.pending.get_or_insert((now + SETTLE, failure));
        } else {
            self.fail(failure);
        }
    }

    /// A peer says that the run has failed. It is believed that far; who saw it is part of the verdict.
    pub(super) fn aborted(&mut self, peer: usize, mut failure: Failure) {
        let Some(name) = self.roster.get(peer) else { return };
        failure.via = (failure.observer != *name).then(|| name.clone());
        failure.who.truncate(self.roster.len());
        self.fail(failure);
    }

    /// The peer's link has ended or it is silent: before the agreement it may come back, later the
    /// run cannot go on without it.
    pub(super) fn gone(&mut self, peer: usize, reason: Reason) {
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

    /// Looks at the clock.
    pub(super) fn watch(&mut self, now: Duration) {
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

    pub(super) fn failure(&self, who: Vec<usize>, reason: Reason) -> Failure {
        let who = who.into_iter().filter_map(|i| self.roster.get(i).cloned()).collect();
        let observer = self.roster.as_slice()[self.me].clone();
        Failure { who, stage: self.stage, reason, observer, via: None }
    }

    pub(super) fn blame(&mut self, who: Vec<usize>, reason: Reason) {
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

    pub(super) fn end(&mut self, verdict: Verdict) {
        if !self.over {
            self.over = true;
            self.actions.push(Action::End(verdict));
        }
    }
}
