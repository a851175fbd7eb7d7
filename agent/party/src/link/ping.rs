//! Ping: a control connection that takes no part in the run and only sends back what it hears.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mpyc_party_core::claims::PublicKey;
use mpyc_party_core::control::{Control, LARGEST_CONTROL, Purpose};
use mpyc_party_transport::{Secure, frame};
use tokio::time::timeout;

use super::Circle;
use super::dial::{ATTEMPT, BoxError, race};

/// The most round trips of one connection.
pub const MOST: u32 = 1000;
/// How long the other end may be silent.
const SILENCE: Duration = Duration::from_secs(10);

/// Sends every beat back, until the peer has had enough.
///
/// # Errors
/// Where it says something else, or nothing for long.
pub async fn answer(secure: &mut Secure) -> Result<(), BoxError> {
    for _ in 0..MOST {
        let said = frame::read::<Control>(&mut secure.stream, LARGEST_CONTROL);
        match timeout(SILENCE, said).await?? {
            Some(Control::Beat) => {}
            Some(_) => return Err("it pings with something else".into()),
            None => return Ok(()),
        }
        let beat = frame::write(&mut secure.stream, &Control::Beat, LARGEST_CONTROL);
        timeout(SILENCE, beat).await??;
    }
    Ok(())
}

/// A peer that answers.
#[derive(Debug)]
pub struct Echo {
    secure: Secure,
}

impl Echo {
    /// Connects to `peer` at one of `candidates`, «host:port», whichever is first; who it is, the
    /// handshake has shown then.
    ///
    /// # Errors
    /// Why it cannot be reached, in words for people.
    pub async fn open(
        circle: &Circle,
        peer: usize,
        candidates: &[String],
    ) -> Result<Self, BoxError> {
        let (secure, _) = race(circle, peer, candidates, Purpose::Ping).await?;
        Ok(Self { secure })
    }

    /// Where the peer is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.secure.address
    }

    /// The peer's public key.
    #[must_use]
    pub fn key(&self) -> PublicKey {
        self.secure.peer.key
    }

    /// How long an answer takes.
    ///
    /// # Errors
    /// When none comes.
    pub async fn round_trip(&mut self) -> Result<Duration, BoxError> {
        let begun = Instant::now();
        let stream = &mut self.secure.stream;
        frame::write(stream, &Control::Beat, LARGEST_CONTROL).await?;
        let answer = frame::read::<Control>(stream, LARGEST_CONTROL);
        match timeout(2 * ATTEMPT, answer).await?? {
            Some(Control::Beat) => Ok(begun.elapsed()),
            Some(_) => Err("it answers something else".into()),
            None => Err("it hung up".into()),
        }
    }
}
