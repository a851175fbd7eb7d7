//! Control links and carriers of streams to the other parties of a session, over whatever path
//! there is.
//!
//! Each peer has a task of its own (`keep`), which feeds the machine of
//! [`mpyc_party_core::path`] and does what that says. What is dialled (`dial`) and what comes in
//! (`accept`) ends there as a connection, and the machine makes one of them the link. A link that
//! is lost, or grows silent, is replaced by the next, under a higher epoch; the run above is told
//! and goes on. A carrier of a stream (`carry`) is one more connection over the path of the link,
//! so it is opened by the end that dialled the link.
//!
//! A connection to a port that another party exposes is one link of its own, without a session
//! ([`expose`], [`connect`]).

mod accept;
mod carry;
mod circle;
pub mod connect;
mod connection;
mod dial;
pub mod entrance;
pub mod expose;
mod keep;
pub mod moves;
pub mod ping;
mod reach;
pub mod report;
mod seats;
mod serve;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mpyc_party_core::agreement::EncodedEntry;
use mpyc_party_core::claims::PublicKey;
use mpyc_party_core::control::{Control, StreamOpening};
use mpyc_party_core::path::{Kind, Target};
use mpyc_party_core::relay::CallId;
use mpyc_party_core::verdict::Remark;
use mpyc_party_transport::{Expect, Secure, Traffic, quic};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

pub use accept::bind_exactly;
pub use carry::{CarrierError, Carriers};
pub use circle::Circle;
use connection::Way;
pub use dial::inquire;
use entrance::Entrance;
use report::{Attempt, PathReport, PeerReport};
use seats::Seats;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How long links that are being closed may take to say goodbye.
const FAREWELL: Duration = Duration::from_secs(2);

/// What the runner hears from its links.
#[derive(Debug)]
pub enum LinkEvent {
    /// A control link to this peer is up, in place of the one there may have been.
    Linked(usize, Box<Linked>),
    /// There is none any more.
    Unlinked(usize, Remark),
    /// It does not answer; another is looked for.
    Suspect(usize),
    /// It does again.
    Well(usize),
    /// A message came.
    Received(usize, Control),
    /// A peer opened a carrier of a stream.
    Stream(usize, StreamOpening, Box<Secure>),
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
    circle: Circle,
    quic: Option<quic::Endpoint>,
    slots: Mutex<Vec<Slot>>,
    /// The keys that peers must have: what is pinned, and from the agreement on what was agreed.
    keys: Mutex<Vec<Option<PublicKey>>>,
    events: mpsc::Sender<LinkEvent>,
    entry: watch::Receiver<Option<EncodedEntry>>,
    /// Whoever is coming in.
    guests: Seats,
    /// Where each peer's task takes connections; closed at this party's own index.
    doors: Vec<mpsc::Sender<keep::News>>,
    /// Draws numbers for connections.
    next: std::sync::atomic::AtomicU64,
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

    fn expect(&self, only: Option<usize>) -> Expect {
        self.circle.expect(only, &self.keys())
    }
}

/// All links of one session at this party.
#[derive(Debug)]
pub struct Links {
    shared: Arc<Shared>,
    orders: Vec<mpsc::UnboundedSender<keep::Order>>,
    /// Whoever lets others in, or joins them.
    doors: JoinSet<()>,
    keepers: JoinSet<()>,
}

impl Links {
    /// Accepts at `entrance` and the UDP socket of `quic`, and dials everything that
    /// [`Links::targets`] tells. `entry` is what an inquiring peer is shown.
    ///
    /// # Errors
    /// Without randomness.
    pub fn open(
        circle: Circle,
        entrance: Entrance,
        quic: Option<quic::Endpoint>,
        entry: watch::Receiver<Option<EncodedEntry>>,
    ) -> std::io::Result<(Self, mpsc::Receiver<LinkEvent>)> {
        let (events, received) = mpsc::channel(256);
        let size = circle.roster.len();
        let (doors, mut inboxes): (Vec<_>, Vec<_>) = (0..size).map(|_| mpsc::channel(64)).unzip();
        let shared = Arc::new(Shared {
            slots: Mutex::new((0..size).map(|_| Slot::default()).collect()),
            keys: Mutex::new(circle.pins.clone()),
            circle,
            quic: quic.clone(),
            events,
            entry,
            guests: Seats::new(serve::MOST_GUESTS, serve::MOST_OF_ONE),
            doors,
            next: std::sync::atomic::AtomicU64::new(1),
            instance: getrandom::u64().map_err(std::io::Error::other)?,
        });
        let mut doors = JoinSet::new();
        doors.spawn(serve::tcp(shared.clone(), entrance));
        if let Some(quic) = quic {
            doors.spawn(serve::quic(shared.clone(), quic));
        }
        let (mut orders, mut keepers) = (Vec::new(), JoinSet::new());
        for (peer, inbox) in inboxes.drain(..).enumerate() {
            let (sender, receiver) = mpsc::unbounded_channel();
            orders.push(sender);
            if peer != shared.circle.me {
                keepers.spawn(keep::keep(shared.clone(), peer, inbox, receiver));
            }
        }
        Ok((Self { shared, orders, doors, keepers }, received))
    }

    fn order(&self, peer: usize, order: keep::Order) {
        // The task of a peer ends with this.
        let _ = self.orders[peer].send(order);
    }

    /// Tells how `peer` may be reached.
    pub fn targets(&self, peer: usize, targets: Vec<Target>) {
        self.order(peer, keep::Order::Targets(targets));
    }

    /// Joins a call of a peer over a hub's relay.
    pub fn join(&mut self, hub: String, call: CallId) {
        while self.doors.try_join_next().is_some() {}
        if self.doors.len() < serve::MOST_GUESTS {
            self.doors.spawn(serve::called(self.shared.clone(), hub, call));
        }
    }

    /// These addresses of this machine have gone, or others have come.
    pub fn moved(&self, gone: &[IpAddr]) {
        for peer in self.shared.circle.peers() {
            self.order(peer, keep::Order::Moved(gone.to_vec()));
        }
    }

    /// Sends `message` to `peer`. A peer that does not read for long loses its link.
    pub fn send(&self, peer: usize, message: Control) {
        self.order(peer, keep::Order::Send(message));
    }

    /// Closes the link to `peer`; another may come up.
    pub fn unlink(&self, peer: usize) {
        self.order(peer, keep::Order::Unlink);
    }

    /// From now on `peer` must have this key, whatever certificate it shows.
    pub fn pin(&self, peer: usize, key: PublicKey) {
        self.shared.keys()[peer] = Some(key);
    }

    /// A handle that opens carriers.
    #[must_use]
    pub fn carriers(&self) -> Carriers {
        Carriers(self.shared.clone())
    }

    /// Counts the bytes of all streams of `peer`.
    #[must_use]
    pub fn traffic(&self, peer: usize) -> Arc<Traffic> {
        self.shared.slots()[peer].traffic.clone()
    }

    /// What is known of each peer's link, in roster order.
    #[must_use]
    pub fn reports(&self) -> Vec<PeerReport> {
        let (circle, slots) = (&self.shared.circle, self.shared.slots());
        let report = |peer: usize| PeerReport {
            party: circle.name(peer).clone(),
            path: slots[peer].link.as_ref().map(|link| link.path.clone()),
            sent: slots[peer].traffic.sent(),
            received: slots[peer].traffic.received(),
            tampered: slots[peer].traffic.tampered(),
            attempts: slots[peer].attempts.clone(),
        };
        circle.peers().map(report).collect()
    }

    /// Sends what is queued, says goodbye, and waits for the peers to do the same, for a bounded
    /// time.
    pub async fn close(mut self) {
        self.doors.abort_all();
        self.orders.clear();
        let farewell = async { while self.keepers.join_next().await.is_some() {} };
        let _ = timeout(FAREWELL, farewell).await;
        if let Some(quic) = &self.shared.quic {
            quic.close("the run is over");
            quic.wait_idle().await;
        }
    }
}

/// What can be tried of a peer's whereabouts: addresses for each kind of path, and hubs that relay.
#[must_use]
pub fn targets(tcp: Vec<String>, udp: Vec<String>, hubs: Vec<String>) -> Vec<Target> {
    let of = |kind: Kind| move |place: String| Target { kind, place };
    let direct = tcp.into_iter().map(of(Kind::Tcp)).chain(udp.into_iter().map(of(Kind::Quic)));
    direct.chain(hubs.into_iter().map(of(Kind::Relay))).collect()
}
