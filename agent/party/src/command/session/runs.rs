//! The runs of a session, as people and scripts are told of them.

use std::path::PathBuf;

use mpyc_party_core::name::SessionName;
use mpyc_party_core::verdict::Verdict;
use serde_json::{Value, json};

use crate::config::Directories;
use crate::config::files::FileError;
use crate::runner::engine;
use crate::session::record::{self, Record, RuntimeStatistics};
use crate::session::words::visible;

/// One run on record.
#[derive(Debug)]
pub(in crate::command) struct Run {
    /// Its place among the session's runs on record, from 1.
    pub(in crate::command) number: usize,
    pub(super) directory: PathBuf,
    pub(super) record: Record,
    running: bool,
}

/// The runs of `session`, in the order in which they began.
pub(in crate::command) fn of(
    dirs: &Directories,
    session: &SessionName,
) -> Result<Vec<Run>, FileError> {
    let runs = record::of(dirs, session)?.into_iter().enumerate();
    let run = |(at, (directory, record)): (usize, (PathBuf, Record))| {
        let running = record.verdict.is_none() && record::is_running(&directory);
        Run { number: at + 1, directory, record, running }
    };
    Ok(runs.map(run).collect())
}

impl Run {
    /// How it ended, in a word for scripts.
    fn state(&self) -> &'static str {
        match &self.record.verdict {
            Some(Verdict::Completed) => "completed",
            Some(Verdict::Unconfirmed(_)) => "unconfirmed",
            Some(Verdict::Failed(_)) => "failed",
            None if self.running => "running",
            None => "unfinished",
        }
    }

    /// How it ended, for people.
    pub(in crate::command) fn verdict(&self) -> String {
        match &self.record.verdict {
            Some(verdict) => visible(&verdict.in_words(engine::words).to_string()),
            None if self.running => "running".to_owned(),
            None => "unfinished: its runner was ended".to_owned(),
        }
    }

    /// When it began, to the second.
    pub(in crate::command) fn started(&self) -> String {
        let seconds = self.record.started.get(..19).unwrap_or(&self.record.started);
        format!("{} UTC", visible(seconds).replace('T', " "))
    }

    /// What is known beside the verdict, a line each.
    pub(super) fn details(&self) -> Vec<String> {
        let Record { run, exit, statistics: starts, versions, warnings, .. } = &self.record;
        let mut lines = Vec::new();
        if let Some(run) = run {
            lines.push(format!("run {}", visible(run)));
        }
        if let Some(exit) = exit {
            lines.push(format!("the program {exit}, {} bytes of output", self.record.output_bytes));
        }
        if !starts.is_empty() {
            lines.push(statistics(starts));
        }
        let times = self.record.times();
        if !times.is_empty() {
            let time = |(stage, seconds): &(_, f64)| format!("{stage} {seconds:.2} s");
            lines.push(times.iter().map(time).collect::<Vec<_>>().join(", "));
        }
        lines.extend(versions.iter().map(|versions| visible(versions)));
        lines.extend(warnings.iter().map(|warning| format!("warning: {}", visible(warning))));
        lines
    }

    /// Everything, for scripts.
    pub(in crate::command) fn json(&self) -> Value {
        let times = self.record.times().into_iter();
        let times: Vec<_> =
            times.map(|(stage, time)| json!({"stage": stage, "seconds": time})).collect();
        json!({
            "number": self.number, "state": self.state(), "text": self.verdict(),
            "directory": self.directory, "times": times, "record": self.record,
        })
    }
}

fn statistics(starts: &[RuntimeStatistics]) -> String {
    let seconds: f64 = starts.iter().map(|start| start.elapsed_s).sum();
    let bytes = starts.iter().map(|start| start.bytes_sent).fold(0, u64::saturating_add);
    let times = match starts.len() {
        1 => "once".to_owned(),
        many => format!("{many} times"),
    };
    format!("MPyC ran {times}, {seconds:.3} s in all, and sent {bytes} bytes")
}
