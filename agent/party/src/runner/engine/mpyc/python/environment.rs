//! The private environment: made once, beside its directory, and renamed into it when it works.
//!
//! Whoever finds it in place without a lock may use it. Makers take the lock of the environment,
//! which their children hold too; whatever lies beside the directory under a lock newly taken is
//! therefore left over from a maker that died, and is removed.
//!
//! A virtual environment can be renamed as long as it is used through `bin/python`, a symbolic link,
//! by which Python finds all the rest. The scripts in `bin` have the former path written in them;
//! nothing here needs them, and they are deleted.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::syncfs;

use super::base::Base;
use super::command::run;
use super::install::{INDISPENSABLE, Site, packages, part};
use super::memory::{make_private, remembered};
use super::{Environment, Error, Missing, Progress, probe};
use crate::config::files;
use crate::runner::stop;

/// Making a virtual environment unpacks pip.
pub(super) const MAKE_TIMEOUT: Duration = Duration::from_secs(300);

/// Longest wait for another maker; making one takes less, or fails.
pub(super) const LOCK_TIMEOUT: Duration = Duration::from_secs(20 * 60);

const BETWEEN_TRIES: Duration = Duration::from_millis(200);

/// Lists the packages that an environment was made without; written last.
const LEFT_OUT: &str = "left-out";

/// Largest such list in bytes.
const MAX_LIST_BYTES: u64 = 64 * 1024;

type Listener<'a> = &'a mut dyn FnMut(Progress);

/// The environment for this interpreter and these requirements, made if need be, below `kept`.
pub(super) fn prepare(
    kept: &Path,
    base: &Base,
    requirements: &str,
    progress: Listener<'_>,
) -> Result<Environment, Error> {
    let name = base.environment_name(requirements);
    let maker = Maker { kept, directory: kept.join(&name), name, base, requirements };
    if !make_private(kept).map_err(Error::cache(kept))? {
        return Err(Error::NotPrivate { directory: kept.to_owned() });
    }
    if let State::Works(environment) = maker.state(progress)? {
        return Ok(*environment);
    }
    let lock = maker.lock(progress)?;
    match maker.state(progress)? {
        State::Works(environment) => return Ok(*environment),
        State::Broken(why) => progress(Progress::Rebuilding(maker.directory.clone(), why)),
        State::Absent => {}
    }
    maker.make(&lock, progress)?;
    match maker.state(progress)? {
        State::Works(environment) => Ok(*environment),
        State::Broken(why) => Err(Error::Broken { directory: maker.directory, why }),
        State::Absent => {
            Err(Error::Broken { directory: maker.directory, why: "it vanished".to_owned() })
        }
    }
}

/// The environment for this interpreter and these requirements, if it is there and works.
pub(super) fn find(
    kept: &Path,
    base: &Base,
    requirements: &str,
) -> Result<Option<Environment>, Error> {
    let name = base.environment_name(requirements);
    let maker = Maker { kept, directory: kept.join(&name), name, base, requirements };
    match maker.state(&mut |_| {})? {
        State::Works(environment) => Ok(Some(*environment)),
        State::Broken(why) => Err(Error::Broken { directory: maker.directory, why }),
        State::Absent => Ok(None),
    }
}

struct Maker<'a> {
    kept: &'a Path,
    name: String,
    directory: PathBuf,
    base: &'a Base,
    requirements: &'a str,
}

enum State {
    Absent,
    Broken(String),
    Works(Box<Environment>),
}

impl Maker<'_> {
    /// Whether the environment is there and can import what it was made with.
    fn state(&self, progress: Listener<'_>) -> Result<State, Error> {
        if !self.directory.exists() {
            return Ok(State::Absent);
        }
        let interpreter = self.directory.join("bin/python");
        let found = remembered(self.kept, &interpreter, || {
            progress(Progress::Checking(interpreter.clone()));
            probe(&interpreter)
        });
        let environment = match found {
            Ok(environment) => environment,
            Err(Error::NoMpyc { why, .. } | Error::DoesNotRun { why, .. }) => {
                return Ok(State::Broken(why));
            }
            Err(error) => return Err(error),
        };
        let left_out = files::read(&self.directory.join(LEFT_OUT), MAX_LIST_BYTES);
        let left_out = String::from_utf8_lossy(&left_out.unwrap_or_default()).into_owned();
        let lost = |missing: &&Missing| !left_out.lines().any(|line| line == missing.package);
        Ok(match environment.missing.iter().find(lost) {
            Some(lost) => State::Broken(lost.to_string()),
            None => State::Works(Box::new(environment)),
        })
    }

    fn beside(&self, ending: &str) -> PathBuf {
        self.kept.join(format!("{}.{ending}", self.name))
    }

    /// Waits until nobody else is making this environment.
    fn lock(&self, progress: Listener<'_>) -> Result<File, Error> {
        let path = self.beside("lock");
        let file = files::open_lock(&path).map_err(|error| Error::cache(&path)(error.source))?;
        let begin = Instant::now();
        let mut told = false;
        while let Err(error) = file.try_lock() {
            if let TryLockError::Error(error) = error {
                return Err(Error::cache(&path)(error));
            }
            if stop::is_asked() {
                return Err(Error::Stopped);
            }
            if begin.elapsed() > LOCK_TIMEOUT {
                let minutes = LOCK_TIMEOUT.as_secs() / 60;
                return Err(Error::Busy { directory: self.directory.clone(), minutes });
            }
            if !std::mem::replace(&mut told, true) {
                progress(Progress::Waiting(self.directory.clone()));
            }
            std::thread::sleep(BETWEEN_TRIES);
        }
        Ok(file)
    }

    /// Makes the environment in place, of what is there.
    fn make(&self, lock: &File, progress: Listener<'_>) -> Result<(), Error> {
        let (new, old) = (self.beside("making"), self.beside("broken"));
        for left_over in [&new, &old] {
            remove(left_over)?;
        }
        progress(Progress::Creating(self.directory.clone(), self.base.version()));
        let made = self.build(&Site { directory: &new, lock }, progress);
        if made.is_err() {
            // What ended it matters more than a failed removal, which the next maker repeats.
            _ = remove(&new);
        }
        made?;
        if self.directory.exists() {
            fs::rename(&self.directory, &old).map_err(Error::cache(&self.directory))?;
        }
        fs::rename(&new, &self.directory).map_err(Error::cache(&self.directory))?;
        remove(&old)
    }

    fn build(&self, site: &Site<'_>, progress: Listener<'_>) -> Result<(), Error> {
        let temporary = site.directory.join("tmp");
        fs::create_dir_all(&temporary).map_err(Error::cache(&temporary))?;
        self.make_venv(site)?;
        // Wheels were pinned for 64 bits; platform markers cannot say so, as a 32-bit Python may
        // run on a 64-bit kernel.
        let requirements = match self.base.pointer_bits {
            64 => self.requirements.to_owned(),
            _ => part(self.requirements, INDISPENSABLE),
        };
        let names = packages(&requirements).into_iter().map(str::to_owned).collect();
        progress(Progress::Installing(names));
        site.install(&requirements)?;
        let interpreter = site.directory.join("bin/python");
        progress(Progress::Checking(interpreter.clone()));
        let missing = probe::ask(&interpreter)?.missing();
        self.leave_out(site, missing, progress)?;
        remove(&temporary)?;
        keep_links_only(&site.directory.join("bin"))?;
        // A power cut after the rename must not leave empty files in place.
        let written = files::open_dir(site.directory).and_then(|directory| Ok(syncfs(directory)?));
        written.map_err(Error::cache(site.directory))
    }

    /// Makes an empty environment and puts pip into it: in two steps, because the `venv` module
    /// keeps to itself what pip's installer says.
    fn make_venv(&self, site: &Site<'_>) -> Result<(), Error> {
        let mut venv = site.command(&self.base.executable)?;
        venv.args(["-I", "-m", "venv", "--symlinks", "--without-pip"]).arg(site.directory);
        let mut pip = site.command(&site.directory.join("bin/python"))?;
        pip.args(["-I", "-m", "ensurepip", "--default-pip"]);
        for mut command in [venv, pip] {
            let finished = run(&mut command, MAKE_TIMEOUT).map_err(Error::cache(site.directory))?;
            if finished.succeeded() {
                continue;
            }
            let said = finished.last_words();
            let says = |text| finished.stdout.contains(text) || finished.stderr.contains(text);
            return Err(if says("No space left on device") || says("Disk quota exceeded") {
                Error::DiskFull { directory: site.directory.to_owned() }
            } else if says("No module named") {
                Error::NoVenv { path: self.base.executable.clone() }
            } else {
                Error::Step { step: "making a virtual environment", said }
            });
        }
        Ok(())
    }

    /// Goes on without the packages that do not work here, and takes out those that are broken:
    /// MPyC goes by whether a package is there, and would fail on it.
    fn leave_out(
        &self,
        site: &Site<'_>,
        missing: Vec<Missing>,
        progress: Listener<'_>,
    ) -> Result<(), Error> {
        let mut list = String::new();
        for missing in missing {
            if missing.installed {
                site.uninstall(&missing.package)?;
            }
            list += &format!("{}\n", missing.package);
            progress(Progress::LeftOut(missing));
        }
        let file = site.directory.join(LEFT_OUT);
        fs::write(&file, list).map_err(Error::cache(&file))
    }
}

/// Removes a directory with everything in it, if it is there.
fn remove(directory: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::cache(directory)(error))
        }
        _ => Ok(()),
    }
}

/// Deletes the scripts of an environment and leaves the links to its interpreter.
fn keep_links_only(bin: &Path) -> Result<(), Error> {
    let in_bin = Error::cache(bin);
    let delete = || {
        for entry in fs::read_dir(bin)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    };
    delete().map_err(in_bin)
}
