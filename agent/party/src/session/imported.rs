//! Imported sessions: one directory each, in the state directory, written whole or not at all.
//!
//! ```text
//! sessions/demo/session.toml   the definition, as in the configuration
//! sessions/demo/bundle         the signed bundle it came in
//! sessions/demo/files/…        program and files
//! ```

use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf, absolute};

use mpyc_party_core::claims::Root;
use mpyc_party_core::name::SessionName;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use tempfile::TempDir;

use super::bundle::{self, BundleError, Opened};
use super::proposal::Proposal;
use super::words::file_name;
use super::{DefinitionError, MAX_FILE_BYTES, SessionError};
use crate::config::files::{self, Content, FileError, at};
use crate::config::{Directories, Session};

/// Largest definition in bytes.
const MAX_DEFINITION_BYTES: u64 = 1 << 20;

fn parent(dirs: &Directories) -> PathBuf {
    dirs.state.join("sessions")
}

/// Where the imported session `name` is kept.
#[must_use]
pub fn directory(dirs: &Directories, name: &SessionName) -> PathBuf {
    parent(dirs).join(name.as_str())
}

/// The names of all imported sessions.
///
/// # Errors
/// What the system says.
pub fn names(dirs: &Directories) -> Result<Vec<SessionName>, FileError> {
    // What is being written begins with a dot, which is no name.
    let entries = files::list(&parent(dirs))?;
    Ok(entries.into_iter().filter_map(|entry| entry.parse().ok()).collect())
}

/// The definition of the imported session `name`.
///
/// # Errors
/// Where it cannot be read or is damaged.
pub fn load(dirs: &Directories, name: &SessionName) -> Result<Session, SessionError> {
    let directory = directory(dirs, name);
    let path = directory.join("session.toml");
    let bytes = files::read(&path, MAX_DEFINITION_BYTES)?;
    let text = String::from_utf8_lossy(&bytes);
    definition(&text, &directory).map_err(|source| SessionError::Damaged { path, source })
}

fn definition(text: &str, directory: &Path) -> Result<Session, DefinitionError> {
    let mut settings: Session = toml::from_str(text)?;
    settings.resolve(directory);
    settings.check()?;
    Ok(settings)
}

/// The bundle in which `name` came, checked as on the day when it was imported.
///
/// # Errors
/// Where it is not there, or was changed since.
pub fn origin(dirs: &Directories, name: &SessionName, root: &Root) -> Result<Opened, OriginError> {
    let path = directory(dirs, name).join("bundle");
    let Content { bytes, metadata } = files::read_content(&path, bundle::MAX_BYTES)?;
    let day = at(&path, metadata.modified())?;
    let day = day.duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
    Ok(bundle::open(&bytes, root, day)?)
}

/// In what the imported session differs from what its bundle holds, each as a person would say it: it was
/// edited since. What does not travel, such as the input and who may start it, is each party's own.
#[must_use]
pub fn edited(settings: &Session, signed: &Opened) -> Vec<String> {
    let now = Proposal::of(settings, settings.keys.clone());
    let mut all: Vec<String> =
        signed.bundle.proposal.differences(&now).into_iter().map(str::to_owned).collect();
    let paths = || [&settings.program].into_iter().chain(&settings.files);
    for path in paths() {
        let Ok(name) = settings.name_of(path) else { continue };
        let shown = file_name(&name);
        match signed.files.iter().find(|(known, _)| *known == name) {
            None => all.push(format!("{shown} is new")),
            Some((_, content)) => match files::read(path, MAX_FILE_BYTES) {
                Ok(now) if now == *content => {}
                Ok(_) => all.push(format!("the content of {shown}")),
                Err(_) => all.push(format!("{shown} cannot be read")),
            },
        }
    }
    let is_there = |name: &str| paths().any(|path| settings.name_of(path).is_ok_and(|n| n == name));
    let gone = signed.files.iter().filter(|(name, _)| !is_there(name));
    all.extend(gone.map(|(name, _)| format!("{} is gone", file_name(name))));
    all
}

/// Why the bundle of an imported session cannot be read again.
#[derive(Debug, thiserror::Error)]
pub enum OriginError {
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is not acceptable any more.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

/// Why an imported session cannot be stored or removed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The definition has no text form.
    #[error("the session cannot be written down: {0}")]
    Text(#[from] toml::ser::Error),
}

/// Stores the session of `opened`, which came as `text`, with this party's own `input`, in place of
/// one that is there under that name.
///
/// # Errors
/// What the system says; what was there before is then still there.
pub fn store(
    dirs: &Directories,
    opened: &Opened,
    text: &[u8],
    input: Option<&Path>,
) -> Result<(), StoreError> {
    let (all, name) = (parent(dirs), &opened.bundle.session);
    files::private_dir(&all)?;
    let input = input.map(|path| at(path, absolute(path))).transpose()?;
    let settings = opened.bundle.proposal.session(Path::new("files"), &opened.names(), input);
    let new = temporary(&all, ".new-")?;
    let enclosed = new.path().join("files");
    files::private_dir(&enclosed)?;
    for (name, content) in &opened.files {
        let path = enclosed.join(name);
        files::private_dir(path.parent().unwrap_or(&enclosed))?;
        write(&path, content)?;
    }
    write(&new.path().join("bundle"), text)?;
    write(&new.path().join("session.toml"), toml::to_string_pretty(&settings)?.as_bytes())?;
    at(new.path(), sync(new.path()))?;
    let target = directory(dirs, name);
    // With a predecessor the two change places, and it goes with the temporary directory.
    let flags = if target.exists() { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
    at(&target, renameat_with(CWD, new.path(), CWD, &target, flags).map_err(Into::into))?;
    at(&all, files::open_dir(&all).and_then(|dir| dir.sync_all()))?;
    Ok(())
}

fn temporary(parent: &Path, prefix: &str) -> Result<TempDir, FileError> {
    let mode = Permissions::from_mode(0o700);
    at(parent, tempfile::Builder::new().prefix(prefix).permissions(mode).tempdir_in(parent))
}

fn write(path: &Path, content: &[u8]) -> Result<(), FileError> {
    let mut file = files::create_private(path)?;
    at(path, file.write_all(content).and_then(|()| file.sync_all()))
}

/// Lets the names of all files below `directory` survive a crash; their content does already.
fn sync(directory: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync(&entry.path())?;
        }
    }
    files::open_dir(directory)?.sync_all()
}

/// Removes the imported session `name`; its run records stay.
///
/// # Errors
/// What the system says.
pub fn remove(dirs: &Directories, name: &SessionName) -> Result<(), FileError> {
    let (all, target) = (parent(dirs), directory(dirs, name));
    let old = temporary(&all, ".old-")?;
    at(&target, std::fs::rename(&target, old.path().join("session")))?;
    at(&all, old.close())
}
