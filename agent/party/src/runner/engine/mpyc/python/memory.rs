//! Remembers what was learnt of an interpreter: asking takes some 2 s, remembering nothing.
//!
//! A record holds as long as none of the files it rests on has changed.

use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::mounts::SETTINGS;
use super::probe::SCRIPT;
use super::{Environment, Error};
use crate::config::files;

/// Largest record in bytes.
const MAX_RECORD_BYTES: u64 = 1 << 20;
/// Write permission for others than the owner.
const WRITABLE_BY_OTHERS: u32 = 0o022;

#[derive(Serialize, Deserialize)]
struct Record {
    /// Whose answers these are: version of this program and digest of the questions.
    asked: String,
    stamps: Vec<Stamp>,
    environment: Environment,
}

/// What tells a changed file from one that was not.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    path: PathBuf,
    /// Inode, size in bytes, and time of the last change in seconds and nanoseconds.
    state: Option<(u64, u64, i64, i64)>,
}

/// What is remembered of `interpreter` in the directory `kept`, else what `ask` finds out.
///
/// A directory that cannot be written, or that others can write, is simply not used.
pub(super) fn remembered(
    kept: &Path,
    interpreter: &Path,
    ask: impl FnOnce() -> Result<Environment, Error>,
) -> Result<Environment, Error> {
    let name = digest(interpreter.as_os_str().as_bytes());
    let file = kept.join(format!("probe-{name}.json"));
    if let Some(environment) = read(kept, &file) {
        return Ok(environment);
    }
    let environment = ask()?;
    if let Err(error) = write(kept, &file, &environment) {
        log::debug!("{} is not remembered: {error}", interpreter.display());
    }
    Ok(environment)
}

/// Makes `directory` for this user alone; whether no other user can write to it.
pub(super) fn make_private(directory: &Path) -> io::Result<bool> {
    if !directory.is_dir() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    is_private(directory)
}

/// Whether a directory belongs to this user and no other can write to it.
pub(super) fn is_private(directory: &Path) -> io::Result<bool> {
    let metadata = fs::metadata(directory)?;
    let own = metadata.uid() == geteuid().as_raw();
    Ok(own && metadata.mode() & WRITABLE_BY_OTHERS == 0)
}

fn read(kept: &Path, file: &Path) -> Option<Environment> {
    if !is_private(kept).ok()? {
        return None;
    }
    let record = files::read(file, MAX_RECORD_BYTES).ok()?;
    let record: Record = serde_json::from_slice(&record).ok()?;
    let holds = record.asked == asked() && record.stamps == stamps(&record.environment);
    holds.then_some(record.environment)
}

fn write(kept: &Path, file: &Path, environment: &Environment) -> io::Result<()> {
    if !make_private(kept)? {
        return Err(io::Error::other("others can write to the directory"));
    }
    let record =
        Record { asked: asked(), stamps: stamps(environment), environment: environment.clone() };
    let mut new = tempfile::NamedTempFile::new_in(kept)?;
    new.write_all(&serde_json::to_vec(&record)?)?;
    new.persist(file)?;
    Ok(())
}

fn stamps(environment: &Environment) -> Vec<Stamp> {
    let stamp = |path: &PathBuf| {
        let state = |m: fs::Metadata| (m.ino(), m.size(), m.mtime(), m.mtime_nsec());
        Stamp { path: path.clone(), state: fs::symlink_metadata(path).ok().map(state) }
    };
    environment.depends_on.iter().map(stamp).collect()
}

fn asked() -> String {
    let questions = [SCRIPT, &SETTINGS.join(":")].concat();
    format!("{} {}", env!("CARGO_PKG_VERSION"), digest(questions.as_bytes()))
}

fn digest(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes)[..8])
}
