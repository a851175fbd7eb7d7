//! The end of a run, and what comes after it: the verdict is there, and the peers have to hear this
//! party's last word even where their link dies in that moment.
//!
//! The last word is [`Control::Done`] or [`Control::Abort`]; who hears it says [`Control::Noted`].
//! Until all have, or their time is over, this party stays, and says it again on each new link.

use std::time::Duration;

use super::peer::Peer;
use super::{Action, Event, Run};
use crate::control::Control;
use crate::roster::PeerIndex;
use crate::verdict::{Failure, Reason, Stage, Verdict};

/// How long a party that failed stays for peers that are away: as long as a link needs to come back
/// where it can. Those who hear nothing find that it is silent.
pub(super) const FAREWELL_TIMEOUT: Duration = Duration::from_secs(5);

impl Run {
    /// The run failed: tells everybody.
    pub(super) fn fail(&mut self, failure: Failure) {
        if self.verdict.is_none() {
            let word = Control::Abort(Failure { via: None, ..failure.clone() });
            for peer in self.linked() {
                if self.recognised(peer) {
                    self.send(peer, word.clone());
                }
            }
            self.end(Verdict::Failed(failure));
        }
    }

    /// The program succeeded here, and somebody does not want to wait for the last reports of others.
    pub(super) fn unconfirmed(&mut self) {
        let who = self.names(|peer| peer.done.is_none());
        self.end(Verdict::Unconfirmed(who));
    }

    /// The program succeeded here, and the last report of this peer is lost, as are those of others that
    /// are away. Who is still there will say itself how it ended.
    pub(super) fn lost_report(&mut self, of: PeerIndex) {
        let lost = |&i: &PeerIndex| i == of || !self.peers[i].linked;
        let owing = self.others().filter(|&i| self.peers[i].done.is_none());
        let who = owing.filter(lost).filter_map(|i| self.roster.get(i).cloned()).collect();
        self.end(Verdict::Unconfirmed(who));
    }

    pub(super) fn end(&mut self, verdict: Verdict) {
        if self.verdict.is_none() {
            let wait = match verdict {
                Verdict::Failed(_) => FAREWELL_TIMEOUT.min(self.timeouts.grace),
                Verdict::Completed | Verdict::Unconfirmed(_) => self.timeouts.grace,
            };
            self.farewell = self.now + wait;
            self.verdict = Some(verdict.clone());
            self.actions.push(Action::End(verdict));
        }
    }

    /// Takes an event after the verdict.
    pub(super) fn part(&mut self, event: Event) {
        match event {
            Event::Linked(peer, key) if self.met(peer) => self.linked_anew(peer, key),
            // It waits for this party, and would do so until its deadline.
            Event::Linked(peer, key) => {
                self.linked_anew(peer, key);
                self.restate(peer);
            }
            Event::Unlinked(peer, why) => self.peers[peer].unlink(why),
            Event::Received(peer, message) if self.peers[peer].linked => {
                self.peers[peer].hear(self.now);
                match message {
                    Control::Abort(_) | Control::Done | Control::Noted
                        if !self.recognised(peer) =>
                    {
                        self.note(peer);
                    }
                    Control::Noted => self.peers[peer].parted = !self.is_twice(peer),
                    Control::Done => self.note(peer),
                    Control::Abort(_) => {
                        self.peers[peer].parted = !self.is_twice(peer);
                        self.note(peer);
                    }
                    Control::Entry(entry) if !self.peers[peer].introduced => {
                        self.on_entry(peer, entry);
                    }
                    _ => {}
                }
            }
            // Somebody asks again: it has to end now.
            Event::Failed(_) => self.farewell = self.now,
            _ => {}
        }
    }

    /// Whether the run failed because this peer is there twice: then another instance is to hear of it.
    pub(super) fn is_twice(&self, peer: PeerIndex) -> bool {
        match &self.verdict {
            Some(Verdict::Failed(Failure { who, reason: Reason::Twice, .. })) => {
                self.roster.get(peer).is_some_and(|name| who.contains(name))
            }
            _ => false,
        }
    }

    /// Leaves as soon as nobody has to be told any more.
    pub(super) fn leave(&mut self) {
        if !self.left && self.others().all(|i| self.owed_until(i).is_none_or(|at| at <= self.now)) {
            self.left = true;
            self.actions.push(Action::Leave);
        }
    }

    /// Whether the peer's entry is known.
    pub(super) fn met(&self, peer: PeerIndex) -> bool {
        self.agreement.as_ref().is_some_and(|agreement| agreement.has(peer))
    }

    /// Until when this party waits for the peer to have heard its last word.
    pub(super) fn owed_until(&self, peer: PeerIndex) -> Option<Duration> {
        let Peer { parted, key, linked, heard, .. } = &self.peers[peer];
        // Where it is there twice, its other instance is to hear of it, too.
        let there = key.is_some() && (*linked || self.met(peer) || self.is_twice(peer));
        (there && !parted).then(|| self.farewell.min(*heard + self.timeouts.grace))
    }

    /// Tells the peer that its last word has come.
    pub(super) fn note(&mut self, peer: PeerIndex) {
        self.send(peer, Control::Noted);
    }

    /// Says everything again that the peer may have missed while there was no link to it.
    pub(super) fn restate(&mut self, peer: PeerIndex) {
        if let Some(Verdict::Failed(failure)) = self.verdict.clone() {
            return self.send(peer, Control::Abort(Failure { via: None, ..failure }));
        }
        if self.stage >= Stage::Agree
            && let Some(list) = self.agreement.as_ref().and_then(|agreement| agreement.list())
        {
            self.send(peer, Control::List(list));
        }
        if let Some(id) = self.id {
            self.send(peer, Control::Ready(id));
        }
        if self.done {
            self.send(peer, Control::Done);
        }
    }
}
