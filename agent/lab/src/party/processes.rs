//! Which processes belong to a test, and what became of them.

use std::fs;
use std::io;
use std::path::PathBuf;

use rustix::process::{Pid, Signal};

/// The variable that marks what a test starts, and everything that comes from it.
pub(super) const MARK: &str = "MPYC_PARTY_TEST";

/// A process, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process(Pid);

impl Process {
    pub(super) fn of(pid: u32) -> Option<Self> {
        i32::try_from(pid).ok().and_then(Pid::from_raw).map(Self)
    }

    /// Its number.
    #[must_use]
    pub fn id(self) -> i32 {
        self.0.as_raw_nonzero().get()
    }

    /// Its directory in `/proc`.
    #[must_use]
    pub fn directory(self) -> PathBuf {
        PathBuf::from(format!("/proc/{}", self.id()))
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// If it is gone.
    pub fn signal(self, signal: Signal) -> io::Result<()> {
        Ok(rustix::process::kill_process(self.0, signal)?)
    }

    /// Whether it still runs; a process that only waits to be reaped does not.
    #[must_use]
    pub fn runs(self) -> bool {
        let status = fs::read_to_string(self.directory().join("stat")).unwrap_or_default();
        let state = status.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
        state.is_some_and(|state| state != 'Z' && state != 'X')
    }

    /// Its children, oldest first.
    #[must_use]
    pub fn children(self) -> Vec<Self> {
        let threads = fs::read_dir(self.directory().join("task")).into_iter().flatten().flatten();
        let listed = threads.filter_map(|t| fs::read_to_string(t.path().join("children")).ok());
        let pids: Vec<u32> = listed
            .flat_map(|l| l.split_whitespace().filter_map(|p| p.parse().ok()).collect::<Vec<_>>())
            .collect();
        pids.into_iter().filter_map(Self::of).collect()
    }

    /// One of its files in `/proc`, as text.
    #[must_use]
    pub fn read(self, name: &str) -> String {
        let bytes = fs::read(self.directory().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\0', " ")
    }

    /// Whether it carries this mark.
    fn is_marked(self, mark: &str) -> bool {
        self.read("environ").split(' ').any(|variable| variable == mark)
    }

    /// Whether it is in the same PID namespace as this process.
    fn is_at_home(self) -> bool {
        let namespace = |path: PathBuf| fs::read_link(path.join("ns/pid")).ok();
        let theirs = namespace(self.directory());
        theirs.is_none() || theirs == namespace("/proc/self".into())
    }
}

/// Makes this process the parent of everything below it that loses its own, so that nothing that
/// a test starts gets out of sight.
pub(super) fn keep_orphans() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// What still runs and carries `mark`, or is a sandboxed process that lost its runner, which
/// carries nothing.
pub(super) fn left(mark: &str) -> Vec<Process> {
    let me = Process(rustix::process::getpid());
    let listed = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = listed.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let all = numbers.filter_map(Process::of).filter(|process| *process != me && process.runs());
    let mut left: Vec<Process> = all.filter(|process| process.is_marked(mark)).collect();
    let orphans = me.children().into_iter().filter(|p| p.runs() && !p.is_at_home());
    left.extend(orphans.filter(|process| !process.read("environ").contains(MARK)));
    left
}
