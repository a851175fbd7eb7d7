//! Entries of the systemd journal, with fields.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use log::kv::{self, Key, Source, Value, VisitSource};
use log::{Level, Log, Record};
use systemd_journal_logger::JournalLog;

use crate::session::words::visible_lines;

/// Fields of every entry: what this process is about.
static FIELDS: Mutex<BTreeMap<&'static str, String>> = Mutex::new(BTreeMap::new());

fn fields() -> MutexGuard<'static, BTreeMap<&'static str, String>> {
    FIELDS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on, entries in the journal have this field.
pub(super) fn about(field: &'static str, value: impl ToString) {
    fields().insert(field, value.to_string());
}

/// The journal, where standard error leads there.
pub(super) static JOURNAL: OnceLock<JournalLog> = OnceLock::new();

/// An entry of the journal that waits to be sent.
#[derive(Debug)]
pub(super) struct Entry {
    level: Level,
    target: String,
    text: String,
    /// Where in the code it comes from: module, file and line.
    code: (Option<&'static str>, Option<&'static str>, Option<u32>),
    fields: Vec<(String, String)>,
}

impl Entry {
    pub(super) fn of(record: &Record<'_>) -> Self {
        let mut entry = Self {
            level: record.level(),
            target: record.target().to_owned(),
            text: visible_lines(&record.args().to_string()),
            code: (record.module_path_static(), record.file_static(), record.line()),
            fields: Vec::new(),
        };
        // The one below takes every field.
        let _ = record.key_values().visit(&mut entry);
        let of_all = fields();
        entry.fields.extend(of_all.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        entry
    }

    /// A line that the program of a run wrote.
    pub(super) fn of_program(line: &str) -> Self {
        Self::of(
            &Record::builder()
                .level(Level::Info)
                .target(module_path!())
                .args(format_args!("{line}"))
                .build(),
        )
    }

    /// Bytes of its texts, roughly.
    pub(super) fn size(&self) -> usize {
        let fields = self.fields.iter().map(|(key, value)| key.len() + value.len());
        self.text.len() + fields.sum::<usize>()
    }

    /// Sends it; waits while the journal takes none.
    pub(super) fn send(&self) {
        let Some(journal) = JOURNAL.get() else { return };
        let (module, file, line) = self.code;
        journal.log(
            &Record::builder()
                .level(self.level)
                .target(&self.target)
                .module_path_static(module)
                .file_static(file)
                .line(line)
                .key_values(self)
                .args(format_args!("{}", self.text))
                .build(),
        );
    }
}

impl Source for Entry {
    fn visit<'kvs>(&'kvs self, visitor: &mut dyn VisitSource<'kvs>) -> Result<(), kv::Error> {
        self.fields.iter().try_for_each(|(key, value)| {
            visitor.visit_pair(Key::from_str(key), value.as_str().into())
        })
    }
}

impl<'kvs> VisitSource<'kvs> for Entry {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        self.fields.push((key.to_string(), value.to_string()));
        Ok(())
    }
}
