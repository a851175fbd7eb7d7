//! Who else could change a file: its owner, those who may write to it, and the same of every directory
//! on the way to it, for whoever may write to a directory may put another file there.
//!
//! Trusted are root and the user of this process. A directory with the sticky bit (`/tmp`) keeps others
//! from replacing what is not theirs. A group may write if it is root's, or this process's own, which on
//! most systems is the user's alone.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf, absolute};

use rustix::process::{getegid, geteuid};

use super::files::{FILE_TIMEOUT, FileError, at};
use super::{Config, Directories, Session, bounded};

/// The most symbolic links on one way (as Linux, `MAXSYMLINKS`).
const MAX_LINKS: usize = 40;
/// Whose files a user namespace shows that it does not know (user_namespaces(7)).
pub(super) const OVERFLOW_UID: u32 = 65534;
/// The map of a user namespace in bytes: a few lines.
const MAX_MAP_BYTES: u64 = 4 << 10;
/// Where the service manager puts a unit's credentials, which only it can change, and nobody sees
/// outside that unit (systemd.exec(5), `LoadCredential=`).
const CREDENTIALS: &str = "/run/credentials";
const GROUP_WRITES: u32 = 0o020;
const ALL_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// Why others can change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Writers {
    /// It belongs to another user than root and this one.
    Owner(u32),
    /// A group may write that is neither root's nor this process's own.
    Group(u32),
    /// Everybody may write.
    All,
}

/// A file that others can change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exposed {
    /// What is read.
    pub file: PathBuf,
    /// That file, or a directory or link on the way to it.
    pub place: PathBuf,
    /// Who can change that.
    pub writers: Writers,
}

impl fmt::Display for Exposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, place) = (self.file.display(), self.place.display());
        write!(f, "others can change {file}: ")?;
        match self.writers {
            Writers::Owner(uid) => write!(f, "{place} belongs to user {uid}"),
            Writers::Group(gid) => write!(f, "group {gid} may write to {place}"),
            Writers::All => write!(f, "everybody may write to {place}"),
        }
    }
}

impl Exposed {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        let place = self.place.display();
        match self.writers {
            Writers::Owner(_) => format!("chown {place} to root or to whoever runs mpyc-party"),
            Writers::Group(_) | Writers::All => format!("chmod go-w {place}"),
        }
    }
}

/// All files that decide what a party runs by the configuration, and that others can change: the
/// configuration itself and the Python interpreter.
///
/// # Errors
/// Where a file cannot be looked at.
pub fn of_config(config: &Config, file: Option<&Path>) -> Result<Vec<Exposed>, FileError> {
    of_all(file.into_iter().chain(config.python.interpreter.as_deref()))
}

/// The same of a session: its program, its files and its input.
///
/// # Errors
/// As [`of_config`].
pub fn of_session(session: &Session) -> Result<Vec<Exposed>, FileError> {
    let input = session.input.iter().filter(|input| !is_credential(input));
    let files = session.files.iter().chain(input);
    of_all([&session.program].into_iter().chain(files).map(PathBuf::as_path))
}

/// The same of everything that decides what `session` does here: its files, the configuration and
/// the state directory.
///
/// # Errors
/// As [`of_config`].
pub fn of_run(
    session: &Session,
    config: &Config,
    dirs: &Directories,
) -> Result<Vec<Exposed>, FileError> {
    let mut all = of_session(session)?;
    all.extend(of_config(config, dirs.config.as_deref())?);
    all.extend(of_all([dirs.state.as_path()])?);
    Ok(all)
}

fn is_credential(path: &Path) -> bool {
    path.starts_with(CREDENTIALS) && path.components().all(|part| part != Component::ParentDir)
}

fn of_all<'a>(files: impl IntoIterator<Item = &'a Path>) -> Result<Vec<Exposed>, FileError> {
    let mut all = BTreeSet::new();
    for file in files {
        let own = file.to_owned();
        let found = bounded::within(FILE_TIMEOUT, move || Walk::to(&own, Trust::own()));
        all.extend(at(file, found.map_err(Into::into).flatten())?);
    }
    Ok(all.into_iter().collect())
}

/// Whom this process trusts with its files.
#[derive(Clone, Copy, Debug)]
struct Trust {
    user: u32,
    group: u32,
    /// Whether this user namespace knows root. Where it does not, as where Nix builds, root's files are
    /// shown as nobody's.
    knows_root: bool,
}

impl Trust {
    fn own() -> Self {
        Self { user: geteuid().as_raw(), group: getegid().as_raw(), knows_root: knows_root() }
    }

    fn owner(self, uid: u32) -> bool {
        uid == 0 || uid == self.user || (uid == OVERFLOW_UID && !self.knows_root)
    }

    /// Who could change what `metadata` is of, where these are the bits of its mode that count.
    fn writers(self, metadata: &Metadata, mode: u32) -> Vec<Writers> {
        let group_is_foreign = metadata.gid() != 0 && metadata.gid() != self.group;
        let owner = Writers::Owner(metadata.uid());
        let group = Writers::Group(metadata.gid());
        [
            (!self.owner(metadata.uid()), owner),
            (mode & GROUP_WRITES != 0 && group_is_foreign, group),
            (mode & ALL_WRITE != 0, Writers::All),
        ]
        .into_iter()
        .filter_map(|(holds, writers)| holds.then_some(writers))
        .collect()
    }
}

/// The way to a file, one name after the other, as the system goes it.
struct Walk {
    file: PathBuf,
    trust: Trust,
    exposed: BTreeSet<Exposed>,
    /// How many links may still follow.
    links: usize,
}

impl Walk {
    fn to(file: &Path, trust: Trust) -> io::Result<BTreeSet<Exposed>> {
        let (way, exposed) = (absolute(file)?, BTreeSet::new());
        let mut walk = Self { file: file.to_owned(), trust, exposed, links: MAX_LINKS };
        walk.go(&way)?;
        Ok(walk.exposed)
    }

    fn go(&mut self, way: &Path) -> io::Result<()> {
        let mut at = PathBuf::from("/");
        let mut left: Vec<OsString> = names(way);
        let mut sticky = self.look(&at, &fs::symlink_metadata(&at)?, false);
        while let Some(name) = left.pop() {
            if name == ".." {
                at.pop();
                sticky = self.look(&at, &fs::symlink_metadata(&at)?, false);
                continue;
            }
            at.push(name);
            let metadata = match fs::symlink_metadata(&at) {
                Ok(metadata) => metadata,
                // Whoever could make it, the directory above tells. In a sticky one, anybody could.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if sticky {
                        let place = at.parent().unwrap_or(&at).to_owned();
                        self.add(place, Writers::All);
                    }
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
            if metadata.is_symlink() {
                self.links = self.links.checked_sub(1).ok_or_else(too_many_links)?;
                // The bits of a link say nothing; its owner may point it elsewhere.
                if !self.trust.owner(metadata.uid()) {
                    self.add(at.clone(), Writers::Owner(metadata.uid()));
                }
                let target = fs::read_link(&at)?;
                at.pop();
                if target.is_absolute() {
                    at = PathBuf::from("/");
                }
                left.extend(names(&target));
            } else {
                sticky = self.look(&at, &metadata, left.is_empty());
            }
        }
        Ok(())
    }

    /// Looks at a directory on the way, or at what is at its end; whether it is a sticky directory that
    /// others may write to.
    fn look(&mut self, place: &Path, metadata: &Metadata, is_last: bool) -> bool {
        let sticky = is_sticky(metadata);
        // What lies in a sticky directory is replaced by its owner alone, who is looked at next.
        let mode = if sticky && !is_last { 0 } else { metadata.mode() };
        for writers in self.trust.writers(metadata, mode) {
            self.add(place.to_owned(), writers);
        }
        sticky && !self.trust.writers(metadata, metadata.mode()).is_empty()
    }

    fn add(&mut self, place: PathBuf, writers: Writers) {
        self.exposed.insert(Exposed { file: self.file.clone(), place, writers });
    }
}

/// Whether root has a number in this user namespace (user_namespaces(7), «uid_map»).
fn knows_root() -> bool {
    let map = super::files::read(Path::new("/proc/self/uid_map"), MAX_MAP_BYTES);
    let map = map.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    map.map_or(true, |map| map.lines().any(|line| line.split_whitespace().next() == Some("0")))
}

fn is_sticky(metadata: &Metadata) -> bool {
    metadata.is_dir() && metadata.mode() & STICKY != 0
}

fn too_many_links() -> io::Error {
    io::Error::other(format!("more than {MAX_LINKS} symbolic links lead to it"))
}

/// The names on a way, last first.
fn names(way: &Path) -> Vec<OsString> {
    let name = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    let mut names: Vec<_> = way.components().filter_map(name).collect();
    names.reverse();
    names
}

#[cfg(test)]
mod tests;
