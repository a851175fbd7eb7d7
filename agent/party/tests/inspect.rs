//! What is shown of a run that goes on: to its owner everything, to nobody else anything, and
//! nothing of a run that is over.

mod common;

use std::fs::{self, Permissions};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use common::{LIMIT, PATIENT, SUM, completes, demo, running, three};
use mpyc_party_lab::party::Party;
use mpyc_party_lab::python;
use rustix::process::Signal;
use serde_json::Value;

/// What `mpyc-party` with these arguments answers in JSON.
fn asks(party: &Party, arguments: &[&str]) -> Result<Value> {
    let output = party.command().args(arguments).arg("--json").output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && said.is_empty(), "{arguments:?}: {}: {said}", output.status);
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// What it tells people.
fn tells(party: &Party, arguments: &[&str]) -> Result<String> {
    let output = party.command().args(arguments).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)? + &String::from_utf8(output.stderr)?)
}

/// The keys of a JSON object, sorted.
fn keys(value: &Value) -> Vec<&str> {
    value.as_object().into_iter().flat_map(|object| object.keys().map(String::as_str)).collect()
}

/// The same, without what is measured anew all the time.
fn without_times(peers: &Value) -> Value {
    let mut peers = peers.clone();
    for session in peers.as_array_mut().into_iter().flatten() {
        for peer in session["peers"].as_array_mut().into_iter().flatten() {
            for measured in ["sent", "received", "attempts"] {
                peer[measured] = Value::Null;
            }
            peer["path"]["round_trip"] = Value::Null;
        }
    }
    peers
}

/// The fault is injected into the real binary, see `transport/src/task/fault.rs`.
#[cfg(debug_assertions)]
#[test]
fn a_run_whose_inspect_socket_fails_goes_on_unseen_and_says_so() -> Result<()> {
    let network = three()?;
    network.declare(&demo(PATIENT))?;
    let bob = network.party("bob");
    let mut command = bob.command();
    command.args(["session", "run", "demo", "--json", "-v"]);
    command.env("MPYC_PARTY_FAULT", "panic inspect socket");
    let mut runs = [
        network.party("alice").run("demo")?,
        bob.run_by(command)?,
        network.party("carol").run("demo")?,
    ];
    for run in &runs {
        run.wait_for_line("running", LIMIT)?;
    }
    ensure!(asks(bob, &["status"])?["running"][0]["now"].is_object(), "it is not seen before");
    runs[1].runner()?.signal(Signal::USR1)?;
    let said =
        "status and peers will not see this run any more: the task «inspect socket» panicked";
    let begun = std::time::Instant::now();
    while !runs[1].said().contains(said) {
        ensure!(begun.elapsed() < LIMIT, "{}", runs[1].said());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    runs.iter_mut().try_for_each(|run| run.feed("1\n"))?;
    runs.into_iter().try_for_each(completes)
}

#[test]
fn status_and_peers_tell_of_a_run_while_it_goes_on() -> Result<()> {
    let network = three()?;
    let mut runs = running(&network, &demo(PATIENT))?;
    let bob = network.party("bob");
    let status = asks(bob, &["status"])?;
    ensure!(status["party"] == "bob" && status["network"] == "example", "{status}");
    ensure!(status["certificate"]["valid"] == true, "{status}");
    ensure!(status["hubs"][0] == network.hub_address().to_string(), "{status}");
    let discoveries = status["discoveries"].as_array().context("no discoveries")?;
    ensure!(discoveries.contains(&"hub".into()), "{status}");
    ensure!(!discoveries.contains(&"configuration".into()), "no address is configured: {status}");
    let [run] = &status["running"].as_array().context("no runs")?[..] else {
        anyhow::bail!("{status}")
    };
    let now = &run["now"];
    let expected = [
        "candidates",
        "deadline_s",
        "grace_s",
        "hubs",
        "in_stage_s",
        "nat",
        "party",
        "peers",
        "process",
        "roster",
        "run",
        "session",
        "stage",
        "started",
        "version",
        "versions",
        "waits",
    ];
    ensure!(keys(now) == expected, "{:?}", keys(now));
    ensure!(now["stage"] == "run" && now["session"] == "demo", "{now}");
    ensure!(now["process"] == runs[1].runner()?.id(), "{now}");
    ensure!(now["run"] == bob.record()["run"] || now["run"].is_string(), "{now}");
    ensure!(
        now["hubs"][0]["seen"]["address"].is_string() && now["hubs"][0]["problem"].is_null(),
        "{now}"
    );

    let peers = asks(bob, &["peers"])?;
    let named = asks(bob, &["peers", "demo"])?;
    ensure!(without_times(&peers) == without_times(&named), "the one session is all sessions");
    let parties = peers[0]["peers"].as_array().context("no peers")?;
    ensure!(parties.len() == 2, "{peers}");
    for (peer, name) in parties.iter().zip(["alice", "carol"]) {
        let expected = [
            "attempts",
            "away_s",
            "found_by",
            "party",
            "path",
            "received",
            "sent",
            "tampered",
            "waits",
            "why_not_direct",
        ];
        ensure!(keys(peer) == expected, "{:?}", keys(peer));
        ensure!(peer["found_by"] == serde_json::json!(["hub"]), "{peer}");
        let path = &peer["path"];
        let expected = ["address", "epoch", "kind", "round_trip", "since", "via"];
        ensure!(keys(path) == expected, "{:?}", keys(path));
        ensure!(peer["party"] == name && path["kind"] == "tcp", "{peer}");
        ensure!(peer["why_not_direct"].is_null(), "{peer}");
    }
    let shown = tells(bob, &["status"])?;
    for text in ["bob, a party of the network example", "has been running for", "all are linked"] {
        ensure!(shown.contains(text), "no «{text}»:\n{shown}");
    }
    let shown = tells(bob, &["peers"])?;
    ensure!(shown.matches("direct, TCP").count() == 2, "{shown}");

    runs.iter_mut().try_for_each(|run| run.feed("1\n"))?;
    runs.into_iter().try_for_each(completes)?;
    let status = asks(bob, &["status"])?;
    ensure!(status["running"].as_array().is_some_and(Vec::is_empty), "{status}");
    ensure!(status["sessions"][0]["last"]["state"] == "completed", "{status}");
    ensure!(asks(bob, &["peers"])?.as_array().is_some_and(Vec::is_empty));
    Ok(network.end()?)
}

#[test]
fn a_party_that_was_stopped_is_away_for_the_others_and_does_not_answer_itself() -> Result<()> {
    let network = three()?;
    let mut runs = running(&network, &demo(PATIENT).grace(LIMIT))?;
    let (alice, carol) = (network.party("alice"), network.party("carol"));
    runs[2].runner()?.signal(Signal::STOP)?;
    runs[0].wait_for("away", LIMIT)?;
    let shown = tells(alice, &["status"])?;
    let text = "link to carol lost ";
    ensure!(shown.contains(text) && !shown.contains("all are linked"), "{shown}");
    ensure!(shown.contains(" s ago, reconnecting (gives up in about "), "{shown}");
    let shown = tells(alice, &["peers"])?;
    let row = shown.lines().find(|line| line.starts_with("carol ")).context("no carol")?;
    ensure!(row.contains("away") && !row.contains("direct") && !row.contains(" ms"), "{shown}");
    let away = &asks(alice, &["peers"])?[0]["peers"][1]["away_s"];
    ensure!(away.as_f64().is_some_and(|time| time > 0.0), "{away}");
    let process = runs[2].runner()?.id();
    let shown = tells(carol, &["status"])?;
    ensure!(shown.contains(&format!("the runner (process {process}) does not answer")), "{shown}");
    ensure!(asks(carol, &["status"])?["running"][0]["silent_process"] == process);
    runs[2].runner()?.signal(Signal::CONT)?;
    runs[0].wait_for("back", LIMIT)?;
    ensure!(tells(alice, &["status"])?.contains("all are linked"));
    runs.iter_mut().try_for_each(|run| run.feed("1\n"))?;
    runs.into_iter().try_for_each(completes)?;
    Ok(network.end()?)
}

#[test]
fn a_run_that_waits_says_for_whom() -> Result<()> {
    let network = three()?;
    network.declare(&demo(SUM))?;
    let runs = [network.party("alice").run("demo")?, network.party("bob").run("demo")?];
    for run in &runs {
        run.wait_for("linked", LIMIT)?;
    }
    let alice = network.party("alice");
    let now = &asks(alice, &["status"])?["running"][0]["now"];
    ensure!(now["stage"] == "find" && now["deadline_s"].as_f64().is_some_and(|s| s > 0.0), "{now}");
    let shown = tells(alice, &["peers", "demo"])?;
    for text in [
        "has been looking for the others for",
        "no link to carol",
        "carol: nothing says where it is",
        "it has not started",
    ] {
        ensure!(shown.contains(text), "no «{text}»:\n{shown}");
    }
    drop(runs);
    let unknown = alice.command().args(["peers", "nosuch"]).output()?;
    ensure!(unknown.status.code() == Some(2), "a session that is not declared");
    Ok(network.end()?)
}

#[test]
fn a_killed_runner_leaves_nothing_that_is_believed() -> Result<()> {
    let network = three()?;
    let mut runs = running(&network, &demo(PATIENT))?;
    let bob = network.party("bob");
    runs[1].runner()?.signal(Signal::KILL)?;
    runs[1].exit(LIMIT)?;
    let left = bob.runs().remove(0).join("inspect");
    ensure!(left.exists(), "nothing is left that could be believed");
    let status = asks(bob, &["status"])?;
    ensure!(status["running"].as_array().is_some_and(Vec::is_empty), "{status}");
    ensure!(status["sessions"][0]["last"]["state"] == "unfinished", "{status}");
    ensure!(asks(bob, &["peers"])?.as_array().is_some_and(Vec::is_empty));
    drop(runs);
    Ok(network.end()?)
}

/// What a user who is nobody reads from the socket at `path`.
fn nobody_reads(path: &Path) -> Result<String> {
    let ask = "import os, socket, sys\n\
        os.chdir(os.path.dirname(sys.argv[1]))\n\
        os.setgroups([]); os.setgid(65534); os.setuid(65534)\n\
        s = socket.socket(socket.AF_UNIX)\n\
        s.connect('inspect')\n\
        print('read', s.makefile().read())\n";
    let output = Command::new(python()).args(["-c", ask]).arg(path).output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(text(&output.stdout) + &text(&output.stderr))
}

#[test]
fn nobody_else_is_shown_anything() -> Result<()> {
    let network = three()?;
    let mut runs = running(&network, &demo(PATIENT))?;
    let path = network.party("bob").runs().remove(0).join("inspect");
    let found = fs::symlink_metadata(&path)?;
    ensure!(found.file_type().is_socket() && found.permissions().mode() & 0o777 == 0o600);
    if rustix::process::geteuid().is_root() {
        let said = nobody_reads(&path)?;
        ensure!(said.contains("PermissionError"), "its mode keeps nobody out: {said}");
        fs::set_permissions(&path, Permissions::from_mode(0o666))?;
        let directory = path.parent().context("a socket lies in a directory")?;
        fs::set_permissions(directory, Permissions::from_mode(0o711))?;
        let said = nobody_reads(&path)?;
        ensure!(said.trim_end() == "read", "nobody was told: {said}");
    } else {
        eprintln!("SKIPPED: only root can ask as somebody else");
    }
    runs.iter_mut().try_for_each(|run| run.feed("1\n"))?;
    runs.into_iter().try_for_each(completes)?;
    ensure!(!path.exists(), "the socket is still there");
    Ok(network.end()?)
}
