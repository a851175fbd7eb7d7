//! Shows a long text to a person page by page, so that nothing of it scrolls away unread.
//!
//! No pager of the person's own is started for this: what others wrote would be its input, and what
//! runs in between (`LESSOPEN`, commands typed at it) could show something else.

use std::io::{self, BufRead, IsTerminal};

use anstream::adapter::strip_str;
use rustix::stdio::{stderr, stdout};
use rustix::termios::tcgetwinsize;

use super::output;
use super::terminal::{self, Stream};
use crate::session::consent::text::MIN_COLUMNS;
use crate::session::words;

/// Rows and columns of a terminal that does not say how many it has.
const USUAL_SIZE: (usize, usize) = (24, 80);
/// Why nothing is shown.
const TOO_SMALL: &str =
    "the terminal is too small to show all that there is to agree to: make it larger";
/// The longest answer in bytes.
const MAX_ANSWER_BYTES: u64 = 64;

/// A terminal that a person reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Screen {
    stream: Stream,
    rows: usize,
    /// How many columns it has.
    pub(super) columns: usize,
}

impl Screen {
    /// The one that standard output leads to, else standard error; none where neither does.
    pub(super) fn find() -> Option<Self> {
        let (stream, size) = if io::stdout().is_terminal() {
            (Stream::Output, tcgetwinsize(stdout()))
        } else if io::stderr().is_terminal() {
            (Stream::Errors, tcgetwinsize(stderr()))
        } else {
            return None;
        };
        let told = size.map_or((0, 0), |size| (size.ws_row.into(), size.ws_col.into()));
        let or = |told, usual| if told == 0 { usual } else { told };
        Some(Self { stream, rows: or(told.0, USUAL_SIZE.0), columns: or(told.1, USUAL_SIZE.1) })
    }

    /// Shows all of `text`, and waits after each page for somebody to go on; whether they did to its
    /// end, where `last` is asked. No answer is a no.
    pub(super) fn show(
        self,
        text: &str,
        last: &str,
        answers: &mut dyn BufRead,
    ) -> io::Result<bool> {
        // There are never more pages than lines.
        let lines = text.lines().count();
        let longest = height(&question(lines, lines), self.columns).max(height(last, self.columns));
        let rows = self.rows.saturating_sub(longest);
        if rows == 0 || self.columns < MIN_COLUMNS {
            return Err(io::Error::other(TOO_SMALL));
        }
        let pages = pages(text, (rows, self.columns));
        let count = pages.len();
        for (page, number) in pages.into_iter().zip(1..) {
            terminal::print(self.stream, page);
            let question = question(number, count);
            if number < count && !goes_on(&question, answers)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn question(page: usize, pages: usize) -> String {
    format!("— page {page} of {pages}: Enter for more, q to stop — ")
}

/// How many rows a terminal of so many columns needs for a line at most, and for the cursor after it.
fn height(line: &str, columns: usize) -> usize {
    words::rows::columns(&strip_str(line).to_string()) / columns + 1
}

/// Asks until somebody goes on or stops.
fn goes_on(question: &str, answers: &mut dyn BufRead) -> io::Result<bool> {
    loop {
        match ask(question, answers)?.as_deref() {
            Some("") => return Ok(true),
            None | Some("q" | "quit" | "n" | "no") => return Ok(false),
            Some(_) => {}
        }
    }
}

/// Asks on standard error; the answer in lower case, none where no more come.
pub(super) fn ask(question: &str, answers: &mut dyn BufRead) -> io::Result<Option<String>> {
    output::ask(question);
    let mut answer = String::new();
    let read = io::Read::take(answers, MAX_ANSWER_BYTES).read_line(&mut answer)?;
    Ok((read > 0).then(|| answer.trim().to_lowercase()))
}

/// `text` in pieces that fit into so many rows and columns each.
fn pages(text: &str, (rows, columns): (usize, usize)) -> Vec<String> {
    let (mut pages, mut used) = (vec![String::new()], 0);
    for line in text.split_inclusive('\n') {
        let shown = strip_str(line.trim_end_matches('\n')).to_string();
        let height = words::rows::columns(&shown).div_ceil(columns).max(1);
        if used + height > rows && used > 0 {
            pages.push(String::new());
            used = 0;
        }
        if let Some(page) = pages.last_mut() {
            page.push_str(line);
        }
        used += height;
    }
    pages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_on_a_page_that_fits() {
        let text: String = (0..100).map(|number| format!("{}\n", "x".repeat(number))).collect();
        let pages = pages(&text, (23, 20));
        assert_eq!(pages.concat(), text);
        for page in &pages {
            let rows: usize = page.lines().map(|line| line.len().div_ceil(20).max(1)).sum();
            assert!((1..=23).contains(&rows), "{rows} rows:\n{page}");
        }
    }

    #[test]
    fn what_fits_is_one_page() {
        assert_eq!(pages("a\nb\n", (2, 80)), ["a\nb\n"]);
        assert_eq!(pages("a\nb\nc\n", (2, 80)), ["a\nb\n", "c\n"]);
        assert_eq!(pages(&"é".repeat(200), (2, 80)), ["é".repeat(200)]);
        let coloured = "\u{1b}[31m".to_owned() + &"x".repeat(80) + "\u{1b}[0m\n";
        assert_eq!(pages(&coloured.repeat(2), (2, 80)), [coloured.repeat(2)]);
    }
}
