//! How Python reads a file of code, as far as that could differ from what is shown.

use mpyc_party_core::text::{excerpt, visible};

use super::CodeError;

/// The most characters of an encoding's name that are shown.
const MAX_ENCODING_CHARS: usize = 40;
/// In how many lines Python looks for an encoding.
const ENCODING_LINES: usize = 2;

/// Checks that Python reads `content` as UTF-8, in the lines in which it is shown.
pub(super) fn check(name: &str, content: &[u8]) -> Result<(), CodeError> {
    let text = std::str::from_utf8(content).map_err(|error| CodeError::NotUtf8 {
        name: visible(name),
        line: line_of(&content[..error.valid_up_to()]),
    })?;
    if text.starts_with('\u{feff}') {
        return Err(CodeError::ByteOrderMark { name: visible(name) });
    }
    if let Some((at, character)) = strange_control(text) {
        let line = line_of(&content[..at]);
        return Err(CodeError::Control { name: visible(name), line, character });
    }
    for (index, line) in text.lines().take(ENCODING_LINES).enumerate() {
        if let Some(encoding) = foreign_encoding(line) {
            let encoding = excerpt(encoding, MAX_ENCODING_CHARS);
            return Err(CodeError::Encoding { name: visible(name), line: index + 1, encoding });
        }
    }
    Ok(())
}

fn line_of(before: &[u8]) -> usize {
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}

/// The first control character but tabs and ends of lines. A carriage return alone ends a line for
/// Python and not for everybody who shows it, a form feed sets the indentation back, a NUL ends the
/// text for some versions.
fn strange_control(text: &str) -> Option<(usize, char)> {
    let is_end = |at: usize| text[at..].starts_with("\r\n");
    text.char_indices()
        .find(|(at, c)| c.is_control() && !matches!(c, '\t' | '\n') && !(*c == '\r' && is_end(*at)))
}

/// What this line says about the encoding of its file, where that is not UTF-8 (PEP 263; a comment
/// may say so more than once, and Python takes the first that has a name).
fn foreign_encoding(line: &str) -> Option<&str> {
    const WORD: &str = "coding";
    let blank = [' ', '\t'];
    let comment = line.trim_start_matches(blank).strip_prefix('#')?;
    let names = comment.match_indices(WORD).filter_map(|(at, _)| {
        let rest = comment[at + WORD.len()..].strip_prefix([':', '='])?.trim_start_matches(blank);
        let is_of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let end = rest.find(|c| !is_of_name(c)).unwrap_or(rest.len());
        (end > 0).then_some(&rest[..end])
    });
    let is_utf8 =
        |name: &str| matches!(name.to_lowercase().replace('_', "-").as_str(), "utf-8" | "utf8");
    names.into_iter().find(|name| !is_utf8(name))
}
