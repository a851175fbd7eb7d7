//! Streams that outlive their links: one end of one stream, as a machine.
//!
//! A stream is carried by a succession of *carriers*, each a reliable pipe that may break at any
//! moment and lose what it holds. Each end keeps what it sent until the other acknowledges it, and a
//! new carrier begins where the other end is. Nothing is lost, reordered or delivered twice:
//!
//! - Carriers are numbered by a rising [`Epoch`]. Before an end tells its peer what it has received,
//!   it [fences](Stream::fence) all older carriers: nothing that they still hold is ever delivered,
//!   so what was told stays true.
//! - Received is what the local side took, not what was read from the carrier. Acknowledgements are
//!   sparse: a round of small messages costs no message more. One that tells nothing new is a
//!   question: whoever has something to acknowledge does so. So an end sees whether what it sent
//!   still gets through, and what comes behind something that was lost or changed shows the loss.
//! - The end of a stream is in band. A carrier that ends without it is cut, which means nothing.
//! - Memory is bounded by the window and not allocated before it is needed. While the peer does not
//!   acknowledge, there is no [`Stream::room`]: the local side is not read.
//!
//! Both ends send frames: a head of 12 bytes (kind, length, position), and data behind it.

mod error;
mod frame;
mod incoming;
mod replay;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use error::{Fenced, Refused, Violation};
pub use frame::MAX_DATA_BYTES;
use frame::{ACK, DATA, END, HEAD_BYTES, Head};
use incoming::Incoming;
use replay::Replay;

/// The window of a stream in bytes: 80 MB/s over a round trip of 50 ms.
pub const WINDOW_BYTES: usize = 4 * 1024 * 1024;

/// The number of a carrier: rises with every link of a pair and with every attempt on one.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Epoch {
    /// The epoch of the link, from 1.
    pub link: u64,
    /// Its number among the carriers on that link.
    pub attempt: u32,
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.link, self.attempt)
    }
}

/// What the bytes of a carrier mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// Nothing before more bytes come.
    Nothing,
    /// These bytes are next for the local side, which tells by [`Stream::delivered`] how many it
    /// took. Until then they are not received.
    Data(&'a [u8]),
    /// The peer's end: the local side shall hear no more.
    End,
}

/// A frame without data on its way into a carrier.
struct Control {
    kind: u8,
    bytes: [u8; HEAD_BYTES],
    sent: usize,
}

/// The carrier of the newest epoch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Carrier {
    Awaited,
    Attached,
    Gone,
}

/// One end of one stream.
pub struct Stream {
    newest: Option<Epoch>,
    carrier: Carrier,
    replay: Replay,
    incoming: Incoming,
    control: Option<Control>,
    /// The local side has ended; the current carrier took that; the peer has acknowledged all
    /// before this position.
    ended: bool,
    end_sent: bool,
    acknowledged: u64,
}

impl Stream {
    /// A stream that keeps at most `window` bytes; both ends have the same window.
    #[must_use]
    pub fn new(window: usize) -> Self {
        let window = window.max(replay::MIN_WINDOW_BYTES);
        Self {
            newest: None,
            carrier: Carrier::Gone,
            replay: Replay::new(window),
            incoming: Incoming::new(window),
            control: None,
            ended: false,
            end_sent: false,
            acknowledged: 0,
        }
    }

    /// Where the next bytes of the local side are read to. Empty while the peer must acknowledge
    /// first, and after the end.
    pub fn room(&mut self) -> &mut [u8] {
        if self.ended { &mut [] } else { self.replay.room() }
    }

    /// The first `length` bytes of the [`Self::room`] are the stream's next.
    pub fn commit(&mut self, length: usize) {
        if !self.ended {
            self.replay.commit(length);
        }
    }

    /// The local side sends no more.
    pub fn finish(&mut self) {
        self.ended = true;
    }

    /// Ends all carriers before `epoch`, and returns what to tell the peer: all before this position
    /// has been received here, the peer's end counting as one position.
    ///
    /// # Errors
    /// When the stream is at this epoch or a newer one.
    pub fn fence(&mut self, epoch: Epoch) -> Result<u64, Fenced> {
        if let Some(newest) = self.newest.filter(|newest| epoch <= *newest) {
            return Err(Fenced { offered: epoch, newest });
        }
        self.newest = Some(epoch);
        self.carrier = Carrier::Awaited;
        Ok(self.incoming.received())
    }

    /// The carrier of the epoch that was fenced last is there, and the peer said on it what it has
    /// received.
    ///
    /// # Errors
    /// When a newer epoch was fenced, the epoch has or had its carrier, or the peer cannot have received
    /// that.
    pub fn attach(&mut self, epoch: Epoch, peer_received: u64) -> Result<(), Refused> {
        if self.newest != Some(epoch) || self.carrier != Carrier::Awaited {
            return Err(Fenced { offered: epoch, newest: self.newest.unwrap_or(epoch) }.into());
        }
        self.acknowledge(peer_received)?;
        self.end_sent = peer_received > self.replay.length();
        self.replay.rewind(peer_received.min(self.replay.length()));
        self.control = None;
        self.incoming.begin();
        self.carrier = Carrier::Attached;
        Ok(())
    }

    /// The carrier of this epoch has broken or ended.
    pub fn detach(&mut self, epoch: Epoch) {
        if self.is_attached(epoch) {
            self.carrier = Carrier::Gone;
        }
    }

    /// Whether the carrier of this epoch is the current one.
    #[must_use]
    pub fn is_attached(&self, epoch: Epoch) -> bool {
        self.carrier == Carrier::Attached && self.newest == Some(epoch)
    }

    /// What the carrier of this epoch shall take next; empty when there is nothing.
    pub fn transmit(&mut self, epoch: Epoch) -> &[u8] {
        if !self.is_attached(epoch) {
            return &[];
        }
        if self.control.is_none() && self.replay.between_frames() {
            self.control = self.next_control();
        }
        match &self.control {
            Some(control) => &control.bytes[control.sent..],
            None => self.replay.pending(self.incoming.is_due()),
        }
    }

    fn next_control(&mut self) -> Option<Control> {
        let (kind, position) = if self.incoming.is_due() {
            (ACK, self.incoming.tell())
        } else if self.ended && !self.end_sent && self.replay.sent() == self.replay.length() {
            (END, self.replay.length())
        } else {
            return None;
        };
        Some(Control { kind, bytes: Head { kind, length: 0, position }.encode(), sent: 0 })
    }

    /// The carrier of this epoch took `length` bytes of what it was to [`Self::transmit`].
    pub fn transmitted(&mut self, epoch: Epoch, length: usize) {
        if !self.is_attached(epoch) {
            return;
        }
        match &mut self.control {
            None => self.replay.transmitted(length),
            Some(control) => {
                control.sent = control.sent.saturating_add(length).min(HEAD_BYTES);
                if control.sent == HEAD_BYTES {
                    self.end_sent |= control.kind == END;
                    self.control = None;
                }
            }
        }
    }

    /// Takes what came over the carrier of this epoch: returns how many of `bytes` are done with,
    /// and what is next. The others are given again, with more behind them.
    ///
    /// What comes over any but the current carrier is dropped. After a violation nothing is
    /// received over this carrier any more.
    ///
    /// # Errors
    /// When the peer does what it may not.
    pub fn receive<'a>(
        &mut self,
        epoch: Epoch,
        bytes: &'a [u8],
    ) -> Result<(usize, Received<'a>), Violation> {
        if !self.is_attached(epoch) {
            return Ok((bytes.len(), Received::Nothing));
        }
        let received = self.read(bytes);
        if received.is_err() {
            self.carrier = Carrier::Gone;
        }
        received
    }

    fn read<'a>(&mut self, bytes: &'a [u8]) -> Result<(usize, Received<'a>), Violation> {
        let mut done = 0;
        loop {
            let rest = &bytes[done..];
            let data = self.incoming.data(rest);
            if !data.is_empty() {
                return Ok((done, Received::Data(data)));
            }
            let Some(head) = Head::decode(rest).filter(|_| self.incoming.frame_left() == 0) else {
                return Ok((done, Received::Nothing));
            };
            done += HEAD_BYTES;
            match head.kind {
                DATA => self.incoming.frame(head)?,
                ACK | END if head.length > 0 => {
                    return Err(Violation::Length { kind: head.kind, length: head.length });
                }
                ACK => {
                    let known = self.acknowledged;
                    self.acknowledge(head.position)?;
                    if self.acknowledged == known {
                        self.incoming.asked();
                    }
                }
                END => {
                    self.incoming.end(head.position)?;
                    return Ok((done, Received::End));
                }
                unknown => return Err(Violation::UnknownKind(unknown)),
            }
        }
    }

    /// Says something on the carrier, whether or not there is anything new to acknowledge.
    pub fn speak(&mut self) {
        self.incoming.urge();
    }

    /// Whether the peer has acknowledged all that was sent.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.acknowledged >= self.replay.sent().saturating_add(u64::from(self.end_sent))
    }

    /// How many bytes of data are to come before the next head: whoever reads no more than these gets
    /// the next frame in one piece.
    #[must_use]
    pub fn until_head(&self) -> usize {
        self.incoming.frame_left()
    }

    /// The local side took `length` bytes of the [`Received::Data`].
    pub fn delivered(&mut self, length: usize) {
        if self.carrier == Carrier::Attached {
            self.incoming.delivered(length);
        }
    }

    fn acknowledge(&mut self, told: u64) -> Result<(), Violation> {
        let sent = self.replay.sent().saturating_add(u64::from(self.end_sent));
        if told > sent {
            return Err(Violation::AckBeyond { told, sent });
        }
        if told < self.acknowledged {
            return Err(Violation::AckBack { told, before: self.acknowledged });
        }
        self.acknowledged = told;
        self.replay.release(told);
        Ok(())
    }

    /// Whether both directions have ended and both ends have all of it. What the peer has not yet
    /// heard of that is still to be transmitted, or told to a new carrier.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.acknowledged > self.replay.length() && self.incoming.has_ended()
    }

    /// Gives all memory back once the stream [is finished](Self::is_finished).
    pub fn shrink(&mut self) {
        if self.is_finished() {
            self.replay.clear();
        }
    }
}
