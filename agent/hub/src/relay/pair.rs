//! A pair of pipes: bytes go both ways, each piece in its turn.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mpyc_party_core::name::PartyName;
use mpyc_party_transport::now;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::time::sleep;

use super::{Pipe, RelayServer};
use crate::fair_queue::FairQueue;

/// Bytes of one direction that are held here; further ones are not read (backpressure).
const MAX_BUFFERED_BYTES: usize = 64 * 1024;
/// A pair on which nothing moves for so long is over, whoever may have forgotten it.
const PAIR_IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// Why a pair has ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum PairEnd {
    #[error("both have ended")]
    Finished,
    #[error(transparent)]
    Broken(#[from] io::Error),
    #[error("nothing moved any more")]
    Idle,
    #[error("a certificate expired")]
    Expired,
    #[error("one was revoked")]
    Revoked,
}

impl RelayServer {
    /// Carries bytes both ways until both directions have ended, one breaks, or time is over. What
    /// is dropped then ends for both without the end of a stream, and so shows as a cut.
    pub(super) async fn splice(&self, one: Pipe, other: Pipe) -> PairEnd {
        let not_after = one.secure.peer.not_after.min(other.secure.peer.not_after);
        let left = Duration::from_secs(not_after.saturating_sub(now()));
        let (membership, queue, moved) = (&self.0.membership, &self.0.queue, AtomicU64::new(0));
        let keys = [one.secure.peer.key, other.secure.peer.key];
        let (mut from_one, mut to_one) = split(one.secure.stream);
        let (mut from_other, mut to_other) = split(other.secure.stream);
        let there = forward(&mut from_one, &mut to_other, queue, &one.party, &moved);
        let back = forward(&mut from_other, &mut to_one, queue, &other.party, &moved);
        tokio::select! {
            ended = async { tokio::try_join!(there, back) } => match ended {
                Ok(_) => PairEnd::Finished,
                Err(error) => error.into(),
            },
            () = until_idle(&moved) => PairEnd::Idle,
            () = sleep(left) => PairEnd::Expired,
            () = membership.revoked(keys[0]) => PairEnd::Revoked,
            () = membership.revoked(keys[1]) => PairEnd::Revoked,
        }
    }
}

/// Carries one direction to its end, each piece in its turn.
async fn forward(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    queue: &FairQueue,
    account: &PartyName,
    moved: &AtomicU64,
) -> io::Result<()> {
    let mut buffer = vec![0; MAX_BUFFERED_BYTES];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        queue.acquire(account, length).await;
        to.write_all(&buffer[..length]).await?;
        to.flush().await?;
        moved.fetch_add(1, Ordering::Relaxed);
    }
}

/// Completes when nothing has moved for [`PAIR_IDLE_TIMEOUT`], at the latest after twice that.
async fn until_idle(moved: &AtomicU64) {
    loop {
        let before = moved.load(Ordering::Relaxed);
        sleep(PAIR_IDLE_TIMEOUT).await;
        if moved.load(Ordering::Relaxed) == before {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use tokio::io::{ReadBuf, duplex};
    use tokio::time::Instant;

    /// A sender that never tires, and counts.
    struct Endless<'a>(&'a AtomicU64);

    impl AsyncRead for Endless<'_> {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let length = buffer.remaining();
            buffer.initialize_unfilled().fill(7);
            buffer.advance(length);
            self.0.fetch_add(length as u64, Ordering::Relaxed);
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_costs_one_buffer() {
        let (read, moved) = (AtomicU64::new(0), AtomicU64::new(0));
        let (mut near, mut far) = duplex(1000);
        let (queue, alice) = (FairQueue::default(), "alice".parse().unwrap());
        let mut endless = Endless(&read);
        let forward = forward(&mut endless, &mut near, &queue, &alice, &moved);
        let slow = async {
            sleep(Duration::from_secs(3600)).await;
            assert_eq!(read.load(Ordering::Relaxed), MAX_BUFFERED_BYTES as u64);
            far.read_exact(&mut vec![0; 3 * MAX_BUFFERED_BYTES]).await.unwrap();
        };
        tokio::select! {
            ended = forward => panic!("{ended:?}"),
            () = queue.run(None) => {}
            () = slow => {}
        }
        assert!(read.load(Ordering::Relaxed) <= 5 * MAX_BUFFERED_BYTES as u64);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pair_ends_when_nothing_moves_and_not_before() {
        let (moved, begun) = (AtomicU64::new(0), Instant::now());
        let busy = async {
            for _ in 0..3 {
                sleep(PAIR_IDLE_TIMEOUT - Duration::from_secs(1)).await;
                moved.fetch_add(1, Ordering::Relaxed);
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = until_idle(&moved) => {}
            () = busy => {}
        }
        assert!(
            (4 * PAIR_IDLE_TIMEOUT..=5 * PAIR_IDLE_TIMEOUT).contains(&begun.elapsed()),
            "{:?}",
            begun.elapsed()
        );
    }
}
