//! The few system calls that no safe wrapper offers. All other modules are free of `unsafe`.
#![expect(unsafe_code, reason = "system calls without a safe wrapper: clone, dup2, mount_setattr")]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Pid;

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

/// Forks, into new namespaces as `flags` say. The child runs `task` and exits with what it
/// returns; the parent gets its number, which is nobody else's until the parent has waited for it. Only for
/// processes with a single thread.
pub(crate) fn clone(flags: libc::c_int, task: impl FnOnce() -> i32) -> io::Result<Pid> {
    let flags = libc::c_long::from(flags | libc::SIGCHLD);
    // SAFETY: without CLONE_VM this is a fork: the child continues on a copy of all memory and of
    // the stack (null means the same address). The single thread holds no lock.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0_usize, 0_usize, 0_usize, 0_usize) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let status = catch_unwind(AssertUnwindSafe(task)).unwrap_or(FAILED);
            // SAFETY: ends this process without running what the parent registered for its own end.
            unsafe { libc::_exit(status) }
        }
        pid => i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(io::Error::last_os_error),
    }
}

/// Closes the copy of a descriptor that a child began with, and which only its parent is to have.
/// What it is in remains, and is not used: for a child that never returns.
pub(crate) fn close_copy(descriptor: &OwnedFd) {
    // SAFETY: touches no memory. The child neither uses nor drops the owner of this number.
    unsafe { libc::close(descriptor.as_raw_fd()) };
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
    let closed = check(unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) });
    match closed.as_ref().map_err(io::Error::raw_os_error) {
        // Linux before 5.11, or a container that is older than the call.
        Err(Some(libc::ENOSYS | libc::EPERM | libc::EINVAL)) => {
            close_one_by_one(first, last, flags);
            Ok(())
        }
        _ => closed,
    }
}

/// What `close_range` does, where there is none: up to the highest descriptor that there can be.
fn close_one_by_one(first: RawFd, last: RawFd, flags: libc::c_uint) {
    for number in first..=last.min(HIGHEST_DESCRIPTOR.load(Ordering::Relaxed)) {
        // SAFETY: touches no memory, and an unused number is an error that means nothing here; the
        // callers' processes use none of these descriptors any more.
        unsafe {
            match flags {
                0 => libc::close(number),
                _ => libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC),
            };
        }
    }
}

/// The highest descriptor that was open when children began; those that they open themselves are
/// closed by exec.
static HIGHEST_DESCRIPTOR: AtomicI32 = AtomicI32::new(0);

/// Notes the highest descriptor that children will begin with: they do not see `/proc`.
pub(crate) fn note_descriptors() -> io::Result<()> {
    for entry in std::fs::read_dir("/proc/self/fd")? {
        if let Some(number) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) {
            HIGHEST_DESCRIPTOR.fetch_max(number, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// Whether the kernel has this call and this process may make it. It is made with arguments, all of
/// whose bits are set or clear, that the kernel refuses as not valid before it does anything.
pub(crate) fn has(call: libc::c_long, arguments: [libc::c_long; 5]) -> Result<(), libc::c_int> {
    let [a, b, c, d, e] = arguments;
    // SAFETY: the callers give arguments that the kernel refuses before it follows a pointer.
    match check(unsafe { libc::syscall(call, a, b, c, d, e) }).map_err(|it| it.raw_os_error()) {
        Err(Some(errno @ (libc::ENOSYS | libc::EPERM))) => Err(errno),
        _ => Ok(()),
    }
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

/// Whether this process ignores `signal`, as it may do from its start: exec leaves that as it is.
#[must_use]
pub fn is_ignored(signal: libc::c_int) -> bool {
    // SAFETY: a null pointer changes nothing, and the action that holds is written where it can be; all
    // bits clear are an action as well.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let asked = libc::sigaction(signal, std::ptr::null(), &raw mut action);
        asked == 0 && action.sa_sigaction == libc::SIG_IGN
    }
}

fn check(result: libc::c_long) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
