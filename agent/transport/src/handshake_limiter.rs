//! The limiter of handshakes in front of a listener: strangers who open connections and say nothing
//! take no slot from others.
//!
//! Until its handshake is decided, a connection holds a slot. When an address has too many, its
//! own oldest one goes; when all slots are taken, the oldest of the address with the most. A
//! flood therefore evicts itself first, and a member's handshake, over in a few round trips, gets
//! through.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::error::TransportError;

/// How many undecided connections there may be.
#[derive(Clone, Copy, Debug)]
pub struct HandshakeLimits {
    /// In all.
    pub max: usize,
    /// From one address (IPv6: from one /64, which is what one customer has).
    pub max_per_address: usize,
}

impl Default for HandshakeLimits {
    fn default() -> Self {
        Self { max: 64, max_per_address: 16 }
    }
}

struct Slot {
    origin: IpAddr,
    evict: oneshot::Sender<()>,
}

#[derive(Default)]
struct Slots {
    next: u64,
    // By number, and so by age.
    taken: BTreeMap<u64, Slot>,
    // Kept beside, for a flood must not make every newcomer count them all.
    counts: HashMap<IpAddr, usize>,
}

impl Slots {
    fn count(&self, origin: IpAddr) -> usize {
        self.counts.get(&origin).copied().unwrap_or_default()
    }

    fn free(&mut self, number: u64) -> Option<Slot> {
        let slot = self.taken.remove(&number)?;
        if let Some(count) = self.counts.get_mut(&slot.origin) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&slot.origin);
            }
        }
        Some(slot)
    }

    /// Frees the oldest slot of `origin`.
    fn evict(&mut self, origin: IpAddr) {
        let oldest = self.taken.iter().find(|(_, slot)| slot.origin == origin);
        if let Some(number) = oldest.map(|(number, _)| *number)
            && let Some(slot) = self.free(number)
        {
            // Fails only if that connection has just been decided.
            let _ = slot.evict.send(());
        }
    }

    fn take(&mut self, origin: IpAddr, limits: HandshakeLimits) -> (u64, oneshot::Receiver<()>) {
        if self.count(origin) >= limits.max_per_address {
            self.evict(origin);
        }
        if self.taken.len() >= limits.max {
            let greediest = self.taken.values().rev().map(|slot| slot.origin);
            if let Some(greediest) = greediest.max_by_key(|origin| self.count(*origin)) {
                self.evict(greediest);
            }
        }
        let (evict, evicted) = oneshot::channel();
        self.next += 1;
        self.taken.insert(self.next, Slot { origin, evict });
        *self.counts.entry(origin).or_default() += 1;
        (self.next, evicted)
    }
}

/// Bounds the undecided connections of one listener. Cloning shares the bound.
#[derive(Clone)]
pub struct HandshakeLimiter {
    limits: HandshakeLimits,
    slots: Arc<Mutex<Slots>>,
}

/// A slot among the undecided; dropping it frees it.
pub(crate) struct HandshakePermit {
    limiter: HandshakeLimiter,
    number: u64,
    address: SocketAddr,
    evicted: oneshot::Receiver<()>,
}

impl HandshakePermit {
    /// Lets `handshake` run until it is decided or loses the slot to others.
    pub(crate) async fn decide<T>(
        mut self,
        handshake: impl Future<Output = Result<T, TransportError>>,
    ) -> Result<T, TransportError> {
        tokio::select! {
            outcome = handshake => outcome,
            _ = &mut self.evicted => Err(TransportError::Evicted { address: self.address }),
        }
    }
}

impl Drop for HandshakePermit {
    fn drop(&mut self) {
        self.limiter.slots().free(self.number);
    }
}

/// The whole address, or the /64 that belongs to one customer.
fn origin(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

impl HandshakeLimiter {
    /// A limiter with these limits.
    #[must_use]
    pub fn new(limits: HandshakeLimits) -> Self {
        Self { limits, slots: Arc::default() }
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many connections are undecided now.
    pub(crate) fn undecided(&self) -> usize {
        self.slots().taken.len()
    }

    /// Takes a slot for the connection from `address`.
    pub(crate) fn enter(&self, address: SocketAddr) -> HandshakePermit {
        let (number, evicted) = self.slots().take(origin(address.ip()), self.limits);
        HandshakePermit { limiter: self.clone(), number, address, evicted }
    }

    /// Lets `handshake` of the connection from `address` run while it holds a slot. Where connections
    /// come from no IP address, one address stands for all that are not told apart.
    ///
    /// # Errors
    /// Those of the handshake, or that it was evicted in favour of others.
    pub async fn decide<T>(
        &self,
        address: SocketAddr,
        handshake: impl Future<Output = Result<T, TransportError>>,
    ) -> Result<T, TransportError> {
        self.enter(address).decide(handshake).await
    }
}

/// The next connection of a listener that is asked by `accept`; it never gives up. When the system
/// runs out of descriptors or a connection dies in the queue, it waits a moment and goes on.
pub async fn accept_next<T, A: Future<Output = io::Result<T>>>(accept: impl Fn() -> A) -> T {
    loop {
        match accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                log::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([203, 0, 113, last])
    }

    #[test]
    fn a_flood_evicts_itself() {
        let limits = HandshakeLimits { max: 4, max_per_address: 3 };
        let mut slots = Slots::default();
        let (_, mut honest) = slots.take(address(1), limits);
        let mut flood: Vec<_> = (0..20).map(|_| slots.take(address(2), limits).1).collect();
        assert!(honest.try_recv().is_err(), "the quiet one keeps its slot");
        let left = flood.iter_mut().map(|evicted| evicted.try_recv().is_err());
        let left = left.filter(|kept| *kept).count();
        assert_eq!((left, slots.taken.len()), (3, 4));
        // All slots are taken: the next one is had from the greediest.
        let _third = slots.take(address(3), limits);
        assert_eq!((slots.count(address(1)), slots.count(address(2))), (1, 2));
    }

    #[test]
    fn one_address_has_its_own_bound() {
        let limits = HandshakeLimits { max: 100, max_per_address: 3 };
        let mut slots = Slots::default();
        let mut flood: Vec<_> = (0..20).map(|_| slots.take(address(2), limits).1).collect();
        assert_eq!(slots.taken.len(), 3);
        assert!(flood[16].try_recv().is_ok() && flood[17].try_recv().is_err(), "the oldest go");
    }

    #[test]
    fn one_customer_is_one_origin() {
        let of = |text: &str| origin(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    #[tokio::test]
    async fn decided_connections_hold_no_place() {
        let limiter = HandshakeLimiter::new(HandshakeLimits { max: 1, max_per_address: 1 });
        let from = SocketAddr::new(address(1), 1);
        for _ in 0..3 {
            limiter.decide(from, async { Ok(()) }).await.unwrap();
        }
        assert!(limiter.slots().taken.is_empty() && limiter.slots().counts.is_empty());
        let pending = limiter.decide(from, std::future::pending::<Result<(), _>>());
        let both = tokio::join!(pending, limiter.decide(from, async { Ok(()) }));
        assert!(matches!(both, (Err(TransportError::Evicted { .. }), Ok(()))));
    }
}
