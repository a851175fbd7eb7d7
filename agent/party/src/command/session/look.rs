//! `mpyc-party session import --view`: looks into one file of a bundle.

use std::fmt::Write;
use std::process::ExitCode;

use anyhow::bail;
use serde_json::json;

use super::super::pager::Screen;
use super::super::{Common, Outcome, output};
use crate::session::bundle::{Opened, hash};
use crate::session::consent::{Text, text};
use crate::session::words::{self, file_name, names};

/// Bytes in a row of those that are no text.
const ROW_BYTES: usize = 16;
/// So many lines, or rows of bytes, are made at once: of all, they would take many times the file's size.
const LINES_AT_ONCE: usize = 10_000;

/// Shows the file `name` of a bundle: its lines where it is text, else its bytes.
pub(super) fn show(common: &Common, opened: &Opened, name: &str) -> Outcome {
    let Some((name, content)) = opened.files.iter().find(|(known, _)| known == name) else {
        let known: Vec<_> = opened.names().into_iter().map(file_name).collect();
        bail!("the bundle has no file of that name. It has: {}", names(&known));
    };
    // No text has a NUL.
    let text = std::str::from_utf8(content).ok().filter(|text| !text.contains('\0'));
    if common.json {
        let lines = text.map(Text::of);
        let hex = lines.is_none().then(|| data_encoding::HEXLOWER.encode(content));
        let (bytes, sha256) = (content.len(), hash(content));
        output::json(&json!({
            "name": name, "bytes": bytes, "sha256": sha256, "text": lines, "hex": hex,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let columns = Screen::find().map_or(text::DEFAULT_COLUMNS, |screen| screen.columns);
    let head = format!("{}, {}", file_name(name), words::bytes(content.len()));
    let head = format!("{}SHA-256 {}\n", text::line_in_rows("", &head, columns), hash(content));
    output::text(head);
    match text {
        Some(text) => pieces(text)
            .for_each(|piece| output::text(text::lines_in_full(&Text::of(piece), columns))),
        None => {
            for (piece, number) in content.chunks(ROW_BYTES * LINES_AT_ONCE).zip(0..) {
                let rows = dump(piece, number * LINES_AT_ONCE);
                let rows = rows.lines().map(|row| text::line_in_rows("", row, columns));
                output::text(rows.collect());
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A text in pieces of so many lines.
fn pieces(mut rest: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let end = rest.match_indices('\n').nth(LINES_AT_ONCE - 1);
        let (piece, after) = rest.split_at(end.map_or(rest.len(), |(at, _)| at + 1));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Bytes in hexadecimal, and those that are ASCII as such; the first row has the number `first`.
fn dump(content: &[u8], first: usize) -> String {
    let mut text = String::new();
    for (row, number) in content.chunks(ROW_BYTES).zip(first..) {
        let hex: String = row.iter().map(|byte| format!("{byte:02x} ")).collect();
        let shown = |byte: &u8| if byte.is_ascii_graphic() { char::from(*byte) } else { '.' };
        let ascii: String = row.iter().map(shown).collect();
        let (at, width) = (number * ROW_BYTES, 3 * ROW_BYTES);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {at:08x}  {hex:width$} {ascii}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_shown_as_such() {
        let dumped = dump(b"\x7fELF\x1b[2J 0123456789", 0);
        let expected = "  00000000  7f 45 4c 46 1b 5b 32 4a 20 30 31 32 33 34 35 36  .ELF.[2J.0123456\n  00000010  37 38 39                                         789\n";
        assert_eq!(dumped, expected);
        assert!(dump(b"x", 10_000).starts_with("  00027100  78 "));
    }

    #[test]
    fn pieces_are_all_of_a_text() {
        let text = "é\r\n".repeat(LINES_AT_ONCE) + "\n" + &"x\n".repeat(LINES_AT_ONCE) + "end";
        let all: Vec<&str> = pieces(&text).collect();
        assert_eq!(all.concat(), text);
        assert_eq!(all.iter().map(|piece| piece.lines().count()).max(), Some(LINES_AT_ONCE));
        assert_eq!((all.len(), pieces("").count()), (3, 0));
    }
}
