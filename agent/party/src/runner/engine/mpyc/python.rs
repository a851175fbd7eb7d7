//! The Python that runs MPyC: found or made, checked, and described for the sandbox.
//!
//! A configured interpreter is used as it is, if it can import MPyC. Otherwise a private environment
//! is made once under the cache directory, from the machine's own `python3` and pins that are
//! compiled in (`python/requirements.txt`, renewed by `python/pin.py`), and used ever after:
//!
//! ```text
//! base         which python3 there is, and whether it will do
//! environment  the private environment: lock, build beside, rename, rebuild when broken
//! install      pip with hashes, and what its failures mean
//! pip_settings which of pip's settings hold for that
//! probe        what an interpreter is and can import; remembered, since asking takes 2 s
//! mounts       which files it needs, for a root directory that holds nothing else
//! ```
//!
//! Everything here is synchronous: it runs before the sandbox is cloned, and so before any runtime. It
//! has a thread of its own meanwhile, since any file may be on a mount that [hangs](bounded).

mod base;
mod command;
mod environment;
mod error;
mod install;
mod memory;
mod mounts;
mod pip_settings;
mod probe;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf, absolute};
use std::time::Duration;

use crate::config::bounded;

pub use error::Error;
pub use mounts::Mount;
pub use probe::{Environment, Missing, probe};

/// The pins that are compiled in, in pip's format, with a hash for every wheel.
pub const REQUIREMENTS: &str = include_str!("python/requirements.txt");

/// How long nothing may be told of looking at files, and of asking an interpreter.
const MAX_SILENCE: Duration = Duration::from_secs(120);

/// Where to look for a Python that runs MPyC, and where to keep one.
#[derive(Clone, Debug)]
pub struct Python {
    /// The interpreter of the configuration (`[python] interpreter`), which then is the one.
    pub interpreter: Option<PathBuf>,
    /// The cache directory of mpyc-party; private environments are kept under `python` in it.
    pub cache: PathBuf,
    /// Where to look for `python3`, in the format of `$PATH`.
    pub search_path: OsString,
    /// What a private environment is made of, in pip's format: [`REQUIREMENTS`].
    pub requirements: String,
}

/// What goes on while a Python is prepared: one line each for whoever waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Another process holds the lock of the environment.
    Waiting(PathBuf),
    /// A private environment is being made there, for this version of Python.
    Creating(PathBuf, String),
    /// pip fetches and installs these packages.
    Installing(Vec<String>),
    /// An interpreter is asked what it can import.
    Checking(PathBuf),
    /// The environment there does not work any more and is made anew.
    Rebuilding(PathBuf, String),
    /// MPyC will run without this package, and slower.
    LeftOut(Missing),
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting(place) => {
                write!(f, "another mpyc-party is making {}, waiting", place.display())
            }
            Self::Creating(place, version) => {
                write!(f, "making a private Python {version} in {}", place.display())
            }
            Self::Installing(packages) => write!(f, "installing {}", packages.join(", ")),
            Self::Checking(interpreter) => write!(f, "checking {}", interpreter.display()),
            Self::Rebuilding(place, why) => {
                write!(f, "{} is broken and will be made anew: {why}", place.display())
            }
            Self::LeftOut(missing) => write!(f, "going on without {missing}"),
        }
    }
}

impl Progress {
    /// How long it may take until the next step is told. What other programs do has limits of its
    /// own; beyond them, a file is waited for that does not come.
    fn max_silence(&self) -> Duration {
        match self {
            Self::Waiting(_) => environment::LOCK_TIMEOUT + MAX_SILENCE,
            Self::Creating(..) => 2 * environment::MAKE_TIMEOUT + MAX_SILENCE,
            // All at once, and then one by one.
            Self::Installing(packages) => {
                let attempts = u32::try_from(packages.len()).unwrap_or(u32::MAX).saturating_add(1);
                install::INSTALL_TIMEOUT.saturating_mul(attempts) + MAX_SILENCE
            }
            Self::Checking(_) | Self::Rebuilding(..) | Self::LeftOut(_) => MAX_SILENCE,
        }
    }
}

impl Python {
    /// Looks on `$PATH`, keeps private environments under `cache`.
    #[must_use]
    pub fn new(interpreter: Option<PathBuf>, cache: &Path) -> Self {
        Self {
            interpreter,
            cache: cache.to_owned(),
            search_path: std::env::var_os("PATH").unwrap_or_default(),
            requirements: REQUIREMENTS.to_owned(),
        }
    }

    /// The Python that can import MPyC, if there is one by now; none where [`Python::prepare`] would
    /// make it.
    ///
    /// # Errors
    /// Where there is none and none can be made; the error says what to do.
    pub fn find(&self) -> Result<Option<Environment>, Error> {
        let python = self.clone();
        bounded::within(MAX_SILENCE, move || python.look())?
    }

    fn look(&self) -> Result<Option<Environment>, Error> {
        if let Some(interpreter) = &self.interpreter {
            return probe(&absolute(interpreter).map_err(Error::cache(interpreter))?).map(Some);
        }
        let kept = absolute(self.cache.join("python")).map_err(Error::cache(&self.cache))?;
        environment::find(&kept, &base::find(&self.search_path)?, &self.requirements)
    }

    /// A Python that can import MPyC, made first where there is none.
    ///
    /// Takes some 30 ms when nothing changed since the last time, a few seconds after a change,
    /// and needs the network when the private environment has to be made. Each step of longer work
    /// is told to `progress`.
    ///
    /// # Errors
    /// Where there is no such Python and none can be made; the error says what to do.
    pub fn prepare(&self, progress: &mut dyn FnMut(Progress)) -> Result<Environment, Error> {
        let python = self.clone();
        let told = |step: Progress| {
            let silence = step.max_silence();
            progress(step);
            silence
        };
        bounded::telling(MAX_SILENCE, move |tell| python.make(tell), told)?
    }

    fn make(&self, progress: &mut dyn FnMut(Progress)) -> Result<Environment, Error> {
        let kept = absolute(self.cache.join("python")).map_err(Error::cache(&self.cache))?;
        if let Some(interpreter) = &self.interpreter {
            let interpreter = absolute(interpreter).map_err(Error::cache(interpreter))?;
            return memory::remembered(&kept, &interpreter, || {
                progress(Progress::Checking(interpreter.clone()));
                probe(&interpreter)
            });
        }
        let base = base::find(&self.search_path)?;
        environment::prepare(&kept, &base, &self.requirements, progress)
    }
}
