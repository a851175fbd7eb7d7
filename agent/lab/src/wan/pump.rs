//! The thread of a WAN line: what one TAP device sends, the other receives a little later.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use fastrand::Rng;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Wan;

/// The most packets under way in one direction: a tenth of a second of 100 Mbit/s, and more of less.
const UNDER_WAY: usize = 2000;
/// How many packets are read before the clock is looked at again.
const AT_ONCE: usize = 64;
/// Length of an Ethernet header in bytes, which is not counted in an MTU.
const ETHERNET_HEADER_BYTES: usize = 14;
/// More than an interface sends in a packet.
const MAX_PACKET_BYTES: usize = 4096;

/// One direction: packets and when they are due. None overtakes another, so that one is late whose
/// predecessor is.
struct Direction {
    under_way: VecDeque<(Instant, Box<[u8]>)>,
    random: Rng,
}

/// Carries packets until the other end of `stop` is closed.
pub(super) fn carry(taps: &[File; 2], stop: &OwnedFd, wan: &Mutex<Wan>) {
    let environment = || wan.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let seed = environment().seed;
    let mut directions = [0, 1].map(|side| Direction {
        under_way: VecDeque::new(),
        random: Rng::with_seed(seed.wrapping_mul(2).wrapping_add(side)),
    });
    let mut piece = [0; MAX_PACKET_BYTES];
    while let Ok(true) = wait(taps, stop, &directions) {
        let wan = environment();
        for (side, direction) in directions.iter_mut().enumerate() {
            direction.take(&taps[side], &wan, &mut piece);
            direction.deliver(&taps[1 - side]);
        }
    }
}

/// Waits until a packet comes or is due; false when it is time to stop.
fn wait(taps: &[File; 2], stop: &OwnedFd, directions: &[Direction; 2]) -> io::Result<bool> {
    let due = directions.iter().filter_map(|direction| Some(direction.under_way.front()?.0)).min();
    let pause = due.map(|due| due.saturating_duration_since(Instant::now()));
    let pause = pause.and_then(|pause| Timespec::try_from(pause).ok());
    let mut polled = [
        PollFd::new(&taps[0], PollFlags::IN),
        PollFd::new(&taps[1], PollFlags::IN),
        PollFd::new(stop, PollFlags::IN),
    ];
    match poll(&mut polled, pause.as_ref()) {
        Err(rustix::io::Errno::INTR) => Ok(true),
        other => other.map(|_| polled[2].revents().is_empty()).map_err(Into::into),
    }
}

impl Direction {
    /// Takes what has come; some of it is lost.
    fn take(&mut self, mut from: &File, wan: &Wan, piece: &mut [u8]) {
        for _ in 0..AT_ONCE {
            let Ok(length) = from.read(piece) else { return };
            let late = wan.jitter.mul_f64(self.random.f64());
            let lost = self.random.f64() * 100.0 < wan.loss_percent;
            let most = wan.mtu.map_or(usize::MAX, |mtu| ETHERNET_HEADER_BYTES + usize::from(mtu));
            if !lost && length <= most && self.under_way.len() < UNDER_WAY {
                let due = Instant::now() + wan.delay + late;
                self.under_way.push_back((due, piece[..length].into()));
            }
        }
    }

    /// Delivers what is due.
    fn deliver(&mut self, mut to: &File) {
        let now = Instant::now();
        while self.under_way.front().is_some_and(|(due, _)| *due <= now)
            && let Some((_, packet)) = self.under_way.pop_front()
        {
            // An interface that is down takes nothing, as a cable that is pulled.
            let _ = to.write(&packet);
        }
    }
}
