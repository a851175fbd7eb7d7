//! Run records: what is kept of each run, for its owner alone.
//!
//! A record is written when a run begins and replaced when it ends, so that a runner that was
//! killed leaves one without a verdict.

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mpyc_party_core::name::{PartyName, SessionName};
use mpyc_party_core::verdict::{Exit, Stage, Verdict};
use mpyc_party_net::links::report::PeerReport;
use mpyc_party_transport::task::blocking;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

use super::run_counter::{self, Moment, RunCounter};
use super::run_name;
use crate::config::files::{self, FILE_TIMEOUT, FileError, at};
use crate::config::{Directories, bounded};

/// The file of a run directory that holds its record.
const RECORD_NAME: &str = "record.json";
/// Records that are read within one limit of time.
const READ_AT_ONCE: usize = 256;
/// Largest record in bytes.
const MAX_RECORD_BYTES: u64 = 1 << 20;
/// Largest file of a session's lock in bytes: it holds the number of a process.
const MAX_LOCK_BYTES: u64 = 64;
/// The file of a run directory that its runner keeps locked.
const LOCK_NAME: &str = "alive";

/// One start and shutdown of the MPyC runtime, as MPyC itself reports it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuntimeStatistics {
    /// Seconds from start to stop.
    pub elapsed_s: f64,
    /// Bytes sent to all peers.
    pub bytes_sent: u64,
}

/// How often and how long the link to a party was away.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outage {
    /// The party.
    pub party: PartyName,
    /// How often.
    pub count: u32,
    /// How long in all, in seconds.
    pub seconds: f64,
}

/// What is kept of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The session.
    pub session: SessionName,
    /// This party.
    pub party: Option<PartyName>,
    /// The run's id, once all had agreed.
    pub run: Option<String>,
    /// When it began (RFC 3339, UTC).
    pub started: String,
    /// When it ended.
    pub ended: Option<String>,
    /// How it ended; none while it goes on, or where its runner was killed.
    pub verdict: Option<Verdict>,
    /// How the program ended here.
    pub exit: Option<Exit>,
    /// Seconds from the moment it was ready to each stage.
    pub stages: Vec<(Stage, f64)>,
    /// Seconds that it took to make it ready; from then on stages are counted.
    #[serde(default)]
    pub prepare_s: Option<f64>,
    /// Seconds from then to the verdict.
    #[serde(default)]
    pub took_s: Option<f64>,
    /// MPyC's statistics, one for each start of its runtime.
    #[serde(rename = "mpyc")]
    pub statistics: Vec<RuntimeStatistics>,
    /// The links as they were at the end, and what they carried.
    #[serde(default)]
    pub peers: Vec<PeerReport>,
    /// What ran it.
    pub versions: Option<String>,
    /// The links that were away after all had agreed.
    #[serde(default)]
    pub outages: Vec<Outage>,
    /// What was not as it should be.
    pub warnings: Vec<String>,
    /// Bytes that the program wrote.
    pub output_bytes: u64,
}

/// The time now, as records show it.
#[must_use]
pub fn timestamp() -> String {
    OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default()
}

impl Record {
    fn new(session: SessionName) -> Self {
        Self {
            session,
            party: None,
            run: None,
            started: timestamp(),
            ended: None,
            verdict: None,
            exit: None,
            stages: Vec::new(),
            prepare_s: None,
            took_s: None,
            statistics: Vec::new(),
            peers: Vec::new(),
            versions: None,
            outages: Vec::new(),
            warnings: Vec::new(),
            output_bytes: 0,
        }
    }

    /// Each stage with the seconds it took. The first is what came before all others.
    #[must_use]
    pub fn times(&self) -> Vec<(Stage, f64)> {
        let whole = || {
            let time = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
            Some((time(self.ended.as_ref()?)? - time(&self.started)?).as_seconds_f64())
        };
        // Older records have only what the clock showed, which may have been set meanwhile.
        let by_clock = || self.took_s.zip(whole()).map(|(took, whole)| (whole - took).max(0.0));
        let prepare = self.prepare_s.or_else(by_clock);
        let ends = self.stages.iter().skip(1).map(|(_, at)| Some(*at)).chain([self.took_s]);
        let stages = self.stages.iter().zip(ends);
        let spans = stages.filter_map(|((stage, from), to)| Some((*stage, to? - from)));
        prepare.map(|time| (Stage::Prepare, time)).into_iter().chain(spans).collect()
    }

    /// Notes that `stage` has begun, `after` the run was ready.
    pub fn enter(&mut self, stage: Stage, after: Duration) {
        if self.stages.last().is_none_or(|(last, _)| *last != stage) {
            self.stages.push((stage, after.as_secs_f64()));
        }
    }
}

/// Why a run cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// One run of a session at a time.
    #[error(
        "session «{session}» is running here already{}: wait for its end, or stop it with Ctrl-C where it runs{}, or, if the agent started it, with systemctl stop mpyc-session@{session}",
        process.map(|id| format!(" (process {id})")).unwrap_or_default(),
        process.map(|id| format!(", with kill {id}")).unwrap_or_default()
    )]
    Running {
        /// The session.
        session: SessionName,
        /// Its runner, where that is known.
        process: Option<u32>,
    },
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The directory of one run; while it is held, no other run of the session begins.
#[derive(Debug)]
pub struct RunDirectory {
    /// The directory.
    pub path: PathBuf,
    /// What is to be kept.
    pub record: Record,
    counter: PathBuf,
    /// When it began, by a clock that nobody sets.
    began: Instant,
    /// Tells that this process is there, as long as it is.
    _alive: File,
    _lock: File,
}

/// Where run records are kept.
#[must_use]
pub fn runs_dir(dirs: &Directories) -> PathBuf {
    dirs.state.join("runs")
}

impl RunDirectory {
    /// Begins a run of `session`.
    ///
    /// # Errors
    /// Where one is running already, or the state directory cannot be written.
    pub fn begin(dirs: &Directories, session: &SessionName) -> Result<Self, BeginError> {
        let lock = lock(dirs, session)?;
        let stamp = format_description!("[year][month][day]T[hour][minute][second]");
        let stamp = OffsetDateTime::now_utc().format(stamp).unwrap_or_default();
        let runs = runs_dir(dirs);
        files::private_dir(&runs)?;
        let dir = tempfile::Builder::new()
            .prefix(&run_name::prefix(&stamp, session, &files::list(&runs)?))
            .rand_bytes(6)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(&runs);
        let path = at(&runs, dir)?.keep();
        let alive = files::create_private(&path.join(LOCK_NAME))?;
        at(&path, flock(&alive, FlockOperation::NonBlockingLockExclusive).map_err(Into::into))?;
        let record = Record::new(session.clone());
        let counter = run_counter::path(dirs, session);
        let run = Self { path, record, counter, began: Instant::now(), _alive: alive, _lock: lock };
        run.write()?;
        Ok(run)
    }

    /// Notes that everything is ready.
    pub fn ready(&mut self) {
        self.record.prepare_s = Some(self.began.elapsed().as_secs_f64());
    }

    /// Writes the record as it is now.
    ///
    /// # Errors
    /// What the system says; an older record is then still there.
    pub fn write(&self) -> Result<(), FileError> {
        let (path, text) = self.text()?;
        files::replace_private(&path, &text)
    }

    /// The same, off the event loop.
    ///
    /// # Errors
    /// As [`RunDirectory::write`].
    pub fn keep(&self) -> impl Future<Output = Result<(), FileError>> + Send + use<> {
        let kept = self.text();
        async move {
            let (path, text) = kept?;
            blocking(move || files::replace_private(&path, &text)).await
        }
    }

    /// The record's file, and what belongs there.
    fn text(&self) -> Result<(PathBuf, Vec<u8>), FileError> {
        let path = self.path.join(RECORD_NAME);
        let text = serde_json::to_vec_pretty(&self.record).map_err(std::io::Error::from);
        let text = at(&path, text)?;
        Ok((path, text))
    }
}

impl RunDirectory {
    /// Counts this run for good, off the event loop: from here on it is one of those that the session
    /// may have.
    ///
    /// # Errors
    /// What the system says. The run must then not go on.
    pub async fn count(&self) -> Result<(), FileError> {
        let counter = self.counter.clone();
        blocking(move || RunCounter::increment(&counter, Moment::now())).await
    }

    /// Removes the copies of program and launcher: what remains is the record and the output.
    pub fn clear_copies(&self) {
        for name in ["program", "launcher"] {
            // Left-overs do no harm: the directory is private.
            let _ = std::fs::remove_dir_all(self.path.join(name));
        }
    }
}

/// Takes the lock of `session`, which holds for the life of this process.
fn lock(dirs: &Directories, session: &SessionName) -> Result<File, BeginError> {
    let dir = dirs.state.join("locks");
    files::private_dir(&dir)?;
    let path = dir.join(session.as_str());
    let file = files::open_lock(&path)?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let holder = files::read(&path, MAX_LOCK_BYTES).unwrap_or_default();
        let process = std::str::from_utf8(&holder).ok().and_then(|holder| holder.parse().ok());
        return Err(BeginError::Running { session: session.clone(), process });
    }
    at(&path, file.set_len(0))?;
    at(&path, std::io::Write::write_all(&mut &file, std::process::id().to_string().as_bytes()))?;
    Ok(file)
}

/// Whether the runner of the run directory `path` is there. Takes no lock that a new run needs.
#[must_use]
pub fn is_running(path: &Path) -> bool {
    files::open(&path.join(LOCK_NAME)).is_ok_and(|file| is_locked(&file))
}

fn is_locked(file: &File) -> bool {
    flock(file, FlockOperation::NonBlockingLockShared).is_err()
}

/// The directories of the runs that are going on.
///
/// # Errors
/// Where the directory cannot be read.
pub fn running(dirs: &Directories) -> Result<Vec<PathBuf>, FileError> {
    let runs = runs_dir(dirs);
    let all: Vec<_> = files::list(&runs)?.into_iter().map(|name| runs.join(name)).collect();
    let locked = |path: &PathBuf| {
        files::open_unbounded(&path.join(LOCK_NAME)).is_ok_and(|file| is_locked(&file))
    };
    let running =
        bounded::within(FILE_TIMEOUT, move || all.into_iter().filter(locked).collect::<Vec<_>>());
    at(&runs, running.map_err(Into::into))
}

/// The record in the run directory `path`.
///
/// # Errors
/// Where it cannot be read.
pub fn read(path: &Path) -> Result<Record, FileError> {
    let path = path.join(RECORD_NAME);
    let bytes = files::read(&path, MAX_RECORD_BYTES)?;
    at(&path, serde_json::from_slice(&bytes).map_err(std::io::Error::from))
}

/// The records in these run directories; those that can be read.
fn read_all(runs: &Path, paths: Vec<PathBuf>) -> Result<Vec<(PathBuf, Record)>, FileError> {
    let read = |path: PathBuf| {
        let bytes = files::read_unbounded(&path.join(RECORD_NAME), MAX_RECORD_BYTES).ok()?;
        Some((path, serde_json::from_slice(&bytes).ok()?))
    };
    let all = bounded::within(FILE_TIMEOUT, move || paths.into_iter().filter_map(read).collect());
    at(runs, all.map_err(Into::into))
}

/// The runs of `session` that are on record, in the order in which they began, whatever the clock
/// showed, with their directories. A record that cannot be read is left out.
///
/// # Errors
/// Where the directory cannot be read.
pub fn of(dirs: &Directories, session: &SessionName) -> Result<Vec<(PathBuf, Record)>, FileError> {
    let runs = runs_dir(dirs);
    // The name narrows it down, the record decides: «a-b» is in the names of the runs of «x-a-b» too.
    let infix = format!("-{session}-");
    let named = files::list(&runs)?.into_iter().filter(|name| name.contains(&infix));
    let named: Vec<PathBuf> = named.map(|name| runs.join(name)).collect();
    let mut all = Vec::new();
    for some in named.chunks(READ_AT_ONCE) {
        all.extend(read_all(&runs, some.to_vec())?);
    }
    all.retain(|(_, record)| record.session == *session);
    all.sort_by_cached_key(|(path, _)| run_name::position(path, session));
    Ok(all)
}
