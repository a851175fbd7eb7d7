//! One run of a session as one party lives it: from nobody there to a verdict.
//!
//! ```text
//! find ──all linked──▶ agree ──m identical lists──▶ start ──all ready──▶ run ──done here──▶ end
//! ```
//!
//! [`Run`] is the machine behind it. The runner feeds it events and the time, and carries out the
//! actions it returns; every wait in it is bounded by the deadline (until the program starts) or by
//! the grace time, so that a party that is missing, silent, different or gone always ends in a
//! verdict that names it.
//!
//! From *agree* on a peer whose link is lost is only *away*. On each new link both ends say their
//! entry; from the one that it knew each end hears it all again that may have been lost. What
//! counts is what was said, never that a link was cut: a run fails by a message that says so or by
//! a silence of the grace time.

mod fail;
mod part;
mod peer;
mod start;
mod waits;

use std::time::Duration;

use crate::agreement::{Agreement, EncodedEntry, RunId};
use crate::claims::{Fingerprint, PublicKey};
use crate::component::Components;
use crate::control::Control;
use crate::name::PartyName;
use crate::roster::{PeerIndex, PerParty, Roster};
use crate::stream::Epoch;
use crate::verdict::{Exit, Failure, Reason, Remark, Stage, Verdict};
use crate::waits::Waits;
use peer::Peer;
use waits::Settling;

/// How long a failure waits for a peer's explanation where it may be the consequence of another.
const EXPLANATION_TIMEOUT: Duration = Duration::from_secs(1);
/// Peers let each other hear of them more often than this.
const BEAT_INTERVAL: Duration = Duration::from_secs(1);
/// How long a peer that says something else than before has to show that its earlier instance is there
/// as well: as long as a link needs to come back.
const TWIN_TIMEOUT: Duration = Duration::from_secs(3);
/// How many instances of one peer are remembered.
const MAX_INSTANCES: usize = 8;
/// How long a known difference waits for the other entries, so that the odd one out can be named.
const COMPARISON_TIMEOUT: Duration = Duration::from_secs(3);

/// How long this party waits.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From the start until all parties run the program.
    pub deadline: Duration,
    /// How long a peer may be silent or away.
    pub grace: Duration,
}

/// What happened, as the runner saw it.
#[derive(Clone, Debug)]
pub enum Event {
    /// The engine's process is ready in its sandbox and this is what it would run.
    Prepared {
        /// Its components.
        components: Box<Components>,
        /// Its entry.
        own: EncodedEntry,
    },
    /// A control link to this peer is up, in place of the one there may have been; its certificate
    /// shows this key.
    Linked(PeerIndex, PublicKey),
    /// The control link to this peer has ended.
    Unlinked(PeerIndex, Remark),
    /// Small packets pass on the way to this peer and larger ones do not, as far as this says.
    Stalled(PeerIndex, Remark),
    /// No hub tells where others are, for what stands here keeps this party from all of them; or
    /// nothing does.
    Isolated(Option<Reason>),
    /// A message came over the control link.
    Received(PeerIndex, Control),
    /// A stream with this peer has its first carrier.
    StreamBegan(PeerIndex),
    /// A stream from this peer ended as streams should.
    StreamEnded(PeerIndex),
    /// The program here waits until it is connected to those of all peers.
    Connecting,
    /// It is.
    Connected,
    /// It awaits something on a stream that this peer has ended.
    Awaits(PeerIndex),
    /// It no longer awaits anything there.
    AwaitsNoMore(PeerIndex),
    /// It reads its standard input, and nothing is there.
    Asks,
    /// It has read something, or the end.
    Answered,
    /// This peer did what it may not.
    Faulty(PeerIndex, Reason),
    /// Something failed here.
    Failed(Reason),
    /// The engine's process ended.
    Exited(Exit),
    /// Time has passed.
    Tick,
}

/// What the runner shall do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send a message over the control link to this peer.
    Send(PeerIndex, Control),
    /// Close the control link to this peer and look for another.
    Unlink(PeerIndex),
    /// Over the control link to this peer has come the entry of the instance that this run is with: its
    /// streams move there.
    Recognised(PeerIndex),
    /// All parties hold the same agreement: streams of this run may come.
    Agreed(RunId),
    /// Say what failed here after the program had succeeded, which is not the run's failure any more.
    FailedLate(Reason),
    /// Let the program start.
    Start,
    /// Open a carrier of a stream.
    Dial {
        /// To this peer.
        peer: PeerIndex,
        /// Of this stream of the pair.
        cycle: u32,
        /// Unless one newer than this is there.
        newest: Epoch,
    },
    /// A party waits for something else than before. For this party itself that is said only of answers.
    Waits {
        /// Who, as it says itself.
        party: PeerIndex,
        /// For what it waited.
        before: Waits,
        /// For what it waits.
        now: Waits,
    },
    /// The run is over: end the engine's process, write the record. Events are still taken, for the
    /// peers have to hear of it.
    End(Verdict),
    /// Nobody has to be told any more: close the links.
    Leave,
}

/// The state of a run at one party.
#[derive(Debug)]
pub struct Run {
    me: PeerIndex,
    roster: Roster,
    root: Fingerprint,
    timeouts: Timeouts,
    stage: Stage,
    agreement: Option<Agreement>,
    /// Whether there is an entry more, or less, than when they were compared last.
    compare: bool,
    /// The run that all agreed on.
    id: Option<RunId>,
    peers: PerParty<Peer>,
    /// The entries of each peer so far, the latest last: one for each instance of it.
    instances: PerParty<Vec<EncodedEntry>>,
    /// An entry of a peer that another party has and this one has not.
    disputed: Option<(PeerIndex, EncodedEntry)>,
    now: Duration,
    /// For how long this party has stood still so far: the time of this machine goes on without that.
    stood_still: Duration,
    /// For how long at the longest, a suspended machine included.
    longest_standstill: Duration,
    /// Since when the program waits until it is connected.
    connecting: Option<Duration>,
    /// Whether it reads its standard input, where nothing is.
    asking: bool,
    own_waits: Settling,
    done: bool,
    verdict: Option<Verdict>,
    /// How long this party stays after its verdict.
    farewell: Duration,
    left: bool,
    /// What keeps this party from all hubs.
    isolated: Option<Reason>,
    difference_due: Option<Duration>,
    pending: Option<(Duration, Failure)>,
    actions: Vec<Action>,
}

impl Run {
    /// A run of the party at roster index `me`, at time zero.
    #[must_use]
    pub fn new(me: PeerIndex, roster: Roster, root: Fingerprint, timeouts: Timeouts) -> Self {
        let peers = PerParty::of(roster.len(), Peer::default());
        let instances = PerParty::of(roster.len(), Vec::new());
        Self {
            me,
            roster,
            root,
            timeouts,
            stage: Stage::Find,
            agreement: None,
            compare: false,
            id: None,
            peers,
            instances,
            disputed: None,
            now: Duration::ZERO,
            stood_still: Duration::ZERO,
            longest_standstill: Duration::ZERO,
            connecting: None,
            asking: false,
            own_waits: Settling::default(),
            done: false,
            verdict: None,
            farewell: Duration::ZERO,
            left: false,
            isolated: None,
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
        self.names(|peer| !peer.linked)
    }

    /// The key that this peer has in the agreement, as far as that has come.
    #[must_use]
    pub fn key(&self, peer: PeerIndex) -> Option<PublicKey> {
        self.agreement.as_ref().and_then(|agreement| Some(agreement.entry(peer)?.key))
    }

    /// When [`Event::Tick`] is due at the latest, in the time that `handle` is given; never where
    /// only others can bring news.
    #[must_use]
    pub fn next_tick(&self) -> Option<Duration> {
        self.due().map(|due| due + self.stood_still)
    }

    fn due(&self) -> Option<Duration> {
        if self.verdict.is_some() {
            let owed = self.others().filter_map(|i| self.owed_until(i));
            return owed.filter(|at| *at > self.now).min();
        }
        let silent =
            self.others().filter_map(|i| self.peers[i].silent_at(self.timeouts.grace, self.done));
        let left = self.others().filter_map(|i| self.left_at(i));
        let deadline = (self.stage < Stage::Run).then_some(self.timeouts.deadline);
        let pending = self.pending.as_ref().map(|(at, _)| *at);
        let more = [deadline, self.difference_due, pending, self.waits_due()].into_iter().flatten();
        silent.chain(left).chain(more).min()
    }

    /// How much at time `now` is left of the deadline.
    #[must_use]
    pub fn time_left(&self, now: Duration) -> Duration {
        (self.timeouts.deadline + self.stood_still).saturating_sub(now)
    }

    /// Until `now` this party has not listened for `deaf`, whatever held it up. Nobody was silent or late
    /// meanwhile: no wait of this party counts that time, and none begins anew, or one that is held up
    /// again and again would wait for ever.
    pub fn listen_anew(&mut self, now: Duration, deaf: Duration) {
        // A clock that stands still while the machine is suspended has not counted all of it.
        let counted = now.saturating_sub(self.now + self.stood_still);
        self.stood_still += deaf.min(counted);
        self.longest_standstill = self.longest_standstill.max(deaf);
        for peer in self.others() {
            self.peers[peer].was_not_listened_to(deaf);
        }
    }

    /// Takes one event at time `now` (since the start of this run) and says what to do.
    pub fn handle(&mut self, now: Duration, event: Event) -> Vec<Action> {
        self.now = now.saturating_sub(self.stood_still);
        if self.verdict.is_some() {
            self.part(event);
        } else {
            self.take(event);
            if self.verdict.is_none() {
                self.advance();
            }
            if self.verdict.is_none() {
                self.watch();
            }
            if self.verdict.is_none() {
                self.tell_waits();
            }
        }
        if self.verdict.is_some() {
            self.leave();
        }
        std::mem::take(&mut self.actions)
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Prepared { components, own } => self.prepared(*components, own),
            Event::Linked(peer, key) => self.linked_anew(peer, key),
            Event::Unlinked(peer, why) => self.unlinked(peer, why),
            Event::Isolated(why) => self.isolated = why,
            Event::Stalled(peer, why) => self.peers[peer].stalled = Some((self.now, why)),
            Event::Received(peer, _) if !self.peers[peer].linked => {}
            Event::Received(peer, message) if self.is_strange(peer, &message) => {
                self.ignore(peer, &message);
            }
            Event::Received(peer, message) => {
                self.peers[peer].hear(self.now);
                self.receive(peer, message);
            }
            Event::StreamBegan(peer) => self.peers[peer].begun += 1,
            Event::StreamEnded(peer) => self.peers[peer].ended += 1,
            Event::Connecting => self.connecting = Some(self.now),
            Event::Connected => self.connecting = None,
            Event::Awaits(peer) => {
                self.peers[peer].awaited = self.peers[peer].awaited.or(Some(self.now))
            }
            Event::AwaitsNoMore(peer) => self.peers[peer].awaited = None,
            Event::Asks => self.asking = true,
            Event::Answered => self.asking = false,
            Event::Faulty(peer, reason) => self.blame(vec![peer], reason),
            // The program has done its part: others may still count on that.
            Event::Failed(reason) if self.done => {
                self.actions.push(Action::FailedLate(reason));
                self.unconfirmed();
            }
            Event::Failed(reason) => self.blame(vec![self.me], reason),
            Event::Exited(Exit::Status(0)) if self.stage == Stage::Run => {
                self.stage = Stage::End;
                self.done = true;
                self.send_all(&Control::Done);
            }
            Event::Exited(exit) => self.exited(exit),
            Event::Tick => {}
        }
    }

    /// Whether this may be a message of another instance of the peer, one that had its link before: each
    /// instance says its entry first.
    fn is_strange(&self, peer: PeerIndex, message: &Control) -> bool {
        let is_entry = matches!(message, Control::Entry(_));
        self.stage >= Stage::Agree && !self.peers[peer].introduced && !is_entry
    }

    /// Who fails without having shown that it is the one it was need not stay to be heard.
    fn ignore(&mut self, peer: PeerIndex, message: &Control) {
        if matches!(message, Control::Abort(_)) {
            self.note(peer);
        }
    }

    /// A message that comes again is no news: each link begins with all that was said before.
    fn receive(&mut self, peer: PeerIndex, message: Control) {
        if let Control::Entry(entry) = &message
            && self.is_back(peer, entry)
        {
            // Both are to hear of it.
            self.peers[peer].introduced = true;
            return self.blame(vec![peer], Reason::Twice);
        }
        let known = &mut self.peers[peer];
        match message {
            Control::Beat(_) => {}
            Control::Roster(roster) if self.stage == Stage::Find => {
                (known.roster, self.compare) = (Some(roster), true);
            }
            // What counts from then on is in the entries, which are the same.
            Control::Roster(_) => {}
            Control::Waits(waits) => self.said_to_wait(peer, waits),
            Control::Entry(entry) if self.agreement.is_some() => self.on_entry(peer, entry),
            Control::Entry(entry) if known.early_entry.as_ref().is_none_or(|e| *e == entry) => {
                known.early_entry = Some(entry);
            }
            Control::List(list) if list.len() != self.roster.len() => {
                self.blame(vec![peer], Reason::Protocol("sent a list of another length".into()));
            }
            Control::List(list) if known.list.as_ref().is_none_or(|l| *l == list) => {
                known.list = Some(list);
            }
            Control::Ready(id) if known.ready.is_none_or(|ready| ready == id) => {
                known.ready = Some(id);
            }
            Control::Dial { cycle, newest } if self.stage >= Stage::Start => {
                self.actions.push(Action::Dial { peer, cycle, newest });
            }
            Control::Done if self.stage >= Stage::Start => {
                known.done = known.done.or(Some(self.now));
                self.note(peer);
            }
            Control::Noted if self.done => known.parted = true,
            Control::Abort(failure) => self.aborted(peer, failure),
            _ => self.blame(vec![peer], Reason::Protocol("sent a message out of turn".into())),
        }
    }

    fn send(&mut self, to: PeerIndex, message: Control) {
        self.actions.push(Action::Send(to, message));
    }

    /// To all that are there. Who is away, or not known to be the same again, hears it later.
    fn send_all(&mut self, message: &Control) {
        for peer in self.others() {
            if self.peers[peer].introduced {
                self.send(peer, message.clone());
            }
        }
    }

    fn others(&self) -> impl Iterator<Item = PeerIndex> + use<> {
        let me = self.me;
        self.roster.indices().filter(move |&i| i != me)
    }

    fn linked(&self) -> Vec<PeerIndex> {
        self.others().filter(|&i| self.peers[i].linked).collect()
    }

    fn names(&self, which: impl Fn(&Peer) -> bool) -> Vec<PartyName> {
        let chosen = self.others().filter(|&i| which(&self.peers[i]));
        chosen.filter_map(|i| self.roster.get(i).cloned()).collect()
    }
}

#[cfg(test)]
mod tests;
