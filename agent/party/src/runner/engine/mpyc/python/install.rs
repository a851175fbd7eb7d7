//! Installs pinned packages with pip, and says what pip's failures mean.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::command::{Finished, bare, run};
use super::pip_settings::{self, CONFIG_FILE, NO_FILE, Variables};
use super::{Error, environment};

/// The package that must be there; the others make it faster or let it do more.
pub(super) const INDISPENSABLE: &str = "mpyc";

/// For slow lines and slow machines; some 20 MB are fetched.
pub(super) const INSTALL_TIMEOUT: Duration = Duration::from_secs(600);

/// A virtual environment under construction.
pub(super) struct Site<'a> {
    /// Its directory.
    pub(super) directory: &'a Path,
    /// The lock of its maker. Children hold it too, as their standard input, and so does whatever
    /// they start: while anything still writes here, nobody else begins.
    pub(super) lock: &'a File,
}

/// Why pip failed.
enum Failure {
    /// No wheel of the pinned version runs on this machine with this Python.
    NoWheel(String),
    /// Anything else.
    Other(Error),
}

impl Site<'_> {
    /// A command that works in this environment.
    pub(super) fn command(&self, program: &Path) -> Result<Command, Error> {
        let mut command = bare(program);
        command.envs(pip_settings::of_this_process()).env(CONFIG_FILE, NO_FILE);
        command.env("TMPDIR", self.directory.join("tmp"));
        command.stdin(self.lock.try_clone().map_err(Error::cache(self.directory))?);
        Ok(command)
    }

    /// Installs what `requirements` pins, as far as there are wheels for this Python.
    pub(super) fn install(&self, requirements: &str) -> Result<(), Error> {
        let settings = self.settings()?;
        match self.install_at_once(requirements, &settings) {
            Ok(()) => return Ok(()),
            Err(Failure::Other(error)) => return Err(error),
            Err(Failure::NoWheel(_)) => {}
        }
        for package in packages(requirements) {
            match self.install_at_once(&part(requirements, package), &settings) {
                Ok(()) => {}
                Err(Failure::NoWheel(_)) if package != INDISPENSABLE => {}
                Err(Failure::NoWheel(said)) => return Err(no_network(&settings, said)),
                Err(Failure::Other(error)) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes a package out again.
    pub(super) fn uninstall(&self, package: &str) -> Result<(), Error> {
        let finished = self.pip(&["uninstall", "--yes", package], &Variables::new())?;
        if finished.succeeded() {
            return Ok(());
        }
        Err(Error::Step { step: "taking a broken package out", said: finished.last_words() })
    }

    /// What pip's own files say of where packages are, and the environment, which goes before them.
    fn settings(&self) -> Result<Variables, Error> {
        let mut command = self.command(&self.directory.join("bin/python"))?;
        match std::env::var_os(CONFIG_FILE) {
            Some(file) => command.env(CONFIG_FILE, file),
            None => command.env_remove(CONFIG_FILE),
        };
        command.args(["-I", "-m", "pip", "--disable-pip-version-check", "config", "list"]);
        let finished =
            run(&mut command, environment::MAKE_TIMEOUT).map_err(Error::cache(self.directory))?;
        if !finished.succeeded() {
            return Err(Error::PipSettings { said: finished.last_words() });
        }
        let mut settings = pip_settings::of_files(&finished.stdout);
        settings.extend(pip_settings::of_this_process());
        Ok(settings)
    }

    fn install_at_once(&self, requirements: &str, settings: &Variables) -> Result<(), Failure> {
        let list = self.directory.join("requirements.txt");
        fs::write(&list, requirements).map_err(Error::cache(&list)).map_err(Failure::Other)?;
        let list = list.to_string_lossy();
        let options = ["--require-hashes", "--only-binary=:all:", "--no-deps", "--retries=2"];
        let arguments = [&["install", "--requirement", &list], &options[..]].concat();
        let finished = self.pip(&arguments, settings).map_err(Failure::Other)?;
        if finished.succeeded() { Ok(()) } else { Err(self.failure(&finished, settings)) }
    }

    fn pip(&self, arguments: &[&str], settings: &Variables) -> Result<Finished, Error> {
        let mut command = self.command(&self.directory.join("bin/python"))?;
        command.envs(settings);
        command.args(["-I", "-m", "pip", "--quiet", "--no-input", "--disable-pip-version-check"]);
        run(command.args(arguments), INSTALL_TIMEOUT).map_err(Error::cache(self.directory))
    }

    fn failure(&self, finished: &Finished, settings: &Variables) -> Failure {
        let said = finished.last_words();
        let has = |signs: &[&str]| signs.iter().any(|sign| finished.stderr.contains(sign));
        Failure::Other(if has(&["DO NOT MATCH THE HASHES"]) {
            Error::WrongHash { said }
        } else if has(&["No space left on device", "Disk quota exceeded"]) {
            Error::DiskFull { directory: self.directory.to_owned() }
        } else if has(&["Retrying (", "Max retries exceeded", "HTTP error", "ReadTimeoutError"]) {
            no_network(settings, said)
        } else if has(&["No matching distribution found", "is not a supported wheel"]) {
            return Failure::NoWheel(said);
        } else {
            Error::Step { step: "installing MPyC with pip", said }
        })
    }
}

fn no_network(settings: &Variables, said: String) -> Error {
    Error::NoNetwork { from: pip_settings::source(settings), said }
}

/// The names of the pinned packages, each once, in order.
pub(super) fn packages(requirements: &str) -> Vec<&str> {
    let mut names: Vec<&str> = requirements.lines().filter_map(package_of).collect();
    names.dedup();
    names
}

/// The pins of one package: its lines and their continuations.
pub(super) fn part(requirements: &str, package: &str) -> String {
    let mut inside = false;
    let of_package = |line: &&str| {
        if !line.starts_with(' ') {
            inside = package_of(line) == Some(package);
        }
        inside
    };
    requirements.lines().filter(of_package).flat_map(|line| [line, "\n"]).collect()
}

/// The package that a line begins to pin.
fn package_of(line: &str) -> Option<&str> {
    line.split_once("==").map(|(name, _)| name).filter(|name| !name.starts_with([' ', '#']))
}

#[cfg(test)]
mod tests {
    use super::super::REQUIREMENTS;
    use super::*;

    #[test]
    fn the_pins_name_every_package_with_hashes() {
        let names = packages(REQUIREMENTS);
        assert_eq!(names, ["mpyc", "uvloop", "gmpy2", "numpy"]);
        for name in names {
            let part = part(REQUIREMENTS, name);
            assert!(part.starts_with(name), "{part}");
            assert!(part.contains("--hash=sha256:"), "{part}");
            assert!(!part.trim_end().ends_with('\\'), "{part}");
        }
        let numpy = part(REQUIREMENTS, "numpy");
        assert_eq!(numpy.matches("numpy==").count(), 2, "{numpy}");
    }
}
