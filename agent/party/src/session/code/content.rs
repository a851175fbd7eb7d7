//! What data is by its first bytes, whatever it is called: Python goes by them, and not by names, where it
//! runs byte code (`runpy`), imports from an archive (`zipimport`) or loads a library (`ctypes`).

use mpyc_party_core::text::{excerpt, visible};

use super::{CodeError, Kind, kind, split, unreadable};

/// The most characters of a name in an archive that are shown.
const MAX_MEMBER_CHARS: usize = 80;
/// The end of a zip archive's directory (APPNOTE.TXT, 4.3.16), and in how many bytes from the end of the
/// file it is looked for.
const ZIP_END: (&[u8], usize) = (b"PK\x05\x06", 22 + 0xffff);
/// What begins an entry of that directory (4.3.12), where in it the length of the name is, and where the
/// name.
const ZIP_ENTRY: (&[u8], usize, usize) = (b"PK\x01\x02", 28, 46);
/// How many bytes at the end of such a name tell whether it is one of code. Entries can overlap, and each
/// could have a name of 64 KiB: to look through all of them would take minutes.
const NAME_END_BYTES: usize = 64;
/// Protocols of pickle that begin with their number.
const PICKLE_PROTOCOLS: std::ops::RangeInclusive<u8> = 2..=5;
/// The most bytes of the description of an array in numpy's format.
const MAX_NPY_HEADER_BYTES: usize = 64 << 10;

/// Refuses data that is nothing but code which nobody can read.
pub(super) fn check(name: &str, content: &[u8]) -> Result<(), CodeError> {
    let what = if content.starts_with(b"\x7fELF") {
        Some("machine code")
    } else if is_byte_code(content) {
        Some("Python's byte code")
    } else {
        None
    };
    if let Some(what) = what {
        return Err(CodeError::Unreadable { name: visible(name), what });
    }
    match code_in_archive(content) {
        Some(member) => Err(CodeError::InArchive {
            name: visible(name),
            member: excerpt(&member, MAX_MEMBER_CHARS),
        }),
        None => Ok(()),
    }
}

/// What data is that is more than what stands in it, and may have an honest use.
pub(super) fn disguise(content: &[u8]) -> Option<&'static str> {
    if content.starts_with(b"MZ") {
        return Some("machine code");
    }
    if is_archive(content) {
        return Some(
            "an archive, from which Python can import, with nothing in it that is called like code",
        );
    }
    if let [0x80, protocol, .., b'.'] = content
        && PICKLE_PROTOCOLS.contains(protocol)
    {
        return Some("a pickle: to load it can run code");
    }
    has_objects(content).then_some("an array of Python objects: to load it as such can run code")
}

/// Whether this is a file of byte code: a number for the version of Python, CR LF, and flags of which two
/// bits are in use (PEP 552). No text has the zeros.
fn is_byte_code(content: &[u8]) -> bool {
    matches!(content, [_, _, b'\r', b'\n', 0..=3, 0, 0, 0, ..])
}

fn is_archive(content: &[u8]) -> bool {
    let end = &content[content.len().saturating_sub(ZIP_END.1)..];
    end.windows(ZIP_END.0.len()).any(|bytes| bytes == ZIP_END.0)
}

/// The first name in an archive that is one of code. Every place that could be an entry is looked at:
/// which of them are, two readers might find different answers to.
fn code_in_archive(content: &[u8]) -> Option<String> {
    if !is_archive(content) {
        return None;
    }
    let (begin, length_at, name_at) = ZIP_ENTRY;
    let entries = content.windows(begin.len()).enumerate().filter(|(_, bytes)| *bytes == begin);
    let mut names = entries.filter_map(|(at, _)| {
        let length =
            content.get(at + length_at..)?.first_chunk().copied().map(u16::from_le_bytes)?;
        let name = content.get(at + name_at..)?;
        Some(&name[..name.len().min(length.into())])
    });
    let is_code = |name: &&[u8]| {
        let end = String::from_utf8_lossy(&name[name.len().saturating_sub(NAME_END_BYTES)..]);
        kind(&end, false) == Kind::Code || unreadable(split(&end).1).is_some()
    };
    names.find(is_code).map(|name| String::from_utf8_lossy(name).into_owned())
}

/// Whether an array in numpy's format (NEP 1) has elements that are pickled.
fn has_objects(content: &[u8]) -> bool {
    let Some(header) = content.strip_prefix(b"\x93NUMPY") else { return false };
    let header = &header[..header.len().min(MAX_NPY_HEADER_BYTES)];
    let end = header.iter().position(|byte| *byte == b'\n').unwrap_or(header.len());
    header[..end].windows(2).any(|pair| matches!(pair, b"|O" | b"'O"))
}
