//! A consent in plain words, for a terminal. It is made of the value alone, and leaves nothing out.

use std::fmt::Write;

use super::{Consent, File, Limits, Member, Privacy, Program, Text};
use crate::config::Start;
use crate::session::bundle::minute;
use crate::session::code::Kind;
use crate::session::words::{self, file_name};

/// How wide what others wrote is shown where no terminal has a width.
pub const DEFAULT_COLUMNS: usize = 100;
/// The fewest columns in which what others wrote can be shown, with what stands before it.
pub const MIN_COLUMNS: usize = 10;
/// Where a tab begins.
const TAB_MARK: char = '→';
/// A blank at the end of a line.
const END_BLANK: &str = "·";

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
        "Session «{}» of the network «{}», proposed by {from}\nsigned with the key {}\n\
         dated {} by {from}: nobody else vouches for that time\n",
        consent.session,
        consent.network,
        consent.key,
        minute(consent.signed),
        from = consent.from,
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
    let rows = words::rows::rows(line, room, TAB_MARK);
    first.to_owned() + &rows.join(&format!("\n{REST}")) + "\n"
}

/// The same of a line of a file: blanks at its end are seen.
#[must_use]
pub fn line_in_rows(first: &str, line: &str, columns: usize) -> String {
    let kept = line.trim_end_matches([' ', '\t']);
    let end = line[kept.len()..].replace(' ', END_BLANK);
    rows(first, &format!("{kept}{end}"), columns)
}

/// Whether something in a line stands as something else.
fn has_blanks(line: &str) -> bool {
    line.contains('\t') || line.ends_with(' ')
}

/// What Python could import or run: every line, and its hash.
fn code_in_full(file: &File, columns: usize) -> String {
    let File { bytes, sha256, .. } = file;
    let kind = if file.is_program { "The program" } else { "Code that it can import" };
    let head = format!("{kind}: {}, {}", file_name(&file.name), words::bytes(*bytes));
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
            text += &line_in_rows(LINE, line, columns);
            continue;
        };
        text += &line_in_rows(MARKED_LINE, line, columns);
        if exact != line {
            has_exact = true;
            text += &line_in_rows(EXACT_LINE, exact, columns);
        }
    }
    if of.lines.iter().any(|line| has_blanks(line)) {
        text += "  A tab stands as «→», a blank at the end of a line as «·».\n";
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
        text += &rows("  ", &format!("{}, {}", file_name(name), words::bytes(*bytes)), columns);
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
    let Program { name, arguments, options, python, python_here, python_fits, unknown_mpyc } =
        program;
    let name = file_name(name);
    let run = format!("{name}: every party runs it, each on its own machine.");
    let mut text = format!("\nWhat would run\n{}", rows("  ", &run, columns));
    if arguments.is_empty() {
        text += "  It gets no arguments.\n";
    } else {
        let arguments = arguments.join(" ");
        text += &rows("  ", &format!("Its arguments: {arguments}"), columns);
        if !arguments.is_ascii() {
            let exact = words::in_ascii(&arguments);
            text += &rows("  ", &format!("They have characters outside ASCII: {exact}"), columns);
        }
    }
    if !options.is_empty() {
        text += &rows("  ", &format!("Options of MPyC itself: {}", options.join(" ")), columns);
    }
    if let Some(python) = python {
        let here = match python_here {
            Some(here) if *python_fits => format!("This machine has {here}."),
            Some(here) => format!(
                "Careful: this machine has {here}, so a run\n  would fail here (python.interpreter in the configuration names another one)."
            ),
            None => "Which this machine has is not known yet\n  (mpyc-party python finds out)."
                .to_owned(),
        };
        let _ = writeln!(text, "  All parties must have Python {python}. {here}");
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
        some => format!(
            "To learn your input, any {some} of these {} others would have to work together: {names}.",
            others.len()
        ),
    };
    let all = words::privacy(*threshold, *parties, *hides);
    let all = match *coalition {
        1 => all.replace(": with these", ":\n  with these"),
        _ => format!("Of all parties, you among them: {}", all.replace("; ", ";\n  ")),
    };
    let holds = match *coalition {
        1 => {
            "Nothing here keeps it from them. Take part only with an input that they may know.\n\
             \x20 MPyC does not protect against parties that cheat in it: they could make the result wrong."
        }
        _ => {
            "This holds as long as the program uses MPyC as it is, among parties that follow the protocol.\n\
             \x20 MPyC does not protect against parties that cheat in it."
        }
    };
    format!(
        "\nWho could learn what, with threshold {threshold}\n  {all}.\n  {yours}\n\
         \x20 {holds}\n\
         \x20 What is revealed, and to whom, is up to the program: it reads your input. That is why it is\n\
         \x20 shown in full. Accept it only if you understand it, or trust somebody who does.\n\
         \x20 Somebody may leave with the result before you have it: you learn who, and not the result.\n\
         \x20 The other parties, and the hubs you use, learn this machine's address and that you take part.\n",
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
    let Limits { memory_mib, output_mib, tmp_mib, deadline, grace } = &consent.limits;
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
         \x20 It runs in a sandbox. It reaches the other parties of this session, and no other network. It\n\
         \x20 reads the files above, your input, and Python with the libraries of this machine (such as\n\
         \x20 /usr/lib), and no other file. What it writes to its own /tmp is gone after the run.\n\
         \x20 It sees the path of that Python and what kind of machine this is, and could recognise this machine\n\
         \x20 in another run.\n\
         \x20 It may use {memory}, {tmp_mib} MiB more in /tmp and /dev/shm,\n\
         \x20 and write {output_mib} MiB of output.\n\
         \x20 What it writes as output and log stays in runs/ of mpyc-party's state directory, for you alone,\n\
         \x20 until you delete it: mpyc-party session logs {}.\n\
         \x20 A run that does not have all parties ready after {} ends without a result. Then there is no\n\
         \x20 limit of time: it goes on until it is done or somebody stops it (Ctrl-C).\n\
         \x20 It outlasts outages of {}; a longer one ends it without a result.\n",
        consent.session,
        words::duration(*deadline),
        words::duration(*grace),
    )
}
