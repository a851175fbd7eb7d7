//! Ping: a control connection that takes no part in the run and only sends back what it hears.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mpyc_party_core::claims::PublicKey;
use mpyc_party_core::control::{Control, MAX_CONTROL_BYTES, Purpose};
use mpyc_party_transport::{Secure, frame};
use tokio::time::timeout;

use super::reach::{Reached, reach};
use super::{BoxError, Circle};
use crate::discovery::Whereabouts;

/// The most round trips of one connection.
pub const MOST: u32 = 1000;
/// How long the other end may be silent.
const SILENCE: Duration = Duration::from_secs(10);

/// Answers every beat, until the peer has had enough.
///
/// # Errors
/// Where it says something else, or nothing for long.
pub async fn answer(secure: &mut Secure) -> Result<(), BoxError> {
    for _ in 0..MOST {
        let said = frame::read::<Control>(&mut secure.stream, MAX_CONTROL_BYTES);
        let number = match timeout(SILENCE, said).await?? {
            Some(Control::Beat(number)) => number,
            Some(_) => return Err("it pings with something else".into()),
            None => return Ok(()),
        };
        let echo = Control::Echo(number);
        timeout(SILENCE, frame::write(&mut secure.stream, &echo, MAX_CONTROL_BYTES)).await??;
    }
    Ok(())
}

/// A peer that answers.
#[derive(Debug)]
pub struct Echo {
    reached: Reached,
    beats: u32,
}

impl Echo {
    /// Connects to `peer` wherever it may be `at`, whichever way is first; who it is, the handshake
    /// has shown then.
    ///
    /// # Errors
    /// Why it cannot be reached, in words for people.
    pub async fn open(circle: &Circle, peer: usize, at: &Whereabouts) -> Result<Self, BoxError> {
        let reached = reach(circle, peer, at, Purpose::Ping).await?;
        Ok(Self { reached, beats: 0 })
    }

    /// Where the peer is, or the hub that relays.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.reached.secure.address
    }

    /// The hub that relays, «host:port».
    #[must_use]
    pub fn via(&self) -> Option<&str> {
        self.reached.via.as_deref()
    }

    /// The peer's public key.
    #[must_use]
    pub fn key(&self) -> PublicKey {
        self.reached.secure.peer.key
    }

    /// How long an answer takes.
    ///
    /// # Errors
    /// When none comes.
    pub async fn round_trip(&mut self) -> Result<Duration, BoxError> {
        let begun = Instant::now();
        self.beats = self.beats.wrapping_add(1);
        let stream = &mut self.reached.secure.stream;
        frame::write(stream, &Control::Beat(self.beats), MAX_CONTROL_BYTES).await?;
        let answer = frame::read::<Control>(stream, MAX_CONTROL_BYTES);
        match timeout(SILENCE, answer).await?? {
            Some(Control::Echo(number)) if number == self.beats => Ok(begun.elapsed()),
            Some(_) => Err("it answers something else".into()),
            None => Err("it hung up".into()),
        }
    }
}
