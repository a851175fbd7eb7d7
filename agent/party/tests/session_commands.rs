//! A session's way from the party that declares it to a run of all, as people go it: with the real
//! binary, over loopback. Needs `python3` with its venv module, or `MPYC_PARTY_TEST_PYTHON`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod network;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use network::{Ended, Network, Party, QUESTION, at_terminal, fails, said, says, succeeds, tells};
use serde_json::Value;

/// The parties compute the sum of the numbers in their input files, or of their indices.
const SUM: &str = r#"
import os
import sys
from mpyc.runtime import mpc

async def main():
    secint = mpc.SecInt(64)
    assert open('data/names').read() == 'x'
    path = os.environ.get('MPYC_PARTY_INPUT')
    number = int(open(path).read()) if path else mpc.pid
    async with mpc:
        total = mpc.sum(mpc.input(secint(number)))
        print('the sum is', await mpc.output(total), *sys.argv[1:])
        print('\x1b[31mred\x1b]0;title\x07')
        print('a warning', file=sys.stderr)

mpc.run(main())
"#;

const DEMO: &str = r#"
[sessions.demo]
program = "sum.py"
files = ["data/names"]
arguments = ["+0"]
parties = ["alice", "bob", "carol"]
deadline = "60s"
"#;

const IMPORT: [&str; 3] = ["session", "import", "demo.bundle"];

struct Three {
    _network: Network,
    alice: Party,
    bob: Party,
    carol: Party,
}

/// Alice has declared and exported the session; nobody has imported it yet.
fn three() -> Three {
    let network = Network::new("example");
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| network.party(name));
    alice.write("sum.py", SUM.as_bytes());
    fs::create_dir(alice.path("data")).unwrap();
    alice.write("data/names", b"x");
    alice.configure(DEMO);
    alice.succeeds(&["session", "export", "demo"]);
    let bundle = fs::read(alice.path("demo.bundle")).unwrap();
    bob.write("demo.bundle", &bundle);
    carol.write("demo.bundle", &bundle);
    Three { _network: network, alice, bob, carol }
}

fn json(party: &Party, arguments: &[&str]) -> Value {
    let output = party.command(arguments).arg("--json").output().unwrap();
    let value = serde_json::from_slice(&output.stdout);
    assert!(value.is_ok(), "{}", said(&output));
    value.unwrap()
}

fn runs_dir(party: &Party) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(party.path("runs")).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Waits until a run of a party listens.
fn waits(process: &mut Ended) {
    tells(process, "listening on port");
}

#[test]
fn one_declares_the_others_import_and_all_run() {
    let Three { _network, alice, bob, carol } = three();
    let text = bob.succeeds(&["session", "import", "demo.bundle", "--yes"]);
    says(
        &text,
        &[
            "proposed by alice",
            "  | mpc.run(main())",
            "any 2 of the 3 together could learn every input",
            "Runs that may start without asking: none",
            "session demo is added",
        ],
    );
    carol.write("number", b"39");
    let import = ["session", "import", "demo.bundle", "--yes", "--input", "number"];
    says(&carol.succeeds(&import), &["number, which it finds in $MPYC_PARTY_INPUT"]);
    let parties = [&alice, &bob, &carol];
    let started = parties.map(|party| party.command(&["session", "run", "demo"]).spawn().unwrap());
    for child in started {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        says(&said(&output), &["the sum is 40 +0", "completed"]);
    }
    let list = json(&bob, &["session", "list"]);
    assert_eq!(list[0]["name"], "demo");
    assert_eq!(list[0]["from"], "imported");
    assert_eq!(list[0]["last"]["state"], "completed");
    says(&alice.succeeds(&["session", "list"]), &["configured", "completed", "alice, bob, carol"]);
    let show = bob.succeeds(&["session", "show", "demo"]);
    says(
        &show,
        &[
            "imported from alice (ed25519:",
            "1  bob: this party, ed25519:",
            "any 2 of the 3 together",
            "\"+0\"",
            "    1  ",
            "completed",
            "the program ended with status 0",
            "MPyC ran once",
            "find ",
            "end ",
            "CPython",
        ],
    );
    let run = &json(&bob, &["session", "show", "demo"])["runs"][0];
    assert_eq!(run["record"]["exit"]["status"], 0);
    assert!(run["record"]["mpyc"][0]["bytes_sent"].as_u64().unwrap() > 0);
    let stages: Vec<_> = run["times"].as_array().unwrap().iter().map(|t| &t["stage"]).collect();
    assert_eq!(stages[0], "prepare");
    assert!(stages.contains(&&Value::from("run")), "{stages:?}");
    says(&bob.succeeds(&["session", "logs", "demo", "--run", "1"]), &["the sum is 40", "\nred\n"]);
    says(&bob.succeeds(&["session", "logs", "demo", "--last", "--log"]), &["a warning"]);
    says(&bob.fails(&["session", "logs", "demo", "--run", "2"]), &["numbered from 1 to 1"]);
    bob.knows_no("other", &["session", "logs", "other"]);
    // What is in the file may have been changed since: it still commands no terminal.
    fs::write(runs_dir(&bob)[0].join("output.txt"), "\u{1b}[2Jwiped\u{9b}\n").unwrap();
    let lines = &json(&bob, &["session", "logs", "demo"])["lines"];
    assert_eq!(lines[0], "wiped");
}

#[test]
fn an_imported_session_is_private_and_changes_only_on_demand() {
    let Three { _network, alice, bob, carol } = three();
    let import = ["session", "import", "demo.bundle", "--yes"];
    bob.succeeds(&import);
    let stored = bob.path("sessions/demo");
    for name in ["", "files", "session.toml", "bundle", "files/sum.py", "files/data/names"] {
        let mode = stored.join(name).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name} is open to others: {mode:o}");
    }
    let definition = fs::read_to_string(stored.join("session.toml")).unwrap();
    says(&bob.succeeds(&import), &["the same: nothing to do"]);
    // Signed anew, and still the same.
    alice.succeeds(&["session", "export", "demo", "--output", "again"]);
    bob.write("demo.bundle", &fs::read(alice.path("again")).unwrap());
    says(&bob.succeeds(&import), &["the same: nothing to do"]);
    alice.configure(&DEMO.replace("+0", "+1"));
    alice.write("sum.py", format!("{SUM}\n").as_bytes());
    alice.succeeds(&["session", "export", "demo"]);
    bob.write("demo.bundle", &fs::read(alice.path("demo.bundle")).unwrap());
    says(&bob.fails(&import), &["the arguments, the content of sum.py", "--replace"]);
    assert_eq!(fs::read_to_string(stored.join("session.toml")).unwrap(), definition);
    bob.succeeds(&[&import[..], &["--replace"]].concat());
    says(&bob.succeeds(&["session", "show", "demo"]), &["\"+1\""]);
    assert_eq!(fs::read_dir(bob.path("sessions")).unwrap().count(), 1, "left-overs");
    bob.succeeds(&["session", "remove", "demo"]);
    assert_eq!(fs::read_dir(bob.path("sessions")).unwrap().count(), 0, "left-overs");
    bob.knows_no("demo", &["session", "remove", "demo"]);
    bob.knows_no("demo", &["session", "show", "demo"]);
    says(&alice.fails(&["session", "remove", "demo"]), &["in the configuration"]);
    says(&alice.fails(&import), &["declared in the configuration"]);
    // One damaged session hides no other.
    carol.succeeds(&import);
    fs::create_dir(carol.path("sessions/broken")).unwrap();
    says(&carol.fails(&["session", "list"]), &["demo", "session broken is left out"]);
    carol.succeeds(&["session", "show", "demo"]);
}

/// Answers the question at the end.
fn answers(answer: &'static str) -> impl FnMut(&str) -> Option<&'static str> {
    move |text| text.ends_with(QUESTION).then_some(answer)
}

#[test]
fn nothing_is_added_without_a_yes() {
    let Three { _network, bob, .. } = three();
    let text = bob.fails(&IMPORT);
    says(&text, &["proposed by alice", "there is no terminal to ask on", "--yes"]);
    for no in ["\n", "n\n", "yesterday\n", "\u{4}"] {
        let (shown, status) = at_terminal(bob.command(&IMPORT), answers(no));
        assert_eq!(status.code(), Some(1), "{no:?}: {shown}");
        says(&shown, &["[y/N]", "nothing was added"]);
        assert!(!bob.path("sessions/demo").exists());
    }
    let (shown, status) = at_terminal(bob.command(&IMPORT), answers("y\n"));
    assert!(status.success(), "{shown}");
    assert!(bob.path("sessions/demo").exists());
}

#[test]
fn keys_come_from_the_authority_unless_told_otherwise() {
    let network = Network::new("example");
    let [alice, bob] = ["alice", "bob"].map(|name| network.party(name));
    alice.write("sum.py", SUM.as_bytes());
    fs::create_dir(alice.path("data")).unwrap();
    alice.write("data/names", b"x");
    alice.configure(&format!("{DEMO}input = \"my-secret\"\n"));
    let warning = alice.succeeds(&["session", "export", "demo"]);
    says(&warning, &["no key is known of carol"]);
    let bundle = fs::read_to_string(alice.path("demo.bundle")).unwrap();
    let key = |party: &Party| party.identity().claims().key.to_string();
    says(&bundle, &[&key(&alice), &key(&bob)]);
    let here = alice.directory.to_str().unwrap();
    assert!(!bundle.contains(here) && !bundle.contains("my-secret"), "{bundle}");
    let offline = alice.command(&["session", "export", "demo", "--offline", "--output", "-"]);
    let offline = { offline }.output().unwrap();
    says(&said(&offline), &["no key is known of bob, carol", &key(&alice)]);
    assert!(!said(&offline).contains(&key(&bob)));
    alice.configure(&format!("{DEMO}[network]\nhubs = [\"127.0.0.1:1\"]\n"));
    let text = alice.fails(&["session", "export", "demo"]);
    says(&text, &["keys of the parties cannot be asked", "--offline", "cannot be reached"]);
    // A pin of the configuration comes first, and travels.
    let pin = "ed25519:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    alice.configure(&format!("{DEMO}[peers.bob]\nkey = \"{pin}\"\n"));
    alice.succeeds(&["session", "export", "demo"]);
    says(&fs::read_to_string(alice.path("demo.bundle")).unwrap(), &[pin]);
    bob.write("demo.bundle", &fs::read(alice.path("demo.bundle")).unwrap());
    says(&bob.fails(&["session", "import", "demo.bundle", "--yes"]), &["key of bob is", pin]);
}

#[test]
fn a_check_says_who_is_missing_and_what_differs_and_disturbs_nobody() {
    let Three { _network, alice, bob, carol } = three();
    bob.succeeds(&["session", "import", "demo.bundle", "--yes"]);
    carol.succeeds(&["session", "import", "demo.bundle", "--yes"]);
    let text = bob.fails(&["session", "check", "demo", "--wait", "300ms"]);
    says(
        &text,
        &[
            "Python in its sandbox: CPython",
            "bob of the network example",
            "answers",
            "alice: not waiting in a run",
            "carol: not waiting in a run",
            "not ready",
        ],
    );
    // Alice waits with another argument, carol with the same.
    alice.configure(&DEMO.replace("+0", "+1"));
    let mut first = alice.starts(&["session", "run", "demo"]);
    waits(&mut first);
    let text = bob.fails(&["session", "check", "demo", "--wait", "2s"]);
    says(&text, &["alice: there, but it would run something else: the arguments differs"]);
    says(&text, &["carol: not waiting in a run"]);
    let found = json(&bob, &["session", "check", "demo", "--wait", "2s"]);
    assert_eq!(found["parties"][0]["state"], "differs");
    assert_eq!(found["parties"][0]["differs"], serde_json::json!(["arguments"]));
    assert_eq!(found["parties"][1]["state"], "absent");
    drop(first);
    alice.configure(DEMO);
    let [mut first, mut second] =
        [&alice, &carol].map(|party| party.starts(&["session", "run", "demo"]));
    waits(&mut first);
    waits(&mut second);
    let text = bob.succeeds(&["session", "check", "demo", "--wait", "30s"]);
    says(&text, &["alice: there, and the same", "carol: there, and the same", "nothing differs"]);
    // Alice checks as well, beside her own run, for as long as it takes: bob still finds her. Her
    // hub has heard of the check when it answers.
    let mut check = alice.starts(&["session", "check", "demo", "--wait", "60s", "-vv"]);
    tells(&mut check, "sees this party at");
    bob.succeeds(&["session", "check", "demo", "--wait", "30s"]);
    succeeds(&mut bob.command(&["session", "run", "demo"]));
    for mut run in [first, second] {
        assert!(run.0.wait().unwrap().success());
    }
    drop(check);
}

#[test]
fn a_check_goes_on_where_something_is_missing_here() {
    let Three { _network, alice, bob, .. } = three();
    bob.succeeds(&["session", "import", "demo.bundle", "--yes"]);
    let mut run = alice.starts(&["session", "run", "demo"]);
    waits(&mut run);
    bob.configure("[python]\ninterpreter = \"/nonexistent/python3\"\n");
    if std::env::var_os("MPYC_PARTY_TEST_PYTHON").is_none() {
        let text = bob.fails(&["session", "check", "demo", "--wait", "2s"]);
        says(&text, &["/nonexistent/python3", "alice: there, and the same", "not ready"]);
    }
    bob.configure("[network]\nhubs = [\"127.0.0.1:1\"]\n");
    let text = bob.fails(&["session", "check", "demo", "--wait", "300ms"]);
    says(&text, &["hub: 127.0.0.1:1 cannot be reached"]);
    fs::remove_file(bob.path("sessions/demo/files/sum.py")).unwrap();
    let text = bob.fails(&["session", "check", "demo", "--wait", "300ms"]);
    says(&text, &["files: ", "No such file", "cannot be reached"]);
    let left = fs::read_dir(&bob.directory).unwrap();
    let names: Vec<_> = left.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!names.iter().any(|name| name.starts_with(".check-")), "left-overs: {names:?}");
}

#[test]
fn a_runner_that_was_killed_leaves_an_unfinished_run() {
    let Three { _network, alice, .. } = three();
    let mut run = alice.starts(&["session", "run", "demo"]);
    waits(&mut run);
    says(&alice.succeeds(&["session", "show", "demo"]), &["  running"]);
    assert_eq!(json(&alice, &["session", "list"])[0]["last"]["state"], "running");
    drop(run);
    says(&alice.succeeds(&["session", "show", "demo"]), &["unfinished: its runner was ended"]);
    assert_eq!(json(&alice, &["session", "list"])[0]["last"]["state"], "unfinished");
    // Looking takes no lock that a new run needs.
    let mut run = alice.starts(&["session", "run", "demo"]);
    waits(&mut run);
    let text = alice.succeeds(&["session", "show", "demo"]);
    says(&text, &["    1  ", "unfinished", "    2  ", "running"]);
}

#[test]
fn a_bundle_passes_through_pipes() {
    let Three { _network, alice, bob, .. } = three();
    let bundle = alice.command(&["session", "export", "demo", "--output", "-"]).output().unwrap();
    let mut import = bob.command(&["session", "import", "-", "--yes"]);
    let mut child = import.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&bundle.stdout).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    says(&fails(&mut bob.command(&["session", "import", "-", "--yes"])), &["no whole bundle"]);
}
