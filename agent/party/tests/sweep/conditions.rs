//! The conditions: what is done to a trial's files, and the way by which its command is started.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use anyhow::Result;

/// An ordinary user, whether or not anybody is called that here.
const USER: u32 = 1234;

/// A bad condition.
pub(crate) struct Condition {
    /// Its name.
    pub(crate) name: &'static str,
    /// Done to the trial's directory first.
    pub(crate) prepare: fn(&Path) -> Result<()>,
    /// What starts the command, which follows as arguments.
    pub(crate) way: fn(&Path) -> Vec<OsString>,
    /// Whether the command line names configuration and state.
    pub(crate) named: bool,
    /// Whether what the command writes can be read.
    pub(crate) readable: bool,
    /// Whether only root can make it.
    pub(crate) needs_root: bool,
}

/// Nothing is wrong.
pub(crate) const PLAIN: Condition = Condition {
    name: "all is well",
    prepare: |_| Ok(()),
    way: |_| Vec::new(),
    named: true,
    readable: true,
    needs_root: false,
};

/// A way by a shell that does `first`.
pub(crate) fn shell(first: &str) -> Vec<OsString> {
    ["sh", "-c", &format!("{first}\nexec \"$@\""), "sh"].map(OsString::from).into()
}

/// The way of the ordinary user.
pub(crate) fn as_user() -> Vec<OsString> {
    ["setpriv", "--reuid=1234", "--regid=1234", "--clear-groups"].map(OsString::from).into()
}

/// `place` and everything below it.
pub(crate) fn below(place: &Path) -> Result<Vec<PathBuf>> {
    let mut all = vec![place.to_owned()];
    if fs::symlink_metadata(place)?.is_dir() {
        for entry in fs::read_dir(place)? {
            all.extend(below(&entry?.path())?);
        }
    }
    Ok(all)
}

/// Gives `place` and everything below it to `user`.
pub(crate) fn give(place: &Path, user: u32) -> Result<()> {
    below(place)?.iter().try_for_each(|path| Ok(lchown(path, Some(user), Some(user))?))
}

/// The state belongs to root, who alone may look into it.
pub(crate) fn closed_state(trial: &Path) -> Result<()> {
    give(trial, USER)?;
    lchown(trial.join("state"), Some(0), Some(0))?;
    Ok(fs::set_permissions(trial.join("state"), Permissions::from_mode(0o700))?)
}

/// All of the state is root's, and everybody may read it.
pub(crate) fn state_of_root(trial: &Path) -> Result<()> {
    give(trial, USER)?;
    give(&trial.join("state"), 0)?;
    for path in below(&trial.join("state"))? {
        let mode = if path.is_dir() { 0o755 } else { 0o644 };
        fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// A command that was run as root has left directories in the user's state.
pub(crate) fn left_by_root(trial: &Path) -> Result<()> {
    give(trial, USER)?;
    for name in ["runs", "locks", "sessions"] {
        let path = trial.join("state").join(name);
        fs::create_dir_all(&path)?;
        lchown(&path, Some(0), Some(0))?;
        fs::set_permissions(&path, Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// The configuration is a link to nowhere.
pub(crate) fn dangling(trial: &Path) -> Result<()> {
    fs::remove_file(trial.join("config.toml"))?;
    Ok(symlink("nowhere", trial.join("config.toml"))?)
}

/// The configuration is a directory.
pub(crate) fn directory(trial: &Path) -> Result<()> {
    fs::remove_file(trial.join("config.toml"))?;
    Ok(fs::create_dir(trial.join("config.toml"))?)
}

/// The configuration belongs to root, who alone may read it.
pub(crate) fn closed_configuration(trial: &Path) -> Result<()> {
    give(trial, USER)?;
    let path = trial.join("config.toml");
    lchown(&path, Some(0), Some(0))?;
    Ok(fs::set_permissions(path, Permissions::from_mode(0o600))?)
}

/// A disk that is full in place of the state. Who is not root mounts it in a namespace of their own.
pub(crate) fn full_disk(trial: &Path) -> Vec<OsString> {
    let state = trial.join("state").display().to_string();
    let script = format!(
        "cp -a '{state}' '{state}.saved'
        mount -t tmpfs -o size=1m none '{state}'
        cp -a '{state}.saved/.' '{state}'
        cat /dev/zero > '{state}/fill' 2>/dev/null"
    );
    let way = ["unshare", "--mount"].map(OsString::from).into_iter();
    way.chain(shell(&script)).collect()
}
