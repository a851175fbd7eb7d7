//! The system calls a computation needs, and no others.
//!
//! An allow-list: what it does not name answers `ENOSYS`, as on a kernel that lacks the call. C
//! libraries and interpreters have to be ready for that answer, and fall back to older calls
//! (`clone3` to `clone`, `faccessat2` to `faccessat`), so calls that a new C library tries first do
//! no harm; `EPERM` would make them give up. A call of another architecture kills the process; the
//! x32 calls of `x86_64` are other numbers, and thus unknown.
//!
//! Beyond plain computing on files and descriptors it allows
//! - threads, but no second process: limits are per process, and a single one cannot outgrow them;
//! - `socketpair` of Unix streams, which `asyncio` wakes itself with. Datagram pairs could be sent
//!   to any socket in view;
//! - memory that `RLIMIT_DATA` counts: no shared anonymous memory, no stacks that grow;
//! - signals to the process itself, also where no PID namespace hides the others.
//!
//! Calls that change files by their path but that landlock does not see are left out: `chmod`,
//! `chown`, `utime`, `truncate`, `setxattr`. Without a mount namespace they would reach every file
//! of this user.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use crate::error::{Failure, Stage};

/// Installs the filter for this process, for good.
pub(crate) fn install() -> Result<(), Failure> {
    let program = filter().map_err(Failure::of(Stage::Seccomp))?;
    seccompiler::apply_filter(&program).map_err(Failure::of(Stage::Seccomp))
}

fn filter() -> Result<BpfProgram, seccompiler::BackendError> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    let refused = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        ALLOWED.iter().chain(LEGACY).map(|call| (*call, Vec::new())).collect();
    rules.extend(conditional()?);
    SeccompFilter::new(rules, refused, SeccompAction::Allow, architecture)?.try_into()
}

/// Calls that are allowed with certain arguments only.
fn conditional() -> Result<Vec<(c_long, Vec<SeccompRule>)>, seccompiler::BackendError> {
    let this_process = u64::from(std::process::id());
    let thread = bits(libc::CLONE_THREAD);
    let mappings = [0, bits(libc::MAP_ANONYMOUS), bits(libc::MAP_SHARED)];
    let stream_pair = vec![
        equal(0, ALL_BITS, bits(libc::AF_UNIX))?,
        equal(1, SOCKET_TYPE, bits(libc::SOCK_STREAM))?,
    ];
    Ok(vec![
        (libc::SYS_clone, one_of(0, thread | bits(NAMESPACES), &[thread])?),
        (libc::SYS_mmap, one_of(3, bits(MAPPING), &mappings)?),
        (libc::SYS_kill, one_of(0, ALL_BITS, &[this_process])?),
        (libc::SYS_tgkill, one_of(0, ALL_BITS, &[this_process])?),
        (libc::SYS_prlimit64, one_of(0, ALL_BITS, &[0, this_process])?),
        (libc::SYS_ioctl, one_of(1, ALL_BITS, &IOCTLS)?),
        (libc::SYS_fcntl, one_of(1, ALL_BITS, &FCNTLS.map(bits))?),
        (libc::SYS_prctl, one_of(0, ALL_BITS, &PRCTLS.map(bits))?),
        (libc::SYS_setsockopt, one_of(2, ALL_BITS, &SOCKET_OPTIONS.map(bits))?),
        (libc::SYS_socketpair, vec![SeccompRule::new(stream_pair)?]),
    ])
}

/// One rule for each value that the argument, masked, may have.
fn one_of(
    argument: u8,
    mask: u64,
    values: &[u64],
) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    values.iter().map(|value| SeccompRule::new(vec![equal(argument, mask, *value)?])).collect()
}

/// All arguments looked at are 32 bits wide, or have all their flags in the lower 32 bits.
fn equal(
    argument: u8,
    mask: u64,
    value: u64,
) -> Result<SeccompCondition, seccompiler::BackendError> {
    let operator = SeccompCmpOp::MaskedEq(mask);
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
}

const ALL_BITS: u64 = u32::MAX as u64;
/// The rest of a socket's type are flags.
const SOCKET_TYPE: u64 = 0xf;
const NAMESPACES: i32 = crate::namespaces::ALL;
const MAPPING: i32 = libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_GROWSDOWN;

const fn bits(flags: i32) -> u64 {
    flags.cast_unsigned() as u64
}

/// Questions about terminals, to which there are none, and plain descriptor flags.
const IOCTLS: [u64; 7] = [
    libc::TCGETS,
    libc::TCGETS2,
    libc::TIOCGWINSZ,
    libc::FIONREAD,
    libc::FIONBIO,
    libc::FIOCLEX,
    libc::FIONCLEX,
];

/// Not among them: who gets the signals of a descriptor.
const FCNTLS: [i32; 12] = [
    libc::F_DUPFD,
    libc::F_DUPFD_CLOEXEC,
    libc::F_GETFD,
    libc::F_SETFD,
    libc::F_GETFL,
    libc::F_SETFL,
    libc::F_GETLK,
    libc::F_SETLK,
    libc::F_SETLKW,
    libc::F_OFD_GETLK,
    libc::F_OFD_SETLK,
    libc::F_OFD_SETLKW,
];

/// Not among them: filters, which are programs for the kernel.
const SOCKET_OPTIONS: [i32; 5] =
    [libc::SO_SNDBUF, libc::SO_RCVBUF, libc::SO_RCVLOWAT, libc::SO_SNDTIMEO, libc::SO_RCVTIMEO];

/// Names for threads and memory, and questions.
const PRCTLS: [i32; 8] = [
    libc::PR_SET_NAME,
    libc::PR_GET_NAME,
    libc::PR_SET_VMA,
    libc::PR_GET_DUMPABLE,
    libc::PR_GET_NO_NEW_PRIVS,
    libc::PR_GET_SECUREBITS,
    libc::PR_CAPBSET_READ,
    libc::PR_GET_PDEATHSIG,
];

/// What both architectures call the same.
#[rustfmt::skip]
const ALLOWED: &[c_long] = &[
    // Memory.
    libc::SYS_brk, libc::SYS_munmap, libc::SYS_mremap, libc::SYS_mprotect, libc::SYS_madvise,
    libc::SYS_mincore, libc::SYS_msync, libc::SYS_membarrier,
    // Threads, time and scheduling.
    libc::SYS_exit, libc::SYS_exit_group, libc::SYS_futex, libc::SYS_set_tid_address,
    libc::SYS_set_robust_list, libc::SYS_get_robust_list, libc::SYS_rseq, libc::SYS_gettid,
    libc::SYS_sched_yield, libc::SYS_sched_getaffinity, libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler, libc::SYS_sched_get_priority_max,
    libc::SYS_sched_get_priority_min, libc::SYS_getcpu, libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep, libc::SYS_clock_gettime, libc::SYS_clock_getres,
    libc::SYS_gettimeofday, libc::SYS_times, libc::SYS_getitimer, libc::SYS_setitimer,
    libc::SYS_timerfd_create, libc::SYS_timerfd_settime, libc::SYS_timerfd_gettime,
    // Signals.
    libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigpending, libc::SYS_rt_sigsuspend, libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack, libc::SYS_restart_syscall, libc::SYS_signalfd4,
    // This process, and what it may know of itself.
    libc::SYS_execve, libc::SYS_wait4, libc::SYS_waitid, libc::SYS_getpid, libc::SYS_getppid,
    libc::SYS_getpgid, libc::SYS_getsid, libc::SYS_getuid, libc::SYS_geteuid, libc::SYS_getgid,
    libc::SYS_getegid, libc::SYS_getresuid, libc::SYS_getresgid, libc::SYS_getgroups,
    libc::SYS_capget, libc::SYS_getrusage, libc::SYS_getpriority,
    libc::SYS_sysinfo, libc::SYS_uname, libc::SYS_umask, libc::SYS_getrandom,
    // Descriptors.
    libc::SYS_read, libc::SYS_write, libc::SYS_readv, libc::SYS_writev, libc::SYS_pread64,
    libc::SYS_pwrite64, libc::SYS_preadv, libc::SYS_pwritev, libc::SYS_preadv2, libc::SYS_pwritev2,
    libc::SYS_lseek, libc::SYS_close, libc::SYS_close_range, libc::SYS_dup, libc::SYS_dup3,
    libc::SYS_pipe2, libc::SYS_eventfd2, libc::SYS_ppoll, libc::SYS_pselect6,
    libc::SYS_epoll_create1, libc::SYS_epoll_ctl, libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2,
    libc::SYS_sendfile, libc::SYS_copy_file_range,
    // Sockets that are there: the control socket and those handed over by it.
    libc::SYS_sendto, libc::SYS_sendmsg, libc::SYS_sendmmsg, libc::SYS_recvfrom, libc::SYS_recvmsg,
    libc::SYS_recvmmsg, libc::SYS_shutdown, libc::SYS_getsockname, libc::SYS_getpeername,
    libc::SYS_getsockopt,
    // Files.
    libc::SYS_openat, libc::SYS_openat2, libc::SYS_fstat, libc::SYS_newfstatat, libc::SYS_statx,
    libc::SYS_statfs, libc::SYS_fstatfs, libc::SYS_faccessat, libc::SYS_faccessat2,
    libc::SYS_readlinkat, libc::SYS_getdents64, libc::SYS_getcwd, libc::SYS_chdir,
    libc::SYS_fchdir, libc::SYS_ftruncate, libc::SYS_fallocate,
    libc::SYS_fadvise64, libc::SYS_flock, libc::SYS_fsync, libc::SYS_fdatasync, libc::SYS_mkdirat,
    libc::SYS_unlinkat, libc::SYS_renameat2, libc::SYS_linkat,
    libc::SYS_symlinkat, libc::SYS_getxattr, libc::SYS_lgetxattr, libc::SYS_fgetxattr,
    libc::SYS_listxattr, libc::SYS_llistxattr, libc::SYS_flistxattr,
];

/// Older names of the same, which x86-64 alone has.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const LEGACY: &[c_long] = &[
    libc::SYS_open, libc::SYS_creat, libc::SYS_stat, libc::SYS_lstat, libc::SYS_access,
    libc::SYS_readlink, libc::SYS_getdents, libc::SYS_mkdir, libc::SYS_rmdir, libc::SYS_unlink,
    libc::SYS_rename, libc::SYS_link, libc::SYS_symlink, libc::SYS_pipe, libc::SYS_dup2, libc::SYS_poll,
    libc::SYS_select, libc::SYS_epoll_create, libc::SYS_epoll_wait, libc::SYS_eventfd,
    libc::SYS_signalfd, libc::SYS_alarm, libc::SYS_pause, libc::SYS_time, libc::SYS_getpgrp,
    libc::SYS_renameat, libc::SYS_getrlimit, libc::SYS_arch_prctl,
];
/// `renameat`, which the C library calls here and the libc crate does not know.
#[cfg(not(target_arch = "x86_64"))]
const LEGACY: &[c_long] = &[38];
