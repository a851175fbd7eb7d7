//! Whether this hub is behind with its work, and so should not begin with more.
//!
//! When thousands come back at once, a hub that begins with all of them finishes with none before
//! they give up, and they come again. So it begins with any number only while it keeps up, and with
//! one now and then while it does not; the others wait in the system's queue, or send their first
//! packet again. A timer tells: it fires late when there is more to do than there are processors.
//! Strangers who are slow do not make it late.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// How often it is looked.
const EVERY: Duration = Duration::from_millis(20);
/// How late a timer may be. A handshake has several turns to wait, and seconds to do so.
const LATE: Duration = Duration::from_millis(250);

/// What was seen at one look.
#[derive(Clone, Copy, Debug, Default)]
struct Look {
    number: u64,
    behind: bool,
}

/// Looks whether this hub keeps up.
#[derive(Debug, Default)]
pub(crate) struct Strain(watch::Sender<Look>);

impl Strain {
    /// Looks for ever; has to run among the work that it is about.
    pub(crate) async fn look(&self) {
        loop {
            let due = Instant::now() + EVERY;
            sleep_until(due).await;
            let behind = due.elapsed() > LATE;
            self.0.send_modify(|look| *look = Look { number: look.number + 1, behind });
        }
    }

    /// A door that opens as this says.
    pub(crate) fn door(&self) -> Door {
        Door { looks: self.0.subscribe(), used: 0 }
    }
}

/// Lets any number in while the hub keeps up, and one at each look while it does not.
#[derive(Debug)]
pub(crate) struct Door {
    looks: watch::Receiver<Look>,
    used: u64,
}

impl Door {
    /// Whether one more may come in.
    pub(crate) fn opens(&mut self) -> bool {
        let look = *self.looks.borrow_and_update();
        let opens = !look.behind || look.number != self.used;
        self.used = look.number;
        opens
    }

    /// Waits until one more may come in.
    pub(crate) async fn open(&mut self) {
        while !self.opens() {
            if self.looks.changed().await.is_err() {
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
        let strain = Strain::default();
        let mut door = strain.door();
        let work = async {
            for _ in 0..5 {
                tokio::time::sleep(EVERY).await;
                assert!(door.opens() && door.opens());
            }
            for _ in 0..3 {
                // One thread has this and the timer to look after.
                std::thread::sleep(2 * LATE);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            assert!(door.opens(), "one may always come in");
            assert!(!door.opens(), "a second one not");
            door.open().await;
        };
        tokio::select! {
            () = strain.look() => {}
            () = work => {}
        }
    }
}
