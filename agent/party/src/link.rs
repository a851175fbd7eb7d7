//! Control links and streams to the other parties of a session.
//!
//! Every pair keeps one control link. Both ends dial whatever candidates they know, at once; of the
//! connections that come up, the *controlling* end (whose name sorts first) takes one by saying
//! [`Control::Use`] on it and closes the others. A stream is one more connection to the address that
//! carried the control link, so it is dialled by the end that dialled the link.

mod accept;
mod dial;
pub mod handover;
pub mod packets;
pub mod ping;
mod pipe;
pub mod report;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use mpyc_party_core::agreement::Entry;
use mpyc_party_core::claims::{Claims, Fingerprint, PublicKey};
use mpyc_party_core::control::{Control, Purpose, StreamOpening};
use mpyc_party_core::name::{PartyName, SessionName};
use mpyc_party_core::roster::Roster;
use mpyc_party_core::sni::Tag;
use mpyc_party_core::verdict::Remark;
use mpyc_party_transport::{Expect, Identity, Secure};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

pub use accept::{bind, bind_exactly};
pub use dial::{StreamError, inquire};
use handover::Entrance;
use pipe::Pipe;
use report::{PathKind, PathReport, PeerReport};

/// What the runner hears from its links.
#[derive(Debug)]
pub enum LinkEvent {
    /// A control link to this peer is up.
    Linked(usize, PublicKey),
    /// It has ended.
    Unlinked(usize, Remark),
    /// A message came.
    Received(usize, Control),
    /// A peer opened a stream.
    Stream(usize, StreamOpening, Box<Secure>),
}

/// Who meets in a session, and as whom this party is there.
#[derive(Clone, Debug)]
pub struct Circle {
    identity: watch::Receiver<Identity>,
    /// The parties.
    pub roster: Roster,
    /// This party's index.
    pub me: usize,
    /// The keys that peers must have, by index.
    pub pins: Vec<Option<PublicKey>>,
    /// What stands for this session in public.
    pub tag: Tag,
}

impl Circle {
    /// The circle of the session `name`; new connections use the newest identity.
    #[must_use]
    pub fn new(
        identity: watch::Receiver<Identity>,
        name: &SessionName,
        roster: Roster,
        me: usize,
        pins: Vec<Option<PublicKey>>,
    ) -> Self {
        let tag = Tag::new(&identity.borrow().root().fingerprint, name, roster.as_slice());
        Self { identity, roster, me, pins, tag }
    }

    /// This party's identity as it is now.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity.borrow().clone()
    }

    /// What the network is known by.
    #[must_use]
    pub fn root(&self) -> Fingerprint {
        self.identity.borrow().root().fingerprint
    }

    /// The peers as the handshake expects them.
    #[must_use]
    pub fn expect(&self, only: Option<usize>) -> Expect {
        let peers = (0..self.roster.len()).filter(|&i| i != self.me && only.is_none_or(|o| o == i));
        Expect::Parties(peers.map(|i| (self.name(i).clone(), self.pins[i])).collect())
    }

    fn name(&self, index: usize) -> &PartyName {
        &self.roster.as_slice()[index]
    }

    /// The index of the peer with these claims.
    fn index_of(&self, claims: &Claims) -> Option<usize> {
        let name = claims.party()?;
        self.roster.index_of(name).filter(|&i| i != self.me)
    }

    /// Whether this party decides which connection to `peer` becomes the link.
    fn controls(&self, peer: usize) -> bool {
        self.name(self.me) < self.name(peer)
    }
}

/// A control link that is in use.
#[derive(Debug)]
struct Slot {
    /// Tells this link from its predecessor to the same peer.
    number: u64,
    key: PublicKey,
    /// Where it was dialled; none if the peer dialled.
    address: Option<SocketAddr>,
    path: PathReport,
    messages: mpsc::Sender<Control>,
}

/// What all tasks of the links share.
#[derive(Debug)]
struct Shared {
    circle: Circle,
    slots: Mutex<Vec<Option<Slot>>>,
    /// Peers to whom a connection is just becoming the link.
    choosing: Mutex<BTreeSet<usize>>,
    /// Counts the changes to `slots`, so that the dialling tasks notice.
    changes: watch::Sender<u64>,
    /// Turns true when no further link shall come up.
    closing: watch::Sender<bool>,
    events: mpsc::Sender<LinkEvent>,
    entry: watch::Receiver<Option<Entry>>,
}

impl Shared {
    fn slots(&self) -> std::sync::MutexGuard<'_, Vec<Option<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn choosing(&self) -> std::sync::MutexGuard<'_, BTreeSet<usize>> {
        self.choosing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn linked(&self, peer: usize) -> bool {
        self.slots()[peer].is_some()
    }

    /// The right to make a connection the link to `peer`; none while there is a link, or another
    /// connection is becoming it. Connections come up side by side, and only one may win.
    fn choose(self: &Arc<Self>, peer: usize) -> Option<Choice> {
        let free = self.choosing().insert(peer);
        let choice = free.then(|| Choice { shared: self.clone(), peer });
        choice.filter(|_| !self.linked(peer))
    }

    /// Ends the control link to `peer` if it is still the one with this number.
    async fn unlink(&self, peer: usize, number: u64, why: Remark) {
        let gone = self.slots()[peer].take_if(|slot| slot.number == number);
        if gone.is_some() {
            self.changes.send_modify(|n| *n += 1);
            let _ = self.events.send(LinkEvent::Unlinked(peer, why)).await;
        }
    }
}

/// The right of one connection to become the link to a peer, given back when dropped.
#[derive(Debug)]
struct Choice {
    shared: Arc<Shared>,
    peer: usize,
}

impl Drop for Choice {
    fn drop(&mut self) {
        self.shared.choosing().remove(&self.peer);
    }
}

/// All control links of one session at this party.
#[derive(Debug)]
pub struct Links {
    shared: Arc<Shared>,
    candidates: Vec<watch::Sender<Vec<String>>>,
    seekers: JoinSet<()>,
    carrier: JoinSet<()>,
}

impl Links {
    /// Accepts at `entrance` and dials every candidate that [`Links::candidates`] tells.
    /// `entry` is what an inquiring peer is shown.
    #[must_use]
    pub fn open(
        circle: Circle,
        entrance: Entrance,
        entry: watch::Receiver<Option<Entry>>,
    ) -> (Self, mpsc::Receiver<LinkEvent>) {
        let (events, received) = mpsc::channel(64);
        let (pipes, new_pipes) = mpsc::channel(64);
        let size = circle.roster.len();
        let slots = Mutex::new((0..size).map(|_| None).collect());
        let changes = watch::Sender::new(0);
        let (me, closing) = (circle.me, watch::Sender::new(false));
        let choosing = Mutex::default();
        let shared = Arc::new(Shared { circle, slots, choosing, changes, closing, events, entry });
        let (mut seekers, mut carrier) = (JoinSet::new(), JoinSet::new());
        carrier.spawn(pipe::carry_all(shared.clone(), new_pipes));
        seekers.spawn(accept::serve(shared.clone(), entrance, pipes.clone()));
        let candidates: Vec<_> = (0..size).map(|_| watch::Sender::new(Vec::new())).collect();
        for peer in (0..size).filter(|&peer| peer != me) {
            let known = candidates[peer].subscribe();
            seekers.spawn(dial::keep_linked(shared.clone(), peer, known, pipes.clone()));
        }
        (Self { shared, candidates, seekers, carrier }, received)
    }

    /// Tells where `peer` may be reached.
    pub fn candidates(&self, peer: usize, addresses: Vec<String>) {
        self.candidates[peer].send_if_modified(|known| {
            let changed = *known != addresses;
            *known = addresses;
            changed
        });
    }

    /// Sends `message` to `peer`. A peer that does not read for long loses its link.
    pub fn send(&self, peer: usize, message: Control) {
        let mut slots = self.shared.slots();
        let Some(slot) = &mut slots[peer] else { return };
        if slot.messages.try_send(message).is_err() {
            // The writing task finds its queue closed, and ends the link.
            slot.messages = mpsc::channel(1).0;
        }
    }

    /// Closes the link to `peer`; another may come up.
    pub fn unlink(&self, peer: usize) {
        self.shared.slots()[peer] = None;
        self.shared.changes.send_modify(|n| *n += 1);
    }

    /// What is known of each peer's link, in roster order.
    #[must_use]
    pub fn reports(&self) -> Vec<PeerReport> {
        let (circle, slots) = (&self.shared.circle, self.shared.slots());
        let peers = (0..slots.len()).filter(|&peer| peer != circle.me);
        let report = |peer: usize| PeerReport {
            party: circle.name(peer).clone(),
            path: slots[peer].as_ref().map(|slot| slot.path.clone()),
            sent: 0,
            received: 0,
            attempts: Vec::new(),
        };
        peers.map(report).collect()
    }

    /// A handle that opens streams.
    #[must_use]
    pub fn streams(&self) -> Streams {
        Streams(self.shared.clone())
    }

    /// Sends what is queued, says goodbye, and waits for the peers to do the same, for a bounded
    /// time.
    pub async fn close(mut self) {
        self.seekers.abort_all();
        self.shared.closing.send_replace(true);
        self.shared.slots().fill_with(|| None);
        let farewell = async { while self.carrier.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(pipe::FAREWELL, farewell).await;
    }
}

/// Opens streams to peers.
#[derive(Clone, Debug)]
pub struct Streams(Arc<Shared>);
