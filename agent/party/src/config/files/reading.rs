//! The one place where this program opens a file to read it.
//!
//! Regular files are read, and nothing else: a FIFO nobody writes to never begins, a device never
//! ends. The exception is a pipe that a person names on the command line. Either is bounded in size
//! and [in time](bounded), so that a mount that hangs is an error like any other.

use std::fs::{File, FileType, Metadata};
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use zeroize::Zeroizing;

use super::FileError;
use crate::config::bounded;

/// How long it may take to read a file: its disk may have to spin up, its server to come back.
pub const FILE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a pipe may take: whoever writes into it may be asked for a password first, as by SSH.
pub const PIPE_TIMEOUT: Duration = Duration::from_secs(120);
/// How often a file is tried that another process holds a lease on (fcntl(2), `F_SETLEASE`).
const LEASE_POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Nothing is waited for at the other end of what is opened, and no terminal becomes this process's.
const NOT_WAITING: i32 = (OFlags::NONBLOCK.bits() | OFlags::NOCTTY.bits()).cast_signed();
/// Bytes that are taken from a pipe at once.
const PIPE_BYTES: usize = 64 * 1024;

/// Why something that is there is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It is no regular file.
    #[error("is {0}: name a regular file")]
    NotRegular(&'static str),
    /// It holds too much, in bytes.
    #[error("is larger than {0} bytes")]
    TooLarge(u64),
    /// It is a pipe, and somebody keeps it open.
    #[error("is a pipe that did not end within {} s: whoever writes into it has to close it", .0.as_secs_f32())]
    PipeOpen(Duration),
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        let kind = match error {
            ReadError::NotRegular(_) => ErrorKind::InvalidInput,
            ReadError::TooLarge(_) => ErrorKind::FileTooLarge,
            ReadError::PipeOpen(_) => ErrorKind::TimedOut,
        };
        Self::new(kind, error)
    }
}

/// What is read: where it is, and what may be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source<'a> {
    /// A regular file.
    File(&'a Path),
    /// What a person names on the command line: a regular file, or a pipe.
    Named(&'a Path),
}

/// A file that was read: what it held, and what it was at that moment.
#[derive(Debug)]
pub struct Content {
    /// Its bytes.
    pub bytes: Zeroizing<Vec<u8>>,
    /// What its descriptor says of it.
    pub metadata: Metadata,
}

/// In words, what is no regular file.
fn kind(found: FileType) -> &'static str {
    match found {
        found if found.is_dir() => "a directory",
        found if found.is_fifo() => "a FIFO",
        found if found.is_socket() => "a socket",
        found if found.is_char_device() || found.is_block_device() => "a device",
        _ => "something else",
    }
}

/// Opens what is at `path`, without waiting for anybody at the other end of it, and tells what it is.
fn open_any(path: &Path, due: Instant) -> io::Result<(File, Metadata)> {
    let file = loop {
        match File::options().read(true).custom_flags(NOT_WAITING).open(path) {
            // Its holder has been told, and has a while to give it back.
            Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < due => {
                thread::sleep(LEASE_POLL_INTERVAL);
            }
            // A socket is not opened at all.
            Err(error) if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => {
                let found = path.metadata().map_err(|_| error)?.file_type();
                return Err(ReadError::NotRegular(kind(found)).into());
            }
            opened => break opened?,
        }
    };
    let metadata = file.metadata()?;
    Ok((file, metadata))
}

/// Refuses all but regular files: what is checked is what was opened, whatever has taken its name
/// since.
fn regular(file: File) -> io::Result<(File, Metadata)> {
    let metadata = file.metadata()?;
    match metadata.file_type() {
        found if found.is_file() => Ok((file, metadata)),
        found => Err(ReadError::NotRegular(kind(found)).into()),
    }
}

/// Opens the file at `path` to take its lock, and makes it where there is none.
///
/// # Errors
/// As [`open`].
pub fn open_lock(path: &Path) -> Result<File, FileError> {
    let own = path.to_owned();
    let opened = bounded::within(FILE_TIMEOUT, move || {
        let options = File::options().read(true).write(true).create(true).truncate(false).clone();
        let file = { options }.mode(0o600).custom_flags(NOT_WAITING).open(own)?;
        regular(file).map(|(file, _)| file)
    });
    super::at(path, opened.map_err(Into::into).flatten())
}

/// Opens the regular file at `path`.
///
/// # Errors
/// What the system says, that it is no regular file, or that it takes too long.
pub fn open(path: &Path) -> Result<File, FileError> {
    open_within(path, FILE_TIMEOUT)
}

/// The same, where it may take no longer than `limit`.
///
/// # Errors
/// As [`open`].
pub fn open_within(path: &Path, limit: Duration) -> Result<File, FileError> {
    let own = path.to_owned();
    let opened = bounded::within(limit, move || open_unbounded(&own));
    super::at(path, opened.map_err(Into::into).flatten())
}

/// The same, for one of many that are opened within one limit.
///
/// # Errors
/// As [`open`].
pub fn open_unbounded(path: &Path) -> io::Result<File> {
    regular(open_any(path, Instant::now() + FILE_TIMEOUT)?.0).map(|(file, _)| file)
}

/// Reads a regular file of at most `most` bytes, one of many that are read within one limit.
///
/// # Errors
/// As [`read`].
pub fn read_unbounded(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let (file, metadata) = regular(open_any(path, Instant::now() + FILE_TIMEOUT)?.0)?;
    take(&file, metadata.len(), most).map(|mut bytes| std::mem::take(&mut *bytes))
}

/// Opens a directory, and nothing else.
///
/// # Errors
/// What the system says.
pub fn open_dir(path: &Path) -> io::Result<File> {
    let flags = NOT_WAITING | OFlags::DIRECTORY.bits().cast_signed();
    File::options().read(true).custom_flags(flags).open(path)
}

/// Opens the terminal of this process, on which a person answers.
///
/// # Errors
/// Where there is none.
pub fn open_terminal() -> io::Result<File> {
    File::open("/dev/tty")
}

/// Reads a regular file of at most `most` bytes.
///
/// # Errors
/// As [`open`], and that the file is larger.
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>, FileError> {
    read_content(path, most).map(|mut content| std::mem::take(&mut *content.bytes))
}

/// The same, with what the file was at that moment.
///
/// # Errors
/// As [`read`].
pub fn read_content(path: &Path, most: u64) -> Result<Content, FileError> {
    read_within(Source::File(path), most, FILE_TIMEOUT)
}

/// Reads what was named on the command line, at most `most` bytes of it.
///
/// # Errors
/// As [`read`], and that a pipe does not end.
pub fn read_named(path: &Path, most: u64) -> Result<Content, FileError> {
    read_within(Source::Named(path), most, PIPE_TIMEOUT)
}

/// Reads `source`, at most `most` bytes of it and within `limit`.
///
/// # Errors
/// As [`read_named`].
pub fn read_within(source: Source<'_>, most: u64, limit: Duration) -> Result<Content, FileError> {
    let (Source::File(path) | Source::Named(path)) = source;
    let (own, may_be_pipe) = (path.to_owned(), matches!(source, Source::Named(_)));
    let read = move || {
        let due = Instant::now() + limit;
        let (file, metadata) = open_any(&own, due)?;
        let bytes = match metadata.file_type() {
            found if found.is_file() => take(&file, metadata.len(), most)?,
            found if found.is_dir() || !may_be_pipe => {
                return Err(ReadError::NotRegular(kind(found)).into());
            }
            _ => take_pipe(&file, most, limit)?,
        };
        Ok(Content { bytes, metadata })
    };
    // The pipe's own limit comes first, and says more.
    let slack = if may_be_pipe { Duration::from_secs(1) } else { Duration::ZERO };
    let read = bounded::within(limit + slack, read);
    super::at(path, read.map_err(Into::into).flatten())
}

/// Reads standard input to its end, at most `most` bytes of it.
///
/// # Errors
/// As [`read_named`].
pub fn read_stdin(most: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let read = move || take_pipe(&io::stdin(), most, PIPE_TIMEOUT);
    bounded::within(PIPE_TIMEOUT + Duration::from_secs(1), read)?
}

/// Reads a regular file of about `length` bytes. One that grows meanwhile is too large some time.
fn take(file: &File, length: u64, most: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let room = usize::try_from(length.min(most)).unwrap_or_default().saturating_add(1);
    // With room for all of it from the start, no part of a secret is left where the vector was before.
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    check(bytes, most)
}

/// Reads a pipe to its end, for at most `limit`.
fn take_pipe(pipe: &impl AsFd, most: u64, limit: Duration) -> io::Result<Zeroizing<Vec<u8>>> {
    let (due, mut bytes) = (Instant::now() + limit, Zeroizing::new(Vec::new()));
    let mut piece = Zeroizing::new(vec![0; PIPE_BYTES]);
    while bytes.len() as u64 <= most {
        wait_for(pipe, due).map_err(|error| match error.kind() {
            ErrorKind::TimedOut => ReadError::PipeOpen(limit).into(),
            _ => error,
        })?;
        match rustix::io::read(pipe, piece.as_mut_slice()) {
            Ok(0) => return check(bytes, most),
            Ok(length) => bytes.extend_from_slice(&piece[..length]),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(error) => return Err(error.into()),
        }
    }
    check(bytes, most)
}

/// Waits until there is something to be read, or the end. A FIFO that nobody has opened for writing
/// yet has none: its writer is still to come.
fn wait_for(pipe: &impl AsFd, due: Instant) -> io::Result<()> {
    loop {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        let mut polled = [PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN)];
        match poll(&mut polled, Some(&left)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

fn check(bytes: Zeroizing<Vec<u8>>, most: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    match bytes.len() as u64 {
        length if length > most => Err(ReadError::TooLarge(most).into()),
        _ => Ok(bytes),
    }
}
