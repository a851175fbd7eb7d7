//! The run counter of a session: a run is counted for good before its first byte reaches the program,
//! so that nobody can ask a fixed input again and again by runs that fail.
//!
//! Every run counts of a session that another party may start, also one that a person started here.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use mpyc_party_core::name::SessionName;
use mpyc_party_transport::now;
use rustix::system::sysinfo;
use serde::{Deserialize, Serialize};

use crate::config::files::{self, FileError, at};
use crate::config::{Directories, Session};

/// Largest counter in bytes.
const MAX_FILE_BYTES: u64 = 4096;

/// Where the kernel names its present start. Not every service sees it (`ProcSubset=pid`).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A moment, by two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Unix time: it goes on while the machine is off, and may be set.
    pub unix: u64,
    /// By the clock that nobody sets.
    pub uptime: Uptime,
}

/// How long the machine has been up. Nobody sets this clock; it begins anew with each start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Uptime {
    /// Which start it counts from, where the kernel may be asked: the first 8 bytes of its boot id.
    pub boot: Option<u64>,
    /// In seconds, sleep included.
    pub seconds: u64,
}

static BOOT: LazyLock<Option<u64>> = LazyLock::new(|| {
    let id = files::read(Path::new(BOOT_ID), MAX_FILE_BYTES).ok()?;
    let digits = String::from_utf8(id).ok()?.replace('-', "");
    u64::from_str_radix(digits.get(..16)?, 16).ok()
});

impl Moment {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        let boot = *BOOT;
        let seconds = sysinfo().uptime.try_into().unwrap_or_default();
        Self { unix: now(), uptime: Uptime { boot, seconds } }
    }
}

/// The runs of one session so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunCounter {
    /// How many there were.
    pub runs: u32,
    /// When the last one was counted, in Unix time.
    pub last: u64,
    /// The same by the clock that nobody sets; older versions did not write it down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_uptime: Option<Uptime>,
}

/// Whether another party may start a session now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// It may.
    Now,
    /// In this time.
    In(Duration),
    /// It has run as often as it may.
    Never,
}

/// Where the counter of `session` is; the directory keeps the name that it has always had.
#[must_use]
pub fn path(dirs: &Directories, session: &SessionName) -> PathBuf {
    dirs.state.join("tallies").join(format!("{session}.json"))
}

impl RunCounter {
    /// Reads the counter at `path`; where there is no file, nothing has run.
    ///
    /// # Errors
    /// Where the file cannot be read or is damaged: how often the session ran is then not known.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        match files::read(path, MAX_FILE_BYTES) {
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            read => at(path, serde_json::from_slice(&read?).map_err(io::Error::from)),
        }
    }

    /// Counts one more run in the file at `path`; when this returns, it is on disk.
    ///
    /// # Errors
    /// What the system says. The run must then not begin.
    pub fn increment(path: &Path, now: Moment) -> Result<(), FileError> {
        let Self { runs, .. } = Self::read(path)?;
        if let Some(directory) = path.parent() {
            files::private_dir(directory)?;
        }
        let (runs, last_uptime) = (runs.saturating_add(1), Some(now.uptime));
        let counter = Self { runs, last: now.unix, last_uptime };
        let text = at(path, serde_json::to_vec(&counter).map_err(io::Error::from))?;
        files::replace_private(path, &text)
    }

    /// How many runs of `session` another party may still start.
    #[must_use]
    pub fn left(&self, session: &Session) -> u32 {
        session.max_runs.saturating_sub(self.runs)
    }

    /// Whether another party may start `session` at the time `now`.
    #[must_use]
    pub fn allows(&self, session: &Session, now: Moment) -> Allowance {
        if self.left(session) == 0 {
            return Allowance::Never;
        }
        if self.runs == 0 {
            return Allowance::Now;
        }
        match session.interval.saturating_sub(self.since(now)) {
            Duration::ZERO => Allowance::Now,
            left => Allowance::In(left),
        }
    }

    /// How long ago the last run was counted, as far as that is certain. A clock that was set makes no
    /// difference while the machine is up.
    fn since(&self, now: Moment) -> Duration {
        let by_clock = now.unix.saturating_sub(self.last);
        let Some(then) = self.last_uptime else { return Duration::from_secs(by_clock) };
        let known = then.boot.zip(now.uptime.boot);
        let since = match now.uptime.seconds.checked_sub(then.seconds) {
            Some(since) if known.is_none_or(|(then, now)| then == now) => since,
            // It was before the machine was started last.
            _ => by_clock.max(now.uptime.seconds),
        };
        Duration::from_secs(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(max_runs: u32) -> Session {
        let roster = ["alice", "bob", "carol"].map(|name| name.parse().unwrap());
        let session = Session::new("/p.py".into(), roster.to_vec().try_into().unwrap());
        Session { max_runs, interval: Duration::from_secs(60), ..session }
    }

    #[test]
    fn runs_are_limited_in_number_and_frequency() {
        let counter = |runs, last| RunCounter { runs, last, last_uptime: None };
        let at = |unix| at(unix, None, 0);
        assert_eq!(counter(0, 0).allows(&session(1), at(5)), Allowance::Now);
        assert_eq!(counter(1, 0).allows(&session(1), at(1 << 40)), Allowance::Never);
        assert_eq!(counter(0, 0).allows(&session(0), at(5)), Allowance::Never);
        let left = |seconds| Allowance::In(Duration::from_secs(seconds));
        assert_eq!(counter(1, 100).allows(&session(2), at(130)), left(30));
        assert_eq!(counter(1, 100).allows(&session(2), at(160)), Allowance::Now);
        assert_eq!(counter(1, 100).allows(&session(2), at(90)), left(60));
    }

    fn at(unix: u64, boot: Option<u64>, seconds: u64) -> Moment {
        Moment { unix, uptime: Uptime { boot, seconds } }
    }

    #[test]
    fn a_clock_that_jumps_neither_shortens_the_interval_nor_prolongs_it() {
        const DAYS: u64 = 10 * 86_400;
        let allowed = |then: Moment, now: Moment| {
            let counter = RunCounter { runs: 1, last: then.unix, last_uptime: Some(then.uptime) };
            counter.allows(&session(2), now)
        };
        let left = |seconds| Allowance::In(Duration::from_secs(seconds));
        for boot in [Some(1), None] {
            // Ahead while the run was counted, and set right since.
            let then = at(DAYS + 1000, boot, 100);
            assert_eq!(allowed(then, at(1030, boot, 130)), left(30));
            assert_eq!(allowed(then, at(1060, boot, 160)), Allowance::Now);
            // Right while it was counted, and ahead since.
            let then = at(1000, boot, 100);
            assert_eq!(allowed(then, at(DAYS + 1030, boot, 130)), left(30));
            assert_eq!(allowed(then, at(DAYS + 1060, boot, 160)), Allowance::Now);
        }
        // Ahead while it was counted, started anew since: so long it is at least.
        let then = at(DAYS + 1000, Some(1), 100);
        assert_eq!(allowed(then, at(1500, Some(2), 20)), left(40));
        assert_eq!(allowed(then, at(1600, Some(2), 120)), Allowance::Now);
        assert_eq!(allowed(at(1000, Some(1), 100), at(1030, Some(2), 5)), left(30));
    }

    #[test]
    fn the_clock_that_nobody_sets_is_read() {
        let (first, second) = (Moment::now(), Moment::now());
        assert!(first.uptime.seconds > 0 && second.uptime.seconds >= first.uptime.seconds);
        assert!(first.uptime.boot.is_some() && first.uptime.boot == second.uptime.boot);
    }

    #[test]
    fn what_was_counted_stays_counted_and_damage_is_no_fresh_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tallies").join("demo.json");
        assert_eq!(RunCounter::read(&path).unwrap(), RunCounter::default());
        RunCounter::increment(&path, at(7, Some(1), 3)).unwrap();
        RunCounter::increment(&path, at(9, Some(1), 5)).unwrap();
        let last_uptime = Some(Uptime { boot: Some(1), seconds: 5 });
        assert_eq!(RunCounter::read(&path).unwrap(), RunCounter { runs: 2, last: 9, last_uptime });
        // As older versions wrote it.
        std::fs::write(&path, r#"{"runs":3,"last":9}"#).unwrap();
        let old = RunCounter { runs: 3, last: 9, last_uptime: None };
        assert_eq!(RunCounter::read(&path).unwrap(), old);
        std::fs::write(&path, "").unwrap();
        assert!(
            RunCounter::read(&path).is_err()
                && RunCounter::increment(&path, at(10, None, 0)).is_err()
        );
    }
}
