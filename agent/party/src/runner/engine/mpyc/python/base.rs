//! The machine's own `python3`, from which a private environment is made.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Access, access};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::Error;
use super::command::{bare, run};

/// Oldest Python that MPyC 0.11 supports.
const OLDEST: (u32, u32) = (3, 10);

/// What to look for, the system's choice first.
const NAMES: [&str; 6] =
    ["python3", "python3.14", "python3.13", "python3.12", "python3.11", "python3.10"];

const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs on any Python 3, since its answer may be that it is too old. Inside a virtual environment
/// it names the Python that the environment was made from.
const ASK: &str = "\
import json, sys, sysconfig
print(json.dumps({
    'executable': getattr(sys, '_base_executable', None) or sys.executable,
    'implementation': sys.implementation.name,
    'version': list(sys.version_info[:3]),
    'abi': str(sysconfig.get_config_var('SOABI')),
    'pointer_bits': sys.maxsize.bit_length() + 1,
}))";

/// An interpreter and what tells it from others.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Base {
    pub(super) executable: PathBuf,
    pub(super) implementation: String,
    version: (u32, u32, u32),
    abi: String,
    pub(super) pointer_bits: u32,
}

impl Base {
    pub(super) fn version(&self) -> String {
        let (major, minor, patch) = self.version;
        format!("{major}.{minor}.{patch}")
    }

    /// The name of the environment made from this interpreter and these requirements: another one
    /// for each, so that an upgrade of either never meets an environment made for the former.
    pub(super) fn environment_name(&self, requirements: &str) -> String {
        let real = self.executable.canonicalize().unwrap_or_else(|_| self.executable.clone());
        let identity = format!("{self:?}\0{}\0{requirements}", real.display());
        let digest = data_encoding::HEXLOWER.encode(&Sha256::digest(identity)[..8]);
        format!("{}-{}-{digest}", self.implementation, self.version())
    }
}

/// The first interpreter on the search path that will do; else why the first one there will not.
pub(super) fn find(search_path: &OsStr) -> Result<Base, Error> {
    let mut first_problem = None;
    for candidate in candidates(search_path) {
        match ask(&candidate) {
            Ok(base) => return Ok(base),
            Err(problem) => _ = first_problem.get_or_insert(problem),
        }
    }
    Err(first_problem.unwrap_or(Error::NoPython))
}

/// Relative directories are passed over: which files they hold depends on where one stands.
fn candidates(search_path: &OsStr) -> impl Iterator<Item = PathBuf> {
    let directories: Vec<PathBuf> =
        std::env::split_paths(search_path).filter(|directory| directory.is_absolute()).collect();
    let in_all =
        move |name| directories.clone().into_iter().map(move |directory| directory.join(name));
    let executable = |path: &PathBuf| path.is_file() && access(path, Access::EXEC_OK).is_ok();
    NAMES.into_iter().flat_map(in_all).filter(executable)
}

fn ask(path: &Path) -> Result<Base, Error> {
    let does_not_run = |why| Error::DoesNotRun { path: path.to_owned(), why };
    let finished = run(bare(path).args(["-I", "-c", ASK]), ANSWER_TIMEOUT).map_err(|error| {
        Error::stopped(&error).unwrap_or_else(|| does_not_run(error.to_string()))
    })?;
    if !finished.succeeded() {
        return Err(does_not_run(finished.last_words()));
    }
    let base: Base = serde_json::from_str(&finished.stdout)
        .map_err(|_| does_not_run(format!("unexpected answer: {}", finished.last_words())))?;
    if (base.version.0, base.version.1) < OLDEST {
        return Err(Error::TooOld { path: path.to_owned(), version: base.version() });
    }
    Ok(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Base {
        Base {
            executable: "/nowhere/python3".into(),
            implementation: "cpython".into(),
            version: (3, 11, 2),
            abi: "cpython-311-x86_64-linux-gnu".into(),
            pointer_bits: 64,
        }
    }

    #[test]
    fn whatever_differs_makes_another_environment() {
        let name = base().environment_name("mpyc==0.11");
        assert!(name.starts_with("cpython-3.11.2-"), "{name}");
        assert_eq!(name, base().environment_name("mpyc==0.11"));
        assert_ne!(name, base().environment_name("mpyc==0.12"));
        let others = [
            Base { executable: "/elsewhere/python3".into(), ..base() },
            Base { version: (3, 11, 3), ..base() },
            Base { abi: "cpython-311t-x86_64-linux-gnu".into(), ..base() },
        ];
        for other in others {
            assert_ne!(name, other.environment_name("mpyc==0.11"), "{other:?}");
        }
    }

    #[test]
    fn relative_directories_are_not_searched() {
        assert_eq!(candidates(OsStr::new(".::bin:../bin")).count(), 0);
    }
}
