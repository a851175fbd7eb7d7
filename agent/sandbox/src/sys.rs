//! The few system calls that no safe wrapper offers. All other modules are free of `unsafe`.
#![expect(unsafe_code, reason = "system calls without a safe wrapper: clone, dup2, mount_setattr")]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use rustix::process::PidfdFlags;

use crate::SandboxError;

/// The status of a child that failed before or instead of its task.
pub(crate) const FAILED: i32 = 127;

/// How long a thread that was joined may still be listed: it wakes the one who joins it before it is
/// gone.
const EXIT_TIME: Duration = Duration::from_secs(1);
/// How often it is looked whether it is gone.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Refuses where other threads run: a child has only the calling one, and finds the locks of all
/// others, the allocator's too, as they were.
pub(crate) fn require_single_thread() -> Result<(), SandboxError> {
    let due = Instant::now() + EXIT_TIME;
    loop {
        let tasks = std::fs::read_dir("/proc/self/task").map_err(SandboxError::Channels)?.count();
        match tasks {
            1 => return Ok(()),
            others if Instant::now() >= due => return Err(SandboxError::Threads(others)),
            _ => std::thread::sleep(LOOK_EVERY),
        }
    }
}

/// A descriptor that becomes readable when this process ends.
pub(crate) fn own_pidfd() -> io::Result<OwnedFd> {
    Ok(rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?)
}

/// Forks, into new namespaces as `flags` say. The child runs `task` and exits with what it
/// returns; the parent gets a pidfd. Only for processes with a single thread.
pub(crate) fn clone(flags: libc::c_int, task: impl FnOnce() -> i32) -> io::Result<OwnedFd> {
    let mut pidfd: RawFd = -1;
    let flags = libc::c_long::from(flags | libc::CLONE_PIDFD | libc::SIGCHLD);
    // SAFETY: without CLONE_VM this is a fork: the child continues on a copy of all memory and of
    // the stack (null means the same address). The single thread holds no lock. The kernel writes
    // the pidfd where the third argument points, on every architecture.
    let pid =
        unsafe { libc::syscall(libc::SYS_clone, flags, 0_usize, &raw mut pidfd, 0_usize, 0_usize) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let status = catch_unwind(AssertUnwindSafe(task)).unwrap_or(FAILED);
            // SAFETY: ends this process without running what the parent registered for its own end.
            unsafe { libc::_exit(status) }
        }
        // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
        _ => Ok(unsafe { OwnedFd::from_raw_fd(pidfd) }),
    }
}

/// Makes `number` refer to what `descriptor` refers to, and to survive exec.
pub(crate) fn place(descriptor: impl AsFd, number: RawFd) -> io::Result<()> {
    // SAFETY: dup2 touches no memory. It may close `number`: callers are children that own no
    // descriptor of that number any more.
    check(unsafe { libc::dup2(descriptor.as_fd().as_raw_fd(), number) }.into())
}

/// Has exec close all descriptors from `first` upwards.
pub(crate) fn close_on_exec_from(first: RawFd) -> io::Result<()> {
    close_range(first, RawFd::MAX, libc::CLOSE_RANGE_CLOEXEC)
}

/// Closes all descriptors but these, now. Only for a process that uses no other any more.
pub(crate) fn close_all_but(keep: &[&dyn AsFd]) -> io::Result<()> {
    let mut keep: Vec<RawFd> = keep.iter().map(|fd| fd.as_fd().as_raw_fd()).collect();
    keep.sort_unstable();
    let mut first = 0;
    for number in keep {
        if first < number {
            close_range(first, number - 1, 0)?;
        }
        first = number + 1;
    }
    close_range(first, RawFd::MAX, 0)
}

fn close_range(first: RawFd, last: RawFd, flags: libc::c_uint) -> io::Result<()> {
    // SAFETY: touches no memory; the callers' processes use none of these descriptors any more.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) })
}

/// Sets mount attributes (`MOUNT_ATTR_*`) on the mount of `tree` and all below it.
pub(crate) fn set_mount_attributes(tree: impl AsFd, attributes: u64) -> io::Result<()> {
    let change =
        libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let here: &CStr = c"";
    // SAFETY: both pointers are to live values, and the size is that of the structure.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_fd().as_raw_fd(),
            here.as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            &raw const change,
            size_of::<libc::mount_attr>(),
        )
    })
}

/// Gives every signal its default effect and unblocks all: both would outlive exec.
pub(crate) fn reset_signals() {
    // SAFETY: SIG_DFL runs no code of ours, the set is initialised by sigemptyset; signals that
    // cannot be changed answer with an error that means nothing here.
    unsafe {
        for signal in 1..=libc::SIGRTMAX() {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

fn check(result: libc::c_long) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
