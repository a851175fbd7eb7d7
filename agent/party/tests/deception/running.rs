//! What was shown is what runs, and a program cannot speak as its runner.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Stdio;

use super::network::{Network, Party, at_terminal, fails, said, says};

/// Names of the launcher's own modules, of a package, and letters that Python takes for others.
const PROGRAM: &str = "
import sys, values, pkg.part
from mpyc.runtime import mpc
print('values', values.NAME, pkg.part.NAME, ｌen('abc'), *sys.argv[1:])
print('✓ completed')
print('one\u{200b}\u{202e}\u{2800}two')
print('✗ failed: bob', file=sys.stderr)
mpc.run(mpc.start())
secint = mpc.SecInt()
print('sum', mpc.run(mpc.output(mpc.sum(mpc.input(secint(mpc.pid))))))
mpc.run(mpc.shutdown())
";

const DEMO: &str = r#"
[sessions.demo]
program = "p.py"
files = ["values.py", "pkg/part.py"]
arguments = ["3» «--safe", "-T0"]
parties = ["alice", "bob", "carol"]
deadline = "60s"
"#;

/// Three, of whom alice has declared a session and the others have imported what they were shown.
fn three() -> (Network, [Party; 3]) {
    let network = Network::new("example");
    let parties = ["alice", "bob", "carol"].map(|name| network.party(name));
    let [alice, bob, carol] = &parties;
    // Where a name leads is of no concern: what is there travels.
    alice.write("real.py", PROGRAM.as_bytes());
    symlink("real.py", alice.path("p.py")).unwrap();
    alice.write("values.py", b"NAME = 'of the session'\n");
    fs::create_dir(alice.path("pkg")).unwrap();
    alice.write("pkg/part.py", b"NAME = 'part'\r\n");
    alice.configure(DEMO);
    alice.succeeds(&["session", "export", "demo"]);
    for party in [bob, carol] {
        party.write("demo.bundle", &fs::read(alice.path("demo.bundle")).unwrap());
        let shown = party.succeeds(&["session", "import", "demo.bundle", "--yes"]);
        says(
            &shown,
            &[
                "  | import sys, values, pkg.part\n",
                "Python imports it as: values\n",
                "  | NAME = 'of the session'\n",
                "  | NAME = 'part'\n",
                "⟨U+FF4C⟩en('abc')",
                r#"Its arguments: "3» «--safe" "-T0""#,
            ],
        );
    }
    (network, parties)
}

#[test]
fn what_was_shown_runs_and_a_program_does_not_speak_as_its_runner() {
    let (_network, [alice, bob, carol]) = three();
    let run = ["session", "run", "demo"];
    let others = [&alice, &carol].map(|party| party.command(&run).spawn().unwrap());
    let (shown, status) = at_terminal(bob.command(&run), |_| None);
    assert!(status.success(), "{shown}");
    let text = "│ values of the session part 3 3» «--safe -T0\n";
    says(&shown, &[text, "\n│ ✓ completed\n", "\n│ ✗ failed: bob\n", "│ sum 3\n"]);
    says(&shown, &["│ one⟨U+200B⟩⟨U+202E⟩⟨U+2800⟩two\n", "\n✓ completed\n"]);
    assert_eq!(shown.matches("\n✓").count(), 1, "{shown}");
    assert!(!shown.contains("\n✗"), "{shown}");
    let (again, _) = at_terminal(bob.command(&["session", "logs", "demo"]), |_| None);
    says(&again, &[text, "│ ✓ completed\n", "│ one⟨U+200B⟩"]);
    for child in others {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        // Alone in a pipe it is what the program wrote.
        let lines = String::from_utf8(output.stdout).unwrap();
        says(&lines, &["values of the session part 3 3» «--safe -T0\n✓ completed\none\u{200b}"]);
        assert!(!lines.contains('│'), "{lines}");
    }
    // Where both outputs have one reader, the lines are told apart there as well.
    let log = fs::File::create(alice.path("both")).unwrap();
    let mut logs = alice.command(&["session", "logs", "demo"]);
    logs.stdout(log.try_clone().unwrap()).stderr(log);
    assert!(logs.status().unwrap().success());
    says(&fs::read_to_string(alice.path("both")).unwrap(), &["│ ✓ completed\n"]);
}

#[test]
fn nothing_else_runs_where_the_session_is_declared_here() {
    let network = Network::new("example");
    let alice = network.party("alice");
    alice.write("p.py", b"import helper\n");
    alice.write("helper.py", b"x = 1\n");
    fs::create_dir(alice.path("__pycache__")).unwrap();
    let code = "__pycache__/helper.cpython-311.pyc";
    alice.write(code, b"\xa7\r\r\n");
    alice.write("random.py", b"x = 1\n");
    let declared = |files: &str| {
        alice.configure(&format!(
            "[sessions.demo]\nprogram = \"p.py\"\nfiles = [{files}]\nparties = [\"alice\", \"bob\", \"carol\"]\ndeadline = \"1s\"\n"
        ));
        let mut run = alice.command(&["session", "run", "demo"]);
        fails(run.stdin(Stdio::null()))
    };
    let both = format!("\"helper.py\", \"{code}\"");
    says(&declared(&both), &["Python's byte code", "leave it out"]);
    says(&declared("\"helper.py\", \"random.py\""), &["the module random of Python"]);
    alice.write("helper.py", b"# coding: utf-7\nx = 1\n");
    says(&declared("\"helper.py\""), &["«utf-7» (line 1)"]);
}
