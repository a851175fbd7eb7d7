//! Standard output and standard error: everything that a command shows goes through here.
//!
//! A command that answers and ends writes at once, and waits for its reader as any program does.
//! What others depend on, runs and daemons, is [detached](detach) from its readers: what it shows
//! waits in a bounded queue until a thread has written it, so that a paused pager or a stopped
//! terminal delays nothing but what it shows. Where the two outputs lead to the same reader they
//! share a thread, which keeps their order; else neither waits for the other.
//!
//! An output that cannot be written any more is left alone: that it failed, and how, is for
//! [`End::wait`] to say.

mod live;
mod queue;
mod writer;

use std::io::{self, IsTerminal};
use std::os::fd::BorrowedFd;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use anstream::{AutoStream, ColorChoice};
use rustix::io::Errno;
use rustix::stdio::{stderr, stdout};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::style::Marked;
use crate::runner::stop::is_ignored;
pub(super) use queue::{Entry, Keep, Render};
use writer::{Output, Writer};

/// How long a process that is done waits for a reader that does not read.
const READER_TIMEOUT: Duration = Duration::from_secs(5);
/// How often it is looked at whether there is room.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// One of the two outputs of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    /// Standard output: answers.
    Output,
    /// Standard error: everything else.
    Errors,
}

/// The writers of both outputs; the same one where both have the same reader.
struct Terminal {
    output: Arc<Writer>,
    errors: Arc<Writer>,
    /// Whether a line on standard error can be drawn again.
    redraws: bool,
}

static TERMINAL: LazyLock<Terminal> = LazyLock::new(|| {
    let outputs = [
        Output::new(stdout(), AutoStream::choice(&io::stdout()) == ColorChoice::Never),
        Output::new(stderr(), AutoStream::choice(&io::stderr()) == ColorChoice::Never),
    ];
    let output = Arc::new(Writer::new(outputs));
    let errors = match have_same_reader(stdout(), stderr()) {
        true => Arc::clone(&output),
        false => Arc::new(Writer::new(outputs)),
    };
    let redraws =
        io::stderr().is_terminal() && std::env::var_os("TERM").is_some_and(|t| t != "dumb");
    Terminal { output, errors, redraws }
});

fn have_same_reader(a: BorrowedFd<'_>, b: BorrowedFd<'_>) -> bool {
    let file = |descriptor| rustix::fs::fstat(descriptor).map(|stat| (stat.st_dev, stat.st_ino));
    file(a).is_ok_and(|a| file(b) == Ok(a))
}

fn writer(stream: Stream) -> &'static Arc<Writer> {
    match stream {
        Stream::Output => &TERMINAL.output,
        Stream::Errors => &TERMINAL.errors,
    }
}

fn writers() -> [&'static Arc<Writer>; 2] {
    [writer(Stream::Output), writer(Stream::Errors)]
}

/// Shows text.
pub(super) fn print(stream: Stream, text: String) {
    writer(stream).post(Entry::Text(stream, text), Keep::IfRoom);
}

/// Shows text that is not left out, however much waits: the last words of a run.
pub(super) fn print_last(stream: Stream, text: String) {
    writer(stream).post(Entry::Text(stream, text), Keep::Always);
}

/// The same of a line behind a mark.
pub(super) fn print_marked(stream: Stream, line: Marked) {
    writer(stream).post(Entry::Marked(stream, line), Keep::IfRoom);
}

/// The same of the last words of a run.
pub(super) fn print_marked_last(stream: Stream, line: Marked) {
    writer(stream).post(Entry::Marked(stream, line), Keep::Always);
}

/// Shows what is not simply text, on `stream` or as the journal does.
pub(super) fn post(stream: Stream, entry: Entry) {
    writer(stream).post(entry, Keep::IfRoom);
}

/// Shows a line below everything else, in place of the one before, or none; where standard error is
/// a terminal and nothing waits for it. Whether it is shown.
pub(super) fn show_live(line: Option<String>) -> bool {
    TERMINAL.redraws && writer(Stream::Errors).show_live(line)
}

/// From now on nothing waits for a reader. Starts no thread: before there is one, what the reader
/// does not take at once waits.
pub(super) fn detach() {
    writers().iter().for_each(|writer| writer.detach());
}

/// The same, and threads write from now on.
pub(super) fn start() {
    writers().into_iter().for_each(Writer::start);
}

/// Whether what is written to standard output is seen beside other lines than those: at a terminal, or
/// where both outputs have one reader.
pub(super) fn output_is_mixed() -> bool {
    io::stdout().is_terminal() || Arc::ptr_eq(&TERMINAL.output, &TERMINAL.errors)
}

/// Whether somebody still takes what is written to standard output.
pub(super) fn is_open() -> bool {
    writer(Stream::Output).failure(Stream::Output).is_none()
}

/// Waits until there is room for more without anything being left out.
pub(super) async fn room() {
    while !writers().iter().all(|writer| writer.has_room()) {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Waits for `done` as long as readers read; none where one has stopped.
pub(super) async fn while_read<T>(done: impl Future<Output = T>) -> Option<T> {
    let begun = Instant::now();
    let stalled = async {
        while !writers().iter().any(|writer| writer.is_stalled(begun, READER_TIMEOUT)) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::select! {
        done = done => Some(done),
        () = stalled => None,
    }
}

/// Why not all was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unwritten {
    /// It cannot be.
    Failed(Errno),
    /// Nobody read on.
    Unread,
}

/// The end of a process, which waits for its readers no longer than they read, nor after it is
/// asked to end.
#[derive(Debug)]
pub(super) struct End {
    since: Instant,
    stop: Arc<AtomicBool>,
}

impl End {
    /// It is now.
    pub(super) fn begin() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let hangup = (!is_ignored(SIGHUP)).then_some(SIGHUP);
        for signal in [SIGINT, SIGTERM].into_iter().chain(hangup) {
            // Without it the readers are waited for as long as they read.
            let _ = signal_hook::flag::register(signal, Arc::clone(&stop));
        }
        Self { since: Instant::now(), stop }
    }

    /// Waits until everything is written that waits for `stream`.
    ///
    /// # Errors
    /// Where not all of it was.
    pub(super) fn wait(&self, stream: Stream) -> Result<(), Unwritten> {
        let writer = writer(stream);
        let written = writer.wait(self.since, READER_TIMEOUT, &self.stop);
        match writer.failure(stream) {
            Some(error) => Err(Unwritten::Failed(error)),
            None if !written => Err(Unwritten::Unread),
            None => Ok(()),
        }
    }
}
