//! How a person at a terminal is asked.

use std::fs;

use super::network::{MORE, Network, Party, QUESTION, at_terminal, at_terminal_of, said, says};

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

/// How many rows a terminal of so many columns needs for `text`, of which each character takes one.
fn height(text: &str, columns: usize) -> usize {
    text.split('\n').map(|line| line.chars().count().div_ceil(columns).max(1)).sum()
}

#[test]
fn however_narrow_the_terminal_each_page_fits() {
    let (_network, bob) = bob(60);
    for columns in [20, 30, 40, 44, 45, 46, 47, 80] {
        let size = (12, u16::try_from(columns).unwrap());
        let (shown, status) = at_terminal_of(size, bob.command(&IMPORT), at(QUESTION, "n\n"));
        assert_eq!(status.code(), Some(1), "{shown}");
        let (before, _) = shown.split_once(QUESTION).unwrap();
        // What was typed ends the row of the question.
        let own = |page: &str| height(page.strip_prefix('\n').unwrap_or(page), columns);
        let pages: Vec<String> = before.split(MORE).map(str::to_owned).collect();
        let ends = pages.iter().zip(1..).map(|(page, number)| {
            let end = if number == pages.len() { QUESTION } else { MORE };
            own(&format!("{page}{end}"))
        });
        let heights: Vec<usize> = ends.collect();
        assert!(heights.iter().all(|height| *height <= 12), "{columns} columns: {heights:?}");
        // Nor is much of it left empty, where lines are short.
        assert!(
            columns < 40 || heights.iter().filter(|height| **height >= 9).count() > 4,
            "{heights:?}"
        );
    }
}

#[test]
fn a_terminal_that_is_too_small_shows_nothing_and_asks_nothing() {
    let (_network, bob) = bob(1);
    for size in [(24, 9), (1, 80), (2, 30)] {
        let (shown, status) = at_terminal_of(size, bob.command(&IMPORT), at(QUESTION, "y\n"));
        assert_eq!(status.code(), Some(1), "{size:?}: {shown}");
        let flat: String = shown.split_whitespace().collect();
        says(&flat, &["theterminalistoosmall"]);
        assert!(!bob.path("sessions/demo").exists());
    }
}

#[test]
fn a_name_that_is_long_stays_behind_what_stands_before_it() {
    let network = Network::new("example");
    let [alice, bob] = ["alice", "bob"].map(|name| network.party(name));
    // At 40 columns each part of it would begin a row.
    let name = format!("x{}✓ session demo is added", " ".repeat(37));
    let names = [format!("{name}.py"), format!("{name}.bin")];
    alice.write(&names[0], b"x = 1\n");
    alice.write(&names[1], b"\xff");
    alice.configure(&format!(
        "[sessions.demo]\nprogram = {:?}\nfiles = [{:?}]\nparties = [\"alice\", \"bob\", \"carol\"]\n",
        names[0], names[1]
    ));
    alice.succeeds(&["session", "export", "demo", "--offline"]);
    bob.write("demo.bundle", &fs::read(alice.path("demo.bundle")).unwrap());
    for offset in 0..24 {
        for view in [None, Some(&names[1])] {
            let more = view.map(|name| ["--view", name.as_str()]);
            let arguments = [&IMPORT[..], &more.unwrap_or_default()].concat();
            let arguments: Vec<&str> =
                arguments.into_iter().filter(|word| !word.is_empty()).collect();
            let size = (500, 30 + offset);
            let (shown, _) = at_terminal_of(size, bob.command(&arguments), at(QUESTION, "n\n"));
            for line in shown.lines() {
                let columns = usize::from(size.1);
                let row: String = line.chars().skip(columns).step_by(columns).collect();
                assert!(!row.contains('✓'), "{columns} columns: {line}");
                assert!(!line.starts_with("✓ session"), "{columns} columns: {line}");
            }
        }
    }
}

#[test]
fn what_a_bundle_changes_is_named_and_its_lines_are_marked() {
    let network = Network::new("example");
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| network.party(name));
    let declared =
        "[sessions.demo]\nprogram = \"p.py\"\nparties = [\"alice\", \"bob\", \"carol\"]\n";
    let offer = |from: &Party, program: &str| {
        from.write("p.py", program.as_bytes());
        from.configure(declared);
        // So that the bundles of all have the same keys.
        from.succeeds(&["session", "export", "demo"]);
        bob.write("demo.bundle", &fs::read(from.path("demo.bundle")).unwrap());
        fs::remove_file(from.path("demo.bundle")).unwrap();
    };
    let lines = |second: &str| format!("a = 1\n{second}\nc = 1\nd = 1\ne = 1\nf = 1\n");
    offer(&alice, &lines("b = 1"));
    bob.write("own", b"1");
    let yes = [&IMPORT[..], &["--yes"]].concat();
    bob.succeeds(&[&yes[..], &["--input", "own"]].concat());
    // Another proposes the same: that is a change, and the input would go.
    offer(&carol, &lines("b = 1"));
    let refused = bob.fails(&yes);
    let now = bob.path("own").display().to_string();
    let input = format!("your input ({now}, now no file)");
    says(&refused, &["who proposes it (alice, now carol)", &input, "--replace"]);
    offer(&carol, &lines("b = 2  "));
    let replace = [&IMPORT[..], &["--replace"]].concat();
    let (shown, _) = at_terminal(bob.command(&replace), at(QUESTION, "n\n"));
    let diff = "What changes in p.py\n  from line 1\n    a = 1\n  - b = 1\n  + b = 2··\n    c = 1\n    d = 1\n";
    says(&shown, &["who proposes it", "the content of p.py", diff, "  | f = 1\n"]);
    assert!(!shown.contains("    e = 1"), "{shown}");
    // In a pipe there is no colour, and a script gets a value.
    let piped = bob.command(&replace).output().unwrap();
    assert!(said(&piped).contains("  + b = 2") && !said(&piped).contains('\u{1b}'));
    let output = bob.command(&[&replace[..], &["--json"]].concat()).output().unwrap();
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected = ["who proposes it (alice, now carol)", "the content of p.py", &input];
    assert_eq!(value["changes"], serde_json::json!(expected));
    assert_eq!(value["changed_code"][0]["parts"][0][1]["change"], "removed");
    assert_eq!(value["changed_code"][0]["parts"][0][2]["text"], "b = 2  ");
    // Nothing of the session, but the input: no --replace is needed, and it is named.
    bob.succeeds(&[&replace[..], &["--yes"]].concat());
    let again = bob.succeeds(&[&yes[..], &["--input", "own"]].concat());
    says(&again, &[&format!("what changes: your input (no file, now {now})")]);
    says(&bob.succeeds(&yes), &["here already, and the same"]);
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
