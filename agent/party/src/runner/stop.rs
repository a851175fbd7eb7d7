//! The wish that this process ends: Ctrl-C, `systemctl stop`, a closed terminal.
//!
//! It is watched from the first moment on, long before there is a tokio: a wish that comes early is
//! kept until somebody asks for it. It holds for the rest of the process's life.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

/// What a process takes for a wish to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Also that its terminal is closed.
    OrHangup,
    /// Not SIGHUP, which tells this one to read its configuration again.
    NotHangup,
}

/// Readable once there was a wish; nobody reads it.
static WISHED: OnceLock<UnixStream> = OnceLock::new();

/// From now on wishes are kept; only the first call decides which. Inherited by no program that
/// this one starts.
///
/// # Errors
/// What the system says.
pub fn watch(wish: Wish) -> io::Result<()> {
    if WISHED.get().is_some() {
        return Ok(());
    }
    let (wished, told) = UnixStream::pair()?;
    wished.set_nonblocking(true)?;
    let hangup = (wish == Wish::OrHangup).then_some(SIGHUP);
    for signal in [SIGINT, SIGTERM].into_iter().chain(hangup) {
        pipe::register(signal, told.try_clone()?)?;
    }
    // Another thread may have been faster, and is as good.
    let _ = WISHED.set(wished);
    Ok(())
}

/// Readable once this process was asked to end; none where nothing is watched.
#[must_use]
pub fn descriptor() -> Option<BorrowedFd<'static>> {
    WISHED.get().map(AsFd::as_fd)
}

/// Whether this process was asked to end.
#[must_use]
pub fn is_asked() -> bool {
    let looked = |wished| {
        poll(&mut [PollFd::from_borrowed_fd(wished, PollFlags::IN)], Some(&Timespec::default()))
    };
    descriptor().is_some_and(|wished| looked(wished).is_ok_and(|ready| ready > 0))
}

/// Completes when this process was asked to end, however long ago; never where nothing is watched.
pub async fn asked() {
    let wished = WISHED.get().and_then(|wished| wished.try_clone().ok());
    match wished.and_then(|wished| tokio::net::UnixStream::from_std(wished).ok()) {
        Some(wished) if wished.readable().await.is_ok() => {}
        _ => std::future::pending().await,
    }
}
