//! Runs a program for its output, with a time limit and a bounded output.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::config::files;
use crate::runner::stop;
use crate::session::words::printable;

/// Most that is kept of each output, in bytes; writing more fails for the program.
const MAX_OUTPUT_BYTES: u64 = 1 << 20;

/// How often it is looked whether a program has ended, where nothing tells.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Lines of output that an error message repeats.
const LINES_SHOWN: usize = 12;

/// What a program did.
pub(super) struct Finished {
    /// How it ended; `None` if it had to be killed at the time limit.
    pub(super) status: Option<ExitStatus>,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Finished {
    pub(super) fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// The last lines of what it said, and how it ended, for an error message.
    pub(super) fn last_words(&self) -> String {
        let mut lines: Vec<&str> = self.stdout.lines().chain(self.stderr.lines()).collect();
        lines.retain(|line| !line.trim().is_empty());
        let ending = match self.status {
            Some(status) => format!("({status})"),
            None => "(it took too long and was ended)".to_owned(),
        };
        let mut shown = lines.split_off(lines.len().saturating_sub(LINES_SHOWN));
        shown.push(&ending);
        shown.into_iter().map(|line| printable(line.as_bytes())).collect::<Vec<_>>().join("\n")
    }
}

/// Runs `command` for at most `limit`, and no longer than this process is to live: where it is
/// [asked to end](stop), so does the command, and that is an error of the kind `Interrupted`.
///
/// Its output goes to memory rather than pipes: nothing blocks when a grandchild keeps it open.
pub(super) fn run(command: &mut Command, limit: Duration) -> io::Result<Finished> {
    // A process that is still being executed could not be ended; on a mount that hangs it would stay.
    files::metadata(Path::new(command.get_program())).map_err(|error| error.source)?;
    let (stdout, stderr) = (paper()?, paper()?);
    let mut child = command.stdout(stdout.try_clone()?).stderr(stderr.try_clone()?).spawn()?;
    let ended = ends_within(&mut child, limit);
    if !matches!(ended, Ok(true)) {
        child.kill()?;
    }
    let status = child.wait()?;
    let status = ended?.then_some(status);
    Ok(Finished { status, stdout: text(stdout)?, stderr: text(stderr)? })
}

/// A command with nothing on standard input and no environment but what finding files takes.
pub(super) fn bare(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    // A `python3` of pyenv is a script that needs these.
    let kept = ["PATH", "HOME", "PYENV_ROOT", "PYENV_VERSION"];
    command.env_clear().envs(kept.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    // English messages without losing UTF-8.
    command.env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    command
}

fn paper() -> io::Result<File> {
    let file = memfd_create("output", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&file, MAX_OUTPUT_BYTES)?;
    fcntl_add_seals(&file, SealFlags::GROW)?;
    Ok(file.into())
}

/// What was written: the offset is shared with the writers, and so tells how much it is.
fn text(mut file: File) -> io::Result<String> {
    let length = file.stream_position()?;
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether the child ends within this time. A pidfd tells when it does; where there is none (Linux before
/// 5.3, or a container that keeps it), it is looked every so often.
fn ends_within(child: &mut Child, limit: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + limit;
    let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).ok();
    let longest = if pidfd.is_some() { limit } else { LOOK_EVERY };
    let stop = stop::descriptor();
    let readable = |descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN);
    let both = [stop, pidfd.as_ref().map(AsFd::as_fd)];
    let mut awaited: Vec<PollFd<'_>> = both.into_iter().flatten().map(readable).collect();
    while child.try_wait()?.is_none() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let wait = Timespec::try_from(left.min(longest)).map_err(io::Error::other)?;
        match poll(&mut awaited, Some(&wait)) {
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) if stop::is_asked() => return Err(io::Error::from(io::ErrorKind::Interrupted)),
            Ok(_) => {}
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Finished {
        run(bare("/bin/sh").args(["-c", script]), limit).unwrap()
    }

    #[test]
    fn output_and_status_come_back() {
        let finished = shell("echo out; echo err >&2; exit 3", Duration::from_secs(10));
        assert_eq!((finished.stdout.as_str(), finished.stderr.as_str()), ("out\n", "err\n"));
        assert_eq!(finished.status.unwrap().code(), Some(3));
    }

    #[test]
    fn a_program_that_does_not_end_is_ended() {
        let finished = shell("echo first; exec sleep 1000", Duration::from_millis(200));
        assert!(finished.status.is_none());
        assert!(!finished.succeeded());
    }

    #[test]
    fn output_is_bounded() {
        let finished = shell("yes", Duration::from_secs(10));
        assert!(!finished.succeeded());
        assert!(finished.stdout.len() as u64 <= MAX_OUTPUT_BYTES);
    }
}
