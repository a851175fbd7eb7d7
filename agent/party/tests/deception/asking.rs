//! How a person at a terminal is asked.

use std::fs;

use super::network::{MORE, Network, Party, QUESTION, at_terminal, says};

const IMPORT: [&str; 3] = ["session", "import", "demo.bundle"];

/// Answers where the text ends with `question`.
fn at(question: &str, answer: &'static str) -> impl FnMut(&str) -> Option<&'static str> {
    move |text| text.ends_with(question).then_some(answer)
}

/// Bob, with a bundle of a program of `lines` lines and of a table.
fn bob(lines: usize) -> (Network, Party) {
    let network = Network::new("example");
    let [alice, bob] = ["alice", "bob"].map(|name| network.party(name));
    let program: String = (0..lines).map(|number| format!("x = {number}\n")).collect();
    alice.write("p.py", (program + "evil()\n").as_bytes());
    alice.write("table.csv", "a\u{202e},b\n".as_bytes());
    alice.write("table.bin", b"\x1b[2J\xff");
    alice.configure(
        "[sessions.demo]\nprogram = \"p.py\"\nfiles = [\"table.csv\", \"table.bin\"]\nparties = [\"alice\", \"bob\", \"carol\"]\n",
    );
    alice.succeeds(&["session", "export", "demo", "--offline"]);
    bob.write("demo.bundle", &fs::read(alice.path("demo.bundle")).unwrap());
    (network, bob)
}

#[test]
fn nobody_is_asked_before_all_was_shown() {
    let (_network, bob) = bob(300);
    let (shown, status) = at_terminal(bob.command(&IMPORT), at(QUESTION, "y\n"));
    assert!(status.success(), "{shown}");
    let (before, _) = shown.split_once(QUESTION).unwrap();
    for line in (0..300).map(|number| format!("  | x = {number}\n")) {
        assert!(before.contains(&line), "{line} was not shown");
    }
    says(before, &["  | evil()\n", "page 1 of ", "outlasts outages of 30s"]);
    // Between two pages there is never more than fits the 24 rows.
    let own = |page: &str| page.strip_prefix('\n').unwrap_or(page).lines().count();
    let longest = before.split(MORE).map(own).max();
    assert!(longest.unwrap() <= 24, "{longest:?} rows at once");
}

#[test]
fn a_yes_before_the_end_is_none() {
    let (_network, bob) = bob(100);
    // It is asked again until it is an Enter.
    let mut typed = ["y\n", "\n"].into_iter().cycle();
    let answer = |text: &str| if text.ends_with(MORE) { typed.next() } else { None };
    let (shown, status) = at_terminal(bob.command(&IMPORT), answer);
    assert_eq!(status.code(), Some(1), "{shown}");
    says(&shown, &["nothing was added"]);
    let (shown, status) = at_terminal(bob.command(&IMPORT), at(MORE, "q\n"));
    assert_eq!(status.code(), Some(1), "{shown}");
    assert!(!shown.contains(QUESTION) && !shown.contains("evil()"), "{shown}");
    // The end of input (Ctrl-D) is no answer.
    let (shown, status) = at_terminal(bob.command(&IMPORT), at(MORE, "\u{4}"));
    assert_eq!(status.code(), Some(1), "{shown}");
    assert!(!bob.path("sessions/demo").exists());
}

#[test]
fn a_script_is_asked_nothing_at_a_terminal_either() {
    let (_network, bob) = bob(1);
    let json = [&IMPORT[..], &["--json"]].concat();
    let (shown, status) = at_terminal(bob.command(&json), |_| None);
    assert_eq!(status.code(), Some(1), "{shown}");
    says(&shown, &["\"state\": \"proposed\"", "\"evil()\"", "repeat with --yes"]);
    assert!(!shown.contains(QUESTION) && !shown.contains(MORE), "{shown}");
    assert!(!bob.path("sessions/demo").exists());
}

#[test]
fn data_is_shown_on_demand_and_nothing_is_added() {
    let (_network, bob) = bob(1);
    let view = |name| [&IMPORT[..], &["--view", name]].concat();
    says(&bob.succeeds(&view("table.csv")), &["table.csv, 7 bytes", "  ! a⟨U+202E⟩,b\n"]);
    says(&bob.succeeds(&view("table.bin")), &["1b 5b 32 4a ff", ".[2J."]);
    says(&bob.succeeds(&view("p.py")), &["  | evil()\n"]);
    says(&bob.fails(&view("other")), &["no file of that name", "p.py, table.csv, table.bin"]);
    let output = bob.command(&[&view("table.bin")[..], &["--json"]].concat()).output().unwrap();
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["hex"], "1b5b324aff");
    assert!(!bob.path("sessions/demo").exists());
}
