//! The last steps before the program: inside the sandbox, in the process that becomes it.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use crate::channels::ChildEnds;
use crate::error::{Failure, Stage};
use crate::init::{Isolation, Payload, Setup};
use crate::{seccomp, sys};

/// Becomes the program; returns an exit status only where that fails.
pub(crate) fn run(setup: &Setup<'_>, init: Pid, ends: &ChildEnds) -> i32 {
    match confine(setup, init, ends).and_then(|()| match setup.payload {
        Payload::Nothing => Ok(()),
        Payload::Program => execute(setup).map(|never| match never {}),
    }) {
        Ok(()) => 0,
        Err(failure) => {
            ends.messages.fail(failure);
            sys::FAILED
        }
    }
}

/// Everything that has to happen in the payload's own process, from the widest to the tightest.
fn confine(setup: &Setup<'_>, init: Pid, ends: &ChildEnds) -> Result<(), Failure> {
    die_with(init).map_err(Failure::at(Stage::DeathSignal))?;
    rustix::process::setsid().map_err(Failure::at(Stage::Session))?;
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    place_descriptors(ends).map_err(Failure::at(Stage::Descriptors))?;
    setup.plan.limits.apply(setup.isolation)?;
    if setup.payload == Payload::Program {
        let directory = PathBuf::from(seen(setup, setup.plan.working_directory.as_os_str()));
        rustix::process::chdir(&directory)
            .map_err(Failure::on(Stage::WorkingDirectory, &directory))?;
    }
    seccomp::install()
}

/// Without a PID namespace the end of init would not end this process.
fn die_with(init: Pid) -> Result<(), Errno> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if rustix::process::getppid() == Some(init) { Ok(()) } else { Err(Errno::SRCH) }
}

fn place_descriptors(ends: &ChildEnds) -> std::io::Result<()> {
    let ends = [&ends.stdin, &ends.stdout, &ends.stderr, &ends.control];
    for (number, end) in (0..).zip(ends) {
        sys::place(end, number)?;
    }
    sys::close_on_exec_from(4)
}

/// A path or text of the plan as this process has to name it.
fn seen(setup: &Setup<'_>, text: &OsStr) -> OsString {
    match setup.isolation {
        Isolation::Namespaces => text.to_owned(),
        Isolation::None => setup.plan.on_host(text),
    }
}

fn execute(setup: &Setup<'_>) -> Result<Infallible, Failure> {
    let interpreter = seen(setup, setup.plan.interpreter.as_os_str());
    let error = Command::new(&interpreter)
        .args(setup.plan.arguments.iter().map(|argument| seen(setup, argument)))
        .env_clear()
        .envs(setup.plan.environment.iter().map(|(name, value)| (name, seen(setup, value))))
        .exec();
    Err(Failure::on(Stage::Execute, Path::new(&interpreter))(error))
}
