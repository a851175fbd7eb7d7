//! Long lines: what a terminal would wrap has its mark on each row.

use std::fs;

use unicode_width::UnicodeWidthChar;

use super::network::{Network, Party, at_terminal_of, said, says};

/// The terminal's columns.
const COLUMNS: usize = 40;
/// Those that are left behind the mark, which takes three where a terminal shows «│» in two.
const ROOM: usize = COLUMNS - 3;

/// Each line would show a line of the runner at the left edge of a terminal of 40 columns, with a mark of
/// two before it: after blanks, tabs, characters of two columns, of none, and of one or two.
const PROGRAM: &str = r"
import sys
from mpyc.runtime import mpc
says = '✓ completed'
print(' ' * 38 + says)
print('\t' * 5 + says, '\t' * 40 + says, sep='\n')
print(' ' * 6 + '\t' * 4 + says)
print('語' * 18 + ' ' + says)
print('e\u0301' * 37 + says)
print('\U00010d69' * 19 + says)
print('é' * 38 + says, 'é' * 19 + says, sep='\n')
print('\U0001f1e6' * 19 + says)
print(' ' * 38 + '✗ failed: bob', file=sys.stderr)
print('x' * 37)
print('whole\t' + 'y' * 100)
mpc.run(mpc.start())
mpc.run(mpc.shutdown())
";

const DEMO: &str = r#"
[sessions.demo]
program = "p.py"
parties = ["alice", "bob", "carol"]
deadline = "60s"
"#;

/// The rows that a terminal shows of `text` which gives characters this width.
fn rows(text: &str, width: fn(char) -> Option<usize>) -> Vec<String> {
    let mut all = Vec::new();
    for line in text.split('\n') {
        let (mut row, mut used) = (String::new(), 0);
        // What was drawn again and again is not looked at.
        for c in line.rsplit('\r').next().unwrap_or(line).chars() {
            let wide =
                if c == '\t' { (8 - used % 8).min(COLUMNS - used) } else { width(c).unwrap_or(0) };
            if used + wide > COLUMNS {
                all.push(std::mem::take(&mut row));
                used = 0;
            }
            row.push(c);
            used += wide;
        }
        all.push(row);
    }
    all
}

/// Fails where one of the program's lines is more than that on some terminal.
fn stays_behind_its_mark(shown: &str, own: usize) {
    let narrow = |c: char| c.width();
    let wide = |c: char| c.width_cjk();
    // One that is older than the mark of no width.
    let old = |c: char| if c == '\u{10d69}' { Some(1) } else { c.width() };
    for width in [narrow, wide, old] {
        let rows = rows(shown, width);
        let count =
            |mark: &str| rows.iter().filter(|row| row.trim_start().starts_with(mark)).count();
        assert_eq!((count("✓"), count("✗")), (own, 0), "{shown}");
        let of_program = rows.iter().filter(|row| row.contains(['語', '✗', 'y', 'e', '\u{10d69}']));
        let marked = of_program.filter(|row| row.starts_with("│ "));
        assert!(marked.count() >= 8, "{shown}");
    }
}

fn three() -> (Network, [Party; 3]) {
    let network = Network::new("example");
    let parties = ["alice", "bob", "carol"].map(|name| network.party(name));
    for party in &parties {
        party.write("p.py", PROGRAM.as_bytes());
        party.configure(DEMO);
    }
    (network, parties)
}

#[test]
fn a_long_line_has_its_mark_on_each_row_of_a_terminal() {
    let (_network, [alice, bob, carol]) = three();
    let run = ["session", "run", "demo"];
    let others = [&alice, &carol].map(|party| party.command(&run).spawn().unwrap());
    let at = |command| at_terminal_of((24, COLUMNS.try_into().unwrap()), command, |_| None);
    let (shown, status) = at(bob.command(&run));
    assert!(status.success(), "{shown}");
    stays_behind_its_mark(&shown, 1);
    says(&shown, &[&format!("\n│ {} \n│ ✓ completed\n", "語".repeat(18)), "\n✓ completed\n"]);
    says(
        &shown,
        &[&format!(
            "\n│ whole   {}\n│ {}\n│ {}\n",
            "y".repeat(ROOM - 8),
            "y".repeat(ROOM),
            "y".repeat(34)
        )],
    );
    for log in [&[][..], &["--log"]] {
        let (again, _) = at(bob.command(&[&["session", "logs", "demo"], log].concat()));
        let marks = if log.is_empty() { "│ ✓ completed" } else { "│  ✗ failed: bob" };
        says(&again, &[marks]);
        assert!(
            again
                .lines()
                .skip(2)
                .filter(|line| !line.is_empty())
                .all(|line| line.starts_with("│ ")),
            "{again}"
        );
    }
    for child in others {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        // Nothing is broken where it is no terminal.
        says(&said(&output), &[&format!("whole\t{}\n", "y".repeat(100))]);
    }
    let log = fs::File::create(alice.path("both")).unwrap();
    let mut logs = alice.command(&["session", "logs", "demo"]);
    logs.stdout(log.try_clone().unwrap()).stderr(log);
    assert!(logs.status().unwrap().success());
    let both = fs::read_to_string(alice.path("both")).unwrap();
    says(&both, &[&format!("│ whole\t{}\n", "y".repeat(100))]);
}
