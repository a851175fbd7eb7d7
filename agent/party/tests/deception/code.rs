//! Programs that Python would read in another way than people.

use super::Case;

/// Byte code of this magic number (`importlib.util.MAGIC_NUMBER`).
fn byte_code(magic: &[u8; 4]) -> Vec<u8> {
    [&magic[..], &[0; 12], b"c\0\0\0\0"].concat()
}

/// An archive with nothing in it: the end of its directory (APPNOTE.TXT, 4.3.16).
pub(crate) fn archive() -> Vec<u8> {
    [&b"PK\x05\x06"[..], &[0; 18]].concat()
}

/// The same with an empty file in it (4.3.12).
pub(crate) fn archive_of(name: &str) -> Vec<u8> {
    let length = u16::try_from(name.len()).unwrap().to_le_bytes();
    let entry = [&b"PK\x01\x02"[..], &[0; 24], &length, &[0; 16], name.as_bytes()].concat();
    [entry, archive()].concat()
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// A program whose first lines choose an encoding in which its comments are code.
fn cookie(tries: &'static str, program: &'static [u8]) -> Case {
    Case::program(tries, program).refused("would be read in another way than it is shown")
}

fn control(tries: &'static str, program: &'static [u8], says: &'static str) -> Case {
    Case::program(tries, program).refused(says)
}

pub(crate) fn cases() -> Vec<Case> {
    let not_utf8 =
        |tries, program: Vec<u8>| Case::program(tries, program).refused("save it as UTF-8");
    vec![
        cookie("escapes in a comment", b"# coding: unicode_escape\n# \\u000aimport os\n"),
        cookie("raw escapes", b"# coding=raw_unicode_escape\n# \\u000aimport os\n"),
        cookie("UTF-7 below a shebang", b"#!/usr/bin/env python3\n# coding: utf-7\n# +AAo-x = 1\n"),
        cookie("the form of Emacs", b"# -*- mode: python; coding: latin-1 -*-\nx = 1\n"),
        cookie("the form of vim", b"\n# vim: set fileencoding=utf-16 :\nx = 1\n"),
        cookie("two encodings in one line", b"# coding: utf-8 coding: rot13\nvzcbeg bf\n"),
        cookie("one behind another without a name", b"# coding: \xc2\xa7 coding: cp037\nx = 1\n"),
        cookie("line ends of another system", b"\r\n\t # coding: hz\r\nx = 1\r\n"),
        cookie("a byte order mark by name", b"# coding: utf-8-sig\nx = 1\n"),
        not_utf8("a byte order mark", b"\xef\xbb\xbfx = 1\n".to_vec()),
        not_utf8("UTF-16", [&b"\xff\xfe"[..], &utf16("x = 1\n")].concat()),
        not_utf8("UTF-16, the other end first", b"\xfe\xff\0x\0\n".to_vec()),
        not_utf8("Latin-1", b"x = '\xe9'\n".to_vec()),
        not_utf8("an overlong line end", b"# x \xc0\x8aimport os\n".to_vec()),
        not_utf8("a surrogate", b"# \xed\xa0\x80\n".to_vec()),
        not_utf8("byte code of Python 3.11", byte_code(b"\xa7\r\r\n")),
        not_utf8("byte code of Python 3.12", byte_code(b"\xcb\r\r\n")),
        Case::program("UTF-16 without a mark", utf16("x = 1\n")).refused("U+0000 (line 1)"),
        Case::program("byte code of Python 3.10, in ASCII", byte_code(b"o\r\r\n"))
            .refused("U+000D (line 1)"),
        Case::program("an archive behind a text", [b"x = 1\n", &archive()[..]].concat())
            .refused("U+0005 (line 2)"),
        control("a carriage return ends a comment", b"# fine \rimport os\n", "U+000D (line 1)"),
        control(
            "a form feed sets the indentation back",
            b"if 0:\n  \x0cx = 1\n",
            "U+000C (line 2)",
        ),
        control("a form feed before an encoding", b"\x0c# coding: utf-7\n", "U+000C (line 1)"),
        control("a vertical tab", b"# fine\x0bimport os\n", "U+000B (line 1)"),
        control("a NUL ends the text", b"x = 1\n\0y = 2\n", "U+0000 (line 2)"),
        control("the line end of EBCDIC", "# fine\u{85}x = 1\n".as_bytes(), "U+0085 (line 1)"),
        control("a line wiped out", b"import os #\x1b[2K\x1b[1Gx = 1\n", "U+001B (line 1)"),
        control("a terminal's title", b"# \x1b]0;x\x07\n", "U+001B (line 1)"),
        control("eight bits of a command", "# \u{9b}2J\n".as_bytes(), "U+009B (line 1)"),
        control("letters taken back", b"import os\x08\x08x = 1\n", "U+0008 (line 1)"),
        control("a deleted character", b"x\x7f = 1\n", "U+007F (line 1)"),
        control("a separator of fields", b"x = 1 #\x1fx\n", "U+001F (line 1)"),
    ]
}
