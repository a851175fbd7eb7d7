//! Text that somebody else wrote, made fit to be shown: whatever comes from a peer, a hub, a program, a
//! token or a bundle goes through here before it reaches a person.

use std::fmt::Write;

/// `text` with nothing hidden: every character that commands a terminal, reorders what stands around
/// it (Unicode's bidirectional controls, UAX #9), cannot be seen, or looks like a space and is none,
/// is replaced by its number, as in `⟨U+202E⟩`. Tabs stay. What was made visible stays as it is.
#[must_use]
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c != '\t' && is_hidden(c) {
            push_number(&mut shown, c);
        } else {
            shown.push(c);
        }
    }
    shown
}

/// The same for several lines: their ends stay.
#[must_use]
pub fn visible_lines(text: &str) -> String {
    text.split('\n').map(visible).collect::<Vec<_>>().join("\n")
}

/// The first `max_chars` characters of the [visible] text, for a message about it.
#[must_use]
pub fn excerpt(text: &str, max_chars: usize) -> String {
    // No character becomes none: those behind are of no concern.
    let begin: String = text.chars().take(max_chars).collect();
    visible(&begin).chars().take(max_chars).collect()
}

/// `text` in ASCII alone: whatever is not, or is hidden, is replaced by its number. It tells letters
/// apart that look alike.
#[must_use]
pub fn in_ascii(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '\t' || (c.is_ascii() && !c.is_control()) {
            shown.push(c);
        } else {
            push_number(&mut shown, c);
        }
    }
    shown
}

fn push_number(text: &mut String, c: char) {
    // Writing to a string cannot fail.
    let _ = write!(text, "⟨U+{:04X}⟩", u32::from(c));
}

/// Whether a reader would not see `c` as it is: controls, the characters that Unicode lists as
/// default-ignorable or as line and paragraph separators, blank ones but the space itself, and those
/// that mean nothing to everybody (private use, noncharacters).
#[must_use]
pub fn is_hidden(c: char) -> bool {
    c.is_control() || is_ignorable(c) || is_blank(c) || is_private(c)
}

/// `Default_Ignorable_Code_Point` of DerivedCoreProperties.txt, the separators of lines and
/// paragraphs, and the interlinear annotations.
fn is_ignorable(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{13430}'..='\u{1343f}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// The spaces of other widths (general category Zs), and the Braille pattern without a dot.
fn is_blank(c: char) -> bool {
    matches!(
        c,
        '\u{a0}' | '\u{1680}' | '\u{2000}'
            ..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{2800}' | '\u{3000}'
    )
}

fn is_private(c: char) -> bool {
    let is_noncharacter = u32::from(c) & 0xfffe == 0xfffe || matches!(c, '\u{fdd0}'..='\u{fdef}');
    is_noncharacter
        || matches!(c, '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{ffffd}' | '\u{100000}'..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_hides() {
        assert_eq!(visible("a\tb é 語 ש"), "a\tb é 語 ש");
        assert_eq!(visible("\u{1b}[2Jx\r"), "⟨U+001B⟩[2Jx⟨U+000D⟩");
        assert_eq!(visible("if x:\u{202e} # \u{2066}end"), "if x:⟨U+202E⟩ # ⟨U+2066⟩end");
        let hidden = "\u{200b}\u{200f}\u{2028}\u{feff}\u{9b}\u{e0041}\u{a0}\u{2003}\u{2800}\u{3000}\u{e000}\u{10ffff}";
        for hidden in hidden.chars() {
            assert!(!visible(&hidden.to_string()).contains(hidden), "{hidden:?}");
        }
        assert_eq!(visible_lines("a\u{200b}\nb\r\n"), "a⟨U+200B⟩\nb⟨U+000D⟩\n");
    }

    #[test]
    fn what_is_visible_stays() {
        let text: String = ('\0'..='\u{3100}').chain('\u{fe00}'..='\u{10000}').collect();
        let shown = visible(&text);
        assert_eq!(visible(&shown), shown);
        assert_eq!(excerpt(&excerpt(&text, 300), 300), excerpt(&text, 300));
    }

    #[test]
    fn letters_that_look_alike_are_told_apart() {
        assert_eq!(in_ascii("сору(\u{ff45}x)"), "⟨U+0441⟩⟨U+043E⟩⟨U+0440⟩⟨U+0443⟩(⟨U+FF45⟩x)");
        assert_eq!(in_ascii("\tplain\u{7f}"), "\tplain⟨U+007F⟩");
    }
}
