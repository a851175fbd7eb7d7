//! Process 1 of the sandbox: makes it, starts the payload, and reports what becomes of it.
//!
//! It stays because a PID namespace ends with its first process: killing it kills everything, and
//! the kernel kills it when the runner dies. It gives up the same privileges as the payload.

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use crate::channels::{ChildEnds, Messages, RunnerEnds};
use crate::error::{Failure, Stage};
use crate::namespaces::Identity;
use crate::process::{self, Event};
use crate::{Plan, landlock, mounts, namespaces, payload, privileges, seccomp, sys};

/// Whether the sandbox has namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isolation {
    Namespaces,
    None,
}

impl Isolation {
    pub(crate) fn clone_flags(self) -> libc::c_int {
        match self {
            Self::Namespaces => namespaces::ALL,
            Self::None => 0,
        }
    }
}

/// What is executed in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Payload {
    /// The plan's program.
    Program,
    /// Nothing: all layers are tried, and that is all.
    Nothing,
}

/// Everything init and payload need to know.
pub(crate) struct Setup<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) payload: Payload,
    pub(crate) isolation: Isolation,
}

/// The whole life of init; returns its exit status.
pub(crate) fn run(
    setup: &Setup<'_>,
    identity: &Identity,
    runner: &RunnerEnds,
    ends: &ChildEnds,
) -> i32 {
    // While it is open here nothing tells that the runner has closed it.
    sys::close_copy(&runner.messages);
    let started = start(setup, identity, ends).and_then(|payload| {
        confine(ends)?;
        Ok(payload)
    });
    match started {
        Ok(payload) => report(payload, ends),
        Err(failure) => {
            ends.messages.fail(failure);
            sys::FAILED
        }
    }
}

/// Makes the sandbox around this process and starts the payload in it.
fn start(setup: &Setup<'_>, identity: &Identity, ends: &ChildEnds) -> Result<Pid, Failure> {
    sys::reset_signals();
    die_with_runner(&ends.messages).map_err(Failure::at(Stage::DeathSignal))?;
    if setup.isolation == Isolation::Namespaces {
        identity.enter()?;
        mounts::enter(setup.plan)?;
    }
    privileges::drop_all()?;
    if let Some(warning) = landlock::restrict(setup)? {
        ends.messages.warn(warning);
    }
    let init = rustix::process::getpid();
    sys::clone(0, || payload::run(setup, init, ends)).map_err(Failure::at(Stage::Fork))
}

/// Has the kernel kill this process when the runner ends. A runner that ended before this took
/// effect reads no message any more, which is an error of the pipe; the parent's number tells nothing
/// in a new PID namespace.
fn die_with_runner(messages: &Messages) -> Result<(), Errno> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let now = Timespec::default();
    match rustix::event::poll(&mut [PollFd::new(messages, PollFlags::ERR)], Some(&now))? {
        0 => Ok(()),
        _ => Err(Errno::SRCH),
    }
}

/// Leaves init nothing but waiting and writing. Closing its copies of the program's descriptors
/// also is what lets an end of file pass between program and runner, and tells the runner that
/// set-up is over.
fn confine(ends: &ChildEnds) -> Result<(), Failure> {
    seccomp::install()?;
    sys::close_all_but(&[&ends.reports]).map_err(Failure::at(Stage::Descriptors))
}

/// Reports stops and continuations of the payload until it ends.
fn report(payload: Pid, ends: &ChildEnds) -> i32 {
    loop {
        let Ok(event) = process::wait(payload, process::Wait::Block) else { return sys::FAILED };
        let Some(event) = event else { continue };
        if rustix::io::write(&ends.reports, &event.to_bytes()).is_err() {
            return sys::FAILED;
        }
        if let Event::Exited(_) = event {
            return 0;
        }
    }
}
