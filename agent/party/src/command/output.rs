//! Text for people and JSON for scripts. Whatever is shown in a line with a mark, a name or a column is
//! made [visible](crate::session::words::visible) here: others may have written some of it.

use std::fmt::Display;

use serde::Serialize;

use super::style::{BAD, DIM, Marked, dimmed, of_program_of, warning};
pub(super) use super::style::{Mark, Step};
use super::terminal::{self, Stream};
use crate::session::words::{visible, visible_json, visible_lines, with_causes};

/// How much further to the right the rest of a line stands that is broken.
const HANGING_INDENT: usize = 2;

/// Why a command fails, for people or for scripts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Complaints {
    /// `error: …`, on standard error.
    Text,
    /// One JSON value in one line, `{"error": …, "status": …}`, in place of the answer.
    Json(Stream),
}

/// Shows an error and what led to it, with the exit status: others may have written some of that.
pub(super) fn error(error: &anyhow::Error, status: u8, form: Complaints) {
    let text = with_causes(error.as_ref());
    match form {
        Complaints::Text => {
            let mark = format!("{BAD}error:{BAD:#}");
            terminal::print_marked_last(Stream::Errors, Marked::new(mark, shown(text)));
        }
        Complaints::Json(stream) => {
            let value = serde_json::json!({"error": text, "status": status});
            terminal::print_last(stream, format!("{}\n", visible_json(&value.to_string())));
        }
    }
}

/// An answer on standard output.
pub(super) fn line(text: impl Display) {
    self::text(format!("{text}\n"));
}

/// A line of an answer that others may have written some of.
pub(super) fn entry(indent: usize, text: impl Display) {
    let line = Marked::hanging(indent + HANGING_INDENT, " ".repeat(indent) + &shown(text));
    terminal::print_marked(Stream::Output, line);
}

/// An answer on standard output, as it is.
pub(super) fn text(text: String) {
    terminal::print(Stream::Output, text);
}

/// A line of an answer with a mark before it.
pub(super) fn marked(mark: Mark, text: impl Display) {
    terminal::print_marked(Stream::Output, Marked::new(mark, shown(text)));
}

/// A line that the program of one among several wrote.
pub(super) fn of_program_of_one(label: &str, text: &str) {
    terminal::print_marked(Stream::Output, of_program_of(label, text));
}

/// The same of what it wrote to its log.
pub(super) fn of_program_log_of_one(label: &str, text: &str) {
    terminal::print_marked(Stream::Errors, of_program_of(label, text));
}

/// One named value of an answer, below a heading.
pub(super) fn field(name: &str, value: impl Display) {
    let line = Marked::new(format!("  {name:11}"), shown(value));
    terminal::print_marked(Stream::Output, line);
}

/// An answer in columns, the first row above them.
pub(super) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) {
    let rows: Vec<[String; N]> =
        rows.iter().map(|row| row.each_ref().map(|cell| visible(cell))).collect();
    let longest = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(|at| longest(at).max(head[at].len()));
    let row = |cells: [&str; N]| {
        let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    line(format!("{DIM}{}{DIM:#}", row(head)));
    for cells in &rows {
        entry(0, row(cells.each_ref().map(String::as_str)));
    }
}

/// An answer for scripts: one JSON value. What a terminal would hide of it stands escaped.
pub(super) fn json(value: &impl Serialize) -> serde_json::Result<()> {
    line(visible_json(&serde_json::to_string_pretty(value)?));
    Ok(())
}

/// An event for scripts: one JSON value on a line of its own.
pub(super) fn json_line(value: &serde_json::Value) {
    line(visible_json(&value.to_string()));
}

/// A step of longer work, on standard error.
pub(super) fn step(text: impl Display) {
    remark(Marked::new(Step, shown(text)));
}

/// A question, whose answer follows on the same line.
pub(super) fn ask(text: impl Display) {
    terminal::print(Stream::Errors, text.to_string());
}

/// Something that went well.
pub(super) fn good(text: impl Display) {
    remark(Marked::new(Mark::Good, shown(text)));
}

/// Something that did not.
pub(super) fn bad(text: impl Display) {
    remark(Marked::new(Mark::Bad, shown(text)));
}

/// Something to know.
pub(super) fn warn(text: impl Display) {
    remark(warning(shown(text)));
}

/// How something ended, on standard error; never left out.
pub(super) fn end(mark: Mark, text: impl Display) {
    terminal::print_marked_last(Stream::Errors, Marked::new(mark, shown(text)));
}

/// One line of somebody among several, on standard error: a mark, who it is, and what.
pub(super) fn of_one(mark: impl Display, label: &str, text: impl Display) {
    remark(Marked::new(format!("{mark} {label}"), shown(text)));
}

fn shown(text: impl Display) -> String {
    visible_lines(&text.to_string())
}

/// A line of a log.
pub(super) fn dim(text: impl Display) {
    remark(dimmed(text.to_string()));
}

fn remark(line: Marked) {
    terminal::print_marked(Stream::Errors, line);
}
