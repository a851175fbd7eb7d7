//! How lines look: marks and colours.

use std::fmt::{self, Display, Formatter};
use std::iter::{once, repeat};

use anstream::adapter::strip_str;
use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::session::words::rows::{self, rows};
use crate::session::words::visible;

pub(super) const GOOD: Style = AnsiColor::Green.on_default();
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(super) const DOUBTFUL: Style = AnsiColor::Yellow.on_default();
pub(super) const DIM: Style = Style::new().dimmed();

/// How something was found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Mark {
    Good,
    Doubtful,
    Bad,
}

impl Display for Mark {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Good => write!(f, "{GOOD}✓{GOOD:#}"),
            Self::Doubtful => write!(f, "{DOUBTFUL}!{DOUBTFUL:#}"),
            Self::Bad => write!(f, "{BAD}✗{BAD:#}"),
        }
    }
}

/// Before a step of longer work.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step;

impl Display for Step {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{DIM}·{DIM:#}")
    }
}

/// A line behind a mark. On a terminal it is broken into rows before the terminal does so, so that
/// nothing in it stands at the left edge, where marks are.
#[derive(Clone, Debug)]
pub(super) struct Marked {
    /// Before the first row, a style among it.
    first: String,
    /// Before each other row; as wide as the first.
    rest: String,
    text: String,
    /// What ends the style of a row.
    end: String,
}

impl Marked {
    /// `text` behind `mark`; what does not fit the first row stands below it, behind blanks.
    pub(super) fn new(mark: impl Display, text: String) -> Self {
        let first = format!("{mark} ");
        let rest = " ".repeat(strip_str(&first).to_string().chars().count());
        Self { first, rest, text, end: String::new() }
    }

    /// `text` with no mark; what does not fit the first row stands below it, behind `indent` blanks.
    pub(super) fn hanging(indent: usize, text: String) -> Self {
        Self { first: String::new(), rest: " ".repeat(indent), text, end: String::new() }
    }

    /// Bytes that it takes in memory, roughly.
    pub(super) fn size(&self) -> usize {
        self.first.len() + self.rest.len() + self.text.len() + self.end.len()
    }

    /// What is written to a terminal of so many columns, or to something else.
    pub(super) fn in_rows(&self, columns: Option<usize>) -> String {
        let Self { first, rest, text, end } = self;
        let mark = rows::columns(&strip_str(rest).to_string());
        let mut shown = String::with_capacity(self.size() + 1);
        let lines = text.split('\n').flat_map(|line| match columns {
            Some(columns) => rows(line, columns.saturating_sub(mark), ' '),
            None => vec![line.to_owned()],
        });
        for (row, before) in lines.zip(once(first).chain(repeat(rest))) {
            shown = shown + before + &row + end + "\n";
        }
        shown
    }
}

/// A line that tells something to know.
pub(super) fn warning(text: impl Display) -> Marked {
    Marked::new(Mark::Doubtful, text.to_string())
}

/// What stands before each row of a line of the program, wherever lines of mpyc-party stand beside it:
/// none of the program's passes for one of those.
pub(super) const OF_PROGRAM: &str = "│ ";

/// A line of the program among others, with nothing in it hidden.
pub(super) fn of_program(line: &str) -> Marked {
    let first = format!("{DIM}{OF_PROGRAM}{DIM:#}");
    Marked { rest: first.clone(), first, text: visible(line), end: String::new() }
}

/// A line of the program's log.
pub(super) fn of_program_log(line: &str) -> Marked {
    let first = format!("{DIM}{OF_PROGRAM}");
    Marked { rest: first.clone(), first, text: visible(line), end: format!("{DIM:#}") }
}

/// A line of what the program of `label` wrote, among those of others.
pub(super) fn of_program_of(label: &str, line: &str) -> Marked {
    let first = format!("  {label} ");
    Marked { rest: first.clone(), first, text: visible(line), end: String::new() }
}

/// A line of a log, as it is shown.
pub(super) fn dimmed(text: String) -> Marked {
    let (first, rest, end) = (DIM.to_string(), format!("{DIM}  "), format!("{DIM:#}"));
    Marked { first, rest, text, end }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_mark_stands_at_the_left_edge() {
        let line =
            Marked::new(Mark::Bad, format!("bob:{}✓ completed\n✓ completed", " ".repeat(14)));
        let shown = |columns| strip_str(&line.in_rows(columns)).to_string();
        assert_eq!(
            shown(Some(20)),
            format!("✗ bob:{}\n  ✓ completed\n  ✓ completed\n", " ".repeat(14))
        );
        assert_eq!(shown(None), format!("✗ bob:{}✓ completed\n  ✓ completed\n", " ".repeat(14)));
        // However narrow, something of the text stands on each row.
        assert!(shown(Some(1)).lines().skip(1).all(|row| row.starts_with("  ") && row.len() > 2));
    }

    #[test]
    fn a_program_has_its_mark_on_each_row() {
        let long = format!("{}✓ completed", " ".repeat(17));
        for line in [of_program(&long), of_program_log(&long)] {
            let shown = strip_str(&line.in_rows(Some(20))).to_string();
            assert_eq!(shown, format!("│ {}\n│ ✓ completed\n", " ".repeat(17)));
        }
    }
}
