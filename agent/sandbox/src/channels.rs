//! The pipes and the socket between runner, init and payload.
//!
//! Set-up speaks to the runner over a pipe of JSON lines that closes when the program is
//! executed: silence until the end of file means success.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::pipe::PipeFlags;
use serde::{Deserialize, Serialize};

use crate::SandboxError;
use crate::error::Failure;

/// More than set-up takes on a busy Raspberry Pi; a hanging network mount takes for ever.
const SETUP_TIME: Duration = Duration::from_secs(20);
/// A few warnings and one failure; what is longer is cut.
const MESSAGES_SIZE: u64 = 64 * 1024;
/// Where the child's ends are until they are put in place, out of the way of 0 to 3.
const FIRST_DESCRIPTOR: i32 = 10;

/// What the runner keeps.
pub(crate) struct RunnerEnds {
    pub(crate) control: OwnedFd,
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
    pub(crate) messages: OwnedFd,
    pub(crate) reports: OwnedFd,
}

/// What init and payload get.
pub(crate) struct ChildEnds {
    pub(crate) control: OwnedFd,
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
    pub(crate) messages: Messages,
    pub(crate) reports: OwnedFd,
}

/// Makes them all, close-on-exec.
pub(crate) fn open() -> io::Result<(RunnerEnds, ChildEnds)> {
    let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC);
    let (control, child_control) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let (child_stdin, stdin) = pipe()?;
    let (stdout, child_stdout) = pipe()?;
    let (stderr, child_stderr) = pipe()?;
    let (messages, child_messages) = pipe()?;
    let (reports, child_reports) = pipe()?;
    let runner = RunnerEnds { control, stdin, stdout, stderr, messages, reports };
    let child = ChildEnds {
        control: away(&child_control)?,
        stdin: away(&child_stdin)?,
        stdout: away(&child_stdout)?,
        stderr: away(&child_stderr)?,
        messages: Messages(away(&child_messages)?),
        reports: away(&child_reports)?,
    };
    Ok((runner, child))
}

fn away(descriptor: &OwnedFd) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(descriptor, FIRST_DESCRIPTOR)?)
}

/// One line of what set-up has to say.
#[derive(Serialize, Deserialize)]
enum Message {
    Warning(String),
    Failed(Failure),
}

/// The child's end of the pipe of set-up messages.
pub(crate) struct Messages(OwnedFd);

impl AsFd for Messages {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Messages {
    /// A layer is missing but the program runs all the same.
    pub(crate) fn warn(&self, text: String) {
        self.send(&Message::Warning(text));
    }

    /// Set-up ends here.
    pub(crate) fn fail(&self, failure: Failure) {
        self.send(&Message::Failed(failure));
    }

    /// Where this cannot be written the runner is gone, and the kernel about to end this process.
    fn send(&self, message: &Message) {
        let Ok(mut line) = serde_json::to_vec(message) else { return };
        line.push(b'\n');
        let _runner_gone = rustix::io::write(self, &line);
    }
}

/// Waits until the program is executed, and returns the warnings; no longer than until `stop` is
/// readable.
pub(crate) fn wait_until_started(
    messages: OwnedFd,
    stop: Option<BorrowedFd<'_>>,
) -> Result<Vec<String>, SandboxError> {
    let mut pipe = File::from(messages).take(MESSAGES_SIZE);
    let deadline = Instant::now() + SETUP_TIME;
    let mut text = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match wait_for(pipe.get_ref(), stop, deadline).map_err(SandboxError::Channels)? {
            Ready::Message => {}
            Ready::Stop => return Err(SandboxError::Stopped),
            Ready::Nothing => return Err(SandboxError::Slow(SETUP_TIME.as_secs())),
        }
        match pipe.read(&mut chunk).map_err(SandboxError::Channels)? {
            0 => break,
            length => text.extend_from_slice(&chunk[..length]),
        }
    }
    let mut warnings = Vec::new();
    for message in serde_json::Deserializer::from_slice(&text).into_iter() {
        match message.map_err(|_| SandboxError::Died)? {
            Message::Warning(warning) => warnings.push(warning),
            Message::Failed(failure) => return Err(failure.into()),
        }
    }
    Ok(warnings)
}

/// What there is after waiting.
enum Ready {
    Message,
    Stop,
    Nothing,
}

fn wait_for(pipe: &File, stop: Option<BorrowedFd<'_>>, deadline: Instant) -> io::Result<Ready> {
    let awaited = |descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN);
    let mut all: Vec<_> = [Some(pipe.as_fd()), stop].into_iter().flatten().map(awaited).collect();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        match rustix::event::poll(&mut all, Some(&timeout)) {
            Ok(0) => return Ok(Ready::Nothing),
            Ok(_) if all[0].revents().is_empty() => return Ok(Ready::Stop),
            Ok(_) => return Ok(Ready::Message),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
