//! What one end has received, and when it says so.

use super::error::Violation;
use super::frame::{HEAD, Head, LARGEST_DATA};

/// The fraction of a window after which is acknowledged.
const SPARSE: usize = 16;

/// The direction from the peer to the local side.
pub(super) struct Incoming {
    /// How many bytes the local side took.
    delivered: u64,
    ended: bool,
    /// Bytes of the current frame that are yet to come.
    frame_left: usize,
    /// What came since the last acknowledgement in bytes, heads included: the sender's buffer holds
    /// them too.
    unacknowledged: usize,
    /// How much of that makes an acknowledgement due.
    most: usize,
}

impl Incoming {
    pub(super) fn new(window: usize) -> Self {
        let most = window / SPARSE;
        Self { delivered: 0, ended: false, frame_left: 0, unacknowledged: 0, most }
    }

    /// Everything before this position is received; the end counts as one.
    pub(super) fn received(&self) -> u64 {
        self.delivered.saturating_add(u64::from(self.ended))
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// A new carrier begins, whose peer knows what was received.
    pub(super) fn begin(&mut self) {
        self.frame_left = 0;
        self.unacknowledged = 0;
    }

    /// Whether the peer should be told what was received.
    pub(super) fn is_due(&self) -> bool {
        self.unacknowledged >= self.most
    }

    /// What to tell, which then is told.
    pub(super) fn tell(&mut self) -> u64 {
        self.unacknowledged = 0;
        self.received()
    }

    /// Bytes of the current frame that are yet to come.
    pub(super) fn frame_left(&self) -> usize {
        self.frame_left
    }

    /// The part of `bytes` that is data of the current frame.
    pub(super) fn data<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[..bytes.len().min(self.frame_left)]
    }

    /// A frame of data begins.
    pub(super) fn frame(&mut self, Head { kind, length, position }: Head) -> Result<(), Violation> {
        if self.ended {
            return Err(Violation::AfterEnd);
        }
        if length == 0 || length > LARGEST_DATA {
            return Err(Violation::Length { kind, length });
        }
        let room = position.checked_add(length as u64).is_some_and(|end| end < u64::MAX);
        if position != self.delivered || !room {
            return Err(Violation::DataElsewhere { position, received: self.delivered });
        }
        self.frame_left = length;
        self.unacknowledged = self.unacknowledged.saturating_add(HEAD);
        Ok(())
    }

    /// The local side took `length` bytes of the current frame.
    pub(super) fn delivered(&mut self, length: usize) {
        let length = length.min(self.frame_left);
        self.frame_left -= length;
        self.delivered = self.delivered.saturating_add(length as u64);
        self.unacknowledged = self.unacknowledged.saturating_add(length);
    }

    /// The peer's end, which is acknowledged at once.
    pub(super) fn end(&mut self, position: u64) -> Result<(), Violation> {
        if self.ended {
            return Err(Violation::AfterEnd);
        }
        if position != self.delivered {
            return Err(Violation::EndElsewhere { position, received: self.delivered });
        }
        self.ended = true;
        self.unacknowledged = usize::MAX;
        Ok(())
    }
}
