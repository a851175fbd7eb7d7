//! How TCP connections come in: at a port of one's own, or from an agent that accepts them.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use mpyc_party_transport::handshake_limiter::accept_next;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// How TCP connections come in: the listener of the public port, or what stands for it.
#[derive(Debug)]
pub enum Entrance {
    /// At a port of one's own.
    Own(TcpListener),
    /// From the agent, which accepts them at this port.
    Agent {
        /// The public port.
        port: u16,
        /// What was handed over.
        handed: mpsc::Receiver<TcpStream>,
    },
}

impl Entrance {
    /// A port of one's own, without the `agent`: the configured one where there is none, any where one
    /// is away, which comes back for its port.
    ///
    /// # Errors
    /// What the system says when no port can be had at all.
    pub async fn own(agent: Option<&Path>, port: u16) -> io::Result<Self> {
        let port = if agent.is_some() { 0 } else { port };
        bind(port).await.map(Self::Own)
    }

    /// The port that peers are told.
    ///
    /// # Errors
    /// What the system says.
    pub fn port(&self) -> io::Result<u16> {
        match self {
            Self::Own(listener) => Ok(listener.local_addr()?.port()),
            Self::Agent { port, .. } => Ok(*port),
        }
    }

    /// The next connection; never gives up. May be cancelled.
    pub async fn next(&mut self) -> (TcpStream, SocketAddr) {
        let handed = match self {
            Self::Own(listener) => return accept_next(|| listener.accept()).await,
            Self::Agent { handed, .. } => handed,
        };
        while let Some(tcp) = handed.recv().await {
            // One that hung up meanwhile has no address any more.
            if let Ok(address) = tcp.peer_addr() {
                return (tcp, address);
            }
        }
        std::future::pending().await
    }
}

/// Listens on `port` on all addresses; on any free port where that one is taken.
async fn bind(port: u16) -> io::Result<TcpListener> {
    match bind_exactly(port).await {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => bind_exactly(0).await,
        bound => bound,
    }
}

/// Listens on `port` on all addresses.
///
/// # Errors
/// What the system says.
pub async fn bind_exactly(port: u16) -> io::Result<TcpListener> {
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await
        }
        bound => bound,
    }
}
