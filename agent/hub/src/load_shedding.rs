//! Load shedding: whether this hub is behind with its work, and so should not begin with more.
//!
//! When thousands come back at once, a hub that begins with all of them finishes with none before
//! they give up, and they come again. So it begins with any number only while it keeps up, and with
//! one now and then while it does not; the others wait in the system's queue, or send their first
//! packet again. A timer tells: it fires late when there is more to do than there are processors.
//! Strangers who are slow do not make it late.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// How often it is looked whether the hub keeps up.
const SAMPLING_INTERVAL: Duration = Duration::from_millis(20);
/// How late a timer may be. A handshake has several turns to wait, and seconds to do so.
const MAX_TIMER_DELAY: Duration = Duration::from_millis(250);

/// What was seen at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    number: u64,
    behind: bool,
}

/// Looks whether this hub keeps up.
#[derive(Debug, Default)]
pub(crate) struct LoadMonitor(watch::Sender<Sample>);

impl LoadMonitor {
    /// Takes samples for ever; has to run among the work that it is about.
    pub(crate) async fn run(&self) {
        loop {
            let due = Instant::now() + SAMPLING_INTERVAL;
            sleep_until(due).await;
            let behind = due.elapsed() > MAX_TIMER_DELAY;
            self.0.send_modify(|sample| *sample = Sample { number: sample.number + 1, behind });
        }
    }

    /// Admission control by what this sees.
    pub(crate) fn admission(&self) -> AdmissionControl {
        AdmissionControl { samples: self.0.subscribe(), used: 0 }
    }
}

/// Admission control: lets any number in while the hub keeps up, and one at each sample while it does not.
#[derive(Debug)]
pub(crate) struct AdmissionControl {
    samples: watch::Receiver<Sample>,
    used: u64,
}

impl AdmissionControl {
    /// Whether one more may come in.
    pub(crate) fn try_admit(&mut self) -> bool {
        let sample = *self.samples.borrow_and_update();
        let admits = !sample.behind || sample.number != self.used;
        self.used = sample.number;
        admits
    }

    /// Waits until one more may come in.
    pub(crate) async fn admit(&mut self) {
        while !self.try_admit() {
            if self.samples.changed().await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_without_end_shows_and_waiting_does_not() {
        let load = LoadMonitor::default();
        let mut admission = load.admission();
        let work = async {
            for _ in 0..5 {
                tokio::time::sleep(SAMPLING_INTERVAL).await;
                assert!(admission.try_admit() && admission.try_admit());
            }
            for _ in 0..3 {
                // One thread has this and the timer to look after.
                std::thread::sleep(2 * MAX_TIMER_DELAY);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            assert!(admission.try_admit(), "one may always come in");
            assert!(!admission.try_admit(), "a second one not");
            admission.admit().await;
        };
        tokio::select! {
            () = load.run() => {}
            () = work => {}
        }
    }
}
