//! What each party waits for, told to the others. Nothing comes of it but what is shown: no rule of a
//! run looks at it.
//!
//! Only what has lasted for a while is told, and only what has been said for a while is shown. So a
//! run that goes on quickly says nothing of it, and nobody can make the others say more.

use std::time::Duration;

use super::peer::Peer;
use super::{Action, Run};
use crate::control::Control;
use crate::roster::PeerIndex;
use crate::verdict::Stage;
use crate::waits::Waits;

/// How long somebody waits for the same before it is worth telling.
pub(super) const WAITS_SETTLE: Duration = Duration::from_secs(1);

/// What somebody waits for, which counts once it has been the same for a while.
#[derive(Clone, Debug, Default)]
pub(super) struct Settling {
    newest: Waits,
    since: Duration,
    settled: Waits,
}

impl Settling {
    /// It is this now; returns what it was before, where another counts from now on.
    fn set(&mut self, now: Duration, waits: &Waits) -> Option<Waits> {
        if self.newest != *waits {
            (self.newest, self.since) = (waits.clone(), now);
        }
        let due = self.due()?;
        (due <= now).then(|| std::mem::replace(&mut self.settled, self.newest.clone()))
    }

    /// When another will count.
    fn due(&self) -> Option<Duration> {
        (self.newest != self.settled).then(|| self.since + WAITS_SETTLE)
    }
}

impl Run {
    /// What this party waits for.
    #[must_use]
    pub fn waits(&self) -> Waits {
        let agreement = self.agreement.as_ref();
        let awaited = |which: &dyn Fn(PeerIndex) -> bool| {
            let awaited = self.others().filter(|&i| which(i));
            Waits::for_parties(awaited.filter_map(|i| self.roster.get(i).cloned()).collect())
        };
        match (self.stage, agreement) {
            _ if self.verdict.is_some() => Waits::Nothing,
            (Stage::Run, _) if self.asking => Waits::Answer,
            (Stage::Run, _) => Waits::Nothing,
            (Stage::End, _) => awaited(&|i| self.peers[i].done.is_none()),
            (_, None) => Waits::Preparing,
            (Stage::Start, _) => awaited(&|i| self.peers[i].ready.is_none()),
            (Stage::Agree, Some(agreement)) => awaited(&|i| !agreement.confirmed(i)),
            (_, Some(agreement)) => awaited(&|i| !agreement.has(i)),
        }
    }

    /// What this peer waits for, as it says; nothing while there is no link to it, and once there is a
    /// verdict.
    #[must_use]
    pub fn waits_of(&self, peer: PeerIndex) -> &Waits {
        let known = &self.peers[peer];
        let is_known = known.linked && self.verdict.is_none();
        if is_known { &known.waits.settled } else { &Waits::Nothing }
    }

    /// A peer says what it waits for.
    pub(super) fn said_to_wait(&mut self, peer: PeerIndex, waits: Waits) {
        self.peers[peer].says = waits.among(&self.roster, peer);
    }

    /// Tells the peers what this party waits for, and the runner what each of them does.
    pub(super) fn tell_waits(&mut self) {
        let (now, own) = (self.now, self.waits());
        if let Some(before) = self.own_waits.set(now, &own)
            && (before == Waits::Answer || own == Waits::Answer)
        {
            self.actions.push(Action::Waits { party: self.me, before, now: own });
        }
        for peer in self.others() {
            let Peer { says, waits, done, linked, told, .. } = &mut self.peers[peer];
            // Once the program runs here, nobody waits for parties unless its own has ended.
            let is_news = self.stage < Stage::Run || done.is_some() || *says == Waits::Answer;
            if let Some(before) = waits.set(now, if is_news { says } else { &Waits::Nothing }) {
                let now = waits.settled.clone();
                self.actions.push(Action::Waits { party: peer, before, now });
            }
            let own = &self.own_waits.settled;
            if *linked && told.as_ref() != Some(own) {
                *told = Some(own.clone());
                self.send(peer, Control::Waits(own.clone()));
            }
        }
    }

    /// When there is something to be told, at the latest.
    pub(super) fn waits_due(&self) -> Option<Duration> {
        let peers = self.others().filter_map(|i| self.peers[i].waits.due());
        peers.chain(self.own_waits.due()).min()
    }
}
