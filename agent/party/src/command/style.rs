//! How lines look: marks and colours.

use std::fmt::{self, Display, Formatter};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

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

/// A line that tells something to know.
pub(super) fn warning(text: impl Display) -> String {
    format!("{} {text}\n", Mark::Doubtful)
}

/// A line of a log, as it is shown.
pub(super) fn dimmed(text: impl Display) -> String {
    format!("{DIM}{text}{DIM:#}\n")
}
