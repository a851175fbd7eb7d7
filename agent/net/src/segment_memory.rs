//! Which addresses are reached by small TCP segments alone, and how that is found out.
//!
//! Every TCP connection begins as the system finds right. One that opens, and then carries nothing, or
//! only small packets, has *stalled*: the connection to that address that follows it sends smaller
//! segments. The kernel forgets what it knows of a path's MTU after ten minutes, and so does this
//! memory, which the whole process shares.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mpyc_party_transport::segment;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Segment sizes in bytes of data, each tried where the one before stalled: the first is where Linux
/// begins its own search (`net.ipv4.tcp_base_mss`), the second fits into the packets of 576 bytes that
/// every host must take (RFC 1122, section 3.3.2).
const SMALLER_SEGMENTS: [u32; 2] = [1024, 512];
/// How long a handshake on an open connection may take before one with smaller segments is tried
/// beside it: some five round trips around the world.
const STALLED_AFTER: Duration = Duration::from_millis(1500);
/// How long an address is remembered, as by the kernel (`net.ipv4.route.mtu_expires`).
const REMEMBERED_FOR: Duration = Duration::from_secs(600);
/// The most addresses that are remembered.
const MAX_REMEMBERED: usize = 1024;

/// Headers of IPv4 and of IPv6, and of TCP, in bytes. Options of TCP count as data where segments are
/// limited.
const IP_HEADER_BYTES: [u32; 2] = [20, 40];
const TCP_HEADER_BYTES: u32 = 20;

/// Addresses, and the segments that they need since when.
static NARROW: Mutex<BTreeMap<IpAddr, (u32, Instant)>> = Mutex::new(BTreeMap::new());

fn narrow() -> MutexGuard<'static, BTreeMap<IpAddr, (u32, Instant)>> {
    NARROW.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The segments that connections to `address` send; what the system finds right, where there are none.
pub(crate) fn segment_for(address: IpAddr) -> Option<u32> {
    let known = narrow().get(&address.to_canonical()).copied();
    known.filter(|(_, since)| since.elapsed() < REMEMBERED_FOR).map(|(bytes, _)| bytes)
}

/// A connection to or from `address` with segments of `used` bytes has stalled: the next ones to there
/// get smaller ones, as long as there are any.
pub(crate) fn stalled(address: IpAddr, used: u32) {
    let smaller = SMALLER_SEGMENTS.into_iter().find(|bytes| *bytes < used);
    let news = |bytes: &u32| segment_for(address).is_none_or(|known| *bytes < known);
    if let Some(smaller) = smaller.filter(news) {
        remember(address, smaller);
    }
}

fn remember(address: IpAddr, bytes: u32) {
    log::info!(
        "packets of full size do not get through to {address}: segments of {bytes} bytes from now on"
    );
    let mut narrow = narrow();
    narrow.retain(|_, (_, since)| since.elapsed() < REMEMBERED_FOR);
    if narrow.len() < MAX_REMEMBERED {
        narrow.insert(address.to_canonical(), (bytes, Instant::now()));
    }
}

/// Opens a TCP connection to `address`.
pub(crate) async fn open(address: SocketAddr) -> io::Result<TcpStream> {
    segment::open(address, segment_for(address.ip())).await
}

/// A connection opened, and then nothing got through, in packets of whatever size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "connections to {address} open, and then nothing gets through, not even in packets of \
     {packet} bytes: a path that loses larger ones, or a process that has stopped"
)]
pub struct Stalled {
    /// The other end.
    pub address: SocketAddr,
    /// The size of the smallest packets that were tried, in bytes with their headers.
    pub packet: u32,
}

/// What may go wrong in a handshake that is tried with ever smaller segments.
pub(crate) trait HandshakeError: From<io::Error> + From<Stalled> + Send {}

impl<E: From<io::Error> + From<Stalled> + Send> HandshakeError for E {}

/// Does a handshake on `tcp`. Where that hangs, others are tried beside it on new connections to the
/// same address with ever smaller segments; the first that completes is taken, and remembered.
pub(crate) async fn shake<T, E, F>(
    tcp: TcpStream,
    handshake: &(impl Fn(TcpStream) -> F + Sync),
) -> Result<T, E>
where
    T: Send,
    E: HandshakeError,
    F: Future<Output = Result<T, E>> + Send,
{
    let address = tcp.peer_addr()?;
    let used = segment_for(address.ip()).unwrap_or(u32::MAX);
    descend((tcp, address, used), handshake).await
}

/// One step of that: `tcp` to `address` sends segments of `used` bytes.
fn descend<'a, T, E, F>(
    (tcp, address, used): (TcpStream, SocketAddr, u32),
    handshake: &'a (impl Fn(TcpStream) -> F + Sync),
) -> Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'a>>
where
    T: Send + 'a,
    E: HandshakeError + 'a,
    F: Future<Output = Result<T, E>> + Send + 'a,
{
    Box::pin(async move {
        let mut first = pin!(handshake(tcp));
        if let Ok(done) = timeout(STALLED_AFTER, &mut first).await {
            return done;
        }
        let Some(smaller) = SMALLER_SEGMENTS.into_iter().find(|bytes| *bytes < used) else {
            return Err(Stalled { address, packet: packet_bytes(used, address.ip()) }.into());
        };
        let mut second = pin!(async move {
            let tcp = segment::open(address, Some(smaller)).await?;
            let done = descend((tcp, address, smaller), handshake).await?;
            // Unless even smaller ones were needed, which is known by now.
            if segment_for(address.ip()).is_none_or(|known| smaller < known) {
                remember(address.ip(), smaller);
            }
            Ok::<T, E>(done)
        });
        tokio::select! {
            done = &mut first => match done {
                Ok(done) => Ok(done),
                Err(_) => second.await,
            },
            done = &mut second => done,
        }
    })
}

/// The size of a packet with so much data, in bytes with its headers.
pub(crate) fn packet_bytes(data: u32, to: IpAddr) -> u32 {
    data + TCP_HEADER_BYTES + IP_HEADER_BYTES[usize::from(to.to_canonical().is_ipv6())]
}

#[cfg(test)]
mod tests;
