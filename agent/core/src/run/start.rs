//! From the first entry to the start of the program: everything that has to be the same, and that
//! all hold it to be.

use std::time::Duration;

use super::{Action, DIFFERENCE_SETTLE, Run};
use crate::agreement::{Agreement, Entry, Fault, RunId};
use crate::component::Components;
use crate::control::Control;
use crate::verdict::{Reason, Stage, Verdict};

impl Run {
    pub(super) fn prepared(&mut self, components: Components, own: Entry) {
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
    pub(super) fn greet(&mut self, peer: usize) {
        let own = self.agreement.as_ref().and_then(|a| a.own().cloned());
        if let Some(entry) = own {
            self.send(peer, Control::Entry(entry));
        }
    }

    pub(super) fn on_entry(&mut self, peer: usize, entry: Entry) {
        let Some(key) = self.peers[peer].key else { return };
        let Some(agreement) = &mut self.agreement else { return };
        if let Err(fault) = agreement.on_entry(peer, &key, entry) {
            self.blame(fault.who, fault.reason);
        }
    }

    /// Takes every step that what is known allows.
    pub(super) fn advance(&mut self, now: Duration) {
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

    fn run_id(&self) -> Option<RunId> {
        self.agreement.as_ref().and_then(Agreement::run_id)
    }
}
