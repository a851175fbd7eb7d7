//! Logs: to the journal with fields where standard error leads there, else short lines.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use log::kv::{self, Key, Source, VisitSource};
use log::{Level, LevelFilter, Log, Metadata, Record};
use systemd_journal_logger::{JournalLog, connected_to_journal};

use super::output;

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
        match record.level() {
            Level::Error => output::bad(record.args()),
            Level::Warn => output::warn(record.args()),
            _ => output::dim(record.args()),
        }
    }

    fn flush(&self) {}
}

/// Fields of every entry: what this process is about.
static FIELDS: Mutex<BTreeMap<&'static str, String>> = Mutex::new(BTreeMap::new());

fn fields() -> MutexGuard<'static, BTreeMap<&'static str, String>> {
    FIELDS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on, entries in the journal have this field.
pub(super) fn about(field: &'static str, value: impl ToString) {
    fields().insert(field, value.to_string());
}

struct Journal(JournalLog);

/// The fields of one record, and those of all.
struct All<'a>(&'a dyn Source, BTreeMap<&'static str, String>);

impl Source for All<'_> {
    fn visit<'kvs>(&'kvs self, visitor: &mut dyn VisitSource<'kvs>) -> Result<(), kv::Error> {
        self.0.visit(visitor)?;
        self.1.iter().try_for_each(|(key, value)| {
            visitor.visit_pair(Key::from_str(key), value.as_str().into())
        })
    }
}

impl Log for Journal {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_ours(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let all = All(record.key_values(), fields().clone());
            self.0.log(&record.to_builder().key_values(&all).build());
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
        Some(journal) => log::set_boxed_logger(Box::new(Journal(journal))),
        None => log::set_logger(&Terminal),
    };
    if set.is_ok() {
        log::set_max_level(level);
    }
}
