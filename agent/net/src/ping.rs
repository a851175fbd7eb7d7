//! Ping: a control connection that takes no part in the run and only sends back what it hears.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mpyc_party_core::claims::PublicKey;
use mpyc_party_core::control::{Control, MAX_CONTROL_BYTES, Purpose};
use mpyc_party_core::roster::PeerIndex;
use mpyc_party_transport::frame::FrameError;
use mpyc_party_transport::{Secure, frame};
use tokio::time::timeout;

use crate::address_book::PeerAddresses;
use crate::packets::{self, Packets};
use crate::peers::SessionPeers;
use crate::probe::{Probe, ProbeError};
use crate::stack::Stack;

/// The most round trips of one connection.
pub const MAX_ROUND_TRIPS: u32 = 1000;
/// How long the other end may be silent.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(10);

/// Answers every beat, until the peer has had enough.
///
/// # Errors
/// Where it says something else, or nothing for long.
pub async fn answer(secure: &mut Secure) -> Result<(), PingError> {
    for _ in 0..MAX_ROUND_TRIPS {
        let said = frame::read::<Control>(&mut secure.stream, MAX_CONTROL_BYTES);
        let number = match timeout(SILENCE_TIMEOUT, said).await.map_err(|_| PingError::Silent)?? {
            Some(Control::Beat(number)) => number,
            Some(_) => return Err(PingError::OtherMessage),
            None => return Ok(()),
        };
        let echo = Control::Echo(number);
        let said = frame::write(&mut secure.stream, &echo, MAX_CONTROL_BYTES);
        timeout(SILENCE_TIMEOUT, said).await.map_err(|_| PingError::Silent)??;
    }
    Ok(())
}

/// Why a ping is over before its time.
#[derive(Debug, thiserror::Error)]
pub enum PingError {
    /// What the other end says cannot be read.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// It says nothing.
    #[error("it does not answer")]
    Silent,
    /// It does not keep to the protocol.
    #[error("it says something else")]
    OtherMessage,
    /// It has gone.
    #[error("it hung up")]
    HungUp,
}

/// A peer that answers.
#[derive(Debug)]
pub struct Ping {
    probe: Probe,
    beats: u32,
    /// How it came about.
    way: (Arc<Stack>, SessionPeers, PeerIndex, PeerAddresses),
}

impl Ping {
    /// Connects to `peer` wherever it may be, by whichever kind of path is first; who it is, the
    /// handshake has shown then.
    ///
    /// # Errors
    /// Why it cannot be reached.
    pub async fn open(
        stack: &Arc<Stack>,
        peers: &SessionPeers,
        peer: PeerIndex,
        addresses: &PeerAddresses,
    ) -> Result<Self, ProbeError> {
        let probe = Probe::open(stack, peers, peer, addresses, Purpose::Ping).await?;
        let way = (Arc::clone(stack), peers.clone(), peer, addresses.clone());
        Ok(Self { probe, beats: 0, way })
    }

    /// Another connection to the same peer.
    ///
    /// # Errors
    /// Why it cannot be reached.
    pub async fn again(&mut self) -> Result<Self, ProbeError> {
        let (stack, peers, peer, addresses) = &self.way;
        Self::open(stack, peers, *peer, addresses).await
    }

    /// The connection.
    #[must_use]
    pub fn probe(&self) -> &Probe {
        &self.probe
    }

    /// The peer's public key.
    #[must_use]
    pub fn key(&self) -> PublicKey {
        self.probe.secure.peer.key
    }

    /// Which packets get through to it; none where the connection does not run over TCP. Where they do
    /// not, this connection is of no use any more.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn packets(&mut self) -> Result<Option<Packets>, PingError> {
        self.beats = self.beats.wrapping_add(1);
        let (secure, beat) = (&mut self.probe.secure, Control::Beat(self.beats));
        Ok(packets::measure::<_, Control>(secure, &beat, MAX_CONTROL_BYTES).await?)
    }

    /// How long an answer takes.
    ///
    /// # Errors
    /// When none comes.
    pub async fn round_trip(&mut self) -> Result<Duration, PingError> {
        let begun = Instant::now();
        self.beats = self.beats.wrapping_add(1);
        let stream = &mut self.probe.secure.stream;
        frame::write(stream, &Control::Beat(self.beats), MAX_CONTROL_BYTES).await?;
        let answer = frame::read::<Control>(stream, MAX_CONTROL_BYTES);
        match timeout(SILENCE_TIMEOUT, answer).await.map_err(|_| PingError::Silent)?? {
            Some(Control::Echo(number)) if number == self.beats => Ok(begun.elapsed()),
            Some(_) => Err(PingError::OtherMessage),
            None => Err(PingError::HungUp),
        }
    }
}
