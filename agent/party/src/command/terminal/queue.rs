//! What waits to be shown, in order and bounded: the program's lines stay in the run's record, and
//! here is only where.

use std::collections::VecDeque;
use std::sync::Arc;

use super::super::journal;
use super::super::style::{self, Marked};
use super::Stream;
use crate::runner::view::Excerpt;

/// Bytes of messages that may wait.
const MAX_MESSAGE_BYTES: usize = 1 << 20;
/// Excerpts that may wait. Where more come, those of each channel are put together, and the order
/// between the two is lost.
const MAX_EXCERPTS: usize = 16 * 1024;

/// One thing to be shown.
#[derive(Debug)]
pub(in crate::command) enum Entry {
    /// Text as it is.
    Text(Stream, String),
    /// A line behind a mark.
    Marked(Stream, Marked),
    /// An entry of the journal.
    Journal(Box<journal::Entry>),
    /// Lines of the program, read from the record when their turn comes.
    Program(Excerpt, Render),
}

/// How lines of the program are shown.
#[derive(Clone, Copy, Debug)]
pub(in crate::command) enum Render {
    /// As text, which this makes of each.
    Text(Stream, fn(&str) -> String),
    /// Behind a mark, which this sets before each.
    Marked(Stream, fn(&str) -> Marked),
    /// As entries of the journal.
    Journal,
}

/// Whether a message may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::command) enum Keep {
    /// Where too much waits already.
    IfRoom,
    /// It may not.
    Always,
}

impl Entry {
    /// Bytes that it takes in memory, roughly.
    fn size(&self) -> usize {
        let text = match self {
            Self::Text(_, text) => text.len(),
            Self::Marked(_, line) => line.size(),
            Self::Journal(entry) => entry.size(),
            Self::Program(..) => 0,
        };
        size_of::<Self>() + text
    }
}

/// Entries in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Entry>,
    /// Bytes of the messages among them.
    bytes: usize,
    excerpts: usize,
    /// Messages that found no room since the last that did.
    left_out: usize,
}

impl Queue {
    pub(super) fn push(&mut self, entry: Entry, keep: Keep) {
        match entry {
            Entry::Program(excerpt, render) => self.push_excerpt(excerpt, render),
            message if keep == Keep::IfRoom && self.bytes + message.size() > MAX_MESSAGE_BYTES => {
                self.left_out += 1;
            }
            message => {
                if self.left_out > 0 {
                    let text = format!("{} messages are left out: nobody read", self.left_out);
                    self.push_message(Entry::Marked(Stream::Errors, style::warning(text)));
                    self.left_out = 0;
                }
                self.push_message(message);
            }
        }
    }

    fn push_message(&mut self, message: Entry) {
        self.bytes += message.size();
        self.waiting.push_back(message);
    }

    /// Lengthens the excerpt that ends where this one begins, if that is the last entry, or if there
    /// are too many.
    fn push_excerpt(&mut self, excerpt: Excerpt, render: Render) {
        let near = if self.excerpts < MAX_EXCERPTS { 1 } else { self.waiting.len() };
        let before = self.waiting.iter_mut().rev().take(near).find_map(|entry| match entry {
            Entry::Program(before, _)
                if before.range.end == excerpt.range.start
                    && Arc::ptr_eq(&before.file, &excerpt.file) =>
            {
                Some(before)
            }
            _ => None,
        });
        if let Some(before) = before {
            before.range.end = excerpt.range.end;
        } else {
            self.excerpts += 1;
            self.waiting.push_back(Entry::Program(excerpt, render));
        }
    }

    /// The next entry.
    pub(super) fn pop(&mut self) -> Option<Entry> {
        let entry = self.waiting.pop_front()?;
        match &entry {
            Entry::Program(..) => self.excerpts -= 1,
            message => self.bytes -= message.size(),
        }
        Some(entry)
    }

    /// The entry that is next.
    pub(super) fn next(&self) -> Option<&Entry> {
        self.waiting.front()
    }

    /// Whether there is room for many more messages.
    pub(super) fn has_room(&self) -> bool {
        self.bytes < MAX_MESSAGE_BYTES / 2
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::runner::view::Channel;

    fn message(text: &str) -> Entry {
        Entry::Text(Stream::Errors, text.to_owned())
    }

    fn excerpt(channel: Channel, file: &Arc<File>, range: std::ops::Range<u64>) -> Entry {
        let excerpt = Excerpt { channel, file: Arc::clone(file), range };
        Entry::Program(excerpt, Render::Journal)
    }

    fn file() -> Arc<File> {
        Arc::new(tempfile::tempfile().unwrap())
    }

    /// What waits, in short.
    fn drain(queue: &mut Queue) -> Vec<String> {
        let short = |entry| match entry {
            Entry::Program(excerpt, _) => format!("{:?} {:?}", excerpt.channel, excerpt.range),
            Entry::Text(_, text) => text,
            Entry::Marked(_, line) => line.in_rows(None),
            Entry::Journal(entry) => format!("{entry:?}"),
        };
        std::iter::from_fn(|| queue.pop()).map(short).collect()
    }

    #[test]
    fn lines_and_messages_stay_in_order() {
        let (mut queue, output, log) = (Queue::default(), file(), file());
        queue.push(excerpt(Channel::Output, &output, 0..10), Keep::IfRoom);
        queue.push(excerpt(Channel::Output, &output, 10..30), Keep::IfRoom);
        queue.push(message("away"), Keep::IfRoom);
        queue.push(excerpt(Channel::Output, &output, 30..40), Keep::IfRoom);
        queue.push(excerpt(Channel::Log, &log, 0..5), Keep::IfRoom);
        let shown = ["Output 0..30", "away", "Output 30..40", "Log 0..5"];
        assert_eq!(drain(&mut queue), shown);
    }

    #[test]
    fn a_reader_far_behind_costs_little_and_loses_no_line() {
        let (mut queue, output, log) = (Queue::default(), file(), file());
        for at in 0..2 * MAX_EXCERPTS as u64 {
            queue.push(excerpt(Channel::Output, &output, at..at + 1), Keep::IfRoom);
            queue.push(excerpt(Channel::Log, &log, at..at + 1), Keep::IfRoom);
        }
        assert!(queue.waiting.len() <= MAX_EXCERPTS, "{}", queue.waiting.len());
        let (mut shown, mut ends) = (0, [0; 2]);
        while let Some(Entry::Program(Excerpt { channel, range, .. }, _)) = queue.pop() {
            assert_eq!(range.start, ends[channel as usize]);
            ends[channel as usize] = range.end;
            shown += range.end - range.start;
        }
        assert_eq!(shown, 4 * MAX_EXCERPTS as u64);
        assert_eq!(queue.excerpts, 0);
    }

    #[test]
    fn messages_that_find_no_room_are_counted() {
        let mut queue = Queue::default();
        let long = "x".repeat(1 << 16);
        for _ in 0..20 {
            queue.push(message(&long), Keep::IfRoom);
        }
        assert!(queue.bytes <= MAX_MESSAGE_BYTES && !queue.has_room());
        queue.push(message("the end"), Keep::Always);
        let shown = drain(&mut queue);
        let [.., left_out, end] = shown.as_slice() else { panic!("{shown:?}") };
        assert_eq!(end, "the end");
        assert!(left_out.contains("5 messages are left out"), "{left_out}");
        assert_eq!(shown.len(), 15 + 2);
        assert_eq!(queue.bytes, 0);
    }
}
