//! Files and directories for their owner alone, written whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, PersistError};

/// A file that could not be used, with its path.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}{}", path.display(), advice(source))]
pub struct FileError {
    /// The file or directory.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            " (make room there, or choose another place with --state DIR)"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            " (run as its owner, or choose another place with --state DIR)"
        }
        _ => "",
    }
}

/// Puts the path into an error.
pub fn at<T>(path: &Path, outcome: io::Result<T>) -> Result<T, FileError> {
    outcome.map_err(|source| FileError { path: path.to_owned(), source })
}

/// Makes a directory (and those above it) that only its owner can enter.
///
/// # Errors
/// What the system says.
pub fn private_dir(path: &Path) -> Result<(), FileError> {
    at(path, DirBuilder::new().recursive(true).mode(0o700).create(path))
}

/// Opens a new file for reading and writing, which only its owner can read.
///
/// # Errors
/// Also where there is one already.
pub fn create_private(path: &Path) -> Result<File, FileError> {
    at(path, OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path))
}

/// Replaces the file at `path`, readable by its owner alone; whoever reads it, now or after a
/// crash, finds the old content or the new.
///
/// # Errors
/// What the system says; the old content is then still there.
pub fn replace_private(path: &Path, content: &[u8]) -> Result<(), FileError> {
    write_whole(path, content, |file| file.persist(path))
}

/// Writes the file at `path` as [`replace_private`] does, unless there is one: that one stays.
///
/// # Errors
/// What the system says.
pub fn keep_private(path: &Path, content: &[u8]) -> Result<(), FileError> {
    match write_whole(path, content, |file| file.persist_noclobber(path)) {
        Err(error) if error.source.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        written => written,
    }
}

fn write_whole(
    path: &Path,
    content: &[u8],
    persist: impl FnOnce(NamedTempFile) -> Result<File, PersistError>,
) -> Result<(), FileError> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = || {
        let mut file = NamedTempFile::new_in(dir)?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        persist(file).map_err(|error| error.error)?;
        File::open(dir)?.sync_all()
    };
    at(path, written())
}

/// Reads a file of at most `most` bytes.
///
/// # Errors
/// What the system says, or that the file is larger.
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>, FileError> {
    let read = || {
        let mut content = Vec::new();
        File::open(path)?.take(most + 1).read_to_end(&mut content)?;
        if content.len() as u64 > most {
            let text = format!("is larger than {most} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
        Ok(content)
    };
    at(path, read())
}

/// The names of the entries of a directory, sorted; none where there is no such directory.
///
/// # Errors
/// What the system says.
pub fn list(path: &Path) -> Result<Vec<String>, FileError> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => at(path, entries)?,
    };
    let name = |entry: io::Result<fs::DirEntry>| entry.map(|e| e.file_name().into_string().ok());
    let names: io::Result<Vec<_>> = entries.map(name).collect();
    let mut names: Vec<String> = at(path, names)?.into_iter().flatten().collect();
    names.sort_unstable();
    Ok(names)
}
