//! An end holds no more than its window, whoever stops reading, and goes on as soon as it can.
//!
//! The pump runs only when it is woken, so what it forgets to wait for shows.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use tokio::io::ReadBuf;

use super::*;

const WINDOW_BYTES: usize = 1 << 18;
/// What a pipe to a process holds in each direction.
const PIPE: usize = 1 << 16;

/// Whether the pump was woken.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A pump that is run by hand.
struct Machine {
    work: Pin<Box<dyn Future<Output = Result<(), Fault>>>>,
    woken: Arc<Woken>,
    handle: Handle<DuplexStream>,
    events: mpsc::UnboundedReceiver<Event>,
}

impl Machine {
    /// With the process at its local side.
    fn new() -> (Self, DuplexStream) {
        let ((process, local), (handle, carriers)) = (process(None), channel());
        let (tell, events) = mpsc::unbounded_channel();
        let tell = move |event| tell.send(event).unwrap();
        let work = Box::pin(carry(Stream::new(WINDOW_BYTES), local, carriers, tell));
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        (Self { work, woken, handle, events }, process)
    }

    /// Runs as long as it is woken.
    fn run(&mut self) {
        let waker = self.woken.clone().into();
        while self.woken.0.swap(false, Ordering::Relaxed) {
            assert!(self.work.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
    }

    /// Gives it its first carrier; returns the peer's end.
    fn attach(&mut self, capacity: usize) -> DuplexStream {
        let (handle, (peer, ours)) = (self.handle.clone(), duplex(capacity));
        let mut asked = pin!(async move {
            handle.fence(epoch(1)).await.unwrap();
            handle.attach(epoch(1), 0, ours).await.unwrap();
        });
        while asked.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            self.run();
        }
        peer
    }

    /// How much goes into `pipe` until it takes no more.
    fn fill(&mut self, pipe: &mut DuplexStream) -> usize {
        let (mut context, mut total) = (Context::from_waker(Waker::noop()), 0);
        while let Poll::Ready(length) = Pin::new(&mut *pipe).poll_write(&mut context, &[0; PIPE]) {
            total += length.unwrap();
            self.run();
        }
        total
    }

    /// How much comes out of `pipe` until there is no more.
    fn drain(&mut self, pipe: &mut DuplexStream) -> usize {
        let (mut context, mut total) = (Context::from_waker(Waker::noop()), 0);
        let mut bytes = [0; 1000];
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            let Poll::Ready(read) = Pin::new(&mut *pipe).poll_read(&mut context, &mut buffer)
            else {
                return total;
            };
            read.unwrap();
            total += buffer.filled().len();
            self.run();
        }
    }
}

/// Writes all of `wire`, which fits.
fn write(pipe: &mut DuplexStream, wire: &[u8]) {
    let written = Pin::new(pipe).poll_write(&mut Context::from_waker(Waker::noop()), wire);
    assert!(matches!(written, Poll::Ready(Ok(length)) if length == wire.len()));
}

#[test]
fn without_a_carrier_the_local_process_fills_the_window() {
    let (mut machine, mut process) = Machine::new();
    machine.run();
    let taken = machine.fill(&mut process);
    assert!((WINDOW_BYTES / 2..=WINDOW_BYTES + PIPE).contains(&taken), "{taken} bytes");
}

#[test]
fn a_carrier_that_takes_nothing_stops_the_local_process() {
    let timers = timers();
    let _entered = timers.enter();
    let (mut machine, mut process) = Machine::new();
    let mut peer = machine.attach(100);
    let taken = machine.fill(&mut process);
    assert!(taken <= 2 * PIPE, "{taken} bytes for a carrier that is stuck");
    // Once it takes them all is read again, without an acknowledgement.
    let drained = machine.drain(&mut peer);
    assert!(drained > taken, "{drained} of {taken} bytes and their heads");
    assert!(machine.fill(&mut process) >= PIPE);
}

#[test]
fn a_local_process_that_reads_nothing_stops_the_peer() {
    let timers = timers();
    let _entered = timers.enter();
    let (mut machine, _process) = Machine::new();
    let mut peer = machine.attach(PIPE);
    let (mut context, mut taken) = (Context::from_waker(Waker::noop()), 0);
    for position in (0..).step_by(1000) {
        let wire = frame(1, position, &[0; 1000]);
        let written = Pin::new(&mut peer).poll_write(&mut context, &wire);
        machine.run();
        match written {
            Poll::Ready(Ok(length)) if length == wire.len() => taken += length,
            _ => break,
        }
    }
    assert!(taken <= 4 * PIPE, "{taken} bytes that nobody reads");
}

#[test]
fn an_acknowledgement_makes_room_also_where_data_is_stuck_behind_it() {
    let timers = timers();
    let _entered = timers.enter();
    let (mut machine, mut process) = Machine::new();
    let mut peer = machine.attach(4 * WINDOW_BYTES);
    let sent = machine.fill(&mut process);
    assert!((WINDOW_BYTES / 2..=WINDOW_BYTES + PIPE).contains(&sent), "{sent} bytes");
    let full = [frame(1, 0, &[7; PIPE / 2]), frame(1, PIPE as u64 / 2, &[7; PIPE / 2])].concat();
    write(&mut peer, &full);
    machine.run();
    assert_eq!(machine.fill(&mut process), 0);
    let stuck = [frame(2, WINDOW_BYTES as u64 / 2, b""), frame(1, PIPE as u64, b"stuck")].concat();
    write(&mut peer, &stuck);
    machine.run();
    assert!(machine.fill(&mut process) >= WINDOW_BYTES / 4);
    // And so does one with nothing behind it.
    assert_eq!(machine.drain(&mut process), PIPE + 5);
    write(&mut peer, &frame(2, WINDOW_BYTES as u64 * 3 / 4, b""));
    machine.run();
    assert!(machine.fill(&mut process) >= WINDOW_BYTES / 8);
}

/// A pump that is finished, but whose carrier has no room for the last acknowledgement: behind the
/// end, which is not read yet, four bytes fit.
fn finished_but_stuck() -> (Machine, DuplexStream) {
    let (mut machine, process) = Machine::new();
    let mut peer = machine.attach(16);
    drop(process);
    machine.run();
    for wire in [frame(3, 0, b""), frame(2, 1, b"")] {
        write(&mut peer, &wire);
        machine.run();
    }
    assert!(matches!(machine.events.try_recv(), Ok(Event::PeerEnded)));
    assert!(machine.events.try_recv().is_err());
    (machine, peer)
}

#[test]
fn the_last_acknowledgement_goes_out_before_the_carrier_ends() {
    let timers = timers();
    let _entered = timers.enter();
    let (mut machine, mut peer) = finished_but_stuck();
    let mut said = [0; 25];
    let mut length = 0;
    for _ in 0..2 {
        let mut buffer = ReadBuf::new(&mut said[length..]);
        let mut context = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut peer).poll_read(&mut context, &mut buffer).is_ready());
        length += buffer.filled().len();
        machine.run();
    }
    assert_eq!(said[..length], [frame(3, 0, b""), frame(2, 1, b"")].concat());
    assert!(matches!(machine.events.try_recv(), Ok(Event::Finished)));
}

#[test]
fn a_finished_stream_does_not_ask_for_another_carrier() {
    let timers = timers();
    let _entered = timers.enter();
    let (mut machine, peer) = finished_but_stuck();
    drop(peer);
    machine.run();
    assert!(matches!(machine.events.try_recv(), Ok(Event::Finished)));
}
