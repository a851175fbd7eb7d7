//! Two ends over a network of the worst kind, a hostile peer, and each rule by itself.

mod hostile;
mod rules;
mod simulation;

use super::{Epoch, Received, Stream, Violation};
use crate::numbers::Numbers;

/// Random numbers that a seed repeats.
struct Random(Numbers);

impl Random {
    /// Below `bound`; 0 where that is 0.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.0.below((bound as u64).max(1))).unwrap()
    }

    /// Up to and including `most`, and at least 1.
    fn up_to(&mut self, most: usize) -> usize {
        1 + self.below(most)
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }
}

fn epoch(link: u64) -> Epoch {
    Epoch { link, attempt: 0 }
}

/// A stream of which nothing was sent or received, with its first carrier.
fn attached(window: usize) -> Stream {
    let mut stream = Stream::new(window);
    assert_eq!(stream.fence(epoch(1)), Ok(0));
    stream.attach(epoch(1), 0).unwrap();
    stream
}

/// Writes what fits of `bytes` in one piece.
fn write(stream: &mut Stream, bytes: &[u8]) -> usize {
    let room = stream.room();
    let length = room.len().min(bytes.len());
    room[..length].copy_from_slice(&bytes[..length]);
    stream.commit(length);
    length
}

/// Everything that a carrier would take now.
fn drain(stream: &mut Stream, epoch: Epoch) -> Vec<u8> {
    let mut wire = Vec::new();
    loop {
        let length = stream.transmit(epoch).len();
        if length == 0 {
            return wire;
        }
        wire.extend_from_slice(stream.transmit(epoch));
        assert!(wire.len() <= 2 * super::WINDOW_BYTES, "there is no end to it");
        stream.transmitted(epoch, length);
    }
}

/// Lets `stream` receive all of `wire`: the data, and whether the end came.
fn feed(stream: &mut Stream, epoch: Epoch, mut wire: &[u8]) -> Result<(Vec<u8>, bool), Violation> {
    let (mut data, mut end) = (Vec::new(), false);
    loop {
        let (done, received) = stream.receive(epoch, wire)?;
        wire = &wire[done..];
        match received {
            Received::Data(bytes) => {
                data.extend_from_slice(bytes);
                stream.delivered(bytes.len());
                wire = &wire[bytes.len()..];
            }
            Received::End => end = true,
            Received::Nothing => return Ok((data, end)),
        }
    }
}
