//! The sandbox in which the MPyC process runs, alone: it sees the interpreter, the program and
//! the input, and reaches nothing but the one control socket it is born with.
//!
//! Four layers, each of which stops something the others let through:
//!
//! 1. **Namespaces** ([`namespaces`], [`mounts`], [`copies`]): own users, mounts, processes, IPC, host name,
//!    cgroup view and an empty network; a private root with read-only trees, and a private `/tmp` and `/dev/shm` that are one file system.
//!    Sockets, files and processes of the host have no name in there.
//! 2. **Privileges and limits** ([`privileges`], [`limits`]): no capabilities and no way to gain
//!    any; bounded memory, threads, descriptors and files.
//! 3. **Landlock** ([`landlock`]): the same view of files once more, decided by another part of
//!    the kernel; no signals and no abstract sockets out of the sandbox.
//! 4. **seccomp** ([`seccomp`]): only the system calls a computation needs. It alone closes
//!    sockets of every family, key rings, nested namespaces, `io_uring`, `bpf`, and it allows
//!    threads but no second process, so that a limit per process is a limit on the whole.
//!
//! Two processes are made. The runner's child is [`init`]: process 1 of the namespace, which sets
//! everything up, starts the [`payload`] and reports how it stops and ends. When the runner dies
//! the kernel kills init, and with it the whole namespace. The runner holds a [`Process`], from
//! which it learns of stops and of the end; dropping it kills everything.
//!
//! Needs Linux 5.12 or later ([`kernel`]).

mod channels;
mod copies;
mod error;
mod init;
pub mod kernel;
mod landlock;
mod limits;
mod mounts;
mod namespaces;
mod payload;
mod plan;
mod privileges;
mod process;
mod seccomp;
mod sys;

use std::os::fd::OwnedFd;

pub use error::{SandboxError, Stage};
pub use limits::Limits;
pub use plan::{Mount, Plan, Policy};
pub use process::{Event, Exit, Process};
pub use sys::is_ignored;

use init::{Isolation, Payload, Setup};

/// A program running in the sandbox. The parts are independent: take them out as needed, and keep
/// `process`, for dropping it ends the program.
#[derive(Debug)]
pub struct Sandboxed {
    /// The runner's end of the control socket (`SOCK_SEQPACKET`); the program's is descriptor 3.
    pub control: OwnedFd,
    /// What is written here the program reads from its standard input.
    pub stdin: OwnedFd,
    /// The program's standard output.
    pub stdout: OwnedFd,
    /// The program's standard error.
    pub stderr: OwnedFd,
    /// Layers that could not be applied, in words for people; empty where all were.
    pub warnings: Vec<String>,
    /// The running program: its events, and its end.
    pub process: Process,
}

/// Starts the program of `plan` in the sandbox and returns once it has been executed.
///
/// Call it from the main thread, before any other thread and before keys are loaded: the child
/// starts as a copy of this process, and it is killed when the calling thread ends.
///
/// # Errors
/// When the plan is not valid, when there are other threads, or when a layer cannot be applied and
/// the policy is [`Policy::Required`].
pub fn spawn(plan: &Plan) -> Result<Sandboxed, SandboxError> {
    plan.check()?;
    start(plan, Payload::Program)
}

/// Whether the full sandbox can be made here: makes one, with nothing to run, and ends it. Like
/// [`spawn`], to be called from the main thread before any other.
///
/// # Errors
/// The reason why not, and the remedy.
pub fn available() -> Result<(), SandboxError> {
    start(&Plan::default(), Payload::Nothing).map(drop)
}

fn start(plan: &Plan, payload: Payload) -> Result<Sandboxed, SandboxError> {
    sys::require_single_thread()?;
    let full = attempt(&Setup { plan, payload, isolation: Isolation::Namespaces });
    match full {
        Err(error) if plan.policy == Policy::BestEffort && error.is_about_isolation() => {
            let setup = Setup { plan, payload, isolation: Isolation::None };
            let mut sandboxed = attempt(&setup)?;
            sandboxed.warnings.insert(0, error.without_isolation());
            Ok(sandboxed)
        }
        other => other,
    }
}

/// One try, with or without namespaces.
fn attempt(setup: &Setup<'_>) -> Result<Sandboxed, SandboxError> {
    let (ours, theirs) = channels::open().map_err(SandboxError::Channels)?;
    let identity = namespaces::Identity::of_this_process();
    if setup.isolation == Isolation::Namespaces {
        kernel::has_mounts()?;
    }
    sys::note_descriptors().map_err(SandboxError::Channels)?;
    let task = || init::run(setup, &identity, &ours, &theirs);
    let init = sys::clone(setup.isolation.clone_flags(), task).map_err(SandboxError::clone)?;
    let process = Process::new(init, ours.reports);
    drop(theirs);
    let mut warnings = channels::wait_until_started(ours.messages, setup.plan.stop)?;
    warnings.extend(limits::without_effect(&identity, setup.isolation));
    let channels::RunnerEnds { control, stdin, stdout, stderr, .. } = ours;
    Ok(Sandboxed { control, stdin, stdout, stderr, warnings, process })
}
