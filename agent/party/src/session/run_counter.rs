//! The run counter of a session: a run is counted for good before its first byte reaches the program,
//! so that nobody can ask a fixed input again and again by runs that fail.
//!
//! Every run counts of a session that another party may start, also one that a person started here.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mpyc_party_core::name::SessionName;
use serde::{Deserialize, Serialize};

use crate::config::files::{self, FileError, at};
use crate::config::{Directories, Session};

/// Largest counter in bytes.
const MAX_FILE_BYTES: u64 = 4096;

/// The runs of one session so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunCounter {
    /// How many there were.
    pub runs: u32,
    /// When the last one was counted, in Unix time.
    pub last: u64,
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
    pub fn increment(path: &Path, now: u64) -> Result<(), FileError> {
        let Self { runs, .. } = Self::read(path)?;
        if let Some(directory) = path.parent() {
            files::private_dir(directory)?;
        }
        let counter = Self { runs: runs.saturating_add(1), last: now };
        let text = at(path, serde_json::to_vec(&counter).map_err(io::Error::from))?;
        files::replace_private(path, &text)
    }

    /// Whether another party may start `session` at the time `now`.
    #[must_use]
    pub fn allows(&self, session: &Session, now: u64) -> Allowance {
        if self.runs >= session.max_runs {
            return Allowance::Never;
        }
        if self.runs == 0 {
            return Allowance::Now;
        }
        // Where the clock was set back, the whole interval is waited once more.
        let since = Duration::from_secs(now.saturating_sub(self.last));
        match session.interval.saturating_sub(since) {
            Duration::ZERO => Allowance::Now,
            left => Allowance::In(left),
        }
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
        let counter = |runs, last| RunCounter { runs, last };
        assert_eq!(counter(0, 0).allows(&session(1), 5), Allowance::Now);
        assert_eq!(counter(1, 0).allows(&session(1), 1 << 40), Allowance::Never);
        assert_eq!(counter(0, 0).allows(&session(0), 5), Allowance::Never);
        assert_eq!(
            counter(1, 100).allows(&session(2), 130),
            Allowance::In(Duration::from_secs(30))
        );
        assert_eq!(counter(1, 100).allows(&session(2), 160), Allowance::Now);
        assert_eq!(counter(1, 100).allows(&session(2), 90), Allowance::In(Duration::from_secs(60)));
    }

    #[test]
    fn what_was_counted_stays_counted_and_damage_is_no_fresh_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tallies").join("demo.json");
        assert_eq!(RunCounter::read(&path).unwrap(), RunCounter::default());
        RunCounter::increment(&path, 7).unwrap();
        RunCounter::increment(&path, 9).unwrap();
        assert_eq!(RunCounter::read(&path).unwrap(), RunCounter { runs: 2, last: 9 });
        std::fs::write(&path, "").unwrap();
        assert!(RunCounter::read(&path).is_err() && RunCounter::increment(&path, 10).is_err());
    }
}
