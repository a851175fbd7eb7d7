//! Why a sandbox could not be made, in words for people: what failed, where, and the remedy.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::kernel::KernelError;
use crate::namespaces;

/// A step of making the sandbox, in the order in which they are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Tying the sandbox to the life of the runner.
    DeathSignal,
    /// Writing the user and group maps of the new user namespace.
    IdentityMap,
    /// Naming the host inside.
    HostName,
    /// Opening a tree of the host that is to be seen inside.
    OpenMount,
    /// Copying a file of the host that is to be seen inside.
    CopyFile,
    /// Making the private root and changing into it.
    PrivateRoot,
    /// Putting a file or directory at its place inside.
    AttachMount,
    /// Dropping capabilities and locking them away.
    Privileges,
    /// Starting the program's process.
    Fork,
    /// Starting a terminal session of its own, without terminal.
    Session,
    /// Putting the inherited descriptors in place and closing all others.
    Descriptors,
    /// Setting the resource limits.
    Limits,
    /// Changing into the working directory.
    WorkingDirectory,
    /// Applying the landlock rules.
    Landlock,
    /// Installing the system call filter.
    Seccomp,
    /// Executing the interpreter.
    Execute,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DeathSignal => "tying the sandbox to the life of the runner",
            Self::IdentityMap => "mapping user and group into the user namespace",
            Self::HostName => "naming the host of the sandbox",
            Self::OpenMount => "opening a file or directory for the sandbox",
            Self::CopyFile => "copying a file into the sandbox",
            Self::PrivateRoot => "making the private root directory",
            Self::AttachMount => "placing a file or directory in the sandbox",
            Self::Privileges => "dropping privileges",
            Self::Fork => "starting the process",
            Self::Session => "leaving the terminal",
            Self::Descriptors => "placing the inherited descriptors",
            Self::Limits => "setting the resource limits",
            Self::WorkingDirectory => "changing into the working directory",
            Self::Landlock => "applying the landlock rules",
            Self::Seccomp => "installing the system call filter",
            Self::Execute => "executing the interpreter",
        })
    }
}

/// A failed step as the child reports it to the runner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    stage: Stage,
    /// The path or the limit at which it failed; may be empty.
    place: String,
    reason: String,
    /// The kernel's number for the reason, if it is the kernel's.
    errno: Option<i32>,
}

impl Failure {
    pub(crate) fn new(stage: Stage, place: impl Into<String>, error: impl Into<io::Error>) -> Self {
        let error = error.into();
        let errno = error.raw_os_error();
        Self { stage, place: place.into(), reason: error.to_string(), errno }
    }

    /// For `map_err`: this step failed, for a reason that a library puts into words.
    pub(crate) fn of<E: fmt::Display>(stage: Stage) -> impl FnOnce(E) -> Self {
        move |error| Self::new(stage, "", io::Error::other(error.to_string()))
    }

    /// For `map_err`: this step failed, with nothing more to say.
    pub(crate) fn at<E: Into<io::Error>>(stage: Stage) -> impl FnOnce(E) -> Self {
        move |error| Self::new(stage, "", error)
    }

    /// For `map_err`: this step failed at `path`.
    pub(crate) fn on<E: Into<io::Error>>(stage: Stage, path: &Path) -> impl FnOnce(E) -> Self {
        move |error| Self::new(stage, path.display().to_string(), error)
    }
}

/// Why a sandbox could not be made. The message holds the kernel's reason too.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The plan cannot be carried out on any machine.
    #[error("the {what} «{path}» {problem}", path = path.display())]
    Plan {
        /// Which part of the plan.
        what: &'static str,
        /// Its value.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Something the program should see is not there.
    #[error("«{path}», which the program needs, cannot be read: {error}", path = path.display())]
    Source {
        /// The missing file or directory.
        path: PathBuf,
        /// The reason.
        error: io::Error,
    },
    /// Other threads run already, whose locks the child would find taken for ever.
    #[error(
        "the sandbox must be made before threads are started, but there are {0}: call it first"
    )]
    Threads(usize),
    /// No pipes or sockets to talk to the child.
    #[error("no pipes or sockets for the sandbox: {0}")]
    Channels(io::Error),
    /// The kernel, or what is around this process, lacks a call that the full sandbox is made with.
    #[error("{error}. {remedy}")]
    Kernel {
        /// What is missing.
        error: KernelError,
        /// What to change.
        remedy: String,
    },
    /// The kernel made no process with namespaces of its own.
    #[error("this machine makes no isolated process ({error}). {remedy}")]
    Clone {
        /// The reason the kernel gives.
        error: io::Error,
        /// What to change.
        remedy: String,
    },
    /// A step failed inside the child.
    #[error("{stage} failed{}: {reason}{}", at(place), after(remedy))]
    Step {
        /// The step.
        stage: Stage,
        /// The path at which it failed, or empty.
        place: String,
        /// The reason the kernel gives.
        reason: String,
        /// What to change, or empty.
        remedy: String,
        /// Whether namespaces are what is missing.
        isolation: bool,
    },
    /// The child did not get to the program.
    #[error(
        "the sandbox was not ready after {0} s: a mount may hang, or the machine is overloaded"
    )]
    Slow(u64),
    /// Nobody wants it any more.
    #[error("the sandbox is not made: this process was asked to end")]
    Stopped,
    /// The child ended before it got to the program.
    #[error("the sandbox was killed while it was made: is the machine out of memory?")]
    Died,
}

impl SandboxError {
    pub(crate) fn clone(error: io::Error) -> Self {
        Self::Clone { error, remedy: remedy() }
    }

    /// Whether namespaces are what is missing here, so that going without them may help.
    pub(crate) fn is_about_isolation(&self) -> bool {
        match self {
            Self::Clone { .. } | Self::Kernel { .. } => true,
            Self::Step { isolation, .. } => *isolation,
            _ => false,
        }
    }

    /// The warning to show when the program runs without namespaces because of this error.
    pub(crate) fn without_isolation(&self) -> String {
        format!(
            "the program runs without namespaces of its own: it is not hidden from other \
             processes and sockets of this user. Reason: {}",
            self.to_string().trim_end_matches(OR_GO_WITHOUT)
        )
    }
}

impl From<KernelError> for SandboxError {
    fn from(error: KernelError) -> Self {
        let remedy = format!("{}{OR_GO_WITHOUT}", error.remedy());
        Self::Kernel { error, remedy }
    }
}

impl From<Failure> for SandboxError {
    fn from(failure: Failure) -> Self {
        let Failure { stage, place, reason, errno } = failure;
        let isolation = is_isolation(stage) && !is_exhaustion(errno);
        let remedy = match stage {
            Stage::Execute if errno == Some(libc::ENOENT) => {
                "The interpreter, or the loader or script interpreter it names, is not among the \
                 files the sandbox shows"
                    .to_owned()
            }
            Stage::WorkingDirectory => "Name a directory that the sandbox shows".to_owned(),
            _ if isolation => remedy(),
            _ => String::new(),
        };
        Self::Step { stage, place, reason, remedy, isolation }
    }
}

/// The other way, for those who accept less.
const OR_GO_WITHOUT: &str = "; or set sandbox = \"best-effort\" in the session's configuration";

fn remedy() -> String {
    format!("{}{OR_GO_WITHOUT}", namespaces::remedy())
}

fn is_isolation(stage: Stage) -> bool {
    matches!(stage, Stage::IdentityMap | Stage::HostName | Stage::PrivateRoot)
}

/// Whether a limit was reached, of this process or of the machine: that forbids no namespaces.
fn is_exhaustion(errno: Option<i32>) -> bool {
    matches!(errno, Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM))
}

fn at(place: &str) -> String {
    if place.is_empty() { String::new() } else { format!(" at «{place}»") }
}

fn after(remedy: &str) -> String {
    if remedy.is_empty() { String::new() } else { format!(". {remedy}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(failure: Failure) -> String {
        SandboxError::from(failure).to_string()
    }

    #[test]
    fn a_failure_says_what_where_why_and_what_to_do() {
        let missing = Failure::new(Stage::Execute, "/x/python", io::Error::from_raw_os_error(2));
        let text = shown(missing);
        assert!(text.starts_with("executing the interpreter failed at «/x/python»: No such file"));
        assert!(text.ends_with("is not among the files the sandbox shows"), "{text}");
        let worded = Failure::of(Stage::Landlock)("no such rule");
        assert_eq!(shown(worded), "applying the landlock rules failed: no such rule");
    }

    #[test]
    fn only_missing_isolation_is_gone_without() {
        let failed = |stage| SandboxError::from(Failure::of(stage)("refused"));
        assert!(failed(Stage::IdentityMap).is_about_isolation());
        assert!(failed(Stage::PrivateRoot).is_about_isolation());
        for stage in
            [Stage::OpenMount, Stage::CopyFile, Stage::Seccomp, Stage::Privileges, Stage::Execute]
        {
            assert!(!failed(stage).is_about_isolation(), "{stage}");
        }
        for errno in [libc::EMFILE, libc::ENFILE, libc::ENOMEM] {
            let reason = io::Error::from_raw_os_error(errno);
            let failed = SandboxError::from(Failure::new(Stage::PrivateRoot, "", reason));
            assert!(!failed.is_about_isolation(), "{failed}");
            assert!(!failed.to_string().contains("best-effort"), "{failed}");
        }
    }
}
