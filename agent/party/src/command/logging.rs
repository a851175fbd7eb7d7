//! Logs: to the journal with fields where standard error leads there, else short lines.

use log::{Level, LevelFilter, Log, Metadata, Record};
use systemd_journal_logger::{JournalLog, connected_to_journal};

use super::journal::{self, JOURNAL};
use super::output;
use super::terminal::{self, Stream};
use crate::session::words::visible_lines;

fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("mpyc_party")
}

struct Terminal;

impl Log for Terminal {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_ours(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let text = visible_lines(&record.args().to_string());
        match record.level() {
            Level::Error => output::bad(text),
            Level::Warn => output::warn(text),
            _ => output::dim(text),
        }
    }

    fn flush(&self) {}
}

struct Journal;

impl Log for Journal {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_ours(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let entry = terminal::Entry::Journal(Box::new(journal::Entry::of(record)));
            terminal::post(Stream::Errors, entry);
        }
    }

    fn flush(&self) {}
}

/// Whether standard error leads to the journal.
pub(super) fn in_journal() -> bool {
    connected_to_journal()
}

/// Starts logging; `verbose` counts how much more is told than warnings. The journal is told at
/// least what happens: it is read by those who were not there.
pub(super) fn start(verbose: u8) {
    let journal = if in_journal() { JournalLog::new().ok() } else { None };
    let level = match verbose.max(u8::from(journal.is_some())) {
        0 => LevelFilter::Warn,
        1 => LevelFilter::Info,
        _ => LevelFilter::Debug,
    };
    let set = match journal {
        Some(journal) => {
            // This is the only place that sets it.
            let _ = JOURNAL.set(journal);
            log::set_logger(&Journal)
        }
        None => log::set_logger(&Terminal),
    };
    if set.is_ok() {
        log::set_max_level(level);
    }
}
