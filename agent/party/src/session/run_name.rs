//! The names of run directories, and the order of runs.
//!
//! ```text
//! 20260102T030405-demo-n00000042-x7Qd2K
//! when it began   session sequence
//! ```
//!
//! The date is for people. A clock may be wrong and is set right some day, so the order is that of the
//! sequence, which counts the runs of all sessions here. Runs of older versions have none: they come
//! first, in the order of their dates.

use std::path::Path;

use mpyc_party_core::name::SessionName;

/// What stands before the number, so that it is none of a session's name.
const MARK: char = 'n';
/// Digits of the number, so that a listing of one day shows the order, too.
const DIGITS: usize = 8;

/// Where a run stands among the others: by its sequence, then by the name of its directory.
pub type Position = (u64, String);

/// The beginning of the name of a run of `session` that begins at `date`, after those that have `names`.
/// A random ending makes it unlike all others.
pub(super) fn prefix(date: &str, session: &SessionName, names: &[String]) -> String {
    let last = names.iter().filter_map(|name| before_ending(name)).max().unwrap_or_default();
    let number = last.saturating_add(1);
    format!("{date}-{session}-{MARK}{number:0DIGITS$}-")
}

/// The sequence that stands before the ending of `name`, whatever the session.
fn before_ending(name: &str) -> Option<u64> {
    let (rest, _) = name.rsplit_once('-')?;
    number(rest.rsplit_once('-')?.1)
}

fn number(part: &str) -> Option<u64> {
    let digits = part.strip_prefix(MARK)?;
    let all = digits.len() >= DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    if all { digits.parse().ok() } else { None }
}

/// The position of the run of `session` in this directory.
#[must_use]
pub fn position(directory: &Path, session: &SessionName) -> Position {
    let name = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let own = name.split_once('-').and_then(|(_, rest)| rest.strip_prefix(session.as_str()));
    let own = own.and_then(|rest| rest.strip_prefix('-')?.split_once('-'));
    (own.and_then(|(sequence, _)| number(sequence)).unwrap_or_default(), name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(name: &str) -> SessionName {
        name.parse().unwrap()
    }

    /// `names` of runs of the session «demo», in order.
    fn in_order(mut names: Vec<String>) -> Vec<String> {
        names.sort_by_key(|name| position(Path::new(name), &session("demo")));
        names
    }

    #[test]
    fn the_order_is_that_of_the_beginnings_whatever_the_clock() {
        let mut names = vec!["20260101T000000-demo-aaaaaa".to_owned()];
        for date in ["20260111T000000", "20251231T000000", "20260101T000001", "20260101T000001"] {
            let name = prefix(date, &session("demo"), &names) + "AAAAAA";
            names.push(name);
        }
        let mut mixed = names.clone();
        mixed.sort();
        mixed.reverse();
        assert_eq!(in_order(mixed), names);
        assert_eq!(names[4], "20260101T000001-demo-n00000004-AAAAAA");
    }

    #[test]
    fn runs_without_a_sequence_come_first_by_their_dates() {
        let names = ["20270101T000000-demo-n00000001-aaaaaa", "20260101T000000-demo-zzzzzz"];
        let more = [&names[..], &["20250101T000000-demo-aaaaaa"]].concat();
        let sorted = in_order(more.iter().map(ToString::to_string).collect());
        assert_eq!(sorted, [more[2], more[1], more[0]]);
    }

    #[test]
    fn the_number_is_none_of_the_sessions_name() {
        let name = |session: &str| format!("20260101T000000-{session}-aaaaaa");
        for odd in ["demo-12", "n", "demo-n12"] {
            let number = position(Path::new(&name(odd)), &session(odd)).0;
            assert_eq!(number, 0, "{odd}");
        }
        let next = prefix("20260101T000000", &session("demo"), &[name("demo-12"), name("x")]);
        assert_eq!(next, "20260101T000000-demo-n00000001-");
        let far = "20260101T000000-other-n4000000000-aaaaaa".to_owned();
        let next = prefix("20260101T000000", &session("demo-n1"), &[far]) + "aaaaaa";
        assert_eq!(position(Path::new(&next), &session("demo-n1")).0, 4_000_000_001);
    }
}
