//! Files and directories for their owner alone, written whole or not at all, and [read](reading) in
//! bounded time.

mod misplaced;
mod reading;

use std::borrow::Cow;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;
use tempfile::{NamedTempFile, PersistError};

use super::bounded;

pub use reading::{
    Content, FILE_TIMEOUT, PIPE_TIMEOUT, ReadError, Source, open, open_dir, open_lock,
    open_terminal, open_unbounded, open_within, read, read_content, read_named, read_stdin,
    read_unbounded, read_within,
};

/// A file that could not be used, with its path.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}{}", path.display(), advice(path, source))]
pub struct FileError {
    /// The file or directory.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl FileError {
    /// Whether the disk is full.
    #[must_use]
    pub fn is_for_lack_of_room(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

/// What helps against `error` with the file at `path`.
fn advice(path: &Path, error: &io::Error) -> Cow<'static, str> {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            " (make room there, or choose another place with --state DIR)".into()
        }
        io::ErrorKind::PermissionDenied => match misplaced::misplaced(path) {
            Some((part, owner)) => {
                let (part, user) = (part.display(), geteuid().as_raw());
                format!(
                    " ({part} belongs to user {owner}, in a directory of yours: sudo chown -R {user} {part})"
                )
                .into()
            }
            None => " (run as its owner, or choose another place with --state DIR)".into(),
        },
        io::ErrorKind::ReadOnlyFilesystem => " (choose another place with --state DIR)".into(),
        _ => "".into(),
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

/// Writes a file that everybody may read and only its owner may change, however open the umask is.
///
/// # Errors
/// What the system says.
pub fn write_public(path: &Path, content: &[u8]) -> Result<(), FileError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o644);
    at(path, options.open(path).and_then(|mut file| file.write_all(content)))
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
        open_dir(dir)?.sync_all()
    };
    at(path, written())
}

/// What is at `path`, symbolic links followed; none where there is nothing.
///
/// # Errors
/// What the system says, or that it takes too long.
pub fn metadata(path: &Path) -> Result<Option<Metadata>, FileError> {
    let own = path.to_owned();
    let found = bounded::within(FILE_TIMEOUT, move || own.metadata());
    match found.map_err(Into::into).flatten() {
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Ok(None)
        }
        found => at(path, found.map(Some)),
    }
}

/// Whether anything has this name. A link that leads nowhere, on the way or at the end, is no absence.
///
/// # Errors
/// Where there is such a link, or what the system says, of where it says it.
pub fn is_named(path: &Path) -> Result<bool, FileError> {
    let own = path.to_owned();
    let found = bounded::within(FILE_TIMEOUT, move || match own.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => no_dangling_link(&own),
        found => found.map(|_| true),
    });
    at(path, found.map_err(Into::into).flatten())
}

/// Refuses a link that leads nowhere as the last part of `path` that there is. False where it is none.
fn no_dangling_link(path: &Path) -> io::Result<bool> {
    let last = path.ancestors().find_map(|part| Some((part, part.symlink_metadata().ok()?)));
    match last {
        // Where it leads somewhere, nothing has this name there.
        Some((part, metadata)) if metadata.is_symlink() && !part.try_exists()? => {
            let (part, target) = (part.display(), part.read_link()?);
            let text = format!(
                "{part} is a link to {}, which does not exist: mend the link, or remove it",
                target.display()
            );
            Err(io::Error::new(io::ErrorKind::NotFound, text))
        }
        _ => Ok(false),
    }
}

/// Whether there is a regular file at `path`.
///
/// # Errors
/// As [`metadata`].
pub fn is_file(path: &Path) -> Result<bool, FileError> {
    Ok(metadata(path)?.is_some_and(|found| found.is_file()))
}

/// Whether there is a directory at `path`.
///
/// # Errors
/// As [`metadata`].
pub fn is_dir(path: &Path) -> Result<bool, FileError> {
    Ok(metadata(path)?.is_some_and(|found| found.is_dir()))
}

/// The names of the entries of a directory, sorted; none where there is no such directory.
///
/// # Errors
/// What the system says, or that it takes too long.
pub fn list(path: &Path) -> Result<Vec<String>, FileError> {
    let own = path.to_owned();
    let names = bounded::within(FILE_TIMEOUT, move || names(&own));
    let mut names = at(path, names.map_err(Into::into).flatten())?;
    names.sort_unstable();
    Ok(names)
}

/// Those that are text, in no order.
fn names(path: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let name = |entry: io::Result<fs::DirEntry>| entry.map(|e| e.file_name().into_string().ok());
    let names: io::Result<Vec<_>> = entries.map(name).collect();
    Ok(names?.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests;
