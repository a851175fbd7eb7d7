//! What TLS runs on: a TCP connection, a pipe through a hub, or any other stream of bytes.

use std::fmt;
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::error::TransportError;
use crate::secure::Secure;

/// Reads and writes of an enum whose every variant holds a stream; a match costs less than `dyn`.
macro_rules! reads_and_writes {
    ($name:ty: $($variant:pat => $place:expr),+) => {
        impl AsyncRead for $name {
            fn poll_read(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                match self.get_mut() { $($variant => Pin::new(&mut $place).poll_read(context, buffer)),+ }
                    .map_err(crate::error::in_plain_words)
            }
        }

        impl AsyncWrite for $name {
            fn poll_write(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() { $($variant => Pin::new(&mut $place).poll_write(context, bytes)),+ }
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                slices: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    $($variant => Pin::new(&mut $place).poll_write_vectored(context, slices)),+
                }
            }

            fn is_write_vectored(&self) -> bool {
                match self { $($variant => $place.is_write_vectored()),+ }
            }

            fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() { $($variant => Pin::new(&mut $place).poll_flush(context)),+ }
            }

            fn poll_shutdown(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                match self.get_mut() { $($variant => Pin::new(&mut $place).poll_shutdown(context)),+ }
            }
        }
    };
}
pub(crate) use reads_and_writes;

/// Where an end is that has no socket address.
const UNKNOWN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// What TLS runs on.
#[derive(Debug)]
pub enum RawStream {
    /// A TCP connection to the other end.
    Tcp(TcpStream),
    /// A connection to a hub that passes its bytes on to the other end.
    Relayed(Box<Secure>),
    /// Whatever else brings bytes to the other end: a proxy's stream, an overlay's, a local socket.
    Other(Box<dyn ByteStream>),
}

/// A stream of bytes in both directions.
pub trait ByteStream: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin> ByteStream for T {}

impl From<TcpStream> for RawStream {
    fn from(tcp: TcpStream) -> Self {
        Self::Tcp(tcp)
    }
}

impl From<Secure> for RawStream {
    fn from(hub: Secure) -> Self {
        Self::Relayed(Box::new(hub))
    }
}

impl RawStream {
    /// This machine's address on it, where that is known.
    pub(crate) fn local_ip(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(tcp) => tcp.local_addr().ok().map(|at| at.ip().to_canonical()),
            Self::Relayed(hub) => hub.stream.local_ip(),
            Self::Other(_) => None,
        }
    }

    /// The most data that TCP puts into one packet on the way to the other end, or to the relaying hub,
    /// in bytes.
    pub(crate) fn segment_bytes(&self) -> Option<u32> {
        match self {
            Self::Tcp(tcp) => SockRef::from(tcp).tcp_mss().ok(),
            Self::Relayed(hub) => hub.stream.segment_bytes(),
            Self::Other(_) => None,
        }
    }

    /// Sets up a fresh socket; returns the other end's address, or the relaying hub's; `0.0.0.0:0`
    /// where that is no socket address.
    pub(crate) fn prepare(&self) -> Result<SocketAddr, TransportError> {
        let tcp = match self {
            Self::Tcp(tcp) => tcp,
            Self::Relayed(hub) => return Ok(hub.address),
            Self::Other(_) => return Ok(UNKNOWN),
        };
        let failed = |address| move |source| TransportError::Io { address, source };
        let address = tcp.peer_addr().map_err(failed(UNKNOWN))?;
        tcp.set_nodelay(true).map_err(failed(address))?;
        Ok(address)
    }
}

reads_and_writes!(RawStream:
    Self::Tcp(tcp) => *tcp, Self::Relayed(hub) => hub.stream, Self::Other(other) => **other);
