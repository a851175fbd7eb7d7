//! What went between local processes and a peer.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::is_tampering;

/// Bytes that local processes sent and heard, and what was done to them on the way.
#[derive(Debug, Default)]
pub struct Traffic {
    pub(crate) sent: AtomicU64,
    pub(crate) received: AtomicU64,
    tampered: AtomicU64,
}

impl Traffic {
    /// Bytes from the local process.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Bytes to the local process.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Connections that ended as [`is_tampering`] tells.
    #[must_use]
    pub fn tampered(&self) -> u64 {
        self.tampered.load(Ordering::Relaxed)
    }

    /// Counts the end of a connection if it is one of those.
    pub fn ended(&self, why: &io::Error) {
        self.tampered.fetch_add(is_tampering(why).into(), Ordering::Relaxed);
    }
}
