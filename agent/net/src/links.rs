//! Control links and carriers of streams to the other parties of a session, over whatever path
//! there is.
//!
//! Each peer has a task of its own (`peer_task`), which feeds the machine of
//! [`mpyc_party_core::path`] and does what that says. What it dials and what comes in ([`accept`])
//! ends there as a connection, and the machine makes one of them the link. A link that is lost, or
//! grows silent, is replaced by the next, under a higher epoch; the run above is told and goes on. A
//! carrier of a stream ([`CarrierDialer`]) is one more connection on the route of the link, so it is
//! opened by the end that dialled the link.

mod carriers;
mod connection;
mod peer_task;
pub mod report;
mod welcome;

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mpyc_party_core::agreement::EncodedEntry;
use mpyc_party_core::claims::PublicKey;
use mpyc_party_core::control::{Control, StreamOpening};
use mpyc_party_core::path::Target;
use mpyc_party_core::roster::PeerIndex;
use mpyc_party_core::verdict::Remark;
use mpyc_party_core::waits::Waits;
use mpyc_party_transport::{Expect, Secure, Traffic};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::accept::permits::ConnectionPermits;
use crate::accept::{self, Listener};
use crate::dial::LocalEnd;
use crate::peers::SessionPeers;
use crate::stack::Stack;
use connection::Way;
use report::{Attempt, PathReport, PeerReport};

pub use carriers::{CarrierDialer, CarrierError};

/// How long links that are being closed may take to say goodbye.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(2);
/// Connections that one peer may have coming in: over a kind with one connection each, until they are
/// where they want to be, over one with many on a route, as long as that is there. Each may have
/// megabytes wait that nobody reads.
const MAX_CONNECTIONS_PER_PEER: usize = 32;

/// What the runner hears from its links.
#[derive(Debug)]
pub enum LinkEvent {
    /// A control link to this peer is up, in place of the one there may have been.
    Linked(PeerIndex, Box<Linked>),
    /// There is none any more.
    Unlinked(PeerIndex, Remark),
    /// It does not answer; another is looked for.
    Suspect(PeerIndex),
    /// It does again.
    Well(PeerIndex),
    /// Small packets pass on it and packets of full size do not, in words.
    Stalled(PeerIndex, Remark),
    /// A message came.
    Received(PeerIndex, Control),
    /// A peer opened a carrier of a stream.
    Stream(PeerIndex, StreamOpening, Box<Secure>),
}

impl LinkEvent {
    /// Whether it says that a link does not work any more.
    #[must_use]
    pub fn is_loss(&self) -> bool {
        matches!(self, Self::Unlinked(..) | Self::Suspect(_))
    }
}

/// A link that is up.
#[derive(Clone, Debug)]
pub struct Linked {
    /// The peer's key.
    pub key: PublicKey,
    /// Its path and epoch.
    pub path: PathReport,
    /// This end dialled, so it opens the carriers of streams.
    pub opener: bool,
}

/// What all tasks know of one peer.
#[derive(Debug, Default)]
struct Slot {
    link: Option<Link>,
    /// Since when the last link has been gone or silent.
    away: Option<Instant>,
    attempts: Vec<Attempt>,
    traffic: Arc<Traffic>,
}

/// A control link that is in use.
#[derive(Clone, Debug)]
struct Link {
    way: Way,
    path: PathReport,
}

/// What all tasks of the links share.
#[derive(Debug)]
struct Shared {
    peers: SessionPeers,
    stack: Arc<Stack>,
    local: LocalEnd,
    slots: Mutex<Vec<Slot>>,
    /// The keys that peers must have: what is pinned, and from the agreement on what was agreed.
    keys: Mutex<Vec<Option<PublicKey>>>,
    events: mpsc::Sender<LinkEvent>,
    entry: watch::Receiver<Option<EncodedEntry>>,
    /// Whoever is coming in.
    permits: ConnectionPermits,
    /// Where each peer's task takes connections; closed at this party's own index.
    inboxes: Vec<mpsc::Sender<peer_task::PeerEvent>>,
    /// Draws numbers for connections.
    next: AtomicU64,
    /// Tells this runner from an earlier one of the same party.
    instance: u64,
}

impl Shared {
    fn slots(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keys(&self) -> MutexGuard<'_, Vec<Option<PublicKey>>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the link to `peer` has this epoch now.
    fn is_current(&self, peer: PeerIndex, epoch: u64) -> bool {
        self.slots()[peer.get()].link.as_ref().is_some_and(|link| link.path.epoch == epoch)
    }

    fn expect(&self, only: Option<PeerIndex>) -> Expect {
        self.peers.expect(only, &self.keys())
    }
}

/// All links of one session at this party.
#[derive(Debug)]
pub struct Links {
    shared: Arc<Shared>,
    commands: Vec<mpsc::UnboundedSender<peer_task::PeerCommand>>,
    /// Whoever lets others in.
    acceptors: JoinSet<()>,
    peer_tasks: JoinSet<()>,
    /// The epoch of each link of which the holder of this knows; 0 before the first.
    seen: Vec<AtomicU64>,
}

impl Links {
    /// Lets peers in at `listeners`, and dials everything that [`Links::targets`] tells. `entry` is
    /// what an inquiring peer is shown.
    ///
    /// # Errors
    /// Without randomness.
    pub fn open(
        peers: SessionPeers,
        stack: Arc<Stack>,
        local: LocalEnd,
        listeners: Vec<Box<dyn Listener>>,
        entry: watch::Receiver<Option<EncodedEntry>>,
    ) -> std::io::Result<(Self, mpsc::Receiver<LinkEvent>)> {
        let (events, received) = mpsc::channel(256);
        let size = peers.roster.len();
        let (inboxes, mut receivers): (Vec<_>, Vec<_>) =
            (0..size).map(|_| mpsc::channel(64)).unzip();
        let shared = Arc::new(Shared {
            slots: Mutex::new((0..size).map(|_| Slot::default()).collect()),
            keys: Mutex::new(peers.pins.clone()),
            peers,
            stack,
            local,
            events,
            entry,
            permits: ConnectionPermits::new(accept::MAX_CONNECTIONS, MAX_CONNECTIONS_PER_PEER),
            inboxes,
            next: AtomicU64::new(1),
            instance: getrandom::u64().map_err(std::io::Error::other)?,
        });
        let mut acceptors = JoinSet::new();
        for listener in listeners {
            acceptors.spawn(accept::serve(Arc::clone(&shared), listener));
        }
        let (mut commands, mut peer_tasks) = (Vec::new(), JoinSet::new());
        for (peer, inbox) in shared.peers.roster.indices().zip(receivers.drain(..)) {
            let (sender, receiver) = mpsc::unbounded_channel();
            commands.push(sender);
            if peer != shared.peers.me {
                peer_tasks.spawn(peer_task::run(shared.clone(), peer, inbox, receiver));
            }
        }
        let seen = (0..size).map(|_| AtomicU64::new(0)).collect();
        Ok((Self { shared, commands, acceptors, peer_tasks, seen }, received))
    }

    /// Fails when a task that everything here rests on has ended; never returns otherwise. May be
    /// cancelled.
    pub async fn failed(&mut self) -> std::io::Error {
        let ended = tokio::select! {
            Some(ended) = self.acceptors.join_next() => ended,
            Some(ended) = self.peer_tasks.join_next() => ended,
            else => std::future::pending().await,
        };
        match ended {
            Err(error) => std::io::Error::other(format!("a task of the links has ended: {error}")),
            Ok(()) => std::io::Error::other("a task of the links has ended before its time"),
        }
    }

    fn command(&self, peer: PeerIndex, command: peer_task::PeerCommand) {
        // The task of a peer ends with this.
        let _ = self.commands[peer.get()].send(command);
    }

    /// Tells how `peer` may be reached.
    pub fn targets(&self, peer: PeerIndex, targets: Vec<Target>) {
        self.command(peer, peer_task::PeerCommand::Targets(targets));
    }

    /// These addresses of this machine have gone, or others have come.
    pub fn moved(&self, gone: &[IpAddr]) {
        for peer in self.shared.peers.peers() {
            self.command(peer, peer_task::PeerCommand::Moved(gone.to_vec()));
        }
    }

    /// The holder of this has taken in that there is this link to `peer`. What it sends from now on is
    /// for that link: at the other end of the next one may be somebody else with the peer's key.
    pub fn saw(&self, peer: PeerIndex, linked: &Linked) {
        self.seen[peer.get()].store(linked.path.epoch, Relaxed);
    }

    fn seen(&self, peer: PeerIndex) -> u64 {
        self.seen[peer.get()].load(Relaxed)
    }

    /// Sends `message` to `peer`, unless its link [has been replaced](Self::saw). A peer that does not
    /// read for long loses its link.
    pub fn send(&self, peer: PeerIndex, message: Control) {
        self.command(peer, peer_task::PeerCommand::Send(self.seen(peer), message));
    }

    /// A carrier over the link of this epoch to `peer` was given up, for it made no progress.
    pub fn stalled(&self, peer: PeerIndex, epoch: u64) {
        self.command(peer, peer_task::PeerCommand::Stalled(epoch));
    }

    /// Closes the link to `peer`, unless it [has been replaced](Self::saw); another may come up.
    pub fn unlink(&self, peer: PeerIndex) {
        self.command(peer, peer_task::PeerCommand::Unlink(self.seen(peer)));
    }

    /// From now on `peer` must have this key, whatever certificate it shows.
    pub fn pin(&self, peer: PeerIndex, key: PublicKey) {
        self.shared.keys()[peer.get()] = Some(key);
    }

    /// A handle that opens carriers.
    #[must_use]
    pub fn carriers(&self) -> CarrierDialer {
        CarrierDialer(self.shared.clone())
    }

    /// Counts the bytes of all streams of `peer`.
    #[must_use]
    pub fn traffic(&self, peer: PeerIndex) -> Arc<Traffic> {
        self.shared.slots()[peer.get()].traffic.clone()
    }

    /// What is known of each peer's link, in roster order.
    #[must_use]
    pub fn reports(&self) -> Vec<PeerReport> {
        let (peers, slots) = (&self.shared.peers, self.shared.slots());
        let report = |peer: PeerIndex| PeerReport {
            party: peers.name(peer).clone(),
            path: slots[peer.get()].link.as_ref().map(|link| link.path.clone()),
            away_s: slots[peer.get()].away.map(|since| since.elapsed().as_secs_f64()),
            sent: slots[peer.get()].traffic.sent(),
            received: slots[peer.get()].traffic.received(),
            tampered: slots[peer.get()].traffic.tampered(),
            attempts: slots[peer.get()].attempts.clone(),
            found_by: Vec::new(),
            waits: Waits::default(),
        };
        peers.peers().map(report).collect()
    }

    /// Sends what is queued, says goodbye, and waits for the peers to do the same, for a bounded
    /// time.
    pub async fn close(mut self) {
        self.acceptors.abort_all();
        self.commands.clear();
        let goodbye = async { while self.peer_tasks.join_next().await.is_some() {} };
        let _ = timeout(GOODBYE_TIMEOUT, goodbye).await;
        if let Some(quic) = &self.shared.local.udp {
            quic.close("the run is over");
            quic.wait_idle().await;
        }
    }
}

#[cfg(test)]
mod tests;
