//! What is to run in the sandbox, and what it may see there.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::FileType;
use serde::{Deserialize, Serialize};

use crate::{Limits, SandboxError};

/// Whether the run may go on without the whole sandbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// The run is refused where a layer cannot be had. (Landlock alone may be missing, with a
    /// warning: it only guards once more what the namespaces guard.)
    #[default]
    Required,
    /// Where namespaces are not allowed, the run goes on without them, and warns. Nothing is hidden
    /// then but what landlock and seccomp hide, there is no `/tmp` and no `/dev/shm`, and paths that the sandbox would
    /// show elsewhere are used where they are.
    BestEffort,
}

/// A file or directory of the host that the program sees, read-only.
///
/// A `source` that is a symbolic link is followed, unless `target` is the same path: then the link
/// itself is made again inside, as `/lib -> usr/lib` has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where it is on the host; with everything mounted below it.
    pub source: PathBuf,
    /// Where the program finds it: an absolute path without `..`.
    pub target: PathBuf,
}

impl Mount {
    /// Shows `path` at the same place inside.
    pub fn same(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self { source: path.clone(), target: path }
    }
}

/// Everything there is to say about one sandboxed program.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// The program to execute: an absolute path inside.
    pub interpreter: PathBuf,
    /// Its arguments, without its own name.
    pub arguments: Vec<OsString>,
    /// What it sees beside `/tmp`, `/dev/shm`, `/dev/null` and `/dev/urandom`.
    pub mounts: Vec<Mount>,
    /// Regular files of which it sees a copy, read-only and alone in a directory, that tells nothing of
    /// the file but its content. Without namespaces it sees the file itself.
    pub copies: Vec<Mount>,
    /// Its whole environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Where it starts: an absolute path inside.
    pub working_directory: PathBuf,
    /// What it may use up.
    pub limits: Limits,
    /// Whether all layers are required.
    pub policy: Policy,
    /// Readable as soon as nobody wants the sandbox any more; making it then ends.
    pub stop: Option<BorrowedFd<'static>>,
}

impl Plan {
    /// Finds mistakes before anything is started.
    pub(crate) fn check(&self) -> Result<(), SandboxError> {
        absolute("interpreter", &self.interpreter)?;
        absolute("working directory", &self.working_directory)?;
        for mount in self.sources() {
            absolute("source of a mount", &mount.source)?;
            absolute("target of a mount", &mount.target)?;
            let looked = look(&mount.source, mount.source == mount.target);
            looked.map_err(|error| SandboxError::Source { path: mount.source.clone(), error })?;
        }
        let variables = self.environment.iter().flat_map(|(name, value)| [name, value]);
        for text in self.arguments.iter().chain(variables) {
            if text.as_bytes().contains(&0) {
                return Err(SandboxError::Plan {
                    what: "argument or environment variable",
                    path: text.into(),
                    problem: "holds a NUL byte",
                });
            }
        }
        Ok(())
    }

    /// All that the program sees of the host.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &Mount> {
        self.mounts.iter().chain(&self.copies)
    }

    /// Where on the host a path inside is, for a program that runs without a private root. Text
    /// that is no path at or below a mount is returned as it is.
    pub(crate) fn on_host(&self, inside: &OsStr) -> OsString {
        let path = Path::new(inside);
        let below = |mount: &Mount| {
            let rest = path.strip_prefix(&mount.target).ok()?.to_owned();
            Some((mount.target.components().count(), mount.source.clone(), rest))
        };
        match self.sources().filter_map(below).max_by_key(|(depth, ..)| *depth) {
            Some((_, source, rest)) if rest.as_os_str().is_empty() => source.into(),
            Some((_, source, rest)) => source.join(rest).into(),
            None => inside.to_owned(),
        }
    }
}

/// Finds what can be shown at `path`, or the link there if that is kept.
fn look(path: &Path, keep_link: bool) -> io::Result<()> {
    if keep_link && path.symlink_metadata()?.is_symlink() {
        return Ok(());
    }
    showable(FileType::from_raw_mode(path.metadata()?.mode()))
}

/// Refuses what is neither a file nor a directory: the program would wait for whoever is at the other
/// end, or reach it.
pub(crate) fn showable(found: FileType) -> io::Result<()> {
    let kind = match found {
        FileType::RegularFile | FileType::Directory => return Ok(()),
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        _ => "something else",
    };
    let text = format!("it is {kind}: name a regular file or a directory");
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

fn absolute(what: &'static str, path: &Path) -> Result<(), SandboxError> {
    let wrong = |problem| Err(SandboxError::Plan { what, path: path.to_owned(), problem });
    if path.as_os_str().as_bytes().contains(&0) {
        return wrong("holds a NUL byte");
    }
    if !path.is_absolute() {
        return wrong("is not an absolute path");
    }
    if path.parent().is_none() {
        return wrong("is the root directory itself");
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return wrong("contains «..»");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(mounts: &[(&str, &str)]) -> Plan {
        let mount = |(source, target): &(&str, &str)| Mount {
            source: source.into(),
            target: target.into(),
        };
        Plan { mounts: mounts.iter().map(mount).collect(), ..Plan::default() }
    }

    #[test]
    fn paths_inside_are_found_on_the_host_by_the_deepest_mount() {
        let plan = plan(&[("/store/venv", "/venv"), ("/home/a/lib", "/venv/lib"), ("/in", "/x")]);
        for (inside, host) in [
            ("/venv/bin/python", "/store/venv/bin/python"),
            ("/venv/lib/a.py", "/home/a/lib/a.py"),
            ("/x", "/in"),
            ("/xyz", "/xyz"),
            ("-I", "-I"),
            ("venv", "venv"),
        ] {
            assert_eq!(plan.on_host(OsStr::new(inside)), OsStr::new(host), "{inside}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (target, problem) in [
            ("relative", "is not an absolute path"),
            ("/", "is the root directory itself"),
            ("/a/../etc", "contains «..»"),
            ("/a\0b", "holds a NUL byte"),
        ] {
            let error = absolute("target of a mount", Path::new(target)).unwrap_err().to_string();
            assert!(error.contains(problem) && error.contains("target of a mount"), "{error}");
        }
    }
}
