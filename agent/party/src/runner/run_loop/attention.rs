//! Whether this process listens. One that stood still, with its machine or without, has not heard what
//! the others said meanwhile, and must not call them silent.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The loop goes round at least this often.
pub(super) const LISTEN_INTERVAL: Duration = Duration::from_millis(500);
/// What has not gone round for longer accuses nobody of silence. Beside a peer there is something to
/// hear twice a second.
const MAX_DEAFNESS: Duration = Duration::from_secs(1);

/// When the loop went round last.
#[derive(Debug)]
pub(super) struct Attention(Duration);

impl Attention {
    pub(super) fn new() -> Self {
        Self(uptime())
    }

    /// The loop goes round; returns for how long it has not, where that is too long.
    pub(super) fn renew(&mut self) -> Option<Duration> {
        let now = uptime();
        let deaf = now.saturating_sub(std::mem::replace(&mut self.0, now));
        (deaf > MAX_DEAFNESS).then_some(deaf)
    }
}

/// Since this machine started, the time that it was suspended included (`CLOCK_BOOTTIME`): that of an
/// [`Instant`](std::time::Instant) stands still meanwhile.
fn uptime() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
}
