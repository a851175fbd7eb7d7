//! What a hostile relay does to the bytes that it passes on.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Longer than a link may be silent before it is suspect.
const LATE: Duration = Duration::from_secs(4);
/// At most so many pieces of a direction pass between two of them.
const PIECES: u64 = 24;
/// So much of the beginning of a direction is said again later.
const MEMORY: usize = 256 * 1024;

/// One kind of malice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Changes one bit.
    Flip,
    /// Loses a piece.
    Drop,
    /// Sends a piece twice.
    Double,
    /// Sends a piece after the next.
    Swap,
    /// Loses the end of a piece.
    Shorten,
    /// Puts something in between.
    Insert,
    /// Holds everything back for a while, then delivers it.
    Delay,
    /// Ends the connection as if its other end had.
    End,
    /// Says all of an old connection again on a new one.
    Repeat,
}

/// What a relay does, how often it still may, and what it has heard.
pub(crate) struct Behaviours {
    behaviour: Option<Behaviour>,
    left: AtomicU32,
    done: AtomicU32,
    random: AtomicU64,
    relentless: AtomicBool,
    heard: Option<Mutex<Vec<u8>>>,
}

impl Behaviours {
    /// An honest relay.
    pub(crate) fn none() -> Self {
        let (left, done, random, relentless) = Default::default();
        Self { behaviour: None, left, done, random, relentless, heard: None }
    }

    /// A relay that does this, once it is [`Self::allow`]ed to.
    pub(crate) fn of(behaviour: Behaviour) -> Self {
        Self { behaviour: Some(behaviour), random: AtomicU64::new(1), ..Self::none() }
    }

    /// An honest relay that remembers all that it passes on.
    pub(crate) fn eavesdrop() -> Self {
        Self { heard: Some(Mutex::default()), ..Self::none() }
    }

    /// It may do so many more times what it does.
    pub(crate) fn allow(&self, count: u32) {
        self.left.store(count, Ordering::SeqCst);
    }

    /// It does that to every piece.
    pub(crate) fn without_end(&self) {
        self.relentless.store(true, Ordering::SeqCst);
        self.allow(u32::MAX);
    }

    /// How many it has done.
    pub(crate) fn done(&self) -> u32 {
        self.done.load(Ordering::SeqCst)
    }

    /// All that it has passed on.
    pub(crate) fn heard(&self) -> Vec<u8> {
        let heard = self.heard.as_ref();
        heard
            .map(|heard| heard.lock().unwrap_or_else(PoisonError::into_inner).clone())
            .unwrap_or_default()
    }

    /// A number below `limit`; the sequence is the same each time (splitmix64).
    fn random(&self, limit: u64) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.random.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    /// Whether to do it now.
    fn take(&self) -> Option<Behaviour> {
        let behaviour = self.behaviour?;
        let less = |left: u32| left.checked_sub(1);
        self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).ok()?;
        self.done.fetch_add(1, Ordering::SeqCst);
        Some(behaviour)
    }

    /// The hand for one direction of a pipe.
    pub(super) fn hand(self: &Arc<Self>) -> Hand {
        let wait = 1 + self.random(PIECES);
        Hand { behaviours: Arc::clone(self), wait, held: Vec::new(), said: Vec::new() }
    }
}

/// What passes on one direction of a pipe.
pub(super) struct Hand {
    behaviours: Arc<Behaviours>,
    wait: u64,
    held: Vec<u8>,
    said: Vec<u8>,
}

impl Hand {
    /// Passes on what comes, until its end.
    pub(super) async fn pass(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> std::io::Result<()> {
        let mut buffer = vec![0; 65_536];
        loop {
            let length = from.read(&mut buffer).await?;
            if length == 0 {
                return to.shutdown().await;
            }
            let piece = &buffer[..length];
            if let Some(heard) = &self.behaviours.heard {
                heard.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(piece);
            }
            if self.behaviours.behaviour == Some(Behaviour::Repeat) && self.said.len() < MEMORY {
                self.said.extend_from_slice(piece);
            }
            let Some(piece) = self.meddle(piece.to_vec()).await else { return to.shutdown().await };
            to.write_all(&piece).await?;
            to.flush().await?;
        }
    }

    /// What becomes of a piece; none where the connection ends.
    async fn meddle(&mut self, mut piece: Vec<u8>) -> Option<Vec<u8>> {
        let held = std::mem::take(&mut self.held);
        self.wait -= 1;
        let due = self.wait == 0 || self.behaviours.relentless.load(Ordering::SeqCst);
        let behaviour = if due { self.behaviours.take() } else { None };
        self.wait = if due { 1 + self.behaviours.random(PIECES) } else { self.wait };
        let at = usize::try_from(self.behaviours.random(piece.len() as u64)).unwrap_or_default();
        match behaviour {
            None => piece.extend(held),
            Some(Behaviour::Flip) => piece[at] ^= 1 << self.behaviours.random(8),
            Some(Behaviour::Drop) => piece.clear(),
            Some(Behaviour::Double) => piece.extend_from_within(..),
            Some(Behaviour::Swap) => self.held = std::mem::take(&mut piece),
            Some(Behaviour::Shorten) => piece.truncate(at),
            Some(Behaviour::Insert) => {
                piece.splice(at..at, [0x17, 3, 3, 0, 2, 1, 2]);
            }
            Some(Behaviour::Delay) => tokio::time::sleep(LATE).await,
            Some(Behaviour::End | Behaviour::Repeat) => return None,
        }
        Some(piece)
    }

    /// What was said on a connection that the relay ended, to be said again.
    pub(super) fn take_said(&mut self) -> Option<Vec<u8>> {
        Some(std::mem::take(&mut self.said)).filter(|said| !said.is_empty())
    }
}
