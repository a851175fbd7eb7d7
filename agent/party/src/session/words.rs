//! Words for people: text from elsewhere made safe to show, and what a session's numbers mean.

pub mod rows;

use std::error::Error;
use std::fmt::{Display, Write};
use std::io;
use std::iter::successors;

use mpyc_party_core::text::is_hidden;
pub use mpyc_party_core::text::{in_ascii, visible, visible_lines};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

/// An error, what led to it, and what helps against the limits of a process.
#[must_use]
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    for cause in successors(error.source(), |cause| (*cause).source()) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    with_limit(text)
}

/// What the system says where a limit of this process was reached, the limit in question, and what helps.
const LIMITS: [(Errno, Option<Resource>, &str); 4] = [
    (Errno::MFILE, None, "Let it open more files: ulimit -n, or LimitNOFILE= in its unit"),
    (Errno::FBIG, None, "Let it write larger files: ulimit -f, or LimitFSIZE= in its unit"),
    (
        Errno::AGAIN,
        Some(Resource::Nproc),
        "Let this user have more processes and threads: ulimit -u, or TasksMax= and LimitNPROC= in its unit",
    ),
    (
        Errno::NOMEM,
        Some(Resource::As),
        "Let it have more address space: ulimit -v, or LimitAS= in its unit",
    ),
];

/// A text about an error, and what helps where a limit of this process is the cause.
#[must_use]
pub fn with_limit(mut text: String) -> String {
    for (errno, resource, remedy) in LIMITS {
        // Where there is no such limit, something else is the cause.
        let limited = resource.is_none_or(|resource| getrlimit(resource).current.is_some());
        // By its words: some libraries hide what the system said in errors of their own, and Python says it
        // without its number.
        let words = io::Error::from(errno).to_string();
        let is_said = words.split(" (os error").next().is_some_and(|words| text.contains(words));
        if limited && is_said && !text.contains(remedy) {
            text = format!("{}. {remedy}", text.trim_end_matches('.'));
        }
    }
    text
}

/// A size in bytes.
#[must_use]
pub fn bytes(count: impl Display) -> String {
    match count.to_string().as_str() {
        "1" => "1 byte".to_owned(),
        count => format!("{count} bytes"),
    }
}

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

/// JSON without hidden characters: they stand as escape sequences, which mean the same to a reader.
#[must_use]
pub fn visible_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && is_hidden(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(shown, "\\u{unit:04x}");
            }
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Text as a JSON string: where it begins and ends, and what is in it, cannot be mistaken.
#[must_use]
pub fn quoted(text: &str) -> String {
    visible_json(&serde_json::Value::from(text).to_string())
}

/// The name of a file as it is, where nothing in it could be mistaken for what stands around it; else
/// as a JSON string.
#[must_use]
pub fn file_name(name: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
    if name.chars().all(|c| is_plain(c) && !is_hidden(c)) { name.to_owned() } else { quoted(name) }
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

/// A time in days and less, as in `10m` or `1h 30m`: a month or a year has no length of its own.
#[must_use]
pub fn duration(time: std::time::Duration) -> String {
    const DAY: u64 = 86_400;
    let days = time.as_secs() / DAY;
    let rest = time.saturating_sub(std::time::Duration::from_secs(days * DAY));
    match (days, rest.is_zero()) {
        (0, _) => humantime::format_duration(rest).to_string(),
        (_, true) => format!("{days}d"),
        (_, false) => format!("{days}d {}", humantime::format_duration(rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_helps_against_a_limit_is_told_once() {
        for errno in [Errno::MFILE, Errno::FBIG] {
            let told = with_limit(io::Error::from(errno).to_string());
            assert_eq!(told.matches("ulimit").count(), 1, "{told}");
            assert_eq!(with_limit(told.clone()), told);
        }
    }

    #[test]
    fn nothing_commands_a_terminal() {
        assert_eq!(printable(b"\x1b[31mred\x1b]0;title\x07\tend\r\n"), "red\tend");
        assert_eq!(printable("caf\u{e9}\u{9b}2J".as_bytes()), "caf\u{e9}2J");
        assert_eq!(printable(&[0xff, b'a', b'\n']), "\u{fffd}a");
    }

    #[test]
    fn what_is_quoted_ends_where_it_seems_to() {
        assert_eq!(quoted("3\" \"--safe"), r#""3\" \"--safe""#);
        assert_eq!(quoted("\u{202e}\u{1b}\u{e0041}é"), r#""\u202e\u001b\udb40\udc41é""#);
        for text in ["\u{7f}\u{2028}", "\u{10ffff}⟨U+202E⟩\\u202e\n"] {
            assert_eq!(serde_json::from_str::<String>(&quoted(text)).unwrap(), text);
        }
        assert_eq!(file_name("data/séance.py"), "data/séance.py");
        assert_eq!(file_name("a.py, 9 bytes"), "\"a.py, 9 bytes\"");
    }

    #[test]
    fn a_time_is_said_as_it_was_written() {
        for text in ["10m", "1h 30m", "400d", "45d 1s", "500ms", "0s"] {
            assert_eq!(duration(humantime::parse_duration(text).unwrap()), text);
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
