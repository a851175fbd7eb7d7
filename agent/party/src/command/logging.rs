//! Logs to a terminal: short lines on standard error.

use log::{Level, LevelFilter, Log, Metadata, Record};

use super::output;

struct Terminal;

impl Log for Terminal {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("mpyc_party")
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

/// Starts logging; `verbose` counts how much more is told than warnings.
pub(super) fn start(verbose: u8) {
    let level = match verbose {
        0 => LevelFilter::Warn,
        1 => LevelFilter::Info,
        _ => LevelFilter::Debug,
    };
    if log::set_logger(&Terminal).is_ok() {
        log::set_max_level(level);
    }
}
