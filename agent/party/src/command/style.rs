//! How lines look: marks and colours.

use std::fmt::{self, Display, Formatter};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

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

/// A line that tells something to know.
pub(super) fn warning(text: impl Display) -> String {
    format!("{} {text}\n", Mark::Doubtful)
}

/// What stands before a line of the program, wherever lines of mpyc-party stand beside it: none of the
/// program's passes for one of those.
pub(super) const OF_PROGRAM: &str = "│ ";

/// A line of the program among others, with nothing in it hidden.
pub(super) fn of_program(line: &str) -> String {
    format!("{DIM}{OF_PROGRAM}{DIM:#}{}\n", visible(line))
}

/// A line of the program's log.
pub(super) fn of_program_log(line: &str) -> String {
    dimmed(format!("{OF_PROGRAM}{}", visible(line)))
}

/// A line of a log, as it is shown.
pub(super) fn dimmed(text: impl Display) -> String {
    format!("{DIM}{text}{DIM:#}\n")
}
