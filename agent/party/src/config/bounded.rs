//! Work that may hang, done for a bounded time: a mount whose server does not answer holds whoever
//! touches it, and no signal handler can change that.
//!
//! The work has a thread of its own. Where it takes too long, or this process is [asked to end](stop),
//! the thread is left behind: it ends with the process, or when the mount answers.

use std::io;
use std::panic::resume_unwind;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::stop;

/// How often whoever waits looks whether it should not.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long work may still take once this process is asked to end: it may be about to end by itself,
/// and in better order.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// Why there is no outcome of some work.
#[derive(Debug, thiserror::Error)]
pub enum Unfinished {
    /// It takes too long.
    #[error("there is no answer within {} s: it may be on a mount that hangs", .0.as_secs_f32())]
    Timeout(Duration),
    /// This process was asked to end.
    #[error("this process was asked to end meanwhile")]
    Stopped,
    /// There is no thread for it.
    #[error("there is no thread to wait for it: {0}")]
    Thread(io::Error),
}

impl From<Unfinished> for io::Error {
    fn from(unfinished: Unfinished) -> Self {
        let kind = match &unfinished {
            Unfinished::Timeout(_) => io::ErrorKind::TimedOut,
            Unfinished::Stopped => io::ErrorKind::Interrupted,
            Unfinished::Thread(error) => error.kind(),
        };
        Self::new(kind, unfinished)
    }
}

/// Does `work`, and waits for it no longer than `limit`, nor for long after this process is asked to
/// end. When it panics, so does this.
///
/// # Errors
/// Where there is no outcome.
pub fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Unfinished> {
    telling(limit, |_| work(), |()| limit)
}

/// The same for work that tells how it goes on. Each time it `told` something, it says for how long
/// nothing more may be told.
///
/// # Errors
/// As [`within`].
pub fn telling<T: Send + 'static, N: Send + 'static>(
    limit: Duration,
    work: impl FnOnce(&mut dyn FnMut(N)) -> T + Send + 'static,
    mut told: impl FnMut(N) -> Duration,
) -> Result<T, Unfinished> {
    enum Word<T, N> {
        News(N),
        Done(T),
    }
    let (sender, words) = sync_channel(1);
    let work = move || {
        // Nobody listens any more where the time is over.
        let done = work(&mut |news| drop(sender.send(Word::News(news))));
        let _ = sender.send(Word::Done(done));
    };
    let worker = thread::Builder::new().name("bounded".into()).spawn(work);
    let worker = worker.map_err(Unfinished::Thread)?;
    let (mut limit, mut since, mut asked) = (limit, Instant::now(), None);
    loop {
        match words.recv_timeout(LOOK_EVERY.min(limit.saturating_sub(since.elapsed()))) {
            Ok(Word::News(news)) => (limit, since) = (told(news), Instant::now()),
            Ok(Word::Done(done)) => {
                // Whoever needs this process to have one thread finds it so.
                let _ = worker.join();
                return Ok(done);
            }
            Err(RecvTimeoutError::Disconnected) => match worker.join() {
                Err(panic) => resume_unwind(panic),
                Ok(()) => return Err(Unfinished::Stopped),
            },
            Err(RecvTimeoutError::Timeout) if since.elapsed() >= limit => {
                return Err(Unfinished::Timeout(limit));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        if stop::is_asked() && asked.get_or_insert_with(Instant::now).elapsed() >= STOP_GRACE {
            return Err(Unfinished::Stopped);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_hangs_is_left_behind() {
        let begun = Instant::now();
        let hung = within(Duration::from_millis(100), thread::park);
        assert!(matches!(hung, Err(Unfinished::Timeout(_))), "{hung:?}");
        assert!(begun.elapsed() < Duration::from_secs(5));
        assert_eq!(within(Duration::from_secs(60), || 7).unwrap(), 7);
    }

    #[test]
    fn what_is_told_prolongs_the_time() {
        let work = |tell: &mut dyn FnMut(u32)| {
            for step in 0..10 {
                thread::sleep(Duration::from_millis(30));
                tell(step);
            }
            "done"
        };
        let (mut heard, limit) = (Vec::new(), Duration::from_millis(150));
        let done = telling(limit, work, |step| {
            heard.push(step);
            limit
        });
        assert_eq!(done.unwrap(), "done");
        assert_eq!(heard, (0..10).collect::<Vec<_>>());
    }

    #[test]
    #[should_panic(expected = "the work's own words")]
    fn a_panic_is_passed_on() {
        let _ = within(Duration::from_secs(60), || panic!("the work's own words"));
    }
}
