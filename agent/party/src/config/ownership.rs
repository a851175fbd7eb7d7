//! Whose directories these are. What root makes in a directory of another user, that user cannot use:
//! root is refused there before it makes anything.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf, absolute};

use rustix::process::geteuid;

use super::writers::OVERFLOW_UID;
use super::{ConfigError, Directories, files};

/// The number of root.
const ROOT: u32 = 0;

impl Directories {
    /// Fails where root would make state for another user.
    ///
    /// # Errors
    /// Says whose directory it is, and what to do.
    pub fn demand_own_state(&self) -> Result<(), ConfigError> {
        demand_own(&self.state, "--state DIR")
    }

    /// The same of the cache, which only those use who run programs.
    ///
    /// # Errors
    /// Says whose directory it is, and what to do.
    pub fn demand_own_cache(&self) -> Result<(), ConfigError> {
        demand_own(&self.cache, "XDG_CACHE_HOME=DIR in the environment")
    }
}

/// Fails where root would make something for another user in `directory`, for which there is a `choice`.
fn demand_own(directory: &Path, choice: &'static str) -> Result<(), ConfigError> {
    let is_root = geteuid().as_raw() == ROOT;
    let Some(directory) = absolute(directory).ok().filter(|_| is_root) else { return Ok(()) };
    match nearest(&directory) {
        // Nobody is who this user namespace does not know.
        Some((place, owner)) if ![ROOT, OVERFLOW_UID].contains(&owner) => {
            Err(ConfigError::OfAnother { directory, place, owner, choice })
        }
        _ => Ok(()),
    }
}

/// `directory`, or the nearest above it that is there; and whose it is.
fn nearest(directory: &Path) -> Option<(PathBuf, u32)> {
    let found = |path: &Path| Some((path.to_owned(), files::metadata(path).ok()??.uid()));
    directory.ancestors().find_map(found)
}
