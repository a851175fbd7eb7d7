//! Two ends, joined by carriers that lose their tails, deliver late, die and are replaced at the
//! worst moments; ten thousand schedules, each from a seed.
//!
//! A failure prints its seed; `MPYC_PARTY_TEST_SEED` runs that one alone.

use super::super::{Carrier as Newest, Epoch, Received, Refused, Stream};
use super::{Numbers, Random, write};

const SCHEDULES: u64 = 10_000;

/// One end with what it shall send and what it has heard.
struct End {
    me: usize,
    stream: Stream,
    to_send: Vec<u8>,
    written: usize,
    /// What the peer shall send, and how much of that has come.
    to_hear: Vec<u8>,
    heard: usize,
    heard_end: bool,
}

/// A pair of pipes. `wire[i]` goes from end `i` to the other.
struct Carrier {
    epoch: Epoch,
    wire: [Vec<u8>; 2],
    /// What arrived and is not done with.
    unread: [Vec<u8>; 2],
    dead: bool,
}

/// What an end says on a new carrier before any frame.
#[derive(Clone, Copy)]
struct Told {
    from: usize,
    epoch: Epoch,
    received: u64,
    answer: bool,
}

struct World {
    random: Random,
    window: usize,
    /// The most that a local side writes at once.
    piece: usize,
    ends: [End; 2],
    carriers: Vec<Carrier>,
    told: Vec<Told>,
    newest: Epoch,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(Numbers(seed));
        let window = 1024 << random.below(3);
        let piece = [1, 20, 200][random.below(3)];
        let mut text = || -> Vec<u8> {
            let length = random.below(4 * window).min(300 * piece);
            (0..length.div_ceil(8)).flat_map(|_| random.0.next().to_le_bytes()).collect()
        };
        let (texts, stream) = ([text(), text()], || Stream::new(window));
        let ends = [0, 1].map(|me| End {
            me,
            stream: stream(),
            to_send: texts[me].clone(),
            written: 0,
            to_hear: texts[1 - me].clone(),
            heard: 0,
            heard_end: false,
        });
        let newest = Epoch { link: 0, attempt: 0 };
        Self { random, window, piece, ends, carriers: Vec::new(), told: Vec::new(), newest }
    }

    fn act(&mut self) {
        let end = self.random.below(2);
        match self.random.below(40) {
            0..10 => self.write(end),
            10..20 => self.transmit(end),
            20..32 => self.arrive(end),
            32 => self.die(),
            33 => self.notice(end),
            34 => self.open(end),
            35..38 => self.hear(),
            38 => self.lose_told(),
            _ => self.refused_when_late(end),
        }
        let most = self.window + self.window / 8;
        assert!(self.ends.iter().all(|end| end.stream.replay.allocated() <= most), "memory");
    }

    /// The local side writes a piece, or ends.
    fn write(&mut self, end: usize) {
        let End { stream, to_send, written, .. } = &mut self.ends[end];
        let left = &to_send[*written..];
        if left.is_empty() {
            return stream.finish();
        }
        let piece = self.random.up_to(self.piece).min(left.len());
        *written += write(stream, &left[..piece]);
    }

    /// A carrier takes some of what there is: the newest mostly, an older one gets nothing.
    fn transmit(&mut self, end: usize) {
        let Some(carrier) = pick(&mut self.random, &mut self.carriers) else { return };
        let stream = &mut self.ends[end].stream;
        let pending = stream.transmit(carrier.epoch);
        let taken = pending[..self.random.up_to(600).min(pending.len())].to_vec();
        stream.transmitted(carrier.epoch, taken.len());
        if !carrier.dead {
            carrier.wire[end].extend_from_slice(&taken);
        }
    }

    /// Some of what a carrier holds arrives; the local side takes some of that.
    fn arrive(&mut self, end: usize) {
        let Some(carrier) = pick(&mut self.random, &mut self.carriers) else { return };
        let (from, stream) = (1 - end, &self.ends[end].stream);
        let current = stream.is_attached(carrier.epoch);
        if stream.newest == Some(carrier.epoch) && !current {
            // The answer comes before all else.
            return;
        }
        let length = self.random.up_to(600).min(carrier.wire[from].len());
        let later = carrier.wire[from].split_off(length);
        let arrived = std::mem::replace(&mut carrier.wire[from], later);
        // What an older carrier delivers late may come as often as it likes.
        if !current && self.random.one_in(2) {
            carrier.wire[from].extend_from_slice(&arrived);
        }
        carrier.unread[end].extend_from_slice(&arrived);
        self.ends[end].take(carrier, &mut self.random);
    }

    /// A carrier loses the tails of what it holds, and all that it will be given.
    fn die(&mut self) {
        let Some(carrier) = pick(&mut self.random, &mut self.carriers) else { return };
        carrier.dead = true;
        for wire in &mut carrier.wire {
            wire.truncate(self.random.below(wire.len() + 1));
        }
    }

    /// An end sees that its carrier is dead, or believes so.
    fn notice(&mut self, end: usize) {
        let Some(carrier) = pick(&mut self.random, &mut self.carriers) else { return };
        self.ends[end].stream.detach(carrier.epoch);
    }

    /// An end opens a carrier: what it has received is on the way.
    fn open(&mut self, from: usize) {
        if self.random.one_in(2) {
            self.newest = Epoch { link: self.newest.link + 1, attempt: 0 };
        } else {
            self.newest.attempt += 1;
        }
        let epoch = self.newest;
        let received = self.ends[from].stream.fence(epoch).unwrap();
        self.told.push(Told { from, epoch, received, answer: false });
    }

    /// An opening or an answer arrives, in any order; openings may arrive again.
    fn hear(&mut self) {
        let index = self.random.below(self.told.len());
        let Some(told) = self.told.get(index).copied() else { return };
        if told.answer || self.random.one_in(2) {
            self.told.swap_remove(index);
        }
        let end = &mut self.ends[1 - told.from];
        if told.answer {
            return attach(&mut end.stream, told);
        }
        let Ok(received) = end.stream.fence(told.epoch) else { return };
        attach(&mut end.stream, told);
        self.told.push(Told { from: end.me, received, answer: true, ..told });
        self.carriers.push(Carrier {
            epoch: told.epoch,
            wire: Default::default(),
            unread: Default::default(),
            dead: false,
        });
        // The oldest are forgotten, for the sake of speed.
        if self.carriers.len() > 5 {
            self.carriers.remove(0);
        }
    }

    fn lose_told(&mut self) {
        let index = self.random.below(self.told.len());
        if index < self.told.len() {
            self.told.swap_remove(index);
        }
    }

    /// Neither an older carrier is taken nor a second one of the same epoch.
    fn refused_when_late(&mut self, end: usize) {
        let Some(carrier) = pick(&mut self.random, &mut self.carriers) else { return };
        let stream = &mut self.ends[end].stream;
        let newest = stream.newest.unwrap();
        assert!(stream.fence(newest).is_err());
        assert!(stream.fence(carrier.epoch.min(newest)).is_err());
        if stream.carrier != Newest::Awaited || carrier.epoch < newest {
            let refused = stream.attach(carrier.epoch.min(newest), 0);
            assert!(matches!(refused, Err(Refused::Fenced(_))));
        }
    }

    /// A carrier comes and stays: everything arrives.
    fn settle(&mut self) {
        self.told.clear();
        let end = self.random.below(2);
        self.open(end);
        while !self.told.is_empty() {
            self.hear();
        }
        self.carriers.drain(..self.carriers.len() - 1);
        for _ in 0..10_000 {
            if self.ends.iter().all(|end| end.stream.is_finished()) {
                return;
            }
            for end in 0..2 {
                self.write(end);
                self.transmit(end);
                self.arrive(end);
            }
        }
        panic!("nothing moves any more");
    }
}

impl End {
    /// The local side takes some of what a carrier brought.
    fn take(&mut self, carrier: &mut Carrier, random: &mut Random) {
        let unread = &mut carrier.unread[self.me];
        loop {
            let (done, received) = self.stream.receive(carrier.epoch, unread).unwrap();
            let mut taken = 0;
            match received {
                Received::Data(data) => {
                    taken = random.below(data.len() + 1);
                    let right = &self.to_hear[self.heard..self.heard + taken];
                    assert!(&data[..taken] == right, "wrong bytes at {}", self.heard);
                    self.heard += taken;
                    self.stream.delivered(taken);
                }
                Received::End => {
                    assert!(!self.heard_end && self.heard == self.to_hear.len(), "a wrong end");
                    self.heard_end = true;
                }
                Received::Nothing => {}
            }
            let stuck = taken == 0 && received != Received::End;
            unread.drain(..done + taken);
            if stuck {
                return;
            }
        }
    }
}

fn attach(stream: &mut Stream, told: Told) {
    match stream.attach(told.epoch, told.received) {
        Ok(()) | Err(Refused::Fenced(_)) => {}
        Err(Refused::Violation(violation)) => panic!("an honest peer: {violation}"),
    }
}

/// The newest carrier mostly, else any.
fn pick<'a>(random: &mut Random, carriers: &'a mut [Carrier]) -> Option<&'a mut Carrier> {
    let newest = carriers.len().checked_sub(1)?;
    let index = if random.one_in(4) { random.below(carriers.len()) } else { newest };
    carriers.get_mut(index)
}

fn schedule(seed: u64) {
    let mut world = World::new(seed);
    world.open(0);
    for _ in 0..world.random.below(300) {
        world.act();
    }
    world.settle();
    for End { stream, to_send, to_hear, heard, heard_end, .. } in &mut world.ends {
        assert_eq!((*heard, *heard_end), (to_hear.len(), true));
        // A peer that does not know yet that all is over hears it.
        let late = Epoch { link: u64::MAX, attempt: 0 };
        assert_eq!(stream.fence(late), Ok(to_hear.len() as u64 + 1));
        stream.attach(late, to_send.len() as u64 + 1).unwrap();
        assert!(stream.is_finished() && stream.transmit(late).is_empty());
    }
}

/// Tells the seed of a schedule that fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay it with MPYC_PARTY_TEST_SEED={}", self.0);
        }
    }
}

#[test]
fn nothing_is_lost_reordered_or_doubled_whatever_happens_to_the_carriers() {
    let seeds = match std::env::var("MPYC_PARTY_TEST_SEED") {
        Ok(seed) => {
            let seed: u64 = seed.parse().unwrap();
            seed..seed + 1
        }
        Err(_) => 0..SCHEDULES,
    };
    for seed in seeds {
        let told = Seed(seed);
        schedule(seed);
        drop(told);
    }
}
