//! The way to one peer: what is dialled when, and which connection is the link.
//!
//! Both ends dial everything they know. Of the connections that come up the *controlling* end (the
//! one whose name sorts first) takes one, and tells the other on it: that is the next link, and its
//! *epoch* is higher than all before. As long as the link is on a worse path than might be had,
//! dialling goes on beside it; a better path that opens makes the next link. A link whose beats
//! (heartbeats) are not answered is *suspect*: everything is dialled again, and the first connection
//! replaces it. A worse path never replaces a good one.
//!
//! The end that does not control says on each connection which instance of it, that is which runner, is
//! there. A connection to another instance than the link's becomes the next link, however good the one
//! there is: if two machines have the key of that party, both are heard, in turns.
//!
//! A link that carries small packets alone is of no use. The second beat of each link, and every
//! fourth from then on, is sent in packets of full size; a kind of path on which none is answered, or which died young,
//! is not chosen again for a while as long as there are others.
//!
//! Kinds are tried best first, each a moment after the better one, as happy eyeballs (RFC 8305) does
//! with address families. Attempts have a rate limit, and those at better kinds than the link's go on
//! with an exponential backoff. That both ends dial at the same time is what opens NATs (hole
//! punching).
//!
//! [`Paths`] is the machine behind it, one for each peer. It has no clock: the time comes in with
//! each event.

mod choose;
mod link;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::addr::Address;
use link::Link;

/// A kind of path, as far as the choice between kinds goes. The better of two is the lesser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind {
    /// Lower is better; no two kinds share one.
    pub preference: u8,
    /// The tag of its addresses.
    pub name: &'static str,
    /// How long an open connection of this kind waits for a better one that is being dialled, before
    /// it becomes the first link (happy eyeballs, RFC 8305).
    pub head_start: Duration,
    /// Both ends dialling at once opens the NATs between them (hole punching, RFC 5128).
    pub opens_nats: bool,
    /// A hub carries it: within that hub's limits, called by one end, and with nothing worse to fall
    /// back to.
    pub relayed: bool,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// One way to try a peer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// What a connection there would be.
    pub kind: Kind,
    /// Where: an address of this kind.
    pub address: Address,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// Numbers the connections of one runner; none is used twice.
pub type ConnectionId = u64;

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// Where the peer may be reached now; replaces what was known.
    Targets(Vec<Target>),
    /// A connection to the peer is up, whoever dialled.
    Opened {
        /// The connection.
        id: ConnectionId,
        /// Its path.
        kind: Kind,
        /// Links up to this epoch are of no use to the end that dialled.
        lost: u64,
    },
    /// The end that does not control said which instance of it this connection leads to.
    Introduced {
        /// The connection.
        id: ConnectionId,
        /// Drawn at random by each runner.
        instance: u64,
    },
    /// The controlling end has taken a connection.
    Taken {
        /// The connection.
        id: ConnectionId,
        /// Its path.
        kind: Kind,
        /// Drawn at random by each runner, so that one that was started anew is not held to the
        /// epochs of the other.
        instance: u64,
        /// The epoch of the new link.
        epoch: u64,
    },
    /// An attempt is over, whatever came of it.
    Tried(Target),
    /// A connection has ended.
    Closed(ConnectionId),
    /// The peer answered this beat on the link of this connection.
    Echoed(ConnectionId, u32),
    /// A stream over the link of this connection made no progress, and its carrier was given up.
    StreamStalled(ConnectionId),
    /// This machine's addresses have changed.
    Moved {
        /// The one that the link uses is among those that have gone.
        uprooted: bool,
    },
    /// Time has passed.
    Tick,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Try this way, and tell the end of it with [`Event::Tried`].
    Dial(Target),
    /// Take this connection as the link, and tell the peer on it.
    Use(ConnectionId, u64),
    /// Take this connection as the link, as the peer has.
    Adopt(ConnectionId, u64),
    /// Nobody wants this connection, or not any longer.
    Close(ConnectionId),
    /// Send a beat over the link.
    Beat {
        /// Which one it is.
        number: u32,
        /// In a packet of full size.
        full: bool,
    },
    /// On this connection small packets pass and those of full size do not.
    Stalled(ConnectionId),
    /// What is dialled to the other end of this connection from now on shall send smaller packets.
    Shrink(ConnectionId),
    /// There is no link any more.
    Lost,
}

/// A connection that is up and may become the link.
#[derive(Clone, Copy, Debug)]
struct Held {
    id: ConnectionId,
    kind: Kind,
    since: Duration,
    /// The peer dialled it because the link that there is does not work for it.
    needed: bool,
    /// The instance of the peer that it leads to, once that is known.
    instance: Option<u64>,
}

/// What was tried at one target.
#[derive(Clone, Copy, Debug)]
struct Tries {
    under_way: u32,
    /// When it was tried last, or else heard of.
    last: Duration,
}

/// The way to one peer.
#[derive(Debug)]
pub struct Paths {
    controlling: bool,
    /// What may be tried, and what was.
    targets: BTreeMap<Target, Tries>,
    /// When all attempts so far would have been made, had they been made one by one.
    spent: Duration,
    /// The epoch of the newest link, and the instance of the controlling end that counts it.
    epoch: u64,
    instance: Option<u64>,
    link: Option<Link>,
    held: Vec<Held>,
    /// When the next kind is tried, the last one that was tried in this round, and when that began.
    next_dial: Duration,
    last_kind: Option<Kind>,
    round: Duration,
    /// When the network was last different: from then on better paths are tried fast for a while.
    news: Duration,
    pause: Duration,
    /// Better paths that died young are left alone until then, longer each time.
    distrust_until: Duration,
    distrust: Duration,
    /// The kind that died last, which until then is no choice where there is another.
    distrusted: Option<Kind>,
    /// How long answers of the peer usually took on the link before.
    usual: Option<Duration>,
    now: Duration,
    actions: Vec<Action>,
}

impl Paths {
    /// The way to a peer of whom nothing is known yet; `controlling` at the end that chooses.
    #[must_use]
    pub fn new(controlling: bool) -> Self {
        Self {
            controlling,
            targets: BTreeMap::new(),
            spent: Duration::ZERO,
            epoch: 0,
            instance: None,
            link: None,
            held: Vec::new(),
            next_dial: Duration::ZERO,
            last_kind: None,
            round: Duration::ZERO,
            news: Duration::ZERO,
            pause: Duration::ZERO,
            distrust_until: Duration::ZERO,
            distrust: Duration::ZERO,
            distrusted: None,
            usual: None,
            now: Duration::ZERO,
            actions: Vec::new(),
        }
    }

    /// Takes one event at time `now` and says what to do.
    pub fn handle(&mut self, now: Duration, event: Event) -> Vec<Action> {
        self.sleep(now);
        self.now = now;
        self.take(event);
        self.watch();
        self.choose();
        self.watch();
        self.dial();
        std::mem::take(&mut self.actions)
    }

    /// When [`Event::Tick`] is due at the latest.
    #[must_use]
    pub fn next_tick(&self) -> Duration {
        let beat = self.link.as_ref().map(|link| link.next_tick(self.is_needed()));
        let held = self.held.iter().map(|held| self.due(held));
        beat.into_iter().chain(held).fold(self.next_dial, Duration::min)
    }

    /// Links up to this epoch are of no use here; what every dialled connection tells the peer.
    #[must_use]
    pub fn lost(&self) -> u64 {
        if self.healthy().is_some() { 0 } else { self.epoch }
    }

    /// The kind of the link, where there is one and it is not suspect.
    #[must_use]
    pub fn healthy(&self) -> Option<Kind> {
        self.link.as_ref().filter(|link| !link.suspect).map(|link| link.kind)
    }

    /// The link's newest round trip.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.link.as_ref().and_then(|link| link.round_trip)
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Targets(targets) => self.learn(targets),
            Event::Opened { id, kind, lost } => self.opened(id, kind, lost),
            Event::Introduced { id, instance } => self.introduced(id, instance),
            Event::Taken { id, kind, instance, epoch } => self.taken(id, kind, instance, epoch),
            Event::Tried(target) => {
                if let Some(tries) = self.targets.get_mut(&target) {
                    tries.under_way = tries.under_way.saturating_sub(1);
                }
            }
            Event::Closed(id) => {
                self.held.retain(|held| held.id != id);
                if self.link.as_ref().is_some_and(|link| link.id == id) {
                    self.drop_link();
                }
            }
            Event::Echoed(id, number) => {
                let now = self.now;
                if let Some(link) = self.link.as_mut().filter(|link| link.id == id) {
                    link.echoed(now, number);
                }
            }
            Event::StreamStalled(id) => self.stream_stalled(id),
            Event::Moved { uprooted } => {
                self.news = self.now;
                self.redial();
                if let Some(link) = self.link.as_mut().filter(|_| uprooted) {
                    link.suspect = true;
                }
            }
            Event::Tick => {}
        }
    }

    /// There is no link from now on: another is looked for at once.
    fn drop_link(&mut self) {
        self.retire(true);
        self.actions.push(Action::Lost);
        self.redial();
    }

    fn learn(&mut self, targets: Vec<Target>) {
        let known = std::mem::take(&mut self.targets);
        if targets.iter().any(|target| !known.contains_key(target)) {
            self.news = self.now;
            self.redial();
        }
        let new = Tries { under_way: 0, last: self.now };
        let tries = |target: &Target| known.get(target).copied().unwrap_or(new);
        self.targets = targets.into_iter().map(|t| (t.clone(), tries(&t))).collect();
    }
}

#[cfg(test)]
mod tests;
