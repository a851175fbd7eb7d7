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
    /// Fails where root would make files for another user.
    ///
    /// # Errors
    /// Says whose directory it is, and what to do.
    pub fn demand_own(&self) -> Result<(), ConfigError> {
        if geteuid().as_raw() != ROOT {
            return Ok(());
        }
        for directory in [&self.state, &self.cache] {
            let Some((place, owner)) = nearest(directory) else { continue };
            // Nobody is who this user namespace does not know.
            if ![ROOT, OVERFLOW_UID].contains(&owner) {
                let directory = directory.clone();
                return Err(ConfigError::OfAnother { directory, place, owner });
            }
        }
        Ok(())
    }
}

/// `directory`, or the nearest above it that is there; and whose it is.
fn nearest(directory: &Path) -> Option<(PathBuf, u32)> {
    let directory = absolute(directory).ok()?;
    let found = |path: &Path| Some((path.to_owned(), files::metadata(path).ok()??.uid()));
    directory.ancestors().find_map(found)
}
