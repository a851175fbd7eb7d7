//! Connections: TLS 1.3 or QUIC, both ends certified, one protocol each.
//!
//! A TLS 1.3 client finishes its handshake before the server has looked at its certificate. So the
//! server's first byte of application data says that it accepts, and the client waits for it: what
//! [`connect`](crate::connect) returns is accepted by both ends, and a refusal is reported there
//! and nowhere later.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use mpyc_party_core::claims::Claims;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;
use tokio_rustls::TlsStream;

use crate::error::TransportError;
use crate::expect::Protocol;
use crate::quic_stream::QuicStream;
use crate::raw::{RawStream, reads_and_writes};

/// How long a handshake may take: some five round trips around the world and a slow processor.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an accepted connection may take to say what it wants.
pub(crate) const FIRST_MESSAGE_TIMEOUT: Duration = Duration::from_secs(2);

/// The server's first byte: the client's certificate is accepted.
pub(crate) const ACCEPTED: u8 = 1;

/// An established connection to a verified other end.
#[derive(Debug)]
pub struct Secure {
    /// The encrypted stream. Shut down, it ends at the other end; dropped without, it breaks there.
    pub stream: SecureStream,
    /// What the other end's certificate claims.
    pub peer: Claims,
    /// What the connection is for.
    pub protocol: Protocol,
    /// The other end's certificate in DER.
    pub peer_certificate: Vec<u8>,
    /// The other end's address, or the relaying hub's.
    pub address: SocketAddr,
}

/// Encrypted bytes in both directions, each of which ends by itself.
#[derive(Debug)]
pub enum SecureStream {
    /// A TLS connection of its own.
    Tls(Box<TlsStream<RawStream>>),
    /// One stream of a QUIC connection.
    Quic(QuicStream),
}

impl SecureStream {
    /// This machine's address on it, where that is known and stays: what a QUIC connection uses may
    /// change, and it survives that.
    #[must_use]
    pub fn local_ip(&self) -> Option<IpAddr> {
        match self {
            Self::Tls(tls) => tls.get_ref().0.local_ip(),
            Self::Quic(_) => None,
        }
    }

    /// The most data that TCP puts into one packet on the way to the other end, or to the relaying hub,
    /// in bytes; none where it does not run over TCP.
    #[must_use]
    pub fn segment_bytes(&self) -> Option<u32> {
        match self {
            Self::Tls(tls) => tls.get_ref().0.segment_bytes(),
            Self::Quic(_) => None,
        }
    }
}

reads_and_writes!(SecureStream: Self::Tls(tls) => **tls, Self::Quic(quic) => *quic);

/// A connection on which a newcomer enrols: it knows the authority, which does not know it yet.
#[derive(Debug)]
pub struct Enrolment {
    /// The encrypted stream.
    pub stream: SecureStream,
    /// A value that only the two ends of this connection know (RFC 9266).
    pub exporter: [u8; 32],
    /// The other end's address.
    pub address: SocketAddr,
}

pub(crate) fn wrong(address: SocketAddr) -> impl Fn(rustls::Error) -> TransportError {
    move |source| TransportError::Tls { address, source }
}

pub(crate) async fn bounded<T>(
    address: SocketAddr,
    limit: Duration,
    work: impl Future<Output = Result<T, TransportError>>,
) -> Result<T, TransportError> {
    timeout(limit, work).await.unwrap_or(Err(TransportError::Timeout { address }))
}

/// The value of RFC 9266, section 2: the same at both ends of one connection and nowhere else.
pub(crate) fn exporter(stream: &TlsStream<RawStream>) -> Result<[u8; 32], rustls::Error> {
    let label = b"EXPORTER-Channel-Binding";
    match stream {
        TlsStream::Client(tls) => tls.get_ref().1.export_keying_material([0; 32], label, Some(b"")),
        TlsStream::Server(tls) => tls.get_ref().1.export_keying_material([0; 32], label, Some(b"")),
    }
}
