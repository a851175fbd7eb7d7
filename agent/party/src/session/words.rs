//! Words for people: text from elsewhere made safe to show, and what a session's numbers mean.

use std::fmt::Write;

/// Text without escape sequences and control characters (ECMA-48), tabs apart: a line that a
/// program wrote.
#[must_use]
pub fn printable(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(line));
    // A sequence begins with a control character, and most lines have none.
    if !text.contains(char::is_control) {
        return text.into_owned();
    }
    let plain = anstream::adapter::strip_str(&text).to_string();
    plain.chars().filter(|c| *c == '\t' || !c.is_control()).collect()
}

/// Text that somebody else wrote, with nothing hidden: every character that commands a terminal,
/// reorders what stands around it (Unicode's bidirectional controls, UAX #9) or cannot be seen is
/// replaced by its number, as in `⟨U+202E⟩`. Tabs stay.
#[must_use]
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c != '\t' && is_hidden(c) {
            // Writing to a string cannot fail.
            let _ = write!(shown, "⟨U+{:04X}⟩", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Whether a reader would not see `c` as it is: controls, and the characters that Unicode lists as
/// default-ignorable or as line and paragraph separators.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Names in a row.
#[must_use]
pub fn names<T: ToString>(names: &[T]) -> String {
    names.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

/// The same; «none» where there are none.
#[must_use]
pub fn names_or_none<T: ToString>(all: &[T]) -> String {
    if all.is_empty() { "none".to_owned() } else { names(all) }
}

/// Who could learn an input together, where `threshold` of `parties` may pool what they saw.
#[must_use]
pub fn threshold(threshold: usize, parties: usize) -> String {
    let enough = threshold + 1;
    match threshold {
        0 => "no privacy: every other party can learn your input".to_owned(),
        1 => format!(
            "any {enough} of the {parties} together could learn every input; one alone learns nothing but the result"
        ),
        _ => format!(
            "any {enough} of the {parties} together could learn every input; {threshold} together learn nothing but the result"
        ),
    }
}

/// The same where MPyC may mask secrets too weakly to hide them at all.
#[must_use]
pub fn privacy(threshold: usize, parties: usize, hides: bool) -> String {
    if hides {
        self::threshold(threshold, parties)
    } else {
        "no privacy, whatever the threshold: with these options of MPyC every other party can learn your input".to_owned()
    }
}

/// A time in one or two units, as in `10m` or `1h 30m`.
#[must_use]
pub fn duration(time: std::time::Duration) -> String {
    humantime::format_duration(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_commands_a_terminal() {
        assert_eq!(printable(b"\x1b[31mred\x1b]0;title\x07\tend\r\n"), "red\tend");
        assert_eq!(printable("caf\u{e9}\u{9b}2J".as_bytes()), "caf\u{e9}2J");
        assert_eq!(printable(&[0xff, b'a', b'\n']), "\u{fffd}a");
    }

    #[test]
    fn nothing_hides() {
        assert_eq!(visible("a\tb é 語 ש"), "a\tb é 語 ש");
        assert_eq!(visible("\u{1b}[2Jx\r"), "⟨U+001B⟩[2Jx⟨U+000D⟩");
        assert_eq!(visible("if x:\u{202e} # \u{2066}end"), "if x:⟨U+202E⟩ # ⟨U+2066⟩end");
        for hidden in ['\u{200b}', '\u{200f}', '\u{2028}', '\u{feff}', '\u{9b}', '\u{e0041}'] {
            assert!(!visible(&hidden.to_string()).contains(hidden), "{hidden:?}");
        }
    }

    #[test]
    fn a_threshold_says_who_could_learn_what() {
        assert_eq!(
            threshold(1, 3),
            "any 2 of the 3 together could learn every input; one alone learns nothing but the result"
        );
        assert!(threshold(2, 5).starts_with("any 3 of the 5 together"));
        assert!(threshold(2, 5).ends_with("2 together learn nothing but the result"));
        assert!(threshold(0, 2).contains("every other party can learn your input"));
    }
}
