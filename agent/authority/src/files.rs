//! The files of an authority.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use zeroize::Zeroizing;

use crate::error::AuthorityError;

/// Largest file in bytes, but for the records: keys and certificates are far smaller.
const MAX_FILE_BYTES: u64 = 64 * 1024;

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

/// Opens a regular file. Anything else might never begin, or never end.
fn open(path: &Path) -> io::Result<(File, Metadata)> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    match metadata.is_file() {
        true => Ok((file, metadata)),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "is no regular file")),
    }
}

/// The content of a file of at most [`MAX_FILE_BYTES`].
fn content(file: &File) -> io::Result<Zeroizing<Vec<u8>>> {
    let most = usize::try_from(MAX_FILE_BYTES).unwrap_or_default();
    let mut content = Zeroizing::new(Vec::with_capacity(most + 1));
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut content)?;
    if content.len() > most {
        let text = format!("is larger than {MAX_FILE_BYTES} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(content)
}

/// The content of a file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, AuthorityError> {
    let read = open(path).and_then(|(file, _)| content(&file));
    let failed = |source| AuthorityError::File { path: path.to_owned(), source };
    read.map(|content| content.to_vec()).map_err(failed)
}

/// The content of a private key's file, which nobody else may have read.
pub(crate) fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, AuthorityError> {
    let failed = |source| AuthorityError::File { path: path.to_owned(), source };
    let (file, metadata) = open(path).map_err(failed)?;
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(AuthorityError::Exposed(path.to_owned()));
    }
    content(&file).map_err(failed)
}

/// Fails unless the regular file is there.
pub(crate) fn demand(path: &Path) -> Result<(), AuthorityError> {
    let found = open(path).map(drop);
    found.map_err(|source| AuthorityError::File { path: path.to_owned(), source })
}
