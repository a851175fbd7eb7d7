//! A consent in plain words, for a terminal. It is made of the value alone.

use std::fmt::Write;

use super::{Consent, File, Limits, Member, Privacy, Program, Text};
use crate::config::Start;
use crate::session::bundle::minute;
use crate::session::words;

/// How many lines of a file are shown.
const MAX_LINES: usize = 200;
/// How many characters of a line are shown.
const MAX_LINE_CHARS: usize = 200;

/// The text that asks for consent.
#[must_use]
pub fn render(consent: &Consent) -> String {
    let mut text = format!(
        "Session «{}» of the network «{}», proposed by {}\nsigned {} with the key {}\n",
        consent.session,
        consent.network,
        consent.from,
        minute(consent.signed),
        consent.key
    );
    text.extend(consent.files.iter().map(file));
    text += &program(&consent.program);
    text += &roster(&consent.roster);
    text += &privacy(&consent.privacy);
    text += &input(consent);
    text += &confinement(consent);
    text
}

/// A file in full up to a bound, and its hash always.
fn file(file: &File) -> String {
    let kind = if file.is_program { "The program" } else { "A file that it reads" };
    let head = format!("\n{kind}: {}, {} bytes\nSHA-256 {}\n", file.name, file.bytes, file.sha256);
    let Some(Text { lines, with_hidden }) = &file.text else {
        return head + "  (not text: it cannot be shown)\n";
    };
    let mut text = head;
    for line in lines.iter().take(MAX_LINES) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  | {}", bounded(line));
    }
    let more = lines.len().saturating_sub(MAX_LINES);
    if more > 0 {
        let _ = writeln!(text, "  … {more} more lines");
    }
    if with_hidden.iter().any(|number| *number <= MAX_LINES) {
        text += "  Careful: characters that do not show as they are stand as ⟨U+…⟩ above.\n";
    }
    text
}

fn bounded(line: &str) -> String {
    match line.char_indices().nth(MAX_LINE_CHARS) {
        None => line.to_owned(),
        Some((at, _)) => {
            format!("{} … {} more characters", &line[..at], line[at..].chars().count())
        }
    }
}

fn quoted(texts: &[String]) -> String {
    texts.iter().map(|text| format!("«{text}»")).collect::<Vec<_>>().join(" ")
}

fn program(program: &Program) -> String {
    let Program { name, arguments, options, python, unknown_mpyc } = program;
    let mut text =
        format!("\nWhat would run\n  {name}: every party runs it, each on its own machine.\n");
    if arguments.is_empty() {
        text += "  It gets no arguments.\n";
    } else {
        let _ = writeln!(text, "  Its arguments: {}", quoted(arguments));
    }
    if !options.is_empty() {
        let _ = writeln!(text, "  Options of MPyC itself: {}", quoted(options));
    }
    if let Some(python) = python {
        let _ = writeln!(text, "  All parties must have Python {python}.");
    }
    if *unknown_mpyc {
        text += "  MPyC may be another than a release that is known here: what it does with inputs is up to\n  \
                 whoever wrote it. All parties must have the same files of it.\n";
    }
    text
}

fn roster(roster: &[Member]) -> String {
    let mut text = String::from("\nWho takes part\n");
    for (index, Member { party, key, is_me, proposes }) in roster.iter().enumerate() {
        let key = match key {
            Some(key) => key.to_string(),
            None => format!("no key is pinned: whoever the authority calls {party}"),
        };
        let role = match (is_me, proposes) {
            (true, _) => " (this party)",
            (false, true) => " (proposes it)",
            (false, false) => "",
        };
        let _ = writeln!(text, "  {index}  {party}{role}: {key}");
    }
    text
}

fn privacy(privacy: &Privacy) -> String {
    let Privacy { threshold, parties, coalition, hides, others } = privacy;
    let names = words::names(others);
    let yours = match *coalition {
        1 => format!("Each of these alone could learn your input: {names}."),
        all if all == others.len() => {
            format!("To learn your input, all of these would have to work together: {names}.")
        }
        some => {
            format!("To learn your input, {some} of these would have to work together: {names}.")
        }
    };
    format!(
        "\nWho could learn what\n  Threshold {threshold}: {}.\n  {yours}\n\
         \x20 This holds among parties that follow the protocol. MPyC does not protect against parties\n\
         \x20 that cheat in it.\n\
         \x20 What is revealed, and to whom, is up to the program above: it reads your input. Accept it\n\
         \x20 only if you understand it, or trust somebody who does.\n",
        words::privacy(*threshold, *parties, *hides)
    )
}

fn input(consent: &Consent) -> String {
    let input = match &consent.input {
        Some(path) => format!(
            "The program would read {}, which it finds in $MPYC_PARTY_INPUT.",
            path.display()
        ),
        None => "No file is given: the program gets none (name one with --input PATH). It may ask\n  when you run it.".to_owned(),
    };
    format!("\nYour input\n  {input}\n")
}

fn confinement(consent: &Consent) -> String {
    let Limits { memory_mib, output_mib, deadline, grace } = &consent.limits;
    let start = match consent.start {
        Start::Manual => "It runs only when somebody starts it here.",
        Start::OnProposal => "Another party may start it here.",
    };
    let without_asking = match consent.runs_without_asking {
        0 => "none".to_owned(),
        some => some.to_string(),
    };
    let memory = match memory_mib {
        Some(mib) => format!("{mib} MiB of memory"),
        None => "half of this machine's memory".to_owned(),
    };
    format!(
        "\nWhat it may do here\n\
         \x20 {start} Runs that may start without asking: {without_asking}.\n\
         \x20 It runs in a sandbox that reaches the other parties of this session and nothing else: no\n\
         \x20 other file, no network. It may use {memory} and write {output_mib} MiB of output.\n\
         \x20 A run waits {} for all parties, and outlasts outages of {}.\n",
        words::duration(*deadline),
        words::duration(*grace),
    )
}
