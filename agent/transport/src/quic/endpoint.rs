//! One UDP socket that dials and accepts.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::{EndpointConfig, ServerConfig, TokioRuntime, VarInt};
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};
use tokio::time::timeout;

use super::config;
use super::connection::Connection;
use super::error::{self, Side};
use super::incoming::QuicIncoming;
use crate::error::TransportError;
use crate::expect::{Expect, Protocol};
use crate::handshake_limiter::{HandshakeLimiter, HandshakeLimits};
use crate::identity::Identity;
use crate::secure::{ACCEPTED, HANDSHAKE_TIMEOUT, bounded, wrong};
use crate::verify::{Trust, Verifier};

/// How long the others are given to hear that this endpoint closes.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Undecided handshakes from which on a stranger must show that its address is its own: a flood
/// from invented addresses takes no place from anybody.
const RETRY_THRESHOLD: usize = 16;

/// What the system may keep of a socket's datagrams, in bytes each way. The usual 200 KiB hold 2 ms
/// at 1 Gbit/s, and cost a tenth more CPU by what is lost and sent again.
const SOCKET_BUFFER_BYTES: usize = 2 << 20;

/// A UDP socket for any number of connections in both directions. Cloning shares it.
#[derive(Clone)]
pub struct Endpoint {
    quic: quinn::Endpoint,
    reception: Arc<ServerConfig>,
    limiter: HandshakeLimiter,
    port: u16,
}

impl Endpoint {
    /// Binds `port` on all addresses, or any free one where that is taken, or is for root alone (below
    /// 1024): systemd opens such a port for TCP, and nobody for QUIC. Needs a tokio runtime.
    ///
    /// # Errors
    /// What the system says when no port can be had at all.
    pub fn bind(port: u16) -> io::Result<Self> {
        let on = |port: u16| match UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)) {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))
            }
            bound => bound,
        };
        let socket = match on(port) {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied
                ) =>
            {
                on(0)?
            }
            bound => bound?,
        };
        Self::on(socket)
    }

    /// An endpoint on a bound socket. Needs a tokio runtime.
    ///
    /// # Errors
    /// What the system says when the socket cannot be used.
    pub fn on(socket: UdpSocket) -> io::Result<Self> {
        let port = socket.local_addr()?.port();
        for set in [set_socket_recv_buffer_size, set_socket_send_buffer_size] {
            // The system gives as much as it allows; with less there is more loss and no error.
            let _ = set(&socket, SOCKET_BUFFER_BYTES);
        }
        let reception = config::reception().map_err(io::Error::other)?;
        let (server, runtime) = (Some(reception.clone()), Arc::new(TokioRuntime));
        let quic = quinn::Endpoint::new(EndpointConfig::default(), server, socket, runtime)?;
        let limiter = HandshakeLimiter::new(HandshakeLimits::default());
        Ok(Self { quic, reception: Arc::new(reception), limiter, port })
    }

    /// The same with room for other numbers of undecided handshakes: a hub to which thousands come
    /// back at once needs more, or they would evict each other.
    #[must_use]
    pub fn with_handshake_limits(mut self, limits: HandshakeLimits) -> Self {
        self.limiter = HandshakeLimiter::new(limits);
        // As many may wait for a place as have one.
        Arc::make_mut(&mut self.reception)
            .max_incoming(limits.max)
            .incoming_buffer_size_total(limits.max as u64 * config::WAITING_BYTES);
        self.quic.set_server_config(Some((*self.reception).clone()));
        self
    }

    /// The port it is bound to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Connects to one whom `expect` admits at `address`; several addresses may be dialled at once.
    ///
    /// `server_name` is that of a session's or a hub's [`Tag`](mpyc_party_core::sni::Tag).
    ///
    /// # Errors
    /// Says who is there instead, or why the other end refuses.
    pub async fn connect(
        &self,
        address: SocketAddr,
        identity: &Identity,
        protocol: Protocol,
        expect: &Expect,
        server_name: &str,
    ) -> Result<Connection, TransportError> {
        let trust = Trust::Root(identity.root().clone());
        let verifier = Arc::new(Verifier::new(trust, expect.clone()));
        let config =
            config::client(Arc::clone(&verifier), identity, protocol, address.ip().to_canonical());
        let config = config.map_err(wrong(address))?;
        let explain = |error| error::handshake(address, &error, &verifier, Side::Dialling);
        let dialled = self.quic.connect_with(config, address, server_name);
        let dialled = dialled.map_err(|error| error::dial(address, &error))?;
        let work = async {
            let quic = dialled.await.map_err(explain)?;
            let mut word = quic.accept_uni().await.map_err(explain)?;
            let mut answer = [0];
            if word.read_exact(&mut answer).await.is_err() || answer != [ACCEPTED] {
                return Err(quic
                    .close_reason()
                    .map_or(TransportError::HungUp { address }, explain));
            }
            quic.set_max_concurrent_uni_streams(VarInt::from_u32(0));
            Connection::new(quic, protocol, &verifier)
        };
        bounded(address, HANDSHAKE_TIMEOUT, work).await
    }

    /// The next one who dials this endpoint; none once it is closed.
    ///
    /// Cancel-safe. Whoever takes it should let each be decided in a task of its own.
    pub async fn next(&self) -> Option<QuicIncoming> {
        loop {
            let incoming = self.quic.accept().await?;
            if self.limiter.undecided() < RETRY_THRESHOLD || incoming.remote_address_validated() {
                let permit = self.limiter.enter(incoming.remote_address());
                let reception = Arc::clone(&self.reception);
                return Some(QuicIncoming { incoming, permit, reception });
            }
            // Fails only for those whose address is validated already.
            let _ = incoming.retry();
        }
    }

    /// Closes all connections, tells the other ends `reason`, and accepts no more.
    pub fn close(&self, reason: &str) {
        self.quic.close(VarInt::from_u32(0), reason.as_bytes());
    }

    /// Waits until the other ends have been told of everything that was closed, for 2 s at most.
    pub async fn wait_idle(&self) {
        // Who has not heard of it by then notices the silence.
        let _ = timeout(CLOSE_TIMEOUT, self.quic.wait_idle()).await;
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("port", &self.port).finish_non_exhaustive()
    }
}
