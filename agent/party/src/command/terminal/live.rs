//! A line on a terminal that is drawn again and again, below everything else.

use std::os::fd::AsFd;

use rustix::termios::tcgetwinsize;

use crate::runner::background;

/// The width of a terminal that does not tell its own.
pub(super) const USUAL_COLUMNS: usize = 80;

/// Columns that stay free behind the line: there a terminal echoes ^C, maybe twice. In the last column
/// the cursor would go to the next line, and the line would stay where it is.
const ECHO_COLUMNS: usize = 4;

/// As much of `line` as a terminal of so many columns can show, with a mark where that is not all.
fn fitted(line: &str, columns: usize) -> String {
    let room = columns.saturating_sub(1 + ECHO_COLUMNS);
    if line.chars().count() <= room {
        return line.to_owned();
    }
    line.chars().take(room.saturating_sub(1)).chain((room > 0).then_some('…')).collect()
}

/// What of such a line is on the terminal.
#[derive(Debug, Default)]
pub(super) struct Drawn {
    /// What was to be shown.
    line: Option<String>,
    /// So many columns of it are there, behind which the cursor stands.
    columns: usize,
}

impl Drawn {
    /// Whether this is what was to be shown.
    pub(super) fn is(&self, line: Option<&str>) -> bool {
        self.line.as_deref() == line
    }

    /// What has to be written so that `terminal` shows this line in place of the one before. While
    /// another job has the terminal, nothing is shown there.
    pub(super) fn redraw(&mut self, line: Option<String>, terminal: impl AsFd) -> Option<String> {
        let columns = tcgetwinsize(&terminal).map_or(0, |size| usize::from(size.ws_col));
        let columns = if columns == 0 { USUAL_COLUMNS } else { columns };
        let shown = fitted(line.as_deref().unwrap_or_default(), columns);
        self.line = line;
        if background::is_behind(&terminal) {
            self.columns = 0;
            return None;
        }
        self.replace(&shown)
    }

    /// Spaces instead of escapes, which not every terminal is shown.
    fn replace(&mut self, shown: &str) -> Option<String> {
        let before = std::mem::replace(&mut self.columns, shown.chars().count());
        if before == 0 && self.columns == 0 {
            return None;
        }
        // Over an echo as well, where there was something before it.
        let before = if before == 0 { 0 } else { before + ECHO_COLUMNS };
        let rest = before.saturating_sub(self.columns);
        let (blank, back) = (" ".repeat(rest), "\u{8}".repeat(rest));
        Some(format!("\r{shown}{blank}{back}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_takes_the_place_of_the_one_before() {
        let mut drawn = Drawn::default();
        assert_eq!(drawn.replace(""), None);
        assert_eq!(drawn.replace("· 10 left").as_deref(), Some("\r· 10 left"));
        let over = |columns: usize| (" ".repeat(columns), "\u{8}".repeat(columns));
        let (blank, back) = over(1 + ECHO_COLUMNS);
        assert_eq!(drawn.replace("· 9 left"), Some(format!("\r· 9 left{blank}{back}")));
        let (blank, back) = over(8 + ECHO_COLUMNS);
        assert_eq!(drawn.replace(""), Some(format!("\r{blank}{back}")));
        assert_eq!(drawn.replace(""), None);
    }

    #[test]
    fn a_line_that_is_cut_says_so_however_narrow_the_terminal() {
        for (columns, shown) in [(20, "· waiting"), (13, "· waiti…"), (6, "…"), (5, ""), (1, "")]
        {
            assert_eq!(fitted("· waiting", columns), shown);
        }
    }

    #[test]
    fn a_line_is_as_wide_as_the_terminal_at_most() {
        let file = tempfile::tempfile().unwrap();
        let mut drawn = Drawn::default();
        let text = drawn.redraw(Some("x".repeat(1000)), &file).unwrap();
        // The cursor stays in the last column even after an echo.
        assert_eq!(text.chars().count(), 1 + USUAL_COLUMNS - 1 - ECHO_COLUMNS);
        assert!(text.ends_with("x…"), "{text}");
        assert!(drawn.is(Some(&"x".repeat(1000))));
        assert_eq!(drawn.redraw(None, &file).unwrap().matches('x').count(), 0);
        assert!(drawn.is(None));
    }
}
