//! Sessions that go well, from the authority to the verdict: every process here is the real binary.
//! Newcomers to the project: begin with [`three_parties_meet_and_compute`].

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use common::{LIMIT, PATIENT, SUM, all_blame, completes, demo, running, three};
use mpyc_party_lab::party::{Network, Session};

#[test]
fn three_parties_meet_and_compute() -> Result<()> {
    let names = ["alice", "bob", "carol"];
    let network = Network::on_loopback(&names)?;
    network.declare(&Session::new("demo", SUM).parties(&names))?;
    for run in network.run("demo")? {
        run.wait_for("agreed", LIMIT)?;
        run.wait_for("connected", LIMIT)?;
        run.wait_for_line("sum 3", LIMIT)?;
        completes(run)?;
    }
    Ok(network.end()?)
}

#[test]
fn a_program_may_start_mpyc_twice() -> Result<()> {
    let network = three()?;
    network.declare(&demo(&format!("{SUM}{SUM}")))?;
    network.run("demo")?.into_iter().try_for_each(completes)?;
    for party in network.parties() {
        let record = party.record();
        ensure!(record["mpyc"].as_array().is_some_and(|cycles| cycles.len() == 2), "{record}");
    }
    Ok(network.end()?)
}

#[test]
fn a_program_reads_standard_input() -> Result<()> {
    let network = three()?;
    let mut runs = running(&network, &demo(PATIENT))?;
    for (run, number) in runs.iter_mut().zip(["1\n", "20\n", "300\n"]) {
        run.feed(number)?;
    }
    for run in runs {
        run.wait_for_line("sum 321", LIMIT)?;
        completes(run)?;
    }
    Ok(network.end()?)
}

#[test]
fn two_sessions_run_at_once_on_one_host() -> Result<()> {
    let network = three()?;
    let mut first = running(&network, &demo(PATIENT))?;
    network.declare(&Session::new("other", SUM).parties(&["carol", "alice", "bob"]))?;
    network.run("other")?.into_iter().try_for_each(completes)?;
    first.iter_mut().try_for_each(|run| run.feed("1\n"))?;
    first.into_iter().try_for_each(completes)?;
    Ok(network.end()?)
}

#[test]
fn a_session_that_runs_already_is_not_started_again() -> Result<()> {
    let network = three()?;
    let mut runs = running(&network, &demo(PATIENT))?;
    let mut second = network.party("bob").run("demo")?;
    ensure!(second.exit(LIMIT)?.code() == Some(1));
    let reason = format!(
        "running here already (process {id}): wait for its end, or stop it with Ctrl-C where it runs, with kill {id}",
        id = runs[1].runner()?.id()
    );
    ensure!(second.said().contains(&reason), "{}", second.said());
    ensure!(network.party("bob").runs().len() == 1, "the refused one left a record");
    runs.iter_mut().try_for_each(|run| run.feed("1\n"))?;
    runs.into_iter().try_for_each(completes)?;
    Ok(network.end()?)
}

/// The whole tree below `path` is for its owner alone.
fn is_private(path: &Path) -> Result<()> {
    let found = fs::symlink_metadata(path)?;
    let (mode, wanted) =
        (found.permissions().mode() & 0o777, if found.is_dir() { 0o700 } else { 0o600 });
    ensure!(mode == wanted, "{} has mode {mode:o}", path.display());
    if found.is_dir() {
        fs::read_dir(path)?.try_for_each(|entry| is_private(&entry?.path()))?;
    }
    Ok(())
}

#[test]
fn a_run_leaves_a_private_record_and_nothing_else() -> Result<()> {
    let network = three()?;
    network.declare(&demo(SUM))?;
    network.run("demo")?.into_iter().try_for_each(completes)?;
    for party in network.parties() {
        let [run] = &party.runs()[..] else { anyhow::bail!("{:?}", party.runs()) };
        is_private(&party.state().join("runs"))?;
        let mut names: Vec<_> = fs::read_dir(run)?.flatten().map(|e| e.file_name()).collect();
        names.sort();
        ensure!(names == ["alive", "log.txt", "output.txt", "record.json"], "{names:?}");
        let record = party.record();
        ensure!(record["verdict"] == "completed" && record["exit"]["status"] == 0, "{record}");
        ensure!(record["party"] == party.name() && record["run"].is_string(), "{record}");
        let output = fs::read_to_string(run.join("output.txt"))?;
        ensure!(output.lines().any(|line| line == "sum 3"), "{output}");
    }
    Ok(network.end()?)
}

#[test]
fn two_runs_have_two_names() -> Result<()> {
    let network = three()?;
    network.declare(&demo(SUM))?;
    let mut names = std::collections::BTreeSet::new();
    for _ in 0..2 {
        for run in network.run("demo")? {
            names.insert(run.wait_for("agreed", LIMIT)?["run"].to_string());
            completes(run)?;
        }
    }
    ensure!(names.len() == 2, "{names:?}");
    Ok(network.end()?)
}

#[test]
fn a_hub_that_comes_back_is_found_again() -> Result<()> {
    let mut network = three()?;
    network.declare(&demo(SUM))?;
    let early = [network.party("alice").run("demo")?, network.party("bob").run("demo")?];
    for run in &early {
        run.wait_for("linked", LIMIT)?;
    }
    network.kill_hub();
    let late = network.party("carol").run("demo")?;
    late.wait_for("waiting", LIMIT)?;
    network.start_hub()?;
    completes(late)?;
    early.into_iter().try_for_each(completes)?;
    Ok(network.end()?)
}

#[test]
fn without_a_hub_nobody_is_found() -> Result<()> {
    let (mut network, deadline) = (three()?, Duration::from_secs(3));
    network.declare(&demo(SUM).deadline(deadline))?;
    network.kill_hub();
    let mut runs = vec![network.party("alice").run("demo")?];
    runs[0].wait_for("waiting", LIMIT)?;
    let due = Instant::now() + deadline;
    let outcomes = all_blame(&mut runs, due, &["alice"], "local")?;
    for said in ["no hub could be reached: ", "; not there: bob, carol"] {
        ensure!(outcomes[0].text.contains(said), "{}", outcomes[0].text);
    }
    let mut command = network.party("alice").command();
    let check = command.args(["session", "check", "demo", "--wait", "4s"]).output()?;
    let said = String::from_utf8_lossy(&check.stderr) + String::from_utf8_lossy(&check.stdout);
    ensure!(said.contains("bob: not found: no hub could be reached"), "{said}");
    Ok(network.end()?)
}

#[test]
fn once_the_parties_are_linked_the_hub_is_not_needed() -> Result<()> {
    let mut network = three()?;
    let mut runs = running(&network, &demo(PATIENT))?;
    network.kill_hub();
    runs.iter_mut().try_for_each(|run| run.feed("1\n"))?;
    runs.into_iter().try_for_each(completes)?;
    Ok(network.end()?)
}

#[test]
fn parties_with_known_addresses_need_no_hub() -> Result<()> {
    let mut network = three()?;
    network.declare(&demo(SUM))?;
    network.kill_hub();
    let (mut runs, mut known) =
        (Vec::new(), String::from("network.local-discovery = false\n[listen]\nport = 0\n"));
    for party in network.parties() {
        party.configure(&known)?;
        let run = party.run("demo")?;
        let port = run.wait_for("waiting", LIMIT)?["port"].clone();
        known += &format!("[peers.{}]\naddress = \"localhost:{port}\"\n", party.name());
        runs.push(run);
    }
    runs.into_iter().try_for_each(completes)?;
    Ok(network.end()?)
}
