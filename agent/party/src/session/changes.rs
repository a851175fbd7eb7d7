//! What a bundle would change of the session that is here: for somebody who agreed to that one.

use std::time::{Duration, Instant};

use serde::Serialize;
use similar::{Algorithm, ChangeTag, DiffOp, capture_diff_slices_deadline, group_diff_ops};

use super::bundle::Opened;
use super::code::{self, Kind};
use super::words::{file_name, visible};

/// How many lines that are the same stand around those that changed.
const CONTEXT_LINES: usize = 2;
/// How long the shortest difference of two files is looked for. After that a longer one is shown, which
/// says the same.
const DIFF_TIMEOUT: Duration = Duration::from_millis(500);

/// Code that would change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChangedCode {
    /// The name of its file, as it is shown.
    pub name: String,
    /// Its changed lines with some around them, part by part.
    pub parts: Vec<Vec<Line>>,
}

/// A line of code that would change, or of what stands around it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// What would become of it.
    pub change: LineChange,
    /// Its number from 1: in the file that is new, or in the old one where it goes.
    pub number: usize,
    /// What it says, with nothing in it hidden.
    pub text: String,
}

/// What would become of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LineChange {
    /// It goes.
    Removed,
    /// It comes.
    Added,
    /// It stays.
    Same,
}

/// The lines of code that `after` changes, of the files that both have.
#[must_use]
pub fn lines(before: &Opened, after: &Opened) -> Vec<ChangedCode> {
    let deadline = Instant::now() + DIFF_TIMEOUT;
    let is_code = |opened: &Opened, name: &str| {
        code::kind(name, name == opened.bundle.proposal.program) == Kind::Code
    };
    let mut all = Vec::new();
    for (name, new) in &after.files {
        let Some((_, old)) = before.files.iter().find(|(known, _)| known == name) else { continue };
        if old != new && is_code(after, name) {
            let (old, new) = (String::from_utf8_lossy(old), String::from_utf8_lossy(new));
            all.push(ChangedCode { name: file_name(name), parts: parts(&old, &new, deadline) });
        }
    }
    all
}

fn parts(old: &str, new: &str, deadline: Instant) -> Vec<Vec<Line>> {
    // With their ends: those may be all that differs.
    let lines = |text: &'_ str| text.split_inclusive('\n').map(str::to_owned).collect::<Vec<_>>();
    let (old, new) = (lines(old), lines(new));
    let ops = capture_diff_slices_deadline(Algorithm::Myers, &old, &new, Some(deadline));
    let groups = group_diff_ops(ops, CONTEXT_LINES);
    groups.iter().map(|ops| ops.iter().flat_map(|op| of_op(op, &old, &new)).collect()).collect()
}

fn of_op(op: &DiffOp, old: &[String], new: &[String]) -> Vec<Line> {
    let changes = op.iter_changes(old, new);
    let line = |change: similar::Change<String>| {
        let (kind, index) = match change.tag() {
            ChangeTag::Delete => (LineChange::Removed, change.old_index()),
            ChangeTag::Insert => (LineChange::Added, change.new_index()),
            ChangeTag::Equal => (LineChange::Same, change.new_index()),
        };
        let text = change.value();
        let text = visible(text.strip_suffix('\n').unwrap_or(&text));
        Line { change: kind, number: index.unwrap_or(0) + 1, text }
    };
    changes.map(line).collect()
}
