//! What the added rows carry: sessions, a change of path, `ping`, `connect` and `expose`.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use libtest_mimic::{Failed, Trial};
use mpyc_party_lab::party::{Network, Party, Run};
use mpyc_party_net::Stack;
use serde_json::Value;

use crate::common::{ENDLESS, LIMIT, PATIENT, SUM, completes, demo, running, three};
use crate::service::{ask, echo, expose, exposing};
use crate::shared;
use crate::unix::CLOSED;

type Test = fn() -> Result<()>;

/// All of them; one after the other where they close the kind for everybody.
pub(crate) fn trials() -> Vec<Trial> {
    let all: [(&str, Test); 5] = [
        ("a_session_of_three_over_the_added_kind", session),
        ("the_path_changes_to_the_added_kind_and_back", path_change),
        ("ping_connect_and_expose_over_the_added_kind", commands),
        ("a_party_that_does_not_know_the_kind_takes_part", mixed),
        ("without_hubs_the_added_discovery_finds_everybody", discovery),
    ];
    let run =
        |test: fn() -> Result<()>| move || alone(test).map_err(|e| Failed::from(format!("{e:?}")));
    all.map(|(name, test)| Trial::test(name, run(test))).into()
}

/// Runs one test at a time.
fn alone(test: Test) -> Result<()> {
    static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _guard = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    test()
}

/// What `peers` tells at `party` of each of the others.
fn peers(party: &Party) -> Result<Vec<Value>> {
    let output = party.command().args(["peers", "--json"]).output()?;
    let told: Value = serde_json::from_slice(&output.stdout)?;
    Ok(told[0]["peers"].as_array().context("no peers")?.clone())
}

/// The kind that is used while the added one is closed.
fn next_best() -> Result<&'static str> {
    Ok(Stack::default().best().context("no kinds")?.name)
}

fn linked_over(run: &Run, kind: &str) -> Result<()> {
    run.wait_until(kind, LIMIT, |e| e["event"] == "link" && e["path"] == kind)?;
    Ok(())
}

fn session() -> Result<()> {
    let network = three()?;
    let status = network.party("bob").command().args(["status", "--json"]).output()?;
    let status: Value = serde_json::from_slice(&status.stdout)?;
    ensure!(status["discoveries"].as_array().is_some_and(|all| all.contains(&"notes".into())));
    let mut runs = running(&network, &demo(PATIENT))?;
    for peer in peers(network.party("bob"))? {
        ensure!(peer["path"]["kind"] == "unix" && peer["why_not_direct"].is_null(), "{peer}");
        ensure!(peer["found_by"] == serde_json::json!(["hub", "notes"]), "{peer}");
    }
    runs.iter_mut().try_for_each(|run| run.feed("1\n"))?;
    runs.into_iter().try_for_each(completes)?;
    Ok(network.end()?)
}

fn path_change() -> Result<()> {
    let (network, closed, next_best) = (three()?, shared().join(CLOSED), next_best()?);
    fs::write(&closed, "")?;
    let runs = running(&network, &demo(ENDLESS))?;
    runs.iter().try_for_each(|run| linked_over(run, next_best))?;
    fs::remove_file(&closed)?;
    runs.iter().try_for_each(|run| linked_over(run, "unix"))?;
    fs::write(&closed, "")?;
    for run in &runs {
        // Two peers, at first and again.
        let back = |e: &Value| e["event"] == "link" && e["path"] == next_best;
        run.wait_for_number(3, "a link over the next best kind again", LIMIT, back)?;
    }
    fs::remove_file(&closed)?;
    drop(runs);
    Ok(network.end()?)
}

fn commands() -> Result<()> {
    let mut network = three()?;
    let mut runs = running(&network, &demo(PATIENT))?;
    // A hub would tell of other kinds as well, and the first that answers is taken.
    network.kill_hub();
    let alice = network.party("alice");
    let answer = alice.command().args(["ping", "bob", "--count", "2", "--json"]).output()?;
    let answer: Value = serde_json::from_slice(&answer.stdout)?;
    ensure!(answer["there"] == true && answer["path"] == "unix", "{answer}");
    network.start_hub()?;
    let alice = network.party("alice");
    runs.iter_mut().try_for_each(|run| run.feed("1\n"))?;
    runs.into_iter().try_for_each(completes)?;
    let (port, bob) = (echo()?, network.party("bob"));
    bob.configure(&exposing(port, "parties = [\"alice\"]"))?;
    let machine = expose(bob)?;
    let said = ask(alice, "bob", port, b"word")?;
    ensure!(said.status.success() && said.out == b"word", "{}", said.err);
    ensure!(said.err.contains("on this machine"), "{}", said.err);
    machine.tells("alice, from a socket of this machine, on this machine, is connected with")?;
    drop(machine);
    Ok(network.end()?)
}

/// Carol's binary is the one that everybody has.
fn mixed() -> Result<()> {
    let network = three()?;
    network.declare(&demo(SUM))?;
    let carol = network.party("carol");
    let mut usual = Command::new(env!("CARGO_BIN_EXE_mpyc-party"));
    let added = carol.command();
    usual.args(added.get_args()).args(["session", "run", "demo", "--json", "-vv"]);
    usual.envs(added.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let runs = vec![
        network.party("alice").run("demo")?,
        network.party("bob").run("demo")?,
        carol.run_by(usual)?,
    ];
    linked_over(&runs[0], "unix")?;
    linked_over(&runs[0], next_best()?)?;
    runs.into_iter().try_for_each(completes)?;
    Ok(network.end()?)
}

fn discovery() -> Result<()> {
    let mut network = Network::on_loopback(&["alice", "bob", "carol"])?;
    network.kill_hub();
    let mut runs = running(&network, &demo(PATIENT))?;
    for peer in peers(network.party("carol"))? {
        ensure!(peer["found_by"] == serde_json::json!(["notes"]), "{peer}");
    }
    runs.iter_mut().try_for_each(|run| run.feed("1\n"))?;
    runs.into_iter().try_for_each(completes)
}
