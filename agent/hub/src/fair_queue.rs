//! Fair queueing of everything that the relay forwards, and a rate limit on all of it together where
//! there is one.
//!
//! Each piece waits for its turn before it is sent on, in the order of start-time fair queueing
//! ([`Queue`]). One turn is given at a time and then the others get to run, so that under load a
//! party gets its share of this machine; with a rate limit (a token bucket), it gets its share of
//! that.

use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mpyc_party_core::name::PartyName;
use mpyc_party_core::relay::FairQueue as Queue;
use tokio::sync::{Notify, oneshot};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

/// The depth of the token bucket, in time at the full rate: timers are no finer than a millisecond.
const MAX_BURST: Duration = Duration::from_millis(10);

type Grant = oneshot::Sender<()>;

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue<Grant>>,
    asked: Notify,
}

/// Gives the turns. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub(crate) struct FairQueue(Arc<Shared>);

/// Takes those back that have not come when nobody waits for them any longer.
struct PendingGrant<'a> {
    shared: &'a Shared,
    turn: oneshot::Receiver<()>,
}

impl Drop for PendingGrant<'_> {
    fn drop(&mut self) {
        if !self.turn.is_terminated() {
            self.turn.close();
            self.shared.queue().retain(|turn| !turn.is_closed());
        }
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue<Grant>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FairQueue {
    /// Waits until `bytes` may be sent on the account of `party`.
    pub(crate) async fn acquire(&self, party: &PartyName, bytes: usize) {
        let (sender, turn) = oneshot::channel();
        self.0.queue().ask(party, sender, bytes);
        self.0.asked.notify_one();
        let mut waiting = PendingGrant { shared: &self.0, turn };
        // The scheduler outlives everything that is relayed.
        let _ = (&mut waiting.turn).await;
    }

    /// Gives turns for ever, for all together at most `rate` bytes per second.
    pub(crate) async fn run(&self, rate: Option<NonZeroU64>) {
        let mut ready = Instant::now();
        loop {
            let Some((turn, bytes)) = self.next() else {
                self.0.asked.notified().await;
                continue;
            };
            let taken = turn.send(()).is_ok();
            match rate {
                Some(rate) if taken => {
                    let saved = Instant::now().checked_sub(MAX_BURST);
                    ready = saved.map_or(ready, |saved| ready.max(saved)) + time_of(bytes, rate);
                    sleep_until(ready).await;
                }
                _ => yield_now().await,
            }
        }
    }

    fn next(&self) -> Option<(Grant, usize)> {
        self.0.queue().take()
    }
}

/// How long `bytes` take at `rate` bytes per second.
fn time_of(bytes: usize, rate: NonZeroU64) -> Duration {
    Duration::from_nanos((bytes as u64).saturating_mul(1_000_000_000) / rate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn name(text: &str) -> PartyName {
        text.parse().unwrap()
    }

    /// What a party with this many pairs sends in ten seconds beside the others.
    async fn shares(pairs: &[usize], rate: u64) -> Vec<usize> {
        let queue = FairQueue::default();
        let sent: Vec<_> = pairs.iter().map(|_| Arc::new(AtomicUsize::new(0))).collect();
        let mut tasks = tokio::task::JoinSet::new();
        for (party, (pairs, sent)) in pairs.iter().zip(&sent).enumerate() {
            for _ in 0..*pairs {
                let (queue, sent) = (queue.clone(), Arc::clone(sent));
                tasks.spawn(async move {
                    loop {
                        queue.acquire(&name(&format!("p{party}")), 16 * 1024).await;
                        sent.fetch_add(16 * 1024, Ordering::Relaxed);
                    }
                });
            }
        }
        let scheduler = queue.clone();
        tasks.spawn(async move { scheduler.run(NonZeroU64::new(rate)).await });
        tokio::time::sleep(Duration::from_secs(10)).await;
        sent.iter().map(|sent| sent.load(Ordering::Relaxed)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_party_gets_no_more_than_its_share_of_the_ceiling() {
        let shares = shares(&[50, 1, 3], 30_000_000).await;
        assert!(shares.iter().all(|sent| (95_000_000..105_000_000).contains(sent)), "{shares:?}");
    }

    #[tokio::test]
    async fn who_gives_up_leaves_nothing() {
        let queue = FairQueue::default();
        let (alice, none) = (name("alice"), Duration::from_millis(1));
        for _ in 0..3 {
            assert!(tokio::time::timeout(none, queue.acquire(&alice, 1)).await.is_err());
        }
        assert!(queue.0.queue().is_empty());
    }
}
