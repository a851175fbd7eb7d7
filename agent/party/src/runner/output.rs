//! What the program writes: kept in the run's record, shown to the one who runs it, without
//! anything that could command a terminal.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use tokio::io::{AsyncReadExt, BufReader};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

use super::view::Channel;
use crate::config::files::{self, FileError};
use crate::session::words::printable;

/// A longer line is shown in pieces.
const LONGEST_LINE: usize = 8 * 1024;

/// A line (or a piece of a long one) of the program.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) channel: Channel,
    pub(super) text: String,
    /// Bytes it was, before anything was stripped.
    pub(super) bytes: u64,
}

/// Reads `descriptor` to its end and sends its lines.
pub(super) async fn pump(channel: Channel, descriptor: OwnedFd, lines: mpsc::Sender<Line>) {
    let Ok(pipe) = pipe::Receiver::from_owned_fd(descriptor) else { return };
    let (mut reader, mut line) = (BufReader::with_capacity(64 * 1024, pipe), Vec::new());
    loop {
        let byte = reader.read_u8().await;
        if let Ok(byte) = byte {
            line.push(byte);
        }
        let ended = byte.is_err();
        let full = line.last() == Some(&b'\n') || line.len() >= LONGEST_LINE;
        if full || (ended && !line.is_empty()) {
            let bytes = line.len() as u64;
            let text = printable(&line);
            line.clear();
            if lines.send(Line { channel, text, bytes }).await.is_err() {
                return;
            }
        }
        if ended {
            return;
        }
    }
}

/// Copies this process's standard input to the program's, in a thread of its own: a read from a
/// terminal cannot be interrupted, and must hold nothing up.
pub(super) fn feed(descriptor: OwnedFd) {
    let feed = move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut File::from(descriptor));
    };
    // Without the thread the program finds its input closed.
    let _ = std::thread::Builder::new().name("stdin".into()).spawn(feed);
}

/// The files of one run that hold its output.
#[derive(Debug)]
pub(super) struct Kept {
    output: File,
    log: File,
}

impl Kept {
    /// Makes them in the run's directory.
    pub(super) fn create(directory: &Path) -> Result<Self, FileError> {
        let create = |name| files::create_private(&directory.join(name));
        Ok(Self { output: create("output.txt")?, log: create("log.txt")? })
    }

    pub(super) fn write(&mut self, line: &Line) -> io::Result<()> {
        let file = match line.channel {
            Channel::Output => &mut self.output,
            Channel::Log => &mut self.log,
        };
        file.write_all(format!("{}\n", line.text).as_bytes())
    }
}
