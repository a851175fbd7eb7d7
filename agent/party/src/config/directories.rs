//! Where the configuration, the state and the cache are.

use std::env;
use std::path::PathBuf;

use super::files::{self, FileError};
use super::{Config, ConfigError};

/// The system-wide configuration, used where it is there.
const SYSTEM_CONFIG: &str = "/etc/mpyc-party/config.toml";
/// The directory of this program below those of the XDG base directory specification.
const PROGRAM_DIRECTORY: &str = "mpyc-party";

/// The files and directories of one party on this machine.
#[derive(Clone, Debug)]
pub struct Directories {
    /// The configuration file, where one was named or found.
    pub config: Option<PathBuf>,
    /// Whether it was named on the command line, and so may be a pipe.
    pub named: bool,
    /// Identity, imported sessions and run records.
    pub state: PathBuf,
    /// What can be made again: the private Python environment.
    pub cache: PathBuf,
}

impl Directories {
    /// Finds them: what the command line names, else what systemd gives, else what the XDG
    /// base directory specification says.
    ///
    /// # Errors
    /// Where neither is given and there is no home directory; also where it cannot be found out
    /// whether there is a configuration.
    pub fn find(config: Option<PathBuf>, state: Option<PathBuf>) -> Result<Self, ConfigError> {
        let named = config.is_some();
        let state = state
            .or_else(|| first_of("STATE_DIRECTORY"))
            .or_else(|| xdg("XDG_STATE_HOME", ".local/state"))
            .ok_or(ConfigError::NoDirectory { what: "state", variable: "HOME" })?;
        let cache = first_of("CACHE_DIRECTORY")
            .or_else(|| xdg("XDG_CACHE_HOME", ".cache"))
            .unwrap_or_else(|| state.join("cache"));
        let config = if named { config } else { found()? };
        Ok(Self { config, named, state, cache })
    }

    /// Loads the configuration; where there is no file, every default holds.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load(&self) -> Result<Config, ConfigError> {
        match &self.config {
            None => Ok(Config::default()),
            Some(path) if self.named => Config::load_named(path),
            Some(path) => Config::load(path),
        }
    }

    /// Loads it once more. What was a pipe cannot be read twice.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn reload(&self) -> Result<Config, ConfigError> {
        self.config.as_deref().map_or_else(|| Ok(Config::default()), Config::load)
    }
}

/// The configuration where it is looked for, if there is one. Whatever has that name and is no file is
/// for [`Config::load`] to refuse. What cannot be looked at may hold pins, and counts as none no more
/// than that.
fn found() -> Result<Option<PathBuf>, ConfigError> {
    let user = xdg("XDG_CONFIG_HOME", ".config").map(|dir| dir.join("config.toml"));
    for path in [Some(SYSTEM_CONFIG.into()), user].into_iter().flatten() {
        match files::is_named(&path) {
            Ok(false) => {}
            Ok(true) => return Ok(Some(path)),
            Err(FileError { path, source }) => return Err(ConfigError::Read { path, source }),
        }
    }
    Ok(None)
}

/// The first directory of a list as systemd sets it.
pub(super) fn first_of(variable: &str) -> Option<PathBuf> {
    let value = env::var_os(variable)?;
    env::split_paths(&value).next().filter(|path| path.is_absolute())
}

/// This program's directory below `variable`, or below `fallback` in the home directory.
fn xdg(variable: &str, fallback: &str) -> Option<PathBuf> {
    let absolute = |path: &PathBuf| path.is_absolute();
    let base = env::var_os(variable).map(PathBuf::from).filter(absolute);
    let home = || env::var_os("HOME").map(PathBuf::from).filter(absolute);
    Some(base.or_else(|| Some(home()?.join(fallback)))?.join(PROGRAM_DIRECTORY))
}
