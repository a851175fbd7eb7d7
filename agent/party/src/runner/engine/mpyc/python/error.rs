//! What can go wrong with Python, in words for the one who has to mend it.

use std::io;
use std::path::{Path, PathBuf};

use crate::config::bounded::Unfinished;

/// Why there is no Python to run MPyC with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing named `python3` on the search path.
    #[error(
        "there is no python3 on this machine's search path: install one («apt install python3 python3-venv»), \
         or name one that can import mpyc as «interpreter» under «[python]» in the configuration"
    )]
    NoPython,
    /// Every `python3` is older than MPyC can use.
    #[error(
        "{path} is Python {version}, and MPyC needs 3.10 or newer: install a newer python3, \
         or name one that can import mpyc as «interpreter» under «[python]» in the configuration",
        path = .path.display()
    )]
    TooOld {
        /// The interpreter.
        path: PathBuf,
        /// Its version.
        version: String,
    },
    /// The interpreter cannot be run, or ends with an error before it answers.
    #[error(
        "{path} does not work: {why}\nMend it, or name another python3 as «interpreter» under «[python]» in the configuration",
        path = .path.display()
    )]
    DoesNotRun {
        /// The interpreter.
        path: PathBuf,
        /// What it said.
        why: String,
    },
    /// The interpreter runs, but cannot import MPyC.
    #[error(
        "{path} cannot import mpyc: {why}\nInstall it there («{path} -m pip install mpyc»; packages under ~/.local \
         do not count), or leave out «interpreter» under «[python]» and mpyc-party makes a Python of its own",
        path = .path.display()
    )]
    NoMpyc {
        /// The interpreter.
        path: PathBuf,
        /// What the import said.
        why: String,
    },
    /// Python came without its `venv` or `ensurepip` module.
    #[error(
        "{path} cannot make virtual environments: install its venv module («apt install python3-venv» on Debian and \
         Ubuntu), or name a Python that can import mpyc as «interpreter» under «[python]» in the configuration",
        path = .path.display()
    )]
    NoVenv {
        /// The interpreter.
        path: PathBuf,
    },
    /// pip could not reach its package index, or did not find MPyC there.
    #[error(
        "could not fetch MPyC from {from}; the network is needed this one time. Check the connection (and \
         pip's settings, if there is a proxy or an index of your own: pip config list) and try again, or name a Python \
         that can import mpyc as «interpreter» under «[python]» in the configuration. pip said:\n{said}"
    )]
    NoNetwork {
        /// Where pip looked for it, and by way of whom.
        from: String,
        /// The last lines of pip's output.
        said: String,
    },
    /// pip cannot read its own settings.
    #[error(
        "pip's settings cannot be read: mend them (pip config list names the file), or set PIP_CONFIG_FILE to another. \
         pip said:\n{said}"
    )]
    PipSettings {
        /// The last lines of pip's output.
        said: String,
    },
    /// A fetched file is not the one that was pinned.
    #[error(
        "a fetched package is not the file that mpyc-party was built for, and was not installed. Either something \
         on the way changes files (a proxy, a package index of your own) or someone tampers with them; do not go on \
         before you know. pip said:\n{said}"
    )]
    WrongHash {
        /// The last lines of pip's output.
        said: String,
    },
    /// No room for the environment.
    #[error(
        "the disk that holds {directory} is full: a Python with MPyC takes some 120 MB. \
         Make room, or choose another place with $XDG_CACHE_HOME",
        directory = .directory.display()
    )]
    DiskFull {
        /// What was being written.
        directory: PathBuf,
    },
    /// The cache directory cannot be used.
    #[error(
        "cannot use {directory}: {source}. Make it writable, or choose another place with $XDG_CACHE_HOME",
        directory = .directory.display()
    )]
    Cache {
        /// The file or directory.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The cache directory could be changed by other users, who then could run code here.
    #[error(
        "{directory} belongs to another user, or others may write to it; programs from there would be theirs. \
         Change that («chmod go-w», «chown»), or choose another place with $XDG_CACHE_HOME",
        directory = .directory.display()
    )]
    NotPrivate {
        /// The directory.
        directory: PathBuf,
    },
    /// The lock is held for longer than making an environment can take.
    #[error(
        "another mpyc-party has been making {directory} for {minutes} minutes: end it and try again",
        directory = .directory.display()
    )]
    Busy {
        /// The environment.
        directory: PathBuf,
        /// How long this one has waited.
        minutes: u64,
    },
    /// The environment was made, and does not work.
    #[error(
        "{directory} was made anew and still does not work: {why}\nName a Python that can import mpyc as «interpreter» \
         under «[python]» in the configuration",
        directory = .directory.display()
    )]
    Broken {
        /// The environment.
        directory: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// This process was asked to end meanwhile.
    #[error("it was stopped before there was a Python to run MPyC with")]
    Stopped,
    /// Looking for one takes too long.
    #[error("there is no Python to run MPyC with: {0}")]
    Hangs(Unfinished),
    /// `venv` or pip failed in a way not known.
    #[error("{step} failed. It said:\n{said}")]
    Step {
        /// What was tried.
        step: &'static str,
        /// The last lines of its output.
        said: String,
    },
    /// Showing what this Python needs would show a program more than that.
    #[error(
        "{interpreter} imports from {directory}, and a program run by it would see everything in there: \
         move its modules to a directory of their own",
        interpreter = .interpreter.display(), directory = .directory.display()
    )]
    TooBroad {
        /// The interpreter.
        interpreter: PathBuf,
        /// The directory that is more than Python's.
        directory: PathBuf,
    },
}

impl From<Unfinished> for Error {
    fn from(unfinished: Unfinished) -> Self {
        match unfinished {
            Unfinished::Stopped => Self::Stopped,
            other => Self::Hangs(other),
        }
    }
}

impl Error {
    /// What it means that a command did not come to its end, where that was for a request to stop.
    pub(super) fn stopped(error: &io::Error) -> Option<Self> {
        (error.kind() == io::ErrorKind::Interrupted).then_some(Self::Stopped)
    }

    /// A failed operation on a file of the cache directory.
    pub(super) fn cache(directory: &Path) -> impl FnOnce(io::Error) -> Self {
        let directory = directory.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { directory }
            }
            io::ErrorKind::Interrupted => Self::Stopped,
            _ => Self::Cache { directory, source },
        }
    }
}
