//! What a hostile relay does to the bytes that it passes on.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Longer than a link may be silent before it is suspect.
const LATE: Duration = Duration::from_secs(4);
/// At most so many pieces of a direction pass between two deeds.
const PIECES: u64 = 24;
/// So much of the beginning of a direction is said again later.
const MEMORY: usize = 256 * 1024;

/// One kind of malice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
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
pub(crate) struct Deeds {
    deed: Option<Deed>,
    left: AtomicU32,
    done: AtomicU32,
    random: AtomicU64,
    relentless: AtomicBool,
    heard: Option<Mutex<Vec<u8>>>,
}

impl Deeds {
    /// An honest relay.
    pub(crate) fn none() -> Self {
        let (left, done, random, relentless) = Default::default();
        Self { deed: None, left, done, random, relentless, heard: None }
    }

    /// A relay that does this, once it is [`Self::allow`]ed to.
    pub(crate) fn of(deed: Deed) -> Self {
        Self { deed: Some(deed), random: AtomicU64::new(1), ..Self::none() }
    }

    /// An honest relay that remembers all that it passes on.
    pub(crate) fn eavesdrop() -> Self {
        Self { heard: Some(Mutex::default()), ..Self::none() }
    }

    /// It may do so many more of its deeds.
    pub(crate) fn allow(&self, count: u32) {
        self.left.store(count, Ordering::SeqCst);
    }

    /// It does its deed to every piece.
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
    fn take(&self) -> Option<Deed> {
        let deed = self.deed?;
        let less = |left: u32| left.checked_sub(1);
        self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).ok()?;
        self.done.fetch_add(1, Ordering::SeqCst);
        Some(deed)
    }

    /// The hand for one direction of a pipe.
    pub(super) fn hand(self: &Arc<Self>) -> Hand {
        let wait = 1 + self.random(PIECES);
        Hand { deeds: Arc::clone(self), wait, held: Vec::new(), said: Vec::new() }
    }
}

/// What passes on one direction of a pipe.
pub(super) struct Hand {
    deeds: Arc<Deeds>,
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
            if let Some(heard) = &self.deeds.heard {
                heard.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(piece);
            }
            if self.deeds.deed == Some(Deed::Repeat) && self.said.len() < MEMORY {
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
        let due = self.wait == 0 || self.deeds.relentless.load(Ordering::SeqCst);
        let deed = if due { self.deeds.take() } else { None };
        self.wait = if due { 1 + self.deeds.random(PIECES) } else { self.wait };
        let at = usize::try_from(self.deeds.random(piece.len() as u64)).unwrap_or_default();
        match deed {
            None => piece.extend(held),
            Some(Deed::Flip) => piece[at] ^= 1 << self.deeds.random(8),
            Some(Deed::Drop) => piece.clear(),
            Some(Deed::Double) => piece.extend_from_within(..),
            Some(Deed::Swap) => self.held = std::mem::take(&mut piece),
            Some(Deed::Shorten) => piece.truncate(at),
            Some(Deed::Insert) => {
                piece.splice(at..at, [0x17, 3, 3, 0, 2, 1, 2]);
            }
            Some(Deed::Delay) => tokio::time::sleep(LATE).await,
            Some(Deed::End | Deed::Repeat) => return None,
        }
        Some(piece)
    }

    /// What was said on a connection that the relay ended, to be said again.
    pub(super) fn take_said(&mut self) -> Option<Vec<u8>> {
        Some(std::mem::take(&mut self.said)).filter(|said| !said.is_empty())
    }
}
