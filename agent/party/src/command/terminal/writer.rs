//! Writes to the outputs: at once, or from a queue in a thread of its own.

use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anstream::adapter::strip_str;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::tcgetwinsize;

use super::super::journal;
use super::super::style::{self, Marked};
use super::Stream;
use super::live::{Drawn, USUAL_COLUMNS};
use super::queue::{Entry, Keep, Queue, Render};
use crate::runner::background;
use crate::runner::view::Excerpt;

/// Bytes that are written at once: a reader that takes so many has read.
const WRITE_BYTES: usize = 4096;
/// Bytes that are read from the record at once. A line of it is shorter.
const READ_BYTES: usize = 64 * 1024;
/// How often the one who waits for the end looks whether it should not, and the one who may not write
/// whether it may.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Where one of the two outputs leads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    descriptor: BorrowedFd<'static>,
    /// Whether it shows no colours.
    plain: bool,
}

impl Output {
    pub(super) fn new(descriptor: BorrowedFd<'static>, plain: bool) -> Self {
        Self { descriptor, plain }
    }

    /// How many columns the terminal has to which it leads; none where it leads to something else.
    fn columns(self) -> Option<usize> {
        tcgetwinsize(self.descriptor).ok().map(|size| match usize::from(size.ws_col) {
            0 => USUAL_COLUMNS,
            columns => columns,
        })
    }

    /// Whether a write would neither wait nor stop this process; an error counts, for it comes at
    /// once.
    fn is_ready(self) -> bool {
        if background::write_stops(self.descriptor) {
            return false;
        }
        let mut polled = [PollFd::from_borrowed_fd(self.descriptor, PollFlags::OUT)];
        poll(&mut polled, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }
}

/// When an entry is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// At once, by whoever shows it.
    AtOnce,
    /// At once where that does not wait, else later.
    WhenReady,
    /// By a thread.
    Thread,
}

#[derive(Debug)]
struct State {
    queue: Queue,
    /// What is shown below all else.
    live: Option<String>,
    mode: Mode,
    /// Whether the thread writes what it took from the queue.
    busy: bool,
}

impl State {
    /// Whether something is not written yet.
    fn is_behind(&self) -> bool {
        self.busy || self.queue.next().is_some()
    }
}

/// Writes to one reader, in order.
#[derive(Debug)]
pub(super) struct Writer {
    outputs: [Output; 2],
    state: Mutex<State>,
    changed: Condvar,
    /// When the reader took something last, or was given something after it had taken everything.
    read: Mutex<Instant>,
    /// Why an output cannot be written any more.
    failures: Mutex<[Option<Errno>; 2]>,
    /// Whether this process is not to wait, nor to be stopped, for its reader.
    detached: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Writer {
    pub(super) fn new(outputs: [Output; 2]) -> Self {
        let state = State { queue: Queue::default(), live: None, mode: Mode::AtOnce, busy: false };
        Self {
            outputs,
            state: Mutex::new(state),
            changed: Condvar::new(),
            read: Mutex::new(Instant::now()),
            failures: Mutex::default(),
            detached: AtomicBool::new(false),
        }
    }

    /// From now on nobody waits in [`Self::post`].
    pub(super) fn detach(&self) {
        let mut state = lock(&self.state);
        if state.mode == Mode::AtOnce {
            state.mode = Mode::WhenReady;
            self.detached.store(true, Ordering::Relaxed);
        }
    }

    /// The same, and a thread writes. Where there can be none, what is ready is still written.
    pub(super) fn start(self: &Arc<Self>) {
        self.detach();
        let mut state = lock(&self.state);
        if state.mode == Mode::WhenReady {
            let writer = Arc::clone(self);
            let thread = thread::Builder::new().name("output".into()).spawn(move || writer.run());
            if thread.is_ok() {
                state.mode = Mode::Thread;
            }
        }
    }

    /// Shows `entry`.
    pub(super) fn post(&self, entry: Entry, keep: Keep) {
        let mut state = lock(&self.state);
        if state.mode == Mode::AtOnce {
            return self.show(entry);
        }
        if !state.is_behind() {
            // The reader had nothing to read until now.
            self.note_progress();
        }
        state.queue.push(entry, keep);
        if state.mode == Mode::Thread {
            return self.changed.notify_all();
        }
        while state.queue.next().is_some_and(|next| self.is_ready(next))
            && let Some(entry) = state.queue.pop()
        {
            self.show(entry);
        }
    }

    /// Shows a line below all else, or none, where a thread writes; whether it is shown.
    pub(super) fn show_live(&self, line: Option<String>) -> bool {
        let mut state = lock(&self.state);
        let shown = state.mode == Mode::Thread && line.is_some();
        if state.mode == Mode::Thread && state.live != line {
            state.live = line;
            self.changed.notify_all();
        }
        shown
    }

    /// Whether it takes no time to show `entry`.
    fn is_ready(&self, entry: &Entry) -> bool {
        match entry {
            Entry::Text(stream, text) => {
                text.len() <= WRITE_BYTES && self.outputs[*stream as usize].is_ready()
            }
            Entry::Marked(stream, line) => {
                line.size() <= WRITE_BYTES && self.outputs[*stream as usize].is_ready()
            }
            Entry::Journal(_) => true,
            Entry::Program(..) => false,
        }
    }

    fn run(&self) {
        let mut drawn = Drawn::default();
        loop {
            let mut state = lock(&self.state);
            state.busy = false;
            self.changed.notify_all();
            let entry = loop {
                if let Some(entry) = state.queue.pop() {
                    break Some(entry);
                }
                if !drawn.is(state.live.as_deref()) {
                    break None;
                }
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            };
            state.busy = true;
            let live = if entry.is_some() { None } else { state.live.clone() };
            drop(state);
            // What is below all else gives way to an entry, and comes back after the last.
            if let Some(text) = drawn.redraw(live, self.outputs[Stream::Errors as usize].descriptor)
            {
                self.write(Stream::Errors, &text);
            }
            if let Some(entry) = entry {
                self.show(entry);
            }
        }
    }

    fn show(&self, entry: Entry) {
        match entry {
            Entry::Text(stream, text) => self.write(stream, &text),
            Entry::Marked(stream, line) => self.write(stream, &self.in_rows(stream, &line)),
            Entry::Journal(entry) => {
                entry.send();
                self.note_progress();
            }
            Entry::Program(excerpt, render) => {
                if let Err(error) = self.show_excerpt(&excerpt, render) {
                    let text = format!("the run's record cannot be read: {error}");
                    let warning = self.in_rows(Stream::Errors, &style::warning(text));
                    self.write(Stream::Errors, &warning);
                }
            }
        }
    }

    /// `line` as `stream` takes it. A terminal is asked for its width now: one that is made narrower
    /// later breaks what it shows anew, and the mark is then not on each row.
    fn in_rows(&self, stream: Stream, line: &Marked) -> String {
        line.in_rows(self.outputs[stream as usize].columns())
    }

    fn show_excerpt(&self, excerpt: &Excerpt, render: Render) -> io::Result<()> {
        let Excerpt { file, range, .. } = excerpt;
        let mut at = range.start;
        while at < range.end {
            let left = usize::try_from(range.end - at).unwrap_or(READ_BYTES);
            let mut piece = vec![0; left.min(READ_BYTES)];
            file.read_exact_at(&mut piece, at)?;
            let end = piece.iter().rposition(|byte| *byte == b'\n');
            piece.truncate(end.map_or(piece.len(), |end| end + 1));
            at += piece.len() as u64;
            let lines = String::from_utf8_lossy(&piece);
            match render {
                Render::Text(stream, _) | Render::Marked(stream, _)
                    if self.failure(stream).is_some() =>
                {
                    break;
                }
                Render::Marked(stream, mark) => {
                    let rows = lines.lines().map(|line| self.in_rows(stream, &mark(line)));
                    self.write(stream, &rows.collect::<String>());
                }
                Render::Text(stream, line) => {
                    self.write(stream, &lines.lines().map(line).collect::<String>());
                }
                Render::Journal => lines.lines().for_each(|line| {
                    journal::Entry::of_program(line).send();
                    self.note_progress();
                }),
            }
        }
        Ok(())
    }

    /// Writes all of `text`, however long that takes, unless the output has failed.
    fn write(&self, stream: Stream, text: &str) {
        let output = self.outputs[stream as usize];
        let stripped =
            (output.plain && text.contains('\u{1b}')).then(|| strip_str(text).to_string());
        let mut rest = stripped.as_deref().unwrap_or(text).as_bytes();
        while !rest.is_empty() && self.failure(stream).is_none() {
            if self.detached.load(Ordering::Relaxed) && background::write_stops(output.descriptor) {
                thread::sleep(LOOK_EVERY);
                continue;
            }
            match rustix::io::write(output.descriptor, &rest[..rest.len().min(WRITE_BYTES)]) {
                Ok(written) => {
                    rest = &rest[written..];
                    self.note_progress();
                }
                Err(Errno::INTR) => {}
                // Whoever shares it with this process made it so.
                Err(Errno::AGAIN) => {
                    let mut polled = [PollFd::from_borrowed_fd(output.descriptor, PollFlags::OUT)];
                    // What is wrong with it the next write says.
                    let _ = poll(&mut polled, None);
                }
                Err(error) => lock(&self.failures)[stream as usize] = Some(error),
            }
        }
    }

    fn note_progress(&self) {
        *lock(&self.read) = Instant::now();
    }

    /// Why `stream` cannot be written any more, if it cannot.
    pub(super) fn failure(&self, stream: Stream) -> Option<Errno> {
        lock(&self.failures)[stream as usize]
    }

    /// Whether more can wait.
    pub(super) fn has_room(&self) -> bool {
        lock(&self.state).queue.has_room()
    }

    /// How long nothing has been read, counted from `since` at the earliest.
    fn unread_for(&self, since: Instant) -> Duration {
        since.max(*lock(&self.read)).elapsed()
    }

    /// Whether the reader has had something to read since `since`, and took nothing for `timeout`.
    pub(super) fn is_stalled(&self, since: Instant, timeout: Duration) -> bool {
        lock(&self.state).is_behind() && self.unread_for(since) > timeout
    }

    /// Waits until everything is written, but no longer than something is read every `timeout` from
    /// `since` on, nor after `stop` is set; whether it is written.
    pub(super) fn wait(
        self: &Arc<Self>,
        since: Instant,
        timeout: Duration,
        stop: &AtomicBool,
    ) -> bool {
        if lock(&self.state).mode == Mode::WhenReady {
            self.start();
        }
        let mut state = lock(&self.state);
        while state.is_behind() {
            if stop.load(Ordering::Relaxed) || self.unread_for(since) > timeout {
                return false;
            }
            let waited = self.changed.wait_timeout(state, LOOK_EVERY);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, PipeWriter, Read, Write};
    use std::os::fd::AsFd;

    use super::*;
    use crate::runner::view::Channel;

    /// Short, for tests, but longer than a busy machine forgets a thread.
    const TIMEOUT: Duration = Duration::from_secs(1);

    /// A writer to a pipe, and who reads from it.
    fn pipe() -> (Arc<Writer>, PipeReader) {
        let (reader, writer) = io::pipe().unwrap();
        let writer: &'static PipeWriter = Box::leak(Box::new(writer));
        let output = Output::new(writer.as_fd(), true);
        (Arc::new(Writer::new([output; 2])), reader)
    }

    fn message(text: &str) -> Entry {
        Entry::Text(Stream::Errors, text.to_owned())
    }

    fn written(writer: &Arc<Writer>) -> bool {
        writer.wait(Instant::now(), TIMEOUT, &AtomicBool::new(false))
    }

    #[test]
    fn nobody_waits_for_a_reader_that_sleeps() {
        for has_thread in [false, true] {
            let (writer, _reader) = pipe();
            writer.detach();
            if has_thread {
                writer.start();
            }
            for _ in 0..1000 {
                writer.post(message(&"x".repeat(1000)), Keep::IfRoom);
            }
            assert!(!written(&writer));
        }
    }

    #[test]
    fn a_slow_reader_is_waited_for_and_gets_all_in_order() {
        let (writer, mut reader) = pipe();
        writer.start();
        let file = tempfile::tempfile().unwrap();
        let lines: String = (0..40_000).map(|number| format!("line {number}\n")).collect();
        (&file).write_all(lines.as_bytes()).unwrap();
        let (file, range) = (Arc::new(file), 0..lines.len() as u64);
        writer.post(message("\u{1b}[1mfirst\u{1b}[0m\n"), Keep::IfRoom);
        let render = Render::Text(Stream::Output, |line| format!("> {line}\n"));
        let excerpt = Excerpt { channel: Channel::Output, file, range };
        writer.post(Entry::Program(excerpt, render), Keep::IfRoom);
        writer.post(message("last\n"), Keep::IfRoom);
        let slow = thread::spawn(move || {
            let (mut all, mut piece) = (Vec::new(), [0; 8192]);
            while !all.ends_with(b"last\n") {
                thread::sleep(TIMEOUT / 20);
                let length = reader.read(&mut piece).unwrap();
                all.extend_from_slice(&piece[..length]);
            }
            String::from_utf8(all).unwrap()
        });
        let begun = Instant::now();
        assert!(written(&writer));
        assert!(begun.elapsed() > TIMEOUT, "it was not slow");
        let shown = slow.join().unwrap();
        let wanted: String = lines.lines().map(|line| format!("> {line}\n")).collect();
        assert_eq!(shown, format!("first\n{wanted}last\n"));
    }

    #[test]
    fn who_is_asked_to_end_waits_for_nobody() {
        let (writer, _reader) = pipe();
        writer.start();
        writer.post(message(&"x".repeat(1 << 17)), Keep::IfRoom);
        let stop = AtomicBool::new(true);
        assert!(!writer.wait(Instant::now(), Duration::from_secs(60), &stop));
    }

    #[test]
    fn an_output_that_fails_is_left_alone() {
        let (writer, reader) = pipe();
        drop(reader);
        for _ in 0..2 {
            writer.post(message("text"), Keep::IfRoom);
            assert_eq!(writer.failure(Stream::Errors), Some(Errno::PIPE));
        }
        assert!(written(&writer));
    }
}
