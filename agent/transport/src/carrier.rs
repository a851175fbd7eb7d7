//! What TLS runs on: a TCP connection, or a pipe through a hub.

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

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

/// What TLS runs on.
#[derive(Debug)]
pub enum Carrier {
    /// A TCP connection to the other end.
    Tcp(TcpStream),
    /// A connection to a hub that passes its bytes on to the other end.
    Relayed(Box<Secure>),
}

impl From<TcpStream> for Carrier {
    fn from(tcp: TcpStream) -> Self {
        Self::Tcp(tcp)
    }
}

impl From<Secure> for Carrier {
    fn from(hub: Secure) -> Self {
        Self::Relayed(Box::new(hub))
    }
}

impl Carrier {
    /// Sets up a fresh socket; returns the other end's address, or the relaying hub's.
    pub(crate) fn prepare(&self) -> Result<SocketAddr, TransportError> {
        let tcp = match self {
            Self::Tcp(tcp) => tcp,
            Self::Relayed(hub) => return Ok(hub.address),
        };
        let failed = |address| move |source| TransportError::Io { address, source };
        let unknown = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let address = tcp.peer_addr().map_err(failed(unknown))?;
        tcp.set_nodelay(true).map_err(failed(address))?;
        Ok(address)
    }
}

reads_and_writes!(Carrier: Self::Tcp(tcp) => *tcp, Self::Relayed(hub) => hub.stream);
