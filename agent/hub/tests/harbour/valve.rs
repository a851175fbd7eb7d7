//! What stands between a party and a hub's UDP port: a firewall that may drop, and a NAT that may
//! forget.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::net::UdpSocket;
use tokio::task::{JoinHandle, JoinSet};

/// What passes.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(crate) enum Passes {
    Nothing,
    /// Towards the hub only: handshakes stay half open.
    Requests,
    Everything,
}

/// Forwards UDP. Each sender is shown to the hub at an address of its own.
pub(crate) struct Valve {
    passes: Arc<AtomicU8>,
    // Counts how often the addresses were changed.
    mappings: Arc<AtomicU8>,
    task: JoinHandle<()>,
}

impl Drop for Valve {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Valve {
    /// From `front`, which must be free, to `hub`.
    pub(crate) async fn new(front: SocketAddr, hub: SocketAddr, passes: Passes) -> Self {
        let front = Arc::new(UdpSocket::bind(front).await.unwrap());
        let passes = Arc::new(AtomicU8::new(passes as u8));
        let mappings = Arc::new(AtomicU8::new(0));
        let task = tokio::spawn(forward(front, hub, Arc::clone(&passes), Arc::clone(&mappings)));
        Self { passes, mappings, task }
    }

    pub(crate) fn set(&self, passes: Passes) {
        self.passes.store(passes as u8, Ordering::SeqCst);
    }

    /// Shows everybody to the hub at another address from now on.
    pub(crate) fn forget(&self) {
        self.mappings.fetch_add(1, Ordering::SeqCst);
    }
}

async fn forward(
    front: Arc<UdpSocket>,
    hub: SocketAddr,
    passes: Arc<AtomicU8>,
    mappings: Arc<AtomicU8>,
) {
    let mut backs: HashMap<(SocketAddr, u8), Arc<UdpSocket>> = HashMap::new();
    let mut answers = JoinSet::new();
    let mut datagram = [0; 2048];
    loop {
        let (length, from) = front.recv_from(&mut datagram).await.unwrap();
        if passes.load(Ordering::SeqCst) == Passes::Nothing as u8 {
            continue;
        }
        let back = match backs.entry((from, mappings.load(Ordering::SeqCst))) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let back = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
                let (front, passes) = (Arc::clone(&front), Arc::clone(&passes));
                answers.spawn(answer(Arc::clone(&back), front, from, passes));
                new.insert(back)
            }
        };
        back.send_to(&datagram[..length], hub).await.unwrap();
    }
}

async fn answer(
    back: Arc<UdpSocket>,
    front: Arc<UdpSocket>,
    to: SocketAddr,
    passes: Arc<AtomicU8>,
) {
    let mut datagram = [0; 2048];
    loop {
        let (length, _) = back.recv_from(&mut datagram).await.unwrap();
        if passes.load(Ordering::SeqCst) == Passes::Everything as u8 {
            front.send_to(&datagram[..length], to).await.unwrap();
        }
    }
}
