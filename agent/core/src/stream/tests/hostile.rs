//! A peer that sends what it likes.

use proptest::prelude::*;

use super::super::Received;
use super::super::frame::Head;
use super::{Stream, attached, drain, epoch, write};

/// Frames that are almost right: most positions and lengths are near those that are due.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let position = prop_oneof![0..40_u64, any::<u64>()];
    let length = prop_oneof![0..20_usize, 0..1_usize << 24];
    (0..5_u8, length, position, 0..30_usize).prop_map(|(kind, length, position, data)| {
        [&Head { kind, length, position }.encode()[..], &vec![b'x'; data.min(length)]].concat()
    })
}

/// Receives `wire` piece by piece, each as often as the machine wants; returns what was delivered.
fn receive(stream: &mut Stream, wire: &[u8], piece: usize) -> usize {
    let (mut unread, mut delivered) = (Vec::new(), 0);
    for bytes in wire.chunks(piece) {
        unread.extend_from_slice(bytes);
        loop {
            let Ok((done, received)) = stream.receive(epoch(1), &unread) else { return delivered };
            let taken = match received {
                Received::Data(data) => data.len(),
                Received::End | Received::Nothing => 0,
            };
            assert!(done + taken <= unread.len());
            let stuck = taken == 0 && received != Received::End;
            stream.delivered(taken);
            delivered += taken;
            unread.drain(..done + taken);
            if stuck {
                break;
            }
        }
    }
    delivered
}

/// A stream that has sent and not sent something of everything.
fn busy() -> Stream {
    let mut stream = attached(1024);
    write(&mut stream, &[1; 20]);
    drain(&mut stream, epoch(1));
    write(&mut stream, &[2; 20]);
    stream.finish();
    stream
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn random_frames_do_no_harm(
        frames in prop::collection::vec(frame(), 0..30),
        piece in 1..40_usize,
        later in any::<u64>(),
    ) {
        let (mut stream, wire) = (busy(), frames.concat());
        let delivered = receive(&mut stream, &wire, piece);
        prop_assert!(delivered <= wire.len());
        prop_assert!(stream.replay.allocated() <= 1024 + 128);
        drain(&mut stream, epoch(1));
        let received = stream.fence(epoch(2));
        prop_assert!(received.is_ok_and(|received| received >= delivered as u64));
        let _ = stream.attach(epoch(2), later);
        drain(&mut stream, epoch(2));
    }

    #[test]
    fn random_bytes_do_no_harm(wire: Vec<u8>, piece in 1..40_usize) {
        let mut stream = busy();
        prop_assert!(receive(&mut stream, &wire, piece) <= wire.len());
        drain(&mut stream, epoch(1));
    }
}
