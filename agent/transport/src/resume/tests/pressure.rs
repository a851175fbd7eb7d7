//! Nobody can make an end hold more than its window.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use super::*;

/// How much goes into `pipe` until it takes no more, while `work` runs.
fn fill(
    pipe: &mut DuplexStream,
    mut work: Pin<&mut impl Future<Output = Result<(), Fault>>>,
) -> usize {
    let (mut context, mut total) = (Context::from_waker(Waker::noop()), 0);
    loop {
        let written = Pin::new(&mut *pipe).poll_write(&mut context, &[0; 1 << 16]);
        assert!(work.as_mut().poll(&mut context).is_pending());
        match written {
            Poll::Ready(length) => total += length.unwrap(),
            Poll::Pending => return total,
        }
    }
}

/// Runs `asked` while `work` goes on.
fn meanwhile<T>(
    asked: impl Future<Output = T>,
    mut work: Pin<&mut impl Future<Output = Result<(), Fault>>>,
) -> T {
    let (mut context, mut asked) = (Context::from_waker(Waker::noop()), pin!(asked));
    loop {
        if let Poll::Ready(answer) = asked.as_mut().poll(&mut context) {
            return answer;
        }
        assert!(work.as_mut().poll(&mut context).is_pending());
    }
}

#[test]
fn a_carrier_that_takes_nothing_stops_the_local_process() {
    const WINDOW: usize = 1 << 18;
    let (pipes, held) = (2 * (1 << 16), 100);
    let (mut process, local) = process(None);
    let (handle, carriers) = channel();
    let mut work = pin!(carry(Stream::new(WINDOW), local, carriers, |_| {}));
    // Without a carrier the window fills up, with a stuck one not even that.
    let without = fill(&mut process, work.as_mut());
    assert!((WINDOW / 2..=WINDOW + pipes).contains(&without), "{without} bytes without a carrier");
    let (peer, ours) = duplex(held);
    meanwhile(handle.fence(epoch(1)), work.as_mut()).unwrap();
    meanwhile(handle.attach(epoch(1), 0, ours), work.as_mut()).unwrap();
    let stuck = fill(&mut process, work.as_mut());
    assert!(stuck <= pipes, "{stuck} bytes into a stuck carrier");
    drop(peer);
}

#[test]
fn a_local_process_that_reads_nothing_stops_the_peer() {
    const WINDOW: usize = 1 << 18;
    let (process, local) = process(None);
    let (handle, carriers) = channel();
    let mut work = pin!(carry(Stream::new(WINDOW), local, carriers, |_| {}));
    let (mut peer, ours) = duplex(1 << 16);
    meanwhile(handle.fence(epoch(1)), work.as_mut()).unwrap();
    meanwhile(handle.attach(epoch(1), 0, ours), work.as_mut()).unwrap();
    let (mut context, mut taken) = (Context::from_waker(Waker::noop()), 0);
    for position in (0..).step_by(1000) {
        let wire = frame(1, position, &[0; 1000]);
        let written = Pin::new(&mut peer).poll_write(&mut context, &wire);
        assert!(work.as_mut().poll(&mut context).is_pending());
        match written {
            Poll::Ready(Ok(length)) if length == wire.len() => taken += length,
            _ => break,
        }
    }
    assert!(taken <= 4 * (1 << 16), "{taken} bytes that nobody reads");
    drop(process);
}
