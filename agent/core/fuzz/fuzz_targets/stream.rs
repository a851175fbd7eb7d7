//! Whatever a peer sends over the carriers of a stream: nothing panics, and the local side gets no
//! more than was sent.
//!
//! The input is cut into frames of up to 255 bytes, each with its length in front; one without bytes
//! is a new carrier. Run it with `cargo +nightly fuzz run stream` in `agent/core`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mpyc_party_core::stream::{Epoch, Received, Stream};

/// Receives what can be received of `unread`; returns how many bytes the local side got.
fn receive(stream: &mut Stream, epoch: Epoch, unread: &mut Vec<u8>) -> usize {
    let mut delivered = 0;
    while let Ok((done, received)) = stream.receive(epoch, unread) {
        let (taken, more) = match received {
            Received::Data(data) => (data.len(), true),
            Received::End => (0, true),
            Received::Nothing => (0, false),
        };
        stream.delivered(taken);
        delivered += taken;
        unread.drain(..done + taken);
        if !more {
            break;
        }
    }
    delivered
}

/// Lets the local side write and the carrier take a little.
fn send(stream: &mut Stream, epoch: Epoch, length: usize) {
    let room = stream.room().len();
    stream.commit(length.min(room));
    let pending = stream.transmit(epoch).len();
    stream.transmitted(epoch, length.min(pending));
}

fuzz_target!(|data: &[u8]| {
    let mut stream = Stream::new(1024);
    let mut epoch = Epoch { link: 0, attempt: 0 };
    let (mut unread, mut delivered) = (Vec::new(), 0);
    let mut rest = data;
    while let [length, more @ ..] = rest {
        let (frame, following) = more.split_at(more.len().min(usize::from(*length)));
        rest = following;
        if let [] = frame {
            epoch.link += 1;
            let received = [delivered as u64, delivered as u64 + 1];
            assert!(stream.fence(epoch).is_ok_and(|position| received.contains(&position)));
            let told = following.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
            let _ = stream.attach(epoch, told % 2048);
            unread.clear();
        }
        unread.extend_from_slice(frame);
        delivered += receive(&mut stream, epoch, &mut unread);
        send(&mut stream, epoch, frame.len());
    }
    stream.finish();
    send(&mut stream, epoch, 12);
    assert!(delivered <= data.len());
});
