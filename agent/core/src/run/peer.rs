//! What a run knows of one peer.

use std::time::Duration;

use super::waits::Settling;
use crate::agreement::{EncodedEntry, RunId};
use crate::claims::PublicKey;
use crate::roster::Roster;
use crate::verdict::{Reason, Remark};
use crate::waits::Waits;

/// One peer, as far as it has come.
#[derive(Clone, Debug, Default)]
pub(super) struct Peer {
    /// Its key; none before there was a control link to it.
    pub(super) key: Option<PublicKey>,
    /// There is a control link to it; otherwise it is *away*.
    pub(super) linked: bool,
    /// It has said its entry over this link: it is the one it was.
    pub(super) introduced: bool,
    /// Why the last link to it was lost.
    pub(super) lost: Option<Remark>,
    /// When it was seen that only small packets pass on the way to it, and on which.
    pub(super) stalled: Option<(Duration, Remark)>,
    /// When something was last heard from it.
    pub(super) heard: Duration,
    /// How long this party has not listened since then, at the longest: what it says in between is heard.
    pub(super) not_listened: Duration,
    /// Whom it names in its session, once it has said so.
    pub(super) roster: Option<Roster>,
    /// Its entry, if it came before this party had one of its own.
    pub(super) early_entry: Option<EncodedEntry>,
    /// Its list, until this party's own is complete.
    pub(super) list: Option<Vec<EncodedEntry>>,
    /// The run that it is ready for.
    pub(super) ready: Option<RunId>,
    /// When its program ended with success.
    pub(super) done: Option<Duration>,
    /// How many streams with it have begun, and on how many it has said its end. Which of both is
    /// heard of first, is left to chance.
    pub(super) begun: u32,
    pub(super) ended: u32,
    /// Since when the program here has awaited what can no longer come from it.
    pub(super) awaited: Option<Duration>,
    /// What it said last that it waits for, and as what that counts.
    pub(super) says: Waits,
    pub(super) waits: Settling,
    /// What it was told over this link that this party waits for.
    pub(super) told: Option<Waits>,
    /// It has this party's last word, or needs none.
    pub(super) parted: bool,
}

/// A path that stalls does so within this time of each link over it: whatever holds a peer up later
/// is something else.
const STALL_RELEVANT_FOR: Duration = Duration::from_secs(10);

impl Peer {
    /// Why it may be held up by its link, where packets of full size have stalled lately.
    pub(super) fn stall(&self, now: Duration) -> Option<&Remark> {
        let recent = |(since, _): &&(Duration, Remark)| now <= *since + STALL_RELEVANT_FOR;
        self.stalled.as_ref().filter(recent).map(|(_, why)| why)
    }

    /// A new link to it is up.
    pub(super) fn link(&mut self, now: Duration, key: PublicKey) {
        (self.key, self.linked, self.introduced) = (Some(key), true, false);
        self.told = None;
        self.hear(now);
    }

    /// Something came from it.
    pub(super) fn hear(&mut self, now: Duration) {
        (self.heard, self.not_listened) = (now, Duration::ZERO);
    }

    /// It may have said something for so long that was not heard here.
    pub(super) fn was_not_listened_to(&mut self, time: Duration) {
        self.not_listened = self.not_listened.max(time);
    }

    /// Its link has gone.
    pub(super) fn unlink(&mut self, why: Remark) {
        (self.linked, self.introduced, self.lost) = (false, false, Some(why));
    }

    /// Whether nothing more is expected from it: it is done, and either this party is `done` as well,
    /// or all has come that its program sent. What has not, is lost with its runner.
    pub(super) fn is_over(&self, done: bool) -> bool {
        self.done.is_some() && (done || self.ended > 0 && self.ended >= self.begun)
    }

    /// Whether it is away, and expected back, after it ended a stream: maybe it can tell why.
    pub(super) fn may_explain(&self, done: bool) -> bool {
        self.ended > 0 && !self.linked && !self.is_over(done)
    }

    /// Whether it has ended a stream on which something is awaited here.
    pub(super) fn has_left(&self) -> bool {
        self.awaited.is_some() && self.ended > 0
    }

    /// Since when it has held up the program here, which has been connecting since `connecting`: it
    /// ended a stream on which something is awaited, or its program ended and will never connect.
    /// A peer whose program runs may take its time, and so may one from which nothing is awaited.
    pub(super) fn holds_up_since(&self, connecting: Option<Duration>) -> Option<Duration> {
        let awaited = self.awaited.filter(|_| self.has_left());
        let connects = self.done.filter(|_| self.ended >= self.begun).zip(connecting);
        awaited.or(connects.map(|(done, connecting)| done.max(connecting)))
    }

    /// When its silence has lasted for `grace`; never where it [is over](Self::is_over).
    pub(super) fn silent_at(&self, grace: Duration, done: bool) -> Option<Duration> {
        (self.key.is_some() && !self.is_over(done)).then(|| self.heard + grace)
    }

    /// Why it is not there, after `grace`.
    pub(super) fn absence(&self, grace: Duration) -> Reason {
        match (&self.stalled, &self.lost) {
            (Some((since, why)), _) if self.heard <= *since => Reason::Lost(why.clone()),
            (_, Some(why)) if !self.linked => {
                let time = grace.as_secs_f32();
                Reason::Lost(format!("{why}; it was not back within {time} s").into())
            }
            _ => Reason::Silent(grace),
        }
    }
}
