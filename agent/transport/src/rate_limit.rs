//! A rate limit on the messages of one connection (a token bucket).

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// How fast the messages of one connection are looked at: some at once, then one in 10 ms.
#[derive(Debug)]
pub struct MessageRateLimit(Instant);

impl MessageRateLimit {
    const MESSAGE_INTERVAL: Duration = Duration::from_millis(10);
    const BURST: u32 = 32;

    /// What nobody has used for long: now, less what is saved up.
    fn rested() -> Instant {
        let now = Instant::now();
        now.checked_sub(Self::MESSAGE_INTERVAL * Self::BURST).unwrap_or(now)
    }

    /// Waits as long as the messages so far have used up more than their time.
    pub async fn until_allowed(&mut self) {
        self.0 = self.0.max(Self::rested()) + Self::MESSAGE_INTERVAL;
        sleep_until(self.0).await;
    }
}

impl Default for MessageRateLimit {
    fn default() -> Self {
        Self(Self::rested())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::sleep;

    #[tokio::test(start_paused = true)]
    async fn who_says_little_is_heard_at_once_and_who_says_much_in_time() {
        let (mut rate, begun) = (MessageRateLimit::default(), Instant::now());
        for count in 1..=100 {
            rate.until_allowed().await;
            let over = MessageRateLimit::MESSAGE_INTERVAL
                * u32::saturating_sub(count, MessageRateLimit::BURST);
            assert_eq!(begun.elapsed(), over, "{count}");
        }
        sleep(Duration::from_secs(60)).await;
        let rested = Instant::now();
        for _ in 0..MessageRateLimit::BURST {
            rate.until_allowed().await;
        }
        assert_eq!(rested.elapsed(), Duration::ZERO);
    }
}
