//! Waiting for a clock that can be right. A Raspberry Pi has none of its own: until it has heard
//! the time, no certificate is valid.

use std::time::Duration;

/// When this was written (2026-11-01), in Unix time: an earlier clock is wrong.
const EARLIEST_TIME: u64 = 1_793_491_200;
/// How often the clock is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Waits until `clock` shows no earlier time than this program and `certified`, when the
/// certificate began to be valid.
pub(super) async fn wait(certified: u64, clock: impl Fn() -> u64, waiting: impl FnOnce(u64)) {
    let earliest = certified.max(EARLIEST_TIME);
    if clock() >= earliest {
        return;
    }
    waiting(earliest);
    while clock() < earliest {
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Waits with a clock that begins at `start` and is set to `set` when it is looked at for the
    /// third time. How often it was looked at, and whether it was told.
    async fn looks(start: u64, set: u64, certified: u64) -> (u32, bool) {
        let (looks, told) = (Cell::new(0), Cell::new(false));
        let clock = || {
            looks.set(looks.get() + 1);
            if looks.get() < 3 { start } else { set }
        };
        wait(certified, clock, |_| told.set(true)).await;
        (looks.get(), told.get())
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_before_program_or_certificate_is_waited_for() {
        assert_eq!(looks(EARLIEST_TIME, 0, 0).await, (1, false));
        assert_eq!(looks(0, EARLIEST_TIME, 0).await, (3, true));
        assert_eq!(looks(EARLIEST_TIME, EARLIEST_TIME + 9, EARLIEST_TIME + 9).await, (3, true));
    }
}
