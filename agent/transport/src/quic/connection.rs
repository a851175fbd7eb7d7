//! An established QUIC connection to a verified other end.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mpyc_party_core::claims::Claims;
use quinn::{RecvStream, SendStream, VarInt};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::config::HEADER_BYTES;
use super::error;
use super::incoming::canonical;
use crate::error::TransportError;
use crate::expect::Protocol;
use crate::quic_stream::{QuicStream, REFUSED, close_reason};
use crate::secure::{FIRST_MESSAGE_TIMEOUT, HANDSHAKE_TIMEOUT, Secure, SecureStream};
use crate::verify::{Verified, Verifier};

/// How long nothing larger has to be found before the search for the path MTU is taken to be over, and the
/// round trips in it: a size is given up after three lost packets.
const SEARCH_SETTLED_AFTER: Duration = Duration::from_secs(1);
const SEARCH_SETTLED_ROUND_TRIPS: u32 = 10;
/// How long it is waited for at most, and how often that is looked at.
const SEARCH_TIMEOUT: Duration = Duration::from_secs(5);
const SEARCH_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A connection whose streams each carry one protocol. Cloning shares it; when the last clone and
/// the last stream are dropped, it is closed.
#[derive(Clone)]
pub struct Connection(Arc<Inner>);

struct Inner {
    quic: quinn::Connection,
    protocol: Protocol,
    peer: Claims,
    certificate: Vec<u8>,
    // Outside of the future that waits for it, which may be dropped.
    arriving: Mutex<Option<Arriving>>,
}

/// A stream that has not said yet what it is for.
struct Arriving {
    send: SendStream,
    recv: RecvStream,
    deadline: Instant,
}

/// What the streams of a connection may be for, and the first byte of each that says so.
const fn kinds(connection: Protocol) -> &'static [(u8, Protocol)] {
    match connection {
        Protocol::Peer => &[(1, Protocol::Control), (2, Protocol::Stream)],
        Protocol::Hub => &[(3, Protocol::Hub)],
        Protocol::Expose => &[(4, Protocol::Expose)],
        _ => &[],
    }
}

impl Connection {
    pub(super) fn new(
        quic: quinn::Connection,
        protocol: Protocol,
        verifier: &Verifier,
    ) -> Result<Self, TransportError> {
        let Some(Ok(Verified { claims: peer, certificate, .. })) = verifier.found() else {
            return Err(TransportError::HungUp { address: canonical(quic.remote_address()) });
        };
        let arriving = Mutex::default();
        Ok(Self(Arc::new(Inner { quic, protocol, peer, certificate, arriving })))
    }

    /// What the other end's certificate claims.
    #[must_use]
    pub fn peer(&self) -> &Claims {
        &self.0.peer
    }

    /// The other end's certificate in DER.
    #[must_use]
    pub fn peer_certificate(&self) -> &[u8] {
        &self.0.certificate
    }

    /// The other end's address now; it changes when a NAT forgets or the other end moves.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        canonical(self.0.quic.remote_address())
    }

    /// The smoothed round trip.
    #[must_use]
    pub fn round_trip(&self) -> Duration {
        self.0.quic.rtt()
    }

    /// The largest packet that gets through to the other end, in bytes with its headers, as far as the
    /// search for it has come (RFC 8899): packets that may not be fragmented, up to 1500 bytes.
    #[must_use]
    pub fn path_mtu(&self) -> u16 {
        let headers = HEADER_BYTES[usize::from(self.address().is_ipv6())];
        self.0.quic.stats().path.current_mtu.saturating_add(headers)
    }

    /// The same once the search is over: that has been so when nothing larger was found for a second and
    /// a few round trips. It takes 5 s at most.
    pub async fn searched_path_mtu(&self) -> u16 {
        let begun = Instant::now();
        let settled = SEARCH_SETTLED_AFTER + self.round_trip() * SEARCH_SETTLED_ROUND_TRIPS;
        let (mut found, mut since) = (self.path_mtu(), begun);
        while since.elapsed() < settled && begun.elapsed() < SEARCH_TIMEOUT {
            sleep(SEARCH_POLL_INTERVAL).await;
            let now = self.path_mtu();
            if now != found {
                (found, since) = (now, Instant::now());
            }
        }
        found
    }

    /// Bytes in UDP datagrams sent and received so far.
    #[must_use]
    pub fn traffic(&self) -> (u64, u64) {
        let stats = self.0.quic.stats();
        (stats.udp_tx.bytes, stats.udp_rx.bytes)
    }

    /// Opens a stream for `protocol`.
    ///
    /// # Errors
    /// When the connection is over or carries no such streams, or the other end has taken as many
    /// as it may and frees none for 5 s.
    pub async fn open(&self, protocol: Protocol) -> Result<Secure, TransportError> {
        let stuck = |reason: &str| TransportError::Over {
            address: self.address(),
            reason: reason.to_owned(),
        };
        let kind = kinds(self.0.protocol).iter().find(|(_, known)| *known == protocol);
        let (kind, _) = kind.ok_or_else(|| stuck("no such streams on this connection"))?;
        let work = async {
            let (mut send, recv) = self.0.quic.open_bi().await.ok()?;
            send.write_all(&[*kind]).await.ok()?;
            Some(QuicStream::new(send, recv))
        };
        let opened = timeout(HANDSHAKE_TIMEOUT, work).await;
        let opened = opened.map_err(|_| stuck("the other end takes no more streams"))?;
        Ok(self.secure(opened.ok_or_else(|| self.over())?, protocol))
    }

    /// The next stream that the other end opens. Those that do not say in 2 s what they are for,
    /// or say anything unknown, are refused.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// When the connection is over.
    pub async fn accept(&self) -> Result<Secure, TransportError> {
        let mut arriving = self.0.arriving.lock().await;
        loop {
            let stream = match &mut *arriving {
                Some(stream) => stream,
                none => {
                    let (send, recv) = self.0.quic.accept_bi().await.map_err(|_| self.over())?;
                    let deadline = Instant::now() + FIRST_MESSAGE_TIMEOUT;
                    none.insert(Arriving { send, recv, deadline })
                }
            };
            let mut first = [0];
            // Who ends or breaks it off already has said nothing: 0 is no kind.
            let _ = timeout_at(stream.deadline, stream.recv.read(&mut first)).await;
            let kind = kinds(self.0.protocol).iter().find(|(byte, _)| [*byte] == first);
            let Some(Arriving { mut send, mut recv, .. }) = arriving.take() else { continue };
            if let Some((_, protocol)) = kind {
                return Ok(self.secure(QuicStream::new(send, recv), *protocol));
            }
            // Fails only when the other end has given it up first.
            let _ = (send.reset(REFUSED), recv.stop(REFUSED));
        }
    }

    /// Closes the connection and all its streams, and tells the other end `reason`.
    pub fn close(&self, reason: &str) {
        self.0.quic.close(VarInt::from_u32(0), reason.as_bytes());
    }

    /// Waits for the end of the connection; says why it ended, in words for people.
    pub async fn closed(&self) -> String {
        close_reason(&self.0.quic.closed().await)
    }

    fn over(&self) -> TransportError {
        let address = self.address();
        match self.0.quic.close_reason() {
            Some(why) => error::over(address, &why),
            None => TransportError::Over { address, reason: "it refuses the stream".to_owned() },
        }
    }

    fn secure(&self, stream: QuicStream, protocol: Protocol) -> Secure {
        Secure {
            stream: SecureStream::Quic(stream),
            peer: self.0.peer.clone(),
            protocol,
            peer_certificate: self.0.certificate.clone(),
            address: self.address(),
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (peer, address) = (&self.0.peer.role, self.address());
        f.debug_struct("Connection").field("peer", peer).field("address", &address).finish()
    }
}
