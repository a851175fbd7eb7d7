//! What tests need besides hosts: the built binary, an interpreter, a place for state.

use std::env;
use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::{Lab, LabError};

/// The built `mpyc-party`: `$MPYC_PARTY_BIN`, else the one in the target directory that the running
/// program was built into.
///
/// # Errors
/// If there is none; the message says how to build it.
pub fn mpyc_party() -> Result<PathBuf, LabError> {
    let path = match env::var_os("MPYC_PARTY_BIN") {
        Some(path) => PathBuf::from(path),
        None => beside_this_program()?.join("mpyc-party"),
    };
    if path.is_file() { Ok(path) } else { Err(LabError::NoBinary(path)) }
}

/// `target/<profile>`, whether this is a program or, one directory below, a test.
fn beside_this_program() -> Result<PathBuf, LabError> {
    let program = env::current_exe().map_err(LabError::io("cannot tell where this program is"))?;
    let directory = program.parent().unwrap_or(Path::new("."));
    let above = directory.parent().filter(|_| directory.ends_with("deps"));
    Ok(above.unwrap_or(directory).to_owned())
}

/// The interpreter for MPyC programs: `$MPYC_PARTY_TEST_PYTHON`, else `python3` from the path.
#[must_use]
pub fn python() -> PathBuf {
    env::var_os("MPYC_PARTY_TEST_PYTHON").map_or_else(|| "python3".into(), PathBuf::from)
}

/// Whether a test can have hosts. Where there can be none, it fails, or tests nothing and says so if
/// `$MPYC_PARTY_TEST_WITHOUT_HOSTS` is set.
///
/// # Errors
/// Why there can be no hosts, and how to do without.
#[expect(clippy::print_stderr, reason = "a test that tests nothing has to say so")]
pub fn hosts_for_tests() -> Result<bool, LabError> {
    match Lab::available() {
        Ok(()) => Ok(true),
        Err(why) if env::var_os("MPYC_PARTY_TEST_WITHOUT_HOSTS").is_some() => {
            eprintln!("SKIPPED, nothing is tested: {why}");
            Ok(false)
        }
        Err(why) => Err(LabError::NoHosts(why)),
    }
}

/// A directory with one private directory (0700) for each party, gone when dropped.
pub struct TempState {
    root: TempDir,
}

impl TempState {
    /// An empty one.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn new() -> Result<Self, LabError> {
        let root = tempfile::Builder::new()
            .prefix("mpyc-party-lab-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
            .map_err(LabError::io("cannot make a temporary directory"))?;
        Ok(Self { root })
    }

    /// The whole directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.root.path()
    }

    /// The directory of `party`, made on first use.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn of(&self, party: &str) -> Result<PathBuf, LabError> {
        let path = self.path().join(party);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(LabError::io(format!("cannot make {}", path.display())))?;
        Ok(path)
    }
}
