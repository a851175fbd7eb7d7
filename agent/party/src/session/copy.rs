//! Program and files, copied privately before they are hashed, so that what is run is what was
//! hashed, whatever happens to the originals meanwhile.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::{Definition, SessionError};
use crate::config::files::{self, FILE_TIMEOUT, Source};

/// Largest program or file in bytes.
pub const MAX_FILE_BYTES: u64 = 64 << 20;

/// A session's files in a directory of their own.
#[derive(Clone, Debug)]
pub struct Copied {
    /// Holds nothing else.
    pub directory: PathBuf,
    /// The program's file name in it.
    pub name: String,
    /// The program's name and the hash of its bytes.
    pub program: Vec<Vec<u8>>,
    /// The same of each other file, sorted by name.
    pub files: Vec<Vec<Vec<u8>>>,
}

/// Copies the program and files of `definition` into the new directory `into`, within its deadline.
///
/// # Errors
/// Where one is no regular file, cannot be read in time or written, or is too large.
pub fn copy(definition: &Definition, into: &Path) -> Result<Copied, SessionError> {
    files::private_dir(into)?;
    let (settings, begun) = (&definition.settings, Instant::now());
    let copy = |path: &PathBuf| {
        let left = settings.deadline.saturating_sub(begun.elapsed()).min(FILE_TIMEOUT);
        copy_one((path, left), &settings.name_of(path).unwrap_or_default(), into)
    };
    let program = copy(&settings.program)?;
    let mut files = settings.files.iter().map(copy).collect::<Result<Vec<_>, _>>()?;
    files.sort_unstable();
    let name = String::from_utf8_lossy(&program[0]).into_owned();
    Ok(Copied { directory: into.to_owned(), name, program, files })
}

/// Copies one file within `limit`, under `name`, which was checked with the definition; returns the
/// name and the hash of its bytes.
fn copy_one(
    (path, limit): (&Path, Duration),
    name: &str,
    into: &Path,
) -> Result<Vec<Vec<u8>>, SessionError> {
    let content = files::read_within(Source::File(path), MAX_FILE_BYTES, limit)?.bytes;
    let target = into.join(name);
    files::private_dir(target.parent().unwrap_or(into))?;
    files::at(&target, files::create_private(&target)?.write_all(&content))?;
    Ok(vec![name.as_bytes().to_vec(), Sha256::digest(content.as_slice()).to_vec()])
}
