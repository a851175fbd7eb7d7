//! What somebody reads before a session from somebody else is added: what would run, with whom,
//! and who could learn what. Plain words, nothing hidden, nothing that commands a terminal.

use std::fmt::Write;
use std::path::Path;

use mpyc_party_core::name::PartyName;

use super::bundle::{Opened, hash, minute};
use super::proposal::Proposal;
use super::words::{self, visible};

/// How many lines of a file are shown.
const MOST_LINES: usize = 200;
/// How many characters of a line are shown.
const MOST_CHARACTERS: usize = 200;

/// The text that asks `me` for consent to the session of `opened`, with its own `input`.
#[must_use]
pub fn text(opened: &Opened, me: &PartyName, input: Option<&Path>) -> String {
    let bundle = &opened.bundle;
    let mut text = format!(
        "Session «{}» of the network «{}», proposed by {}\nsigned {} with the key {}\n",
        bundle.session,
        bundle.network,
        bundle.from,
        minute(bundle.signed),
        opened.key
    );
    for name in opened.names() {
        if let Some((_, content)) = opened.files.iter().find(|(n, _)| n == name) {
            text += &file(name, content, name == bundle.proposal.program);
        }
    }
    text += &what(&bundle.proposal);
    text += &who(opened, me);
    text += &secrecy(&bundle.proposal, me);
    text += &input_and_limits(&bundle.proposal, input);
    text
}

/// A file in full up to a bound, and its hash always.
fn file(name: &str, content: &[u8], program: bool) -> String {
    let kind = if program { "The program" } else { "A file that it reads" };
    let mut text = format!(
        "\n{kind}: {}, {} bytes\nSHA-256 {}\n",
        visible(name),
        content.len(),
        hash(content)
    );
    let readable = std::str::from_utf8(content).ok().filter(|text| !text.contains('\0'));
    let Some(readable) = readable else { return text + "  (not text: it cannot be shown)\n" };
    let (mut hidden, mut lines) = (false, readable.lines());
    for line in lines.by_ref().take(MOST_LINES) {
        let shown = visible(line);
        hidden |= shown != line;
        let _ = writeln!(text, "  | {}", bounded(&shown));
    }
    let more = lines.count();
    if more > 0 {
        let _ = writeln!(text, "  … {more} more lines");
    }
    if hidden {
        text += "  Careful: characters that do not show as they are stand as ⟨U+…⟩ above.\n";
    }
    text
}

fn bounded(line: &str) -> String {
    match line.char_indices().nth(MOST_CHARACTERS) {
        None => line.to_owned(),
        Some((at, _)) => {
            format!("{} … {} more characters", &line[..at], line[at..].chars().count())
        }
    }
}

fn quoted(texts: &[String]) -> String {
    let quoted = texts.iter().map(|text| format!("«{}»", visible(text)));
    quoted.collect::<Vec<_>>().join(" ")
}

fn what(proposal: &Proposal) -> String {
    let mut text = format!(
        "\nWhat would run\n  {}, as every party runs it, on the own machine of each.\n",
        visible(&proposal.program)
    );
    match &proposal.arguments[..] {
        [] => text += "  It gets no arguments.\n",
        arguments => {
            let _ = writeln!(text, "  Its arguments: {}", quoted(arguments));
        }
    }
    if !proposal.options.is_empty() {
        let _ = writeln!(text, "  Options of MPyC itself: {}", quoted(&proposal.options));
    }
    if let Some(python) = &proposal.python {
        let _ = writeln!(text, "  All parties must have Python {}.", String::from(python.clone()));
    }
    text
}

fn who(opened: &Opened, me: &PartyName) -> String {
    let proposal = &opened.bundle.proposal;
    let mut text = String::from("\nWho takes part\n");
    for (index, name) in proposal.parties.iter().enumerate() {
        let key = match proposal.keys.get(name) {
            Some(key) => key.to_string(),
            None if *name == opened.bundle.from => opened.key.to_string(),
            None => format!("no key is pinned: whoever the authority calls {name}"),
        };
        let role = match (name == me, *name == opened.bundle.from) {
            (true, _) => " (this party)",
            (false, true) => " (proposes it)",
            (false, false) => "",
        };
        let _ = writeln!(text, "  {index}  {name}{role}: {key}");
    }
    text
}

fn secrecy(proposal: &Proposal, me: &PartyName) -> String {
    let (t, m) = (proposal.threshold, proposal.parties.len());
    let others: Vec<PartyName> = proposal.parties.iter().filter(|n| *n != me).cloned().collect();
    let yours = match t {
        0 => format!("Each of these alone could learn your input: {}.", words::names(&others)),
        _ if t + 1 == others.len() => {
            format!(
                "To learn your input, all of these would have to work together: {}.",
                words::names(&others)
            )
        }
        _ => format!(
            "To learn your input, {} of these would have to work together: {}.",
            t + 1,
            words::names(&others)
        ),
    };
    format!(
        "\nWho could learn what\n  Threshold {t}: {}.\n  {yours}\n\
         \x20 This holds among parties that follow the protocol. MPyC does not protect against parties\n\
         \x20 that cheat in it.\n\
         \x20 What is revealed, and to whom, is up to the program above: it reads your input. Accept it\n\
         \x20 only if you understand it, or trust somebody who does.\n",
        words::threshold(t, m)
    )
}

fn input_and_limits(proposal: &Proposal, input: Option<&Path>) -> String {
    let input = match input {
        Some(path) => format!(
            "The program would read {}, which it finds in $MPYC_PARTY_INPUT.",
            visible(&path.display().to_string())
        ),
        None => "No file is given: the program gets none (name one with --input PATH). It may ask\n  when you run it.".to_owned(),
    };
    let memory = match proposal.memory {
        Some(mib) => format!("{mib} MiB of memory"),
        None => "half of this machine's memory".to_owned(),
    };
    format!(
        "\nYour input\n  {input}\n\nWhat it may do here\n\
         \x20 It runs only when somebody starts it here. Runs that may start without asking: none.\n\
         \x20 It runs in a sandbox that reaches the other parties of this session and nothing else: no\n\
         \x20 other file, no network. It may use {memory} and write {} MiB of output.\n\
         \x20 A run waits {} for all parties, and outlasts outages of {}.\n",
        proposal.output,
        words::duration(proposal.deadline),
        words::duration(proposal.grace),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use mpyc_party_core::claims::{Fingerprint, PublicKey};
    use time::OffsetDateTime;

    use super::super::bundle::Bundle;
    use super::*;
    use crate::config::Session;

    fn name(text: &str) -> PartyName {
        text.parse().unwrap()
    }

    fn opened(parties: &[&str], change: impl FnOnce(&mut Proposal), program: &str) -> Opened {
        let roster: Vec<PartyName> = parties.iter().map(|p| name(p)).collect();
        let session = Session::new("/srv/p.py".into(), roster.try_into().unwrap());
        let keys = BTreeMap::from([(name("bob"), PublicKey([2; 32]))]);
        let mut proposal = Proposal::of(&session, keys);
        change(&mut proposal);
        let bundle = Bundle {
            bundle: 1,
            network: "example".parse().unwrap(),
            root: Fingerprint([9; 32]),
            from: name("alice"),
            signed: OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap(),
            session: "demo".parse().unwrap(),
            proposal,
            files: Vec::new(),
        };
        let files = vec![
            ("helper.bin".to_owned(), vec![0, 1, 2]),
            ("p.py".to_owned(), program.as_bytes().to_vec()),
        ];
        Opened { bundle, key: PublicKey([1; 32]), files }
    }

    fn says(text: &str, expected: &[&str]) {
        for expected in expected {
            assert!(text.contains(expected), "does not say «{expected}»:\n{text}");
        }
    }

    #[test]
    fn it_says_what_and_who_and_who_could_learn_what() {
        let three = &["alice", "bob", "carol"];
        let arguments = |p: &mut Proposal| p.arguments = vec!["3".into(), "a b".into()];
        let text = text(&opened(three, arguments, "print(1)\n"), &name("bob"), None);
        says(
            &text,
            &[
                "Session «demo» of the network «example», proposed by alice\nsigned 2023-11-14 22:13 UTC",
                &PublicKey([1; 32]).to_string(),
                "The program: p.py, 9 bytes\nSHA-256 cc42155088fca5730758db72b2a5bca33112a941dfaa2d43098ec422ce4ea213",
                "  | print(1)\n",
                "A file that it reads: helper.bin, 3 bytes",
                "Its arguments: «3» «a b»",
                "0  alice (proposes it): ed25519:",
                "1  bob (this party): ed25519:AgIC",
                "2  carol: no key is pinned: whoever the authority calls carol",
                "any 2 of the 3 together could learn every input; one alone learns nothing but the result",
                "all of these would have to work together: alice, carol",
                "among parties that follow the protocol",
                "up to the program",
                "Runs that may start without asking: none",
                "waits 10m for all parties",
                "outages of 30s",
            ],
        );
    }

    #[test]
    fn more_parties_need_fewer_than_all() {
        let five = &["alice", "bob", "carol", "dave", "erin"];
        let asked = opened(five, |p| p.threshold = 1, "");
        let text = text(&asked, &name("bob"), Some(Path::new("/home/bob/wealth")));
        says(
            &text,
            &[
                "2 of these would have to work together: alice, carol, dave, erin",
                "would read /home/bob/wealth, which it finds in $MPYC_PARTY_INPUT",
            ],
        );
    }

    #[test]
    fn no_privacy_is_said_aloud() {
        let asked = opened(&["alice", "bob"], |p| p.allow_no_privacy = true, "");
        let text = text(&asked, &name("bob"), None);
        says(
            &text,
            &[
                "every other party can learn your input",
                "Each of these alone could learn your input: alice",
            ],
        );
    }

    #[test]
    fn nothing_is_hidden_and_nothing_commands_the_terminal() {
        let program = "x = 1\n\u{1b}[2J\u{202e}evil\r\u{200b}\n";
        let arguments = |p: &mut Proposal| {
            p.arguments = vec!["\u{1b}]0;t\u{7}".into()];
            p.options = vec!["\u{2066}".into()];
        };
        let text =
            text(&opened(&["alice", "bob", "carol"], arguments, program), &name("bob"), None);
        let bad = |c: char| (c != '\n' && c.is_control()) || "\u{202e}\u{200b}\u{2066}".contains(c);
        assert!(!text.contains(bad), "{text:?}");
        says(
            &text,
            &["⟨U+001B⟩[2J⟨U+202E⟩evil", "Careful", "«⟨U+001B⟩]0;t⟨U+0007⟩»", "«⟨U+2066⟩»"],
        );
    }

    #[test]
    fn what_is_too_long_is_counted() {
        let long = format!("{}\n{}", "y".repeat(250), "line\n".repeat(300));
        let text = text(&opened(&["alice", "bob", "carol"], |_| {}, &long), &name("bob"), None);
        says(&text, &["y … 50 more characters", "… 101 more lines"]);
        assert!(!text.contains(&"y".repeat(201)));
    }
}
