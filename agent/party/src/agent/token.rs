//! Where an enrolment token may have been left for this machine, and how it is taken away there.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use mpyc_party_core::token::{Token, TokenError};
use mpyc_party_transport::task::blocking;
use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::userdata::{self, UserDataError};
use crate::config::Agent;
use crate::config::files::{self, FileError, ReadError, at};

/// Largest file that is searched for a token, in bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;
/// Where the kernel tells who made this machine.
const VENDOR: &str = "/sys/class/dmi/id/sys_vendor";
/// The vendor whose metadata is asked.
const DIGITALOCEAN: &[u8] = b"DigitalOcean";
/// Where a DigitalOcean machine is told its user data.
const USER_DATA: &str = "http://169.254.169.254/metadata/v1/user-data";

/// The credential in which a machine's manager hands a token over.
const HANDED_OVER: &str = "mpyc-party.token";

/// Where sops-nix and agenix put secrets, and put them again at each start.
const MANAGED_DIRECTORIES: [&str; 2] = ["/run/secrets", "/run/agenix"];

/// A place where a token may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// What the command line names: a file, to be removed, or a pipe, which keeps nothing.
    Named(PathBuf),
    /// A file, to be removed.
    File(PathBuf),
    /// A systemd credential, which goes with the unit.
    Credential(PathBuf),
    /// The user data of a cloud's machine, which stays.
    UserData(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(path) | Self::File(path) => write!(f, "{}", path.display()),
            Self::Credential(path) => {
                let name = path.file_name().unwrap_or_default();
                write!(f, "the credential «{}»", name.display())
            }
            Self::UserData(address) => write!(f, "the user data at {address}"),
        }
    }
}

/// Why a place cannot be searched for a token, or has none.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The user data cannot be had.
    #[error(transparent)]
    UserData(#[from] UserDataError),
    /// There is something else.
    #[error("it holds no enrolment token")]
    NoToken,
    /// There is one that is damaged.
    #[error(transparent)]
    Damaged(TokenError),
}

impl SourceError {
    /// Why there is no token in `text`.
    fn of(text: &str) -> Self {
        match Token::from_text(text) {
            Err(why) if why != TokenError::Foreign => Self::Damaged(why),
            _ => Self::NoToken,
        }
    }
}

/// Why a token that was used is still where it was.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenStays {
    /// The file cannot be removed.
    #[error("{0}. It cannot be used again; remove it as somebody who may")]
    File(#[from] FileError),
    /// It is a manager's of secrets.
    #[error("it belongs to what manages secrets here, and is good for no other machine")]
    Managed,
    /// It is the service manager's.
    #[error(
        "a credential cannot be removed from within: it cannot be used again, and its source can be removed"
    )]
    Credential,
    /// It is the cloud's.
    #[error("user data cannot be removed from within: it cannot be used again")]
    UserData,
}

/// A token, and where it was found.
#[derive(Clone)]
pub(super) struct Found {
    /// Where.
    pub(super) source: Source,
    /// The token.
    pub(super) text: Zeroizing<String>,
}

/// The places in which a token is looked for, best first: the file that was `told` (else `token` in
/// the directory `state`), and those of the configuration.
#[must_use]
pub(super) fn sources(told: Option<&Path>, state: &Path, config: &Agent) -> Vec<Source> {
    let credential = std::env::var_os("CREDENTIALS_DIRECTORY");
    let credential = credential.map(|dir| Source::Credential(Path::new(&dir).join("token")));
    let vendor = || files::read(Path::new(VENDOR), MAX_FILE_BYTES).unwrap_or_default();
    let cloud = || (vendor().trim_ascii() == DIGITALOCEAN).then(|| USER_DATA.to_owned());
    let user_data = config.metadata.clone().or_else(cloud).map(Source::UserData);
    let files = config.token_files.iter().cloned().map(Source::File);
    let usual = || Source::File(state.join("token"));
    let told = told.map_or_else(usual, |told| Source::Named(told.to_owned()));
    std::iter::once(told).chain(credential).chain(files).chain(user_data).collect()
}

/// The places where a token for this machine may have been handed over: the file that was `told`, and
/// the credential of that name.
#[must_use]
pub(super) fn handed_over(told: &Path) -> Vec<Source> {
    let credential = std::env::var_os("CREDENTIALS_DIRECTORY");
    let credential = credential.map(|dir| Path::new(&dir).join(HANDED_OVER));
    [Source::File(told.to_owned())].into_iter().chain(credential.map(Source::Credential)).collect()
}

/// The token in the pipe that is named among `sources`, where one is: it can be read once only.
pub(super) async fn from_pipe(
    sources: &[Source],
    complain: impl FnOnce(&Source, SourceError),
) -> Option<Found> {
    let (source, path) = sources.iter().find_map(|source| match source {
        Source::Named(path) => Some((source.clone(), path.clone())),
        _ => None,
    })?;
    let read = move || match files::metadata(&path) {
        Ok(Some(found)) if !found.is_file() => Some(files::read_named(&path, MAX_FILE_BYTES)),
        _ => None,
    };
    let read = blocking(read).await?.map_err(|error| error.source.into());
    let text = read.and_then(|content| {
        let text = Zeroizing::new(String::from_utf8_lossy(&content.bytes).into_owned());
        pick(&text).ok_or_else(|| SourceError::of(&text))
    });
    match text {
        Ok(text) => Some(Found { source, text }),
        Err(why) => {
            complain(&source, why);
            None
        }
    }
}

/// The first token in `sources`. One that cannot be looked at is told to `complain`, with why.
pub(super) async fn find(
    sources: &[Source],
    mut complain: impl FnMut(&Source, SourceError),
) -> Option<Found> {
    for source in sources {
        let text = match source {
            Source::Named(path) | Source::File(path) | Source::Credential(path) => {
                let path = path.clone();
                blocking(move || read(&path)).await
            }
            Source::UserData(address) => {
                userdata::get(address).await.map(Some).map_err(SourceError::from)
            }
        };
        match text {
            Ok(None) => {}
            Ok(Some(text)) => match pick(&text) {
                Some(token) => return Some(Found { source: source.clone(), text: token }),
                // User data is for many purposes; a file that was left here is for one.
                None if matches!(source, Source::UserData(_)) => {}
                None => complain(source, SourceError::of(&text)),
            },
            Err(why) => complain(source, why),
        }
    }
    None
}

/// The text of a file that may hold a token; none where there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<Zeroizing<String>>, SourceError> {
    match files::read(path, MAX_FILE_BYTES) {
        Ok(bytes) => {
            let bytes = Zeroizing::new(bytes);
            Ok(Some(Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned())))
        }
        Err(error) if error.source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.source.into()),
    }
}

/// The token in `text`, whatever stands around it. Where there is nothing else, it may be in several lines,
/// as mail wraps it.
#[must_use]
pub fn pick(text: &str) -> Option<Zeroizing<String>> {
    if let Ok(alone) = Token::from_text(text) {
        return alone.to_text().ok();
    }
    let part_of_token = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let words = text.split(|c| !part_of_token(c));
    let token = words.into_iter().find(|word| Token::from_text(word).is_ok())?;
    Some(Zeroizing::new(token.to_owned()))
}

impl Source {
    /// Whether this is a file that is there, to be removed.
    pub(super) fn is_left(&self) -> bool {
        matches!(self, Self::File(path) if path.symlink_metadata().is_ok() && !is_managed(path))
    }

    /// Takes the used token away, as far as that can be done from here; else says what to do.
    ///
    /// # Errors
    /// What remains to be done.
    pub(super) fn clear(&self) -> Result<(), TokenStays> {
        match self {
            Self::Named(path) if !is_kept(path) => Ok(()),
            Self::Named(path) | Self::File(path) if is_managed(path) => Err(TokenStays::Managed),
            Self::Named(path) | Self::File(path) => Ok(wipe(path)?),
            Self::Credential(_) => Err(TokenStays::Credential),
            Self::UserData(_) => Err(TokenStays::UserData),
        }
    }
}

/// Whether what was read at `path` is still there.
fn is_kept(path: &Path) -> bool {
    files::is_file(path).unwrap_or(true)
}

/// Whether the file at `path` is not there to be removed: what manages secrets would put it there
/// again, and a link is the way to another's file.
pub(super) fn is_managed(path: &Path) -> bool {
    let is_link = || path.symlink_metadata().is_ok_and(|found| found.is_symlink());
    MANAGED_DIRECTORIES.iter().any(|directory| path.starts_with(directory)) || is_link()
}

/// Overwrites and removes the file at `path`; it is another's where that is only a link to it, such as
/// `/dev/stdin`.
fn wipe(path: &Path) -> Result<(), FileError> {
    if !at(path, path.symlink_metadata())?.is_file() {
        return at(path, Err(ReadError::NotRegular("no file of its own").into()));
    }
    let overwrite = || {
        let mut file = OpenOptions::new().write(true).custom_flags(IN_PLACE).open(path)?;
        let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        file.write_all(&vec![b' '; length.min(1 << 20)])?;
        file.sync_all()
    };
    // A file that may not be written may still be removed: both are tried.
    let overwritten = overwrite();
    at(path, fs::remove_file(path))?;
    let directory = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    at(path, files::open_dir(directory.unwrap_or(Path::new("."))).and_then(|dir| dir.sync_all()))?;
    at(path, overwritten)
}

/// Symbolic links are not followed, and no reader of a FIFO is waited for.
const IN_PLACE: i32 = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).bits().cast_signed();

/// Moves the first token of `sources` into the new file `target`, for the owner of its directory.
/// Where it came from, if there was one.
///
/// This may be root, and that owner somebody who means ill: what has that name is removed, and the
/// file made anew, which follows no link (open(2), `O_EXCL`).
///
/// # Errors
/// Where the file cannot be written; the token is then still where it was.
pub(super) async fn take(sources: &[Source], target: &Path) -> Result<Option<Source>, FileError> {
    let mut complain = |source: &Source, why: SourceError| log::warn!("{source}: {why}");
    let Some(Found { source, text }) = find(sources, &mut complain).await else { return Ok(None) };
    let directory = target.parent().filter(|dir| !dir.as_os_str().is_empty());
    let owner = at(target, directory.unwrap_or(Path::new(".")).metadata())?;
    match fs::remove_file(target) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return at(target, Err(error)),
        _ => {}
    }
    let mut file = files::create_private(target)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| {
        std::os::unix::fs::fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
        file.sync_all()
    });
    at(target, written)?;
    Ok(Some(source))
}

#[cfg(test)]
mod tests {
    use mpyc_party_core::claims::Fingerprint;
    use mpyc_party_core::token::Secret;

    use super::*;

    fn token() -> Zeroizing<String> {
        let (hubs, root) = (vec!["hub:1".to_owned()], Fingerprint([1; 32]));
        let network = "example".parse().unwrap();
        Token { network, hubs, root, secret: Secret([2; 32]) }.to_text().unwrap()
    }

    #[test]
    fn a_token_is_found_in_whatever_surrounds_it() {
        let token = token();
        for text in [
            format!("{}\n", *token),
            format!("#cloud-config\nwrite_files:\n- content: \"{}\"\n", *token),
            format!("#!/bin/sh\nTOKEN={}; export TOKEN", *token),
            format!("mpyc1 is how it begins: '{}'", *token),
            format!("\u{feff}> {}\r\n> {}\r\n", &token[..40], &token[40..]),
        ] {
            assert_eq!(pick(&text).as_deref(), Some(&*token), "{text}");
        }
        let (short, typo) = (&token[..token.len() - 1], token.replace('A', "B"));
        for text in ["", "mpyc1", short, &typo] {
            assert!(pick(text).is_none(), "{text}");
        }
    }

    #[tokio::test]
    async fn the_first_place_with_a_token_counts_and_a_bad_one_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| Source::File(dir.path().join(name));
        fs::write(dir.path().join("bad"), "what?").unwrap();
        fs::write(dir.path().join("torn"), &token()[..60]).unwrap();
        fs::write(dir.path().join("good"), &*token()).unwrap();
        let mut told = Vec::new();
        let all = [file("none"), file("bad"), file("torn"), file("good")];
        let found =
            find(&all, |source, why| told.push((source.clone(), why.to_string()))).await.unwrap();
        assert_eq!((found.source, found.text), (file("good"), token()));
        let (bad, torn) = (SourceError::NoToken, TokenError::Truncated);
        assert_eq!(told, [(file("bad"), bad.to_string()), (file("torn"), torn.to_string())]);
    }

    #[test]
    fn a_wiped_file_is_overwritten_under_every_name_it_has() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("token"), dir.path().join("other"));
        fs::write(&path, &*token()).unwrap();
        fs::hard_link(&path, &other).unwrap();
        Source::File(path.clone()).clear().unwrap();
        assert!(!path.exists() && fs::read_to_string(other).unwrap().trim().is_empty());
    }

    #[test]
    fn what_manages_secrets_keeps_them() {
        let dir = tempfile::tempdir().unwrap();
        let (link, secret) = (dir.path().join("token"), dir.path().join("secret"));
        fs::write(&secret, &*token()).unwrap();
        std::os::unix::fs::symlink(&secret, &link).unwrap();
        for path in [link.as_path(), "/run/secrets/x".as_ref(), "/run/agenix/x".as_ref()] {
            let source = Source::File(path.to_owned());
            assert!(!source.is_left());
            assert!(matches!(source.clear(), Err(TokenStays::Managed)), "{source}");
        }
        assert!(link.is_symlink() && fs::read_to_string(&secret).unwrap() == *token());
        assert!(Source::File(secret).is_left());
    }

    #[tokio::test]
    async fn a_taken_token_belongs_to_the_owner_of_its_new_place() {
        let dir = tempfile::tempdir().unwrap();
        let (left, target) = (dir.path().join("left"), dir.path().join("token"));
        fs::write(&left, &*token()).unwrap();
        let sources = [Source::File(left)];
        assert_eq!(take(&sources, &target).await.unwrap().as_ref(), Some(&sources[0]));
        assert_eq!(fs::read_to_string(&target).unwrap(), *token());
        let mode = target.metadata().unwrap().mode();
        assert_eq!(
            (mode & 0o777, target.metadata().unwrap().uid()),
            (0o600, dir.path().metadata().unwrap().uid())
        );
        let (victim, planted) = (dir.path().join("victim"), dir.path().join("planted"));
        fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, &planted).unwrap();
        assert!(take(&sources, &planted).await.unwrap().is_some());
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious", "a link was followed");
        assert!(planted.symlink_metadata().unwrap().is_file());
        fs::remove_file(&planted).unwrap();
        std::os::unix::fs::symlink(dir.path().join("none"), &planted).unwrap();
        assert!(take(&sources, &planted).await.unwrap().is_some());
        assert!(!dir.path().join("none").exists(), "a link was followed");
        fs::create_dir(dir.path().join("directory")).unwrap();
        assert!(take(&sources, &dir.path().join("directory")).await.is_err());
        assert_eq!(fs::read_dir(dir.path().join("directory")).unwrap().count(), 0);
    }
}
