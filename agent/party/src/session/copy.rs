//! Program and files, copied privately before they are hashed, so that what is run is what was
//! hashed, whatever happens to the originals meanwhile. What was copied is also looked through: no party
//! runs [code] that nobody can read, wherever the session was declared.
//!
//! [code]: super::code

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::{Definition, SessionError, code};
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
/// Where one is no regular file, cannot be read in time or written, is too large, or would not run as
/// it reads.
pub fn copy(definition: &Definition, into: &Path) -> Result<Copied, SessionError> {
    files::private_dir(into)?;
    let (settings, begun) = (&definition.settings, Instant::now());
    let name_of = |path: &PathBuf| settings.name_of(path).unwrap_or_default();
    let (name, others) = (name_of(&settings.program), settings.files.iter().map(name_of));
    let others: Vec<String> = others.collect();
    code::check_names(&name, std::iter::once(&name).chain(&others).map(String::as_str))?;
    let copy = |(path, name): (&PathBuf, &String), is_program| {
        let left = settings.deadline.saturating_sub(begun.elapsed()).min(FILE_TIMEOUT);
        copy_one((path, left), (name, is_program), into)
    };
    let program = copy((&settings.program, &name), true)?;
    let files = settings.files.iter().zip(&others).map(|file| copy(file, false));
    let mut files = files.collect::<Result<Vec<_>, _>>()?;
    files.sort_unstable();
    Ok(Copied { directory: into.to_owned(), name, program, files })
}

/// Copies one file within `limit`, under `name`, which was checked with the definition; returns the
/// name and the hash of its bytes.
fn copy_one(
    (path, limit): (&Path, Duration),
    (name, is_program): (&str, bool),
    into: &Path,
) -> Result<Vec<Vec<u8>>, SessionError> {
    let role = if is_program { "program" } else { "file" };
    let content = files::read_within(Source::File(path), MAX_FILE_BYTES, limit)
        .map_err(|source| SessionError::Unreadable { role, source })?
        .bytes;
    code::check_content(name, is_program, &content)?;
    let target = into.join(name);
    files::private_dir(target.parent().unwrap_or(into))?;
    files::at(&target, files::create_private(&target)?.write_all(&content))?;
    Ok(vec![name.as_bytes().to_vec(), Sha256::digest(content.as_slice()).to_vec()])
}
