//! TCP connections with small segments, for paths on which packets of full size vanish.
//!
//! A host learns that a path carries less than its interface from ICMP messages (RFC 1191, RFC 8201).
//! Where a firewall drops those, small packets pass and large ones vanish (RFC 2923, section 2.1).
//! Linux can find that out by itself (RFC 4821), but `net.ipv4.tcp_mtu_probing` is off by default and
//! not this program's to change.

use std::io;
use std::net::SocketAddr;

use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};

/// Opens a TCP connection to `address` whose both ends send at most `segment` bytes of data in a packet
/// (TCP_MAXSEG, see tcp(7)): what the system finds right, without.
///
/// # Errors
/// When it cannot be opened.
pub async fn open(address: SocketAddr, segment: Option<u32>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if let Some(bytes) = segment {
        SockRef::from(&socket).set_tcp_mss(bytes)?;
    }
    socket.connect(address).await
}
