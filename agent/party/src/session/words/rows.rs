//! Lines in rows that are no wider than a terminal, so that what stands before each row is before all of
//! it: where a terminal wraps by itself, the rest of a line begins at its left edge, like a line of its own.

use std::iter::repeat_n;

use unicode_width::UnicodeWidthChar;

/// Where tabs lead, in columns (Python counts the same).
const TAB: usize = 8;
/// The fewest columns of a row: what the widest character takes.
const MIN_ROW_COLUMNS: usize = 2;

/// How many columns a terminal shows `c` in at most. Terminals differ in characters that are «ambiguous»
/// (UAX #11), and in those that are newer than they are: on one that shows them narrower, a row is short.
#[must_use]
pub fn char_columns(c: char) -> usize {
    match c {
        // Combining diacritical marks: no terminal gives them a column.
        '\u{300}'..='\u{36f}' => 0,
        // Emoji and other pictures, also those to come, and the letters of flags.
        '\u{1f000}'..='\u{1ffff}' => 2,
        c => c.width_cjk().unwrap_or(1).max(1),
    }
}

/// How many columns a terminal shows `text` in at most, from the left edge on.
#[must_use]
pub fn columns(text: &str) -> usize {
    text.chars().fold(0, |at, c| at + columns_at(c, at))
}

/// The same of a character that begins in the column `at`.
fn columns_at(c: char, at: usize) -> usize {
    if c == '\t' { TAB - at % TAB } else { char_columns(c) }
}

/// `line` in rows of at most `columns`, one at least. A tab becomes `tab` and spaces.
#[must_use]
pub fn rows(line: &str, columns: usize, tab: char) -> Vec<String> {
    let columns = columns.max(MIN_ROW_COLUMNS);
    // Tabs lead from where it is usually: a mark that some terminals show wider comes on top.
    let more_of = |c| if c == '\t' { char_columns(tab) - 1 } else { 0 };
    let (mut rows, mut row, mut at, mut more) = (Vec::new(), String::new(), 0, 0);
    for c in line.chars() {
        if row.is_empty() || at + more + columns_at(c, at) + more_of(c) > columns {
            if !row.is_empty() {
                rows.push(std::mem::take(&mut row));
            }
            (at, more) = (0, 0);
        }
        let wide = columns_at(c, at).min(columns - more_of(c));
        if c == '\t' {
            row.push(tab);
            row.extend(repeat_n(' ', wide - 1));
        } else {
            row.push(c);
        }
        at += wide;
        more += more_of(c);
    }
    rows.push(row);
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_fits() {
        assert_eq!(rows("abcdefg", 3, ' '), ["abc", "def", "g"]);
        assert_eq!(rows("", 3, ' '), [""]);
        assert_eq!(rows("abc", 3, ' '), ["abc"]);
        assert_eq!(rows("語語語", 5, ' '), ["語語", "語"]);
        assert_eq!(rows("語", 0, ' '), ["語"]);
        assert_eq!(rows("e\u{301}e\u{301}e\u{301}", 2, ' '), ["e\u{301}e\u{301}", "e\u{301}"]);
        // What some terminals show in two columns.
        assert_eq!(rows("→→→", 4, ' '), ["→→", "→"]);
        assert_eq!(rows("\u{1f1e6}\u{1f1e6}", 2, ' ').len(), 2);
        // What some terminals give a column, newer marks among them.
        assert_eq!(rows("\u{10d69}\u{1161}x", 2, ' ').len(), 2);
    }

    #[test]
    fn a_tab_leads_to_the_next_stop() {
        assert_eq!(rows("ab\tc", 20, ' '), ["ab      c"]);
        assert_eq!(rows("\tc", 20, '→'), ["→       c"]);
        assert_eq!(rows("\t\tc", 17, '→'), ["→       ", "→       c"]);
        assert_eq!(rows("1234567\tc", 20, ' '), ["1234567 c"]);
        assert_eq!(rows("123456789\tc", 12, ' '), ["123456789", "        c"]);
        assert_eq!(rows("\t\tc", 5, ' '), ["     ", "     ", "c"]);
        assert_eq!(columns("ab\tc"), 9);
    }
}
