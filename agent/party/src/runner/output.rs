//! What the program writes: kept in the run's record, by a thread that waits for nothing but the
//! program and the disk, without anything that could command a terminal.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::stdio::stdin;
use tokio::sync::mpsc;

use super::background;
use super::view::{Channel, Excerpt};
use crate::config::files::{self, FileError};
use crate::session::words::printable;

/// A longer line is kept in pieces.
const MAX_LINE_BYTES: usize = 8 * 1024;
/// Bytes that are read from the program at once: what a pipe holds.
const READ_BYTES: usize = 64 * 1024;
/// How often it is looked at whether this process has come to the foreground.
const FOREGROUND_INTERVAL: Duration = Duration::from_millis(200);
/// Reads of which the run loop has not heard yet. With more, the program waits.
const MAX_UNHEARD: usize = 16;

/// What became of what the program wrote.
#[derive(Debug)]
pub(super) enum Recorded {
    /// These lines are on record; they were so many bytes before anything was stripped.
    Lines(Excerpt, u64),
    /// It wrote more than it may. Nothing is kept from then on.
    TooMuch,
    /// It cannot be kept.
    Failed(io::Error),
}

/// Keeps what comes from these two outputs of the program in `directory`, up to `limit` bytes in
/// all. The channel is closed when both have ended, or nothing more is kept.
///
/// # Errors
/// Where the files cannot be made, or there is no thread for it.
pub(super) fn record(
    directory: &Path,
    (stdout, stderr): (OwnedFd, OwnedFd),
    limit: u64,
) -> io::Result<mpsc::Receiver<Recorded>> {
    let open = |channel, pipe| Output::create(directory, channel, pipe).map_err(io::Error::other);
    let outputs = vec![open(Channel::Output, stdout)?, open(Channel::Log, stderr)?];
    let (sender, recorded) = mpsc::channel(MAX_UNHEARD);
    let recorder = Recorder { outputs, left: limit, sender };
    std::thread::Builder::new().name("record".into()).spawn(move || recorder.run())?;
    Ok(recorded)
}

/// One output of the program, and its file.
struct Output {
    channel: Channel,
    pipe: File,
    ended: bool,
    file: Arc<File>,
    /// Bytes in the file.
    length: u64,
    /// What is not kept yet: a line that has not ended.
    begun: Vec<u8>,
}

impl Output {
    fn create(directory: &Path, channel: Channel, pipe: OwnedFd) -> Result<Self, FileError> {
        let file = Arc::new(files::create_private(&directory.join(channel.file()))?);
        let (pipe, begun) = (pipe.into(), Vec::new());
        Ok(Self { channel, pipe, ended: false, file, length: 0, begun })
    }

    /// Reads what is there.
    fn read(&mut self) {
        let mut bytes = vec![0; READ_BYTES];
        match self.pipe.read(&mut bytes) {
            Ok(length) => {
                self.ended = length == 0;
                self.begun.extend_from_slice(&bytes[..length]);
            }
            Err(error) => self.ended = error.kind() != io::ErrorKind::Interrupted,
        }
    }

    /// Takes the next line out of `rest`, if it has ended: its bytes.
    fn line<'a>(&self, rest: &'a [u8]) -> Option<&'a [u8]> {
        let rest = &rest[..rest.len().min(MAX_LINE_BYTES)];
        match rest.iter().position(|byte| *byte == b'\n') {
            Some(end) => Some(&rest[..=end]),
            None if rest.len() == MAX_LINE_BYTES => Some(rest),
            None => (self.ended && !rest.is_empty()).then_some(rest),
        }
    }

    fn append(&mut self, lines: &str) -> io::Result<Excerpt> {
        (&*self.file).write_all(lines.as_bytes())?;
        let start = self.length;
        self.length += lines.len() as u64;
        let (channel, file) = (self.channel, Arc::clone(&self.file));
        Ok(Excerpt { channel, file, range: start..self.length })
    }
}

struct Recorder {
    outputs: Vec<Output>,
    /// Bytes that the program may still write.
    left: u64,
    sender: mpsc::Sender<Recorded>,
}

impl Recorder {
    fn run(mut self) {
        if let Err(last) = self.keep_all() {
            // Nobody listens any more: it has ended otherwise.
            let _ = self.sender.blocking_send(last);
        }
    }

    /// Keeps everything until both outputs have ended, or nobody listens.
    ///
    /// # Errors
    /// Why no more is kept.
    fn keep_all(&mut self) -> Result<(), Recorded> {
        while !self.outputs.is_empty() {
            let ready = self.ready().map_err(|error| Recorded::Failed(error.into()))?;
            for at in ready {
                self.outputs[at].read();
                if !self.keep(at)? {
                    return Ok(());
                }
            }
            self.outputs.retain(|output| !output.ended);
        }
        Ok(())
    }

    /// Waits until there is something to be read; from which outputs.
    fn ready(&self) -> Result<Vec<usize>, Errno> {
        let polled = |output| PollFd::new(output, PollFlags::IN);
        let mut polled: Vec<_> = self.outputs.iter().map(|o| polled(&o.pipe)).collect();
        match poll(&mut polled, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        let ready = polled.iter().enumerate().filter(|(_, polled)| !polled.revents().is_empty());
        Ok(ready.map(|(at, _)| at).collect())
    }

    /// Keeps the lines of an output that have ended; whether somebody listens.
    fn keep(&mut self, at: usize) -> Result<bool, Recorded> {
        let output = &mut self.outputs[at];
        let (mut lines, mut kept, mut most) = (String::new(), 0, self.left);
        while let Some(line) = output.line(&output.begun[kept..])
            && let Some(left) = most.checked_sub(line.len() as u64)
        {
            lines += &printable(line);
            lines.push('\n');
            (kept, most) = (kept + line.len(), left);
        }
        let listening = kept == 0 || {
            let excerpt = output.append(&lines).map_err(Recorded::Failed)?;
            self.sender.blocking_send(Recorded::Lines(excerpt, kept as u64)).is_ok()
        };
        let more = output.line(&output.begun[kept..]).is_some();
        output.begun.drain(..kept);
        self.left = most;
        if more { Err(Recorded::TooMuch) } else { Ok(listening) }
    }
}

/// Copies this process's standard input to the program's, in a thread of its own: a read from a
/// terminal cannot be interrupted, and must hold nothing up.
///
/// What was typed at a terminal before was typed for something else, and is dropped.
pub(super) fn feed(descriptor: OwnedFd) {
    background::drop_typed(stdin());
    let feed = move || {
        // The program finds its input closed.
        let _ = copy_input(&mut File::from(descriptor));
    };
    // Without the thread it does so as well.
    let _ = std::thread::Builder::new().name("stdin".into()).spawn(feed);
}

fn copy_input(program: &mut File) -> io::Result<()> {
    let mut bytes = vec![0; READ_BYTES];
    loop {
        let mut polled = [PollFd::from_borrowed_fd(stdin(), PollFlags::IN)];
        match poll(&mut polled, None) {
            Ok(_) if background::read_stops(stdin()) => std::thread::sleep(FOREGROUND_INTERVAL),
            Ok(_) => match rustix::io::read(stdin(), &mut bytes) {
                Ok(0) => return Ok(()),
                Ok(length) => program.write_all(&bytes[..length])?,
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(error) => return Err(error.into()),
            },
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// What is kept of what a program writes to its two outputs, and the last word if there is one.
    fn kept(output: &[u8], log: &[u8], limit: u64) -> (String, String, u64, Option<Recorded>) {
        let directory = tempfile::tempdir().unwrap();
        let pipe = |bytes: &[u8]| {
            let (reader, mut writer) = io::pipe().unwrap();
            let bytes = bytes.to_vec();
            std::thread::spawn(move || writer.write_all(&bytes));
            OwnedFd::from(reader)
        };
        let pipes = (pipe(output), pipe(log));
        let mut recorded = record(directory.path(), pipes, limit).unwrap();
        let (mut counted, mut last, mut ends) = (0, None, [0; 2]);
        while let Some(told) = recorded.blocking_recv() {
            let Recorded::Lines(excerpt, bytes) = told else {
                last = Some(told);
                continue;
            };
            assert_eq!(excerpt.range.start, ends[excerpt.channel as usize]);
            ends[excerpt.channel as usize] = excerpt.range.end;
            counted += bytes;
        }
        let file =
            |channel: Channel| fs::read_to_string(directory.path().join(channel.file())).unwrap();
        let (output, log) = (file(Channel::Output), file(Channel::Log));
        assert_eq!(ends, [output.len() as u64, log.len() as u64]);
        (output, log, counted, last)
    }

    #[test]
    fn both_outputs_are_kept_without_escapes() {
        let (output, log, counted, last) = kept(b"one\n\x1b[1mtwo\x1b[0m\nend", b"log\n", 100);
        assert_eq!((output.as_str(), log.as_str()), ("one\ntwo\nend\n", "log\n"));
        assert_eq!(counted, 4 + 12 + 3 + 4);
        assert!(last.is_none(), "{last:?}");
    }

    #[test]
    fn a_long_line_is_kept_in_pieces() {
        let line = [&b"x".repeat(2 * MAX_LINE_BYTES + 1)[..], b"\n"].concat();
        let (output, _, counted, _) = kept(&line, b"", 1 << 20);
        let lengths: Vec<usize> = output.lines().map(str::len).collect();
        assert_eq!(lengths, [MAX_LINE_BYTES, MAX_LINE_BYTES, 1]);
        assert_eq!(counted, line.len() as u64);
    }

    #[test]
    fn no_line_beyond_the_limit_is_kept() {
        let lines = b"123456789\n".repeat(100_000);
        let (output, _, counted, last) = kept(&lines, b"", 500_005);
        assert_eq!((output.len(), counted), (500_000, 500_000));
        assert!(matches!(last, Some(Recorded::TooMuch)), "{last:?}");
        let (output, _, _, last) = kept(&lines, b"", 1_000_000);
        assert_eq!(output.len(), 1_000_000);
        assert!(last.is_none(), "{last:?}");
    }
}
