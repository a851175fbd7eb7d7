//! What the owner, the peer and the local process see.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::ReadBuf;

use super::*;

#[tokio::test]
async fn each_direction_ends_by_itself_and_then_the_stream() {
    let (mut a, mut b) = (side(), side());
    let (to_a, to_b) = duplex(100);
    join(1, [&a.handle, &b.handle], [to_a, to_b]).await;
    a.process.write_all(b"question").await.unwrap();
    a.process.shutdown().await.unwrap();
    assert_eq!(rest(&mut b.process).await, b"question");
    assert!(matches!(event(&mut b).await, Event::PeerEnded));
    b.process.write_all(b"an answer").await.unwrap();
    b.process.shutdown().await.unwrap();
    assert_eq!(rest(&mut a.process).await, b"an answer");
    assert!(matches!(event(&mut a).await, Event::PeerEnded));
    for side in [&mut a, &mut b] {
        assert!(matches!(event(side).await, Event::Finished));
        assert!(side.events.try_recv().is_err(), "the end of the last carrier is no cut");
    }
    assert_eq!((a.traffic.sent(), a.traffic.received()), (8, 9));
    assert_eq!((b.traffic.sent(), b.traffic.received()), (9, 8));
    drop(a.handle);
    assert_eq!(a.carried.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn a_finished_stream_tells_a_late_peer_so() {
    let mut side = side();
    let mut peer = first_carrier(&side).await;
    side.process.shutdown().await.unwrap();
    assert_eq!(next(&mut peer, 12).await, frame(3, 0, b""));
    peer.write_all(&[frame(1, 0, b"x"), frame(3, 1, b""), frame(2, 1, b"")].concat())
        .await
        .unwrap();
    assert!(matches!(event(&mut side).await, Event::PeerEnded));
    assert!(matches!(event(&mut side).await, Event::Finished));
    assert_eq!(
        rest(&mut peer).await,
        frame(2, 2, b""),
        "the last acknowledgement, and a proper end"
    );
    assert!(peer.write_all(b"x").await.is_err(), "it is let go");
    let (mut peer, ours) = duplex(100);
    assert_eq!(side.handle.fence(epoch(2)).await, Ok(2));
    side.handle.attach(epoch(2), 1, ours).await.unwrap();
    assert_eq!(rest(&mut peer).await, b"");
    assert!(side.events.try_recv().is_err());
}

#[tokio::test]
async fn what_a_carrier_holds_back_is_flushed() {
    let [mut a, mut b] = [side_of(1 << 16, None), side_of(1 << 16, None)];
    let (to_a, to_b) = duplex(1 << 16);
    let carriers = [to_a, to_b].map(tokio::io::BufStream::new);
    join(1, [&a.handle, &b.handle], carriers).await;
    a.process.write_all(b"question").await.unwrap();
    assert_eq!(next(&mut b.process, 8).await, b"question");
}

#[tokio::test]
async fn a_cut_is_no_end() {
    let mut side = side();
    let mut peer = first_carrier(&side).await;
    peer.write_all(&frame(1, 0, b"half ")[..15]).await.unwrap();
    assert_eq!(next(&mut side.process, 3).await, b"hal");
    drop(peer);
    let Event::Cut { epoch: which, why } = event(&mut side).await else { panic!("no cut") };
    assert_eq!((which, why.kind()), (epoch(1), io::ErrorKind::UnexpectedEof));
    side.process.write_all(b"written while there was no carrier").await.unwrap();
    let (mut peer, ours) = duplex(100);
    assert_eq!(side.handle.fence(epoch(2)).await, Ok(3));
    side.handle.attach(epoch(2), 0, ours).await.unwrap();
    assert_eq!(next(&mut peer, 46).await, frame(1, 0, b"written while there was no carrier"));
    peer.write_all(&[frame(1, 3, b"f time"), frame(3, 9, b"")].concat()).await.unwrap();
    assert_eq!(rest(&mut side.process).await, b"f time");
}

#[tokio::test]
async fn a_process_that_has_gone_is_an_end_and_hears_no_more() {
    let mut side = side();
    let mut peer = first_carrier(&side).await;
    side.process = process(None).0;
    assert_eq!(next(&mut peer, 12).await, frame(3, 0, b""));
    let more = [frame(1, 0, &[7; 60_000]), frame(1, 60_000, &[7; 60_000]), frame(3, 120_000, b"")];
    peer.write_all(&[frame(2, 1, b""), more.concat()].concat()).await.unwrap();
    assert!(matches!(event(&mut side).await, Event::PeerEnded));
    assert!(matches!(event(&mut side).await, Event::Finished));
    let last = rest(&mut peer).await;
    assert_eq!(last[last.len() - 12..], frame(2, 120_001, b""));
}

/// Counts what a carrier is asked and what it does.
struct Counted {
    pipe: DuplexStream,
    reads: Arc<AtomicUsize>,
    writes: Arc<AtomicUsize>,
    polls: Arc<AtomicUsize>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.polls.fetch_add(1, Ordering::Relaxed);
        let read = Pin::new(&mut self.pipe).poll_read(context, buffer);
        self.reads.fetch_add(usize::from(read.is_ready()), Ordering::Relaxed);
        read
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.pipe).poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(context)
    }
}

#[tokio::test]
async fn a_round_of_small_messages_is_one_read_and_one_write_at_each_end() {
    let window = mpyc_party_core::stream::WINDOW_BYTES;
    let mut sides = [side_of::<Counted>(window, None), side_of(window, None)];
    let counts: [Arc<AtomicUsize>; 3] = Default::default();
    let [reads, writes, polls] = &counts;
    let count =
        |pipe| Counted { pipe, reads: reads.clone(), writes: writes.clone(), polls: polls.clone() };
    let (to_a, to_b) = duplex(1 << 16);
    join(1, [&sides[0].handle, &sides[1].handle], [count(to_a), count(to_b)]).await;
    for round in 0..1000 {
        sides[round % 2].process.write_all(&[7; 100]).await.unwrap();
        assert_eq!(next(&mut sides[(round + 1) % 2].process, 100).await, [7; 100]);
    }
    let counted = counts.each_ref().map(|count| count.load(Ordering::Relaxed));
    assert_eq!(counted[..2], [1000, 1000]);
    assert!(counted[2] < 6 * 1000, "woken {} times for 1000 messages", counted[2]);
}

/// A local process's side that tells how long the pieces are that it is given.
struct Pieces(mpsc::UnboundedSender<usize>);

impl AsyncWrite for Pieces {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.send(buffer.len()).unwrap();
        Poll::Ready(Ok(buffer.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn large_frames_reach_the_local_process_in_one_piece() {
    const LARGEST: usize = mpyc_party_core::stream::MAX_DATA_BYTES;
    let (tell, mut pieces) = mpsc::unbounded_channel();
    let (handle, carriers) = channel();
    let (_process, reader) = duplex(1);
    let local = Local { reader, writer: Pieces(tell), beginning: None, traffic: Arc::default() };
    let carried = tokio::spawn(carry(Stream::new(1 << 20), local, carriers, |_| {}));
    let (mut peer, ours) = duplex(1 << 20);
    // An odd one first: the next begins in the middle of what is read.
    let (mut wire, mut position) = (Vec::new(), 0);
    for length in [20_000, LARGEST, LARGEST, LARGEST] {
        wire.extend(frame(1, position, &vec![7; length]));
        position += length as u64;
    }
    peer.write_all(&wire).await.unwrap();
    handle.fence(epoch(1)).await.unwrap();
    handle.attach(epoch(1), 0, ours).await.unwrap();
    let mut told = Vec::new();
    while told.iter().sum::<usize>() < 20_000 + 3 * LARGEST {
        told.push(pieces.recv().await.unwrap());
    }
    let first = (1 << 16) - 20_000 - 2 * 12;
    assert_eq!(told, [20_000, first, LARGEST - first, LARGEST, LARGEST]);
    drop(handle);
    carried.await.unwrap().unwrap();
}
