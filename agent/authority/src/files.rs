//! The files of an authority.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use zeroize::Zeroizing;

use crate::error::AuthorityError;

/// A directory for its owner alone.
pub(crate) fn make_dir(dir: &Path) -> Result<(), AuthorityError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|source| AuthorityError::File { path: dir.to_owned(), source })
}

/// Writes a file that must not exist into `dir`, with these permissions from the first moment on;
/// when this returns, it is on disk.
pub(crate) fn write_new(
    dir: &Path,
    name: &str,
    mode: u32,
    content: &[u8],
) -> Result<(), AuthorityError> {
    let path = &dir.join(name);
    let mut options = OpenOptions::new();
    let written =
        options.write(true).create_new(true).mode(mode).open(path).and_then(|mut file| {
            file.write_all(content)?;
            file.sync_all()?;
            File::open(dir)?.sync_all()
        });
    written.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => AuthorityError::Exists(path.to_owned()),
        _ => AuthorityError::File { path: path.to_owned(), source },
    })
}

/// The content of a file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, AuthorityError> {
    fs::read(path).map_err(|source| AuthorityError::File { path: path.to_owned(), source })
}

/// The content of a private key's file, which nobody else may have read.
pub(crate) fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, AuthorityError> {
    let failed = |source| AuthorityError::File { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.permissions().mode() & 0o077 != 0 {
        return Err(AuthorityError::Exposed(path.to_owned()));
    }
    let mut content = Zeroizing::new(Vec::new());
    file.read_to_end(&mut content).map_err(failed)?;
    Ok(content)
}

/// Fails unless the file is there.
pub(crate) fn demand(path: &Path) -> Result<(), AuthorityError> {
    let found = fs::metadata(path).map(drop);
    found.map_err(|source| AuthorityError::File { path: path.to_owned(), source })
}
