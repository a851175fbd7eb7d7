//! A consent in plain words, for a terminal. It is made of the value alone, and leaves nothing out.

use std::fmt::Write;

use super::{Consent, File, Limits, Member, Privacy, Program, Text};
use crate::config::Start;
use crate::session::bundle::minute;
use crate::session::code::Kind;
use crate::session::words::{self, file_name};

/// How wide what others wrote is shown where no terminal has a width.
pub const DEFAULT_COLUMNS: usize = 100;
/// The least columns for what others wrote.
const MIN_COLUMNS: usize = 20;
/// Where tabs lead (Python counts the same).
const TAB: usize = 8;

/// What stands before a line of a file.
const LINE: &str = "  | ";
/// Before one with characters outside ASCII.
const MARKED_LINE: &str = "  ! ";
/// Before the same in ASCII.
const EXACT_LINE: &str = "  = ";
/// Before the rest of a line that is longer than the terminal is wide.
const REST: &str = "  : ";

/// The text that asks for consent. What others wrote is broken into rows of at most `columns`, each of
/// which shows that it is theirs: none passes for a sentence of this text.
#[must_use]
pub fn render(consent: &Consent, columns: usize) -> String {
    let mut text = format!(
        "Session «{}» of the network «{}», proposed by {}\nsigned {} with the key {}\n",
        consent.session,
        consent.network,
        consent.from,
        minute(consent.signed),
        consent.key
    );
    let (code, data): (Vec<&File>, Vec<&File>) =
        consent.files.iter().partition(|file| file.kind == Kind::Code);
    text.extend(code.into_iter().map(|file| code_in_full(file, columns)));
    text += &data_by_name(&data, columns);
    text += &program(&consent.program, columns);
    text += &roster(&consent.roster);
    text += &privacy(&consent.privacy);
    text += &input(consent);
    text += &confinement(consent);
    text
}

/// A line in rows of at most `columns`: `first` before the first, [`REST`] before the others.
fn rows(first: &str, line: &str, columns: usize) -> String {
    let room = columns.max(MIN_COLUMNS) - LINE.len();
    let (mut text, mut used) = (first.to_owned(), 0);
    for c in line.chars() {
        // Where a terminal shows a character narrower than this, the row is short.
        let width = match c {
            '\t' => TAB - used % TAB,
            c if c.is_ascii() => 1,
            _ => 2,
        };
        if used + width > room {
            text = text + "\n" + REST;
            used = 0;
        }
        match c {
            '\t' => text.extend(std::iter::repeat_n(' ', width)),
            c => text.push(c),
        }
        used += width;
    }
    text + "\n"
}

/// What Python could import or run: every line, and its hash.
fn code_in_full(file: &File, columns: usize) -> String {
    let File { bytes, sha256, .. } = file;
    let kind = if file.is_program { "The program" } else { "Code that it can import" };
    let head = format!("{kind}: {}, {bytes} bytes", file_name(&file.name));
    let mut text = format!("\n{}SHA-256 {sha256}\n", rows("", &head, columns));
    if let Some(module) = &file.module {
        text += &rows("", &format!("Python imports it as: {module}"), columns);
    }
    text += &exact_name(file, columns);
    match &file.text {
        Some(lines) => text + &lines_in_full(lines, columns),
        None => text + "  (not text: it cannot be shown)\n",
    }
}

/// Every line of a text, and what has to be known of some.
#[must_use]
pub fn lines_in_full(of: &Text, columns: usize) -> String {
    let (mut text, mut has_exact) = (String::new(), false);
    for (line, number) in of.lines.iter().zip(1..) {
        let Some(exact) = of.exact.get(&number) else {
            text += &rows(LINE, line, columns);
            continue;
        };
        text += &rows(MARKED_LINE, line, columns);
        if exact != line {
            has_exact = true;
            text += &rows(EXACT_LINE, exact, columns);
        }
    }
    if !of.with_hidden.is_empty() {
        text += "  Careful: characters that do not show as they are stand as ⟨U+…⟩ above.\n";
    }
    if has_exact {
        text += "  Careful: lines with «!» have characters outside ASCII, which may look like others; the line with\n\
                 \x20 «=» below says which they are.\n";
    }
    text
}

fn exact_name(file: &File, columns: usize) -> String {
    let Some(exact) = &file.exact_name else { return String::new() };
    rows("", &format!("Its name has characters outside ASCII: {exact}"), columns)
}

/// What the program may read: only that it is there.
fn data_by_name(data: &[&File], columns: usize) -> String {
    if data.is_empty() {
        return String::new();
    }
    let mut text = String::from("\nData that it can read\n");
    for file in data {
        let File { name, bytes, sha256, disguise, .. } = file;
        text += &rows("  ", &format!("{}, {bytes} bytes", file_name(name)), columns);
        let _ = writeln!(text, "    SHA-256 {sha256}");
        text += &exact_name(file, columns);
        if let Some(what) = disguise {
            let _ = writeln!(text, "    Careful: this is {what}.");
        }
    }
    text + "  To look into one, repeat with --view NAME. What is in there is up to the program: it may take\n\
            \x20 data for code and run it.\n"
}

fn program(program: &Program, columns: usize) -> String {
    let Program { name, arguments, options, python, unknown_mpyc } = program;
    let name = file_name(name);
    let mut text =
        format!("\nWhat would run\n  {name}: every party runs it, each on its own machine.\n");
    if arguments.is_empty() {
        text += "  It gets no arguments.\n";
    } else {
        text += &rows("  ", &format!("Its arguments: {}", arguments.join(" ")), columns);
    }
    if !options.is_empty() {
        text += &rows("  ", &format!("Options of MPyC itself: {}", options.join(" ")), columns);
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
         \x20 This holds as long as the program uses MPyC as it is, among parties that follow the protocol.\n\
         \x20 MPyC does not protect against parties that cheat in it.\n\
         \x20 What is revealed, and to whom, is up to the program: it reads your input. That is why it is\n\
         \x20 shown in full. Accept it only if you understand it, or trust somebody who does.\n",
        words::privacy(*threshold, *parties, *hides)
    )
}

fn input(consent: &Consent) -> String {
    let input = match &consent.input {
        Some(path) => format!(
            "The program would read {}, which it finds in $MPYC_PARTY_INPUT: the\n  content, and not the name.",
            path.display()
        ),
        None => "No file is given: the program gets none (name one with --input PATH).".to_owned(),
    };
    format!(
        "\nYour input\n  {input}\n\
         \x20 It may also ask when you run it: it gets what is typed at that terminal while it runs, and\n\
         \x20 nothing that was typed before.\n"
    )
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
         \x20 It sees the path of the Python that runs it, and what kind of machine this is.\n\
         \x20 A run waits {} for all parties, and outlasts outages of {}.\n",
        words::duration(*deadline),
        words::duration(*grace),
    )
}
