//! Carriers that die at random moments, under load in both directions.
//!
//! A failure prints its seed; `MPYC_PARTY_TEST_SEED` runs that one alone.

use super::*;

/// Bytes that each process sends.
const LENGTH: usize = 2 << 20;

/// A generator of random numbers that a seed repeats (xorshift64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> usize {
        usize::try_from(self.next() % bound).unwrap()
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).take(length).collect()
    }
}

/// Two ends of a carrier that dies when it has carried so many bytes in one direction, and loses
/// what it holds.
fn mortal(capacity: usize, life: [usize; 2]) -> ([DuplexStream; 2], JoinHandle<()>) {
    let [(a, from_a), (b, from_b)] = [duplex(capacity), duplex(capacity)];
    let [(mut from_a, mut to_a), (mut from_b, mut to_b)] = [split(from_a), split(from_b)];
    let life = life.map(|life| life as u64);
    let carry = async move {
        let mut from_a = AsyncReadExt::take(&mut from_a, life[0]);
        let mut from_b = AsyncReadExt::take(&mut from_b, life[1]);
        tokio::select! {
            _ = tokio::io::copy(&mut from_a, &mut to_b) => {}
            _ = tokio::io::copy(&mut from_b, &mut to_a) => {}
        }
    };
    ([a, b], tokio::spawn(carry))
}

/// Lets a process say `text` piece by piece, and returns what it hears.
fn converse(process: DuplexStream, text: Vec<u8>, piece: usize) -> JoinHandle<Vec<u8>> {
    let (mut hear, mut say) = split(process);
    tokio::spawn(async move {
        let say = async {
            for piece in text.chunks(piece) {
                say.write_all(piece).await.unwrap();
            }
            say.shutdown().await.unwrap();
        };
        tokio::join!(say, rest(&mut hear)).1
    })
}

async fn survive(seed: u64) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9).max(1));
    let window = 1 << (16 + random.below(7));
    let (mut a, mut b) = (side_of(window, None), side_of(window, None));
    let texts = [random.bytes(LENGTH), random.bytes(LENGTH / 2)];
    let pieces = [0; 2].map(|_| 1000 + random.below(200_000));
    let heard_by_a = converse(a.process, texts[0].clone(), pieces[0]);
    let heard_by_b = converse(b.process, texts[1].clone(), pieces[1]);
    let mut link = 0;
    while !(heard_by_a.is_finished() && heard_by_b.is_finished()) {
        link += 1;
        let capacity = 1 + random.below(1 << 17);
        let life = [0; 2].map(|_| random.below(300_000));
        let (carriers, death) = mortal(capacity, life);
        join(link, [&a.handle, &b.handle], carriers).await;
        death.await.unwrap();
        assert!(link < 10_000, "nothing moves any more");
    }
    assert!(link > 1, "no carrier died");
    assert!(heard_by_a.await.unwrap() == texts[1] && heard_by_b.await.unwrap() == texts[0]);
    // The last acknowledgements may have died with their carrier.
    let (to_a, to_b) = duplex(1 << 16);
    join(link + 1, [&a.handle, &b.handle], [to_a, to_b]).await;
    for side in [&mut a.events, &mut b.events] {
        while !matches!(side.recv().await.unwrap(), Event::Finished) {}
    }
    let sent = [a.traffic.sent(), b.traffic.sent()];
    assert_eq!(sent, [b.traffic.received(), a.traffic.received()], "counted once");
}

#[test]
fn every_byte_arrives_once_whenever_carriers_die() {
    let seed = std::env::var("MPYC_PARTY_TEST_SEED").map(|seed| seed.parse().unwrap());
    let seeds = seed.map_or(0..20, |seed: u64| seed..seed + 1);
    for seed in seeds {
        println!("replay it with MPYC_PARTY_TEST_SEED={seed}");
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(survive(seed));
    }
}
