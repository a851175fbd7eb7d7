//! From the first entry to the start of the program: everything that has to be the same, and that
//! all hold it to be.

use super::peer::Peer;
use super::{Action, COMPARISON_TIMEOUT, MAX_INSTANCES, Run, TWIN_TIMEOUT};
use crate::agreement::{Agreement, EncodedEntry, Fault};
use crate::claims::PublicKey;
use crate::component::Components;
use crate::control::Control;
use crate::name::PartyName;
use crate::roster::PeerIndex;
use crate::verdict::{HeldRoster, MAX_ROSTERS, Reason, Remark, Stage, Verdict};

impl Run {
    pub(super) fn prepared(&mut self, components: Components, own: EncodedEntry) {
        if self.agreement.is_some() {
            // Said once: a launcher that says it again, maybe by the program's hand, changes nothing.
            return;
        }
        let (me, roster) = (self.me, self.roster.clone());
        match Agreement::new(me, roster, self.root, components, own) {
            Ok(agreement) => (self.agreement, self.compare) = (Some(agreement), true),
            Err(why) => {
                let text = format!("no peer could read this party's entry: {why}");
                return self.blame(vec![me], Reason::Local(text.into()));
            }
        }
        for peer in self.linked() {
            self.introduce(peer);
            if let Some(entry) = self.peers[peer].early_entry.take() {
                self.on_entry(peer, entry);
            }
        }
    }

    /// A link to this peer is up, the first or another.
    pub(super) fn linked_anew(&mut self, peer: PeerIndex, key: PublicKey) {
        if self.stage == Stage::Find && self.verdict.is_none() {
            self.forget(peer);
        }
        if self.peers[peer].key.is_some_and(|known| known != key) {
            return self.actions.push(Action::Unlink(peer));
        }
        self.peers[peer].link(self.now, key);
        self.greet(peer);
    }

    /// The link to this peer has ended. Before this party sent its list, another may come in the
    /// peer's place; from then on the same one has to come back.
    pub(super) fn unlinked(&mut self, peer: PeerIndex, why: Remark) {
        if self.stage == Stage::Find {
            self.forget(peer);
        } else if self.peers[peer].linked {
            self.peers[peer].unlink(why);
        }
    }

    pub(super) fn forget(&mut self, peer: PeerIndex) {
        (self.peers[peer], self.compare) = (Peer::default(), true);
        if let Some(agreement) = &mut self.agreement {
            agreement.forget(peer);
        }
    }

    /// Says whom this party names, and what it would run, if that is known yet.
    fn greet(&mut self, peer: PeerIndex) {
        self.send(peer, Control::Roster(self.roster.clone()));
        self.introduce(peer);
    }

    /// Sends this party's entry, if it has one yet.
    fn introduce(&mut self, peer: PeerIndex) {
        let own = self.agreement.as_ref().and_then(|a| a.own().cloned());
        if let Some(entry) = own {
            self.send(peer, Control::Entry(entry));
        }
    }

    /// Whether the peer is the one it was; before its first entry it may be anybody of that name.
    pub(super) fn recognised(&self, peer: PeerIndex) -> bool {
        self.peers[peer].introduced || !self.met(peer)
    }

    /// The first entry on each link tells whether the peer is the one it was: then it is told what
    /// it may have missed. One that was started anew is of no use to this run, and this run none to it.
    pub(super) fn on_entry(&mut self, peer: PeerIndex, entry: EncodedEntry) {
        let Some(key) = self.peers[peer].key else { return };
        let Some(agreement) = &mut self.agreement else { return };
        let first = !std::mem::replace(&mut self.peers[peer].introduced, true);
        let known = agreement.encoded(peer).cloned();
        self.compare = true;
        if first && known.as_ref().is_some_and(|known| *known != entry) {
            return self.anew(peer);
        }
        match agreement.on_entry(peer, &key, entry) {
            Ok(()) => {
                if first {
                    self.actions.push(Action::Recognised(peer));
                }
                if first && known.is_some() {
                    self.restate(peer);
                }
            }
            Err(fault) => self.blame(fault.who, fault.reason),
        }
    }

    /// Whether this entry is one of an instance of the peer that was here before the latest: a peer that
    /// was started anew never says again what it said before. Its nonce makes each entry another.
    pub(super) fn is_back(&mut self, peer: PeerIndex, entry: &EncodedEntry) -> bool {
        let instances = &mut self.instances[peer];
        if instances.last() == Some(entry) {
            return false;
        }
        if entry.as_bytes().len() > EncodedEntry::MAX_BYTES {
            return false;
        }
        let disputed =
            self.disputed.as_ref().is_some_and(|(of, theirs)| (*of, theirs) == (peer, entry));
        let is_back = disputed || instances.contains(entry);
        instances.push(entry.clone());
        if instances.len() > MAX_INSTANCES {
            instances.remove(0);
        }
        is_back
    }

    /// Another instance of a peer is here, and is told so at once. The run fails, unless nothing more is
    /// expected from the peer, or the earlier one shows that it is there as well, which is another fault.
    fn anew(&mut self, peer: PeerIndex) {
        let Some(name) = self.roster.get(peer) else { return };
        let why = Remark::from("it was started anew");
        let failure = self.failure(vec![peer], Reason::Lost(why.clone()));
        match &self.verdict {
            // It closes the link as soon as it has heard that, and needs no other.
            None => self.send(peer, Control::Abort(failure.clone())),
            Some(Verdict::Failed(failure)) if failure.who == [name.clone()] => self.restate(peer),
            // It may have come for the next run.
            Some(_) => self.actions.push(Action::Unlink(peer)),
        }
        self.peers[peer].unlink(why);
        if self.verdict.is_some() || self.peers[peer].is_over(self.done) {
            // It goes on, or has ended.
        } else {
            self.pending.get_or_insert((self.now + TWIN_TIMEOUT, failure));
        }
    }

    /// Takes every step that what is known allows.
    pub(super) fn advance(&mut self) {
        if self.stage == Stage::Find {
            self.compare();
        }
        if self.stage == Stage::Agree {
            self.confirm();
        }
        if self.stage == Stage::Start {
            self.start();
        }
        if self.done && self.others().all(|i| self.peers[i].done.is_some()) {
            self.end(Verdict::Completed);
        }
    }

    /// Compares the entries that are there; sends the list when all are.
    fn compare(&mut self) {
        if !std::mem::take(&mut self.compare) && self.difference_due.is_none() {
            return;
        }
        if self.compare_rosters() {
            return;
        }
        let Some(agreement) = &self.agreement else {
            self.difference_due = None;
            return;
        };
        let (list, differences) = (agreement.list(), agreement.differences());
        if differences.is_empty() {
            self.difference_due = None;
            if let Some(list) = list {
                self.stage = Stage::Agree;
                self.send_all(&Control::List(list));
            }
            return;
        }
        let due = *self.difference_due.get_or_insert(self.now + COMPARISON_TIMEOUT);
        if (list.is_some() || self.now >= due)
            && let Some(fault) = agreement.verdict_on(&differences)
        {
            self.stage = Stage::Agree;
            self.blame(fault.who, fault.reason);
        }
    }

    /// Whether another party has another roster. That one may never see all whom it waits for.
    fn compare_rosters(&mut self) -> bool {
        let mut rosters = self.rosters();
        if rosters.len() < 2 {
            return false;
        }
        let due = *self.difference_due.get_or_insert(self.now + COMPARISON_TIMEOUT);
        if self.now < due && !all_named_are_known(&rosters) {
            return true;
        }
        let odd = odd_ones_out(&rosters);
        let who = odd.iter().filter_map(|name| self.roster.index_of(name)).collect();
        rosters.truncate(MAX_ROSTERS);
        self.blame(who, Reason::Rosters(rosters));
        true
    }

    /// Who has which roster, as far as that is known, the rarest first.
    fn rosters(&self) -> Vec<HeldRoster> {
        let mut rosters: Vec<HeldRoster> = Vec::new();
        for (peer, name) in self.roster.indices().zip(self.roster.iter()) {
            let own = (peer == self.me).then_some(&self.roster);
            let Some(roster) = own.or(self.peers[peer].roster.as_ref()) else { continue };
            match rosters.iter_mut().find(|held| held.roster == *roster) {
                Some(held) => held.parties.push(name.clone()),
                None => {
                    let (parties, roster) = (vec![name.clone()], roster.clone());
                    rosters.push(HeldRoster { parties, roster });
                }
            }
        }
        // The same everywhere, whatever the order in this party's roster.
        rosters.iter_mut().for_each(|held| held.parties.sort_unstable());
        rosters.sort_by_key(|held| (held.parties.len(), held.parties.clone()));
        rosters
    }

    fn confirm(&mut self) {
        for peer in self.others() {
            let Some(list) = self.peers[peer].list.clone() else { continue };
            let Some(agreement) = &mut self.agreement else { return };
            if agreement.confirmed(peer) {
                continue;
            }
            if let Err(Fault { who, reason }) = agreement.on_list(peer, &list) {
                let disputed = agreement.disputed(&list).map(|(of, entry)| (of, entry.clone()));
                return self.contradicted(who, reason, disputed);
            }
        }
        self.id = self.agreement.as_ref().and_then(Agreement::run_id);
        if let Some(id) = self.id {
            self.stage = Stage::Start;
            self.actions.push(Action::Agreed(id));
            self.send_all(&Control::Ready(id));
        }
    }

    /// Two parties were told two things by a third, or one of them says so. Where two instances of the
    /// third are there, the other one may be about to show.
    fn contradicted(
        &mut self,
        who: Vec<PeerIndex>,
        reason: Reason,
        disputed: Option<(PeerIndex, EncodedEntry)>,
    ) {
        match disputed {
            None => self.blame(who, reason),
            Some((of, entry)) if self.instances[of].contains(&entry) => {
                self.blame(vec![of], Reason::Twice);
            }
            Some((of, entry)) => {
                let failure = self.failure(who, reason);
                self.pending.get_or_insert((self.now + TWIN_TIMEOUT, failure));
                self.disputed = Some((of, entry));
            }
        }
    }

    fn start(&mut self) {
        let Some(id) = self.id else { return };
        let other = |&i: &PeerIndex| self.peers[i].ready.is_some_and(|theirs| theirs != id);
        if let Some(peer) = self.others().find(other) {
            return self.blame(vec![peer], Reason::Protocol("is ready for another run".into()));
        }
        if self.others().all(|i| self.peers[i].ready.is_some()) {
            self.stage = Stage::Run;
            self.actions.push(Action::Start);
        }
    }
}

/// Whether the roster of everybody is known that is named in one of these.
fn all_named_are_known(rosters: &[HeldRoster]) -> bool {
    let is_known = |name| rosters.iter().any(|held| held.parties.contains(name));
    rosters.iter().all(|held| held.roster.iter().all(is_known))
}

/// All but those who have the most common of these rosters, which come the rarest first; where there is
/// none, all of them. So whoever knows the same rosters names the same parties.
fn odd_ones_out(rosters: &[HeldRoster]) -> Vec<PartyName> {
    let odd = match rosters {
        [odd @ .., second, most] if second.parties.len() < most.parties.len() => {
            &rosters[..odd.len() + 1]
        }
        _ => rosters,
    };
    let mut names: Vec<_> = odd.iter().flat_map(|held| held.parties.clone()).collect();
    names.sort_unstable();
    names
}
