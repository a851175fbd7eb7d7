//! `mpyc-party demo`, as somebody who has just built it would try it.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// Long enough for the slowest machine; nothing here waits that long when it works.
const LIMIT: Duration = Duration::from_secs(120);

fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../programs").join(name)
}

fn demo(state: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mpyc-party"));
    command.arg("--state").arg(state).args(["--json", "demo"]).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn events(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Processes that have this directory in their command line: those of the demo in it.
fn processes(state: &Path) -> Vec<String> {
    let state = state.to_str().unwrap().as_bytes();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap() {
        let Ok(line) = fs::read(entry.unwrap().path().join("cmdline")) else { continue };
        if line.windows(state.len()).any(|window| window == state) {
            found.push(String::from_utf8_lossy(&line).replace('\0', " "));
        }
    }
    found
}

/// Runs a demo that has to complete; returns the lines that the programs printed.
fn completes(arguments: &[&str]) -> Vec<String> {
    let state = TempDir::new().unwrap();
    let output = demo(state.path(), arguments).output().unwrap();
    let events = events(&output);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{events:#?}");
    let ended = |event: &&Value| event["event"] == "ended";
    assert!(
        events.iter().filter(ended).all(|event| event["verdict"] == "completed"),
        "{events:#?}"
    );
    assert_eq!(processes(state.path()), Vec::<String>::new());
    let lines = events.iter().filter(|event| event["event"] == "output");
    lines.map(|event| event["line"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn three_parties_complete_and_each_step_is_shown() {
    let state = TempDir::new().unwrap();
    let output = demo(state.path(), &[]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let events = events(&output);
    for party in ["alice", "bob", "carol"] {
        for step in ["step", "linked", "agreed", "running", "connected", "output", "ended"] {
            let shown = |event: &Value| event["party"] == party && event["event"] == step;
            assert!(events.iter().any(shown), "{party} never showed «{step}»");
        }
    }
    let runs = events.iter().filter(|event| event["event"] == "agreed").map(|event| &event["run"]);
    let runs: std::collections::BTreeSet<_> = runs.map(Value::to_string).collect();
    assert_eq!(runs.len(), 1, "all parties agree on one run: {runs:?}");
}

#[test]
fn the_programs_print_what_they_promise() {
    for (name, expected) in [
        ("millionaires.py", "The richest is party 2."),
        ("secret_santa.py", "Your present goes to"),
        ("voting.py", "yes: 2"),
        ("auction.py", "Party 2 wins and pays 120."),
        ("regression.py", "x2 (of party 2)"),
    ] {
        let path = program(name);
        let lines = completes(&["--program", path.to_str().unwrap(), "--", "--example"]);
        let found = lines.iter().filter(|line| line.contains(expected)).count();
        assert_eq!(found, 3, "{name}: not all parties say «{expected}»: {lines:#?}");
    }
}

#[test]
fn two_parties_run_with_a_warning() {
    let path = program("millionaires.py");
    completes(&["--parties", "2", "--program", path.to_str().unwrap(), "--", "--example"]);
}

#[test]
fn a_program_that_fails_ends_the_demo_with_a_verdict() {
    let state = TempDir::new().unwrap();
    let path = state.path().join("fails.py");
    fs::write(&path, "from mpyc.runtime import mpc\nimport sys\nif mpc.pid == 1: sys.exit(3)\nmpc.run(mpc.start())\nmpc.run(mpc.shutdown())\n").unwrap();
    let output = demo(state.path(), &["--program", path.to_str().unwrap()]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let events = events(&output);
    let verdicts: Vec<_> = events.iter().filter(|event| event["event"] == "ended").collect();
    assert_eq!(verdicts.len(), 3);
    for verdict in verdicts {
        let text = verdict["text"].as_str().unwrap();
        assert!(text.contains("bob: the program ended with status 3"), "{text}");
    }
}

#[test]
fn interrupting_ends_everything_it_started() {
    let state = TempDir::new().unwrap();
    let path = state.path().join("sleeps.py");
    fs::write(&path, "import time\nprint('here', flush=True)\ntime.sleep(600)\n").unwrap();
    for signal in [Signal::INT, Signal::TERM, Signal::KILL] {
        let mut running =
            demo(state.path(), &["--program", path.to_str().unwrap()]).spawn().unwrap();
        let began = Instant::now();
        // Hub, three runners, their sandboxes.
        while processes(state.path()).len() < 5 || !running_program(state.path()) {
            assert!(began.elapsed() < LIMIT, "the demo does not get to run");
            assert!(running.try_wait().unwrap().is_none(), "the demo has ended");
            std::thread::sleep(Duration::from_millis(20));
        }
        kill_process(Pid::from_child(&running), signal).unwrap();
        running.wait().unwrap();
        while !processes(state.path()).is_empty() {
            assert!(began.elapsed() < LIMIT, "left: {:#?}", processes(state.path()));
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Whether the program has written its first line at some party.
fn running_program(state: &Path) -> bool {
    let runs = state.join("demo/alice/runs");
    let Ok(entries) = fs::read_dir(runs) else { return false };
    let output = |entry: std::io::Result<fs::DirEntry>| {
        fs::read_to_string(entry.unwrap().path().join("output.txt")).unwrap_or_default()
    };
    entries.map(output).any(|text| text.contains("here"))
}

#[test]
fn a_second_demo_in_the_same_place_is_refused() {
    let state = TempDir::new().unwrap();
    let path = state.path().join("sleeps.py");
    fs::write(&path, "import time\nprint('here', flush=True)\ntime.sleep(600)\n").unwrap();
    let mut first = demo(state.path(), &["--program", path.to_str().unwrap()]).spawn().unwrap();
    let began = Instant::now();
    while !running_program(state.path()) {
        assert!(began.elapsed() < LIMIT, "the demo does not get to run");
        std::thread::sleep(Duration::from_millis(20));
    }
    let second = demo(state.path(), &[]).output().unwrap();
    kill_process(Pid::from_child(&first), Signal::TERM).unwrap();
    first.wait().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stdout).contains("another demo is running"));
}
