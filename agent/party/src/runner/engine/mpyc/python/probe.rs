//! Asks an interpreter what it is, what it can import, and which files that takes.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Error;
use super::command::{bare, run};
use super::mounts::{self, Mount};

/// The questions: a Python file of ours.
pub(super) const SCRIPT: &str = include_str!("probe.py");

/// Importing everything takes 2 s, on a small machine and for the first time some 20.
const PROBE_TIMEOUT: Duration = Duration::from_secs(60);

/// A Python that can import MPyC, and all that others need to know of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// What to execute.
    pub interpreter: PathBuf,
    /// Python's version, as in «3.11.2».
    pub version: String,
    /// Python's implementation, as in «cpython».
    pub implementation: String,
    /// Width of a pointer: 32 or 64.
    pub pointer_bits: u32,
    /// MPyC's version.
    pub mpyc: String,
    /// Versions of the packages that MPyC uses if they are there: `gmpy2`, `numpy`, `uvloop`.
    pub extras: BTreeMap<String, String>,
    /// Those of them that cannot be imported.
    pub missing: Vec<Missing>,
    /// What must be in view, read-only, for the interpreter and its packages to run; parents first.
    pub mounts: Vec<Mount>,
    /// Files and directories that change when this description ceases to hold.
    pub(super) depends_on: Vec<PathBuf>,
}

/// A package that MPyC could use and that cannot be imported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// Its name.
    pub package: String,
    /// What the import said.
    pub why: String,
    /// Whether it is installed and broken; MPyC may fail to start then.
    pub installed: bool,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.package, self.why)
    }
}

/// The answers of `probe.py`.
#[derive(Debug, Deserialize)]
pub(super) struct Report {
    pub(super) executable: PathBuf,
    version: String,
    implementation: String,
    pointer_bits: u32,
    mpyc: Import,
    extras: BTreeMap<String, Import>,
    pub(super) prefixes: Vec<PathBuf>,
    pub(super) imported_from: Vec<PathBuf>,
    pub(super) mapped: Vec<PathBuf>,
    pub(super) loader: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Import {
    Done { version: String, file: Option<PathBuf> },
    Failed { error: String, installed: bool },
}

/// Describes an interpreter, which takes some seconds.
///
/// # Errors
/// If it cannot be run, cannot import MPyC, or imports from a directory that no program may see.
pub fn probe(interpreter: &Path) -> Result<Environment, Error> {
    describe(interpreter, ask(interpreter)?)
}

/// Runs the questions, isolated (`-I`) and with an empty environment.
pub(super) fn ask(interpreter: &Path) -> Result<Report, Error> {
    let does_not_run = |why| Error::DoesNotRun { path: interpreter.to_owned(), why };
    let finished =
        run(bare(interpreter).args(["-I", "-c", SCRIPT]), PROBE_TIMEOUT).map_err(|error| {
            Error::stopped(&error).unwrap_or_else(|| does_not_run(error.to_string()))
        })?;
    if !finished.succeeded() {
        return Err(does_not_run(finished.last_words()));
    }
    serde_json::from_str(&finished.stdout)
        .map_err(|error| does_not_run(format!("unexpected answer ({error})")))
}

impl Report {
    /// The packages besides MPyC that cannot be imported.
    pub(super) fn missing(&self) -> Vec<Missing> {
        let failed = |(package, import): (&String, &Import)| match import {
            Import::Done { .. } => None,
            Import::Failed { error, installed } => Some(Missing {
                package: package.clone(),
                why: error.clone(),
                installed: *installed,
            }),
        };
        self.extras.iter().filter_map(failed).collect()
    }

    /// Where versions of packages are written, and where packages come and go.
    fn depends_on(&self, interpreter: &Path, mounts: &[Mount]) -> Vec<PathBuf> {
        let imports = self.extras.values().chain([&self.mpyc]);
        let files = imports.filter_map(|import| match import {
            Import::Done { file, .. } => file.as_deref(),
            Import::Failed { .. } => None,
        });
        let mut paths: Vec<&Path> =
            files.flat_map(|file| [Some(file), file.parent()]).flatten().collect();
        paths.extend(self.imported_from.iter().map(PathBuf::as_path));
        paths.extend([interpreter, &self.executable]);
        paths.extend(mounts.iter().map(|mount| mount.path.as_path()));
        paths.sort_unstable();
        paths.dedup();
        paths.into_iter().filter(|path| !mounts::is_immutable(path)).map(Path::to_owned).collect()
    }
}

fn describe(interpreter: &Path, report: Report) -> Result<Environment, Error> {
    let mpyc = match &report.mpyc {
        Import::Done { version, .. } => version.clone(),
        Import::Failed { error, .. } => {
            return Err(Error::NoMpyc { path: interpreter.to_owned(), why: error.clone() });
        }
    };
    let version = |(package, import): (&String, &Import)| match import {
        Import::Done { version, .. } => Some((package.clone(), version.clone())),
        Import::Failed { .. } => None,
    };
    let mounts = mounts::needed(&report)
        .map_err(|directory| Error::TooBroad { interpreter: interpreter.to_owned(), directory })?;
    Ok(Environment {
        mpyc,
        extras: report.extras.iter().filter_map(version).collect(),
        missing: report.missing(),
        depends_on: report.depends_on(interpreter, &mounts),
        mounts,
        interpreter: report.executable,
        version: report.version,
        implementation: report.implementation,
        pointer_bits: report.pointer_bits,
    })
}
