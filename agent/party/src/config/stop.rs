//! Requests that this process ends: Ctrl-C, `systemctl stop`, a closed terminal.
//!
//! It is watched from the first moment on, long before there is a tokio: a request that comes early is
//! kept until somebody asks for it. It holds for the rest of the process's life.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, OnceLock};

pub use mpyc_party_sandbox::is_ignored;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;
use signal_hook::low_level::pipe;

/// The signals that a process takes for a request to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopSignals {
    /// SIGINT, SIGTERM, and SIGHUP: that its terminal is closed.
    WithHangup,
    /// SIGINT and SIGTERM, not SIGHUP, which tells this one to read its configuration again.
    WithoutHangup,
}

/// Readable once there was a request; nobody reads it.
static REQUESTED: OnceLock<UnixStream> = OnceLock::new();

/// From now on requests are kept; only the first call decides by which signals. Inherited by no program that
/// this one starts.
///
/// # Errors
/// What the system says.
pub fn watch(signals: StopSignals) -> io::Result<()> {
    if REQUESTED.get().is_some() {
        return Ok(());
    }
    let (requested, told) = UnixStream::pair()?;
    requested.set_nonblocking(true)?;
    // Under nohup(1) it is ignored, and stays so.
    let hangup = signals == StopSignals::WithHangup && !is_ignored(SIGHUP);
    let hangup = hangup.then_some(SIGHUP);
    for signal in [SIGINT, SIGTERM].into_iter().chain(hangup) {
        pipe::register(signal, told.try_clone()?)?;
    }
    // Another thread may have been faster, and is as good.
    let _ = REQUESTED.set(requested);
    Ok(())
}

/// Lets the ends of children be known, where whoever started this process has that ignored: it would wait
/// for them in vain, as for a Python that works. And lets a write beyond the limit on files (`ulimit -f`)
/// fail, rather than end this process in the middle of a run. Inherited by no program that this one starts.
///
/// # Errors
/// What the system says.
pub fn settle_inherited() -> io::Result<()> {
    let ignored = is_ignored(SIGCHLD).then_some(SIGCHLD);
    for signal in ignored.into_iter().chain([SIGXFSZ]) {
        // Any handler does; nobody looks at what it notes.
        flag::register(signal, Arc::default())?;
    }
    Ok(())
}

/// Readable once this process was asked to end; none where nothing is watched.
#[must_use]
pub fn descriptor() -> Option<BorrowedFd<'static>> {
    REQUESTED.get().map(AsFd::as_fd)
}

/// Whether this process was asked to end.
#[must_use]
pub fn is_asked() -> bool {
    let looked = |requested| {
        poll(&mut [PollFd::from_borrowed_fd(requested, PollFlags::IN)], Some(&Timespec::default()))
    };
    descriptor().is_some_and(|requested| looked(requested).is_ok_and(|ready| ready > 0))
}

/// Completes when this process was asked to end, however long ago; never where nothing is watched.
pub async fn asked() {
    let requested = REQUESTED.get().and_then(|requested| requested.try_clone().ok());
    match requested.and_then(|requested| tokio::net::UnixStream::from_std(requested).ok()) {
        Some(requested) if requested.readable().await.is_ok() => {}
        _ => std::future::pending().await,
    }
}
