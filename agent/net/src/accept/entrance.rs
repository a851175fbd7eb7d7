//! How TCP connections come in: at a port of one's own, or from an agent that accepts them.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use mpyc_party_transport::gate::{self, Gate, Limits};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::{AcceptError, Accepted, Admission, Arrival, Listener, Origin, handshake};
use crate::dial::{BoxFuture, DEFAULT_KIND};

/// How TCP connections come in.
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

    /// The same with a bound on undecided handshakes.
    #[must_use]
    pub fn listener(self) -> Box<dyn Listener> {
        Box::new(Bounded { entrance: self, gate: Gate::new(Limits::default()) })
    }

    /// The next connection; never gives up. May be cancelled.
    async fn next(&mut self) -> (TcpStream, SocketAddr) {
        let handed = match self {
            Self::Own(listener) => return gate::next(listener).await,
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

/// An entrance behind a limiter.
struct Bounded {
    entrance: Entrance,
    gate: Gate,
}

impl Listener for Bounded {
    fn next(&mut self) -> BoxFuture<'_, Box<dyn Arrival>> {
        Box::pin(async move {
            let (tcp, from) = self.entrance.next().await;
            Box::new(Tcp { tcp, from, gate: self.gate.clone() }) as Box<dyn Arrival>
        })
    }
}

/// A TCP connection before its handshake.
struct Tcp {
    tcp: TcpStream,
    from: SocketAddr,
    gate: Gate,
}

impl Arrival for Tcp {
    fn origin(&self) -> Origin {
        Origin { kind: DEFAULT_KIND, address: self.from.to_string(), via: None }
    }

    fn accept(
        self: Box<Self>,
        admission: Admission,
    ) -> BoxFuture<'static, Result<Accepted, AcceptError>> {
        Box::pin(async move {
            let handshake = handshake(self.tcp, &admission);
            let secure = self.gate.decide(self.from, handshake).await?;
            Ok(Accepted::Connection(Box::new(secure)))
        })
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
