//! Sessions that another party starts: within their limits, and no further.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result, ensure};
use mpyc_party_lab::party::{Network, Session};

use crate::common::{LIMIT, SUM, completes, demo, three};
use crate::machine::{Machine, free_port, head};

/// A session that bob's agent may start.
fn proposed(program: &str, max_runs: u32, interval: &str) -> Session {
    let session = demo(program).set("start", "\"on-proposal\"");
    let interval = format!("{interval:?}");
    session.set("max-runs", &max_runs.to_string()).set("interval", &interval)
}

/// Three parties with this session; bob has an agent.
fn with(session: &Session) -> Result<(Network, Machine)> {
    let (network, port) = (three()?, free_port()?);
    network.party("bob").configure(&head(port, ""))?;
    network.declare(session)?;
    let machine = Machine::start(network.party("bob"))?.ready()?;
    Ok((network, machine))
}

/// Alice and carol run the session; bob's agent is left to itself.
fn propose(network: &Network) -> Result<Vec<mpyc_party_lab::party::Run>> {
    Ok(vec![network.party("alice").run("demo")?, network.party("carol").run("demo")?])
}

/// Moves the date of the last run, as a clock does that was set between then and now by so many days.
fn set_clock(network: &Network, days: i64) -> Result<()> {
    let path = network.party("bob").state().join("tallies/demo.json");
    let mut counter: serde_json::Value = serde_json::from_slice(&fs::read(&path)?)?;
    let last = counter["last"].as_i64().context("no date")?;
    counter["last"] = (last - days * 86_400).into();
    Ok(fs::write(path, counter.to_string())?)
}

fn tally(network: &Network) -> Result<String> {
    Ok(fs::read_to_string(network.party("bob").state().join("tallies/demo.json"))?)
}

#[test]
fn a_proposed_session_runs_as_often_as_it_may_and_restarts_do_not_help() -> Result<()> {
    let (network, machine) = with(&proposed(SUM, 1, "1s"))?;
    propose(&network)?.into_iter().try_for_each(completes)?;
    machine.tells("session demo: completed")?;
    ensure!(network.party("bob").record()["verdict"] == "completed");
    ensure!(tally(&network)?.contains("\"runs\":1"), "{}", tally(&network)?);
    machine.kill()?;
    let machine = Machine::start(network.party("bob"))?.ready()?;
    let runs = propose(&network)?;
    machine.tells("waits for somebody to approve: it has run as often as it may by itself")?;
    ensure!(network.party("bob").runs().len() == 1, "it ran once more");
    drop((runs, machine));
    Ok(network.end()?)
}

#[test]
fn a_run_that_fails_counts_like_any_other() -> Result<()> {
    let failing = format!("{SUM}raise SystemExit(3)\n");
    let (network, machine) = with(&proposed(&failing, 1, "1s"))?;
    for mut run in propose(&network)? {
        ensure!(!run.verdict(LIMIT)?.completed());
        run.exit(LIMIT)?;
    }
    machine.tells("session demo: failed")?;
    let runs = propose(&network)?;
    machine.tells("it has run as often as it may by itself")?;
    ensure!(network.party("bob").runs().len() == 1, "it ran once more");
    drop((runs, machine));
    Ok(network.end()?)
}

#[test]
fn between_two_runs_lies_the_interval_whatever_is_restarted() -> Result<()> {
    let (network, machine) = with(&proposed(SUM, 2, "1h"))?;
    propose(&network)?.into_iter().try_for_each(completes)?;
    machine.tells("session demo: completed")?;
    machine.kill()?;
    let machine = Machine::start(network.party("bob"))?.ready()?;
    let runs = propose(&network)?;
    machine.tells("proposes session demo, which does not start again before 3")?;
    ensure!(network.party("bob").runs().len() == 1, "it ran once more");
    drop((runs, machine));
    Ok(network.end()?)
}

#[test]
fn a_clock_that_is_set_neither_shortens_the_interval_nor_prolongs_it() -> Result<()> {
    for (days, interval) in [(10, "1h"), (-10, "5s")] {
        let (network, machine) = with(&proposed(SUM, 2, interval))?;
        propose(&network)?.into_iter().try_for_each(completes)?;
        machine.tells("session demo: completed")?;
        set_clock(&network, days)?;
        let runs = propose(&network)?;
        if interval == "1h" {
            machine.tells("proposes session demo, which does not start again before 3")?;
            ensure!(network.party("bob").runs().len() == 1, "it ran once more");
            drop(runs);
        } else {
            runs.into_iter().try_for_each(completes)?;
            ensure!(tally(&network)?.contains("\"runs\":2"), "{}", tally(&network)?);
        }
        drop(machine);
        network.end()?;
    }
    Ok(())
}

#[test]
fn what_others_can_change_does_not_start_by_itself() -> Result<()> {
    for (name, mode) in [("programs", 0o757), ("config.toml", 0o646), ("programs", 0o755)] {
        let (network, machine) = with(&proposed(SUM, 1, "1s"))?;
        let bob = network.party("bob");
        let path = bob.directory().join(name);
        fs::set_permissions(&path, Permissions::from_mode(mode))?;
        if mode & 0o002 == 0 {
            propose(&network)?.into_iter().try_for_each(completes)?;
        } else {
            let runs = propose(&network)?;
            machine.tells(&format!("everybody may write to {}", path.display()))?;
            ensure!(bob.runs().is_empty(), "it ran");
            drop(runs);
        }
        drop(machine);
        network.end()?;
    }
    Ok(())
}

#[test]
fn a_damaged_tally_is_no_fresh_start() -> Result<()> {
    let session = proposed(SUM, 1, "1s");
    let (network, machine) = with(&session)?;
    machine.kill()?;
    let tallies = network.party("bob").state().join("tallies");
    fs::create_dir_all(&tallies)?;
    fs::write(tallies.join("demo.json"), "{")?;
    let machine = Machine::start(network.party("bob"))?.ready()?;
    let runs = propose(&network)?;
    machine.tells("it has run as often as it may by itself")?;
    ensure!(network.party("bob").runs().is_empty(), "it ran");
    let said = machine.said();
    let told = said.matches("how often session demo has run is not known").count();
    ensure!(told == 1, "told {told} times:\n{said}");
    drop((runs, machine));
    Ok(network.end()?)
}

#[test]
fn without_a_hub_a_knock_at_the_port_is_a_proposal() -> Result<()> {
    let mut network = three()?;
    let ports = [free_port()?, free_port()?, free_port()?];
    let known = |skip: &str| {
        let peers = crate::common::NAMES.iter().zip(ports).filter(|(name, _)| **name != skip);
        let peer = |(name, port)| format!("[peers.{name}]\naddress = \"127.0.0.1:{port}\"\n");
        peers.map(peer).collect::<String>()
    };
    for (party, port) in network.parties().iter().zip(ports) {
        party.configure(&(head(port, "") + &known(party.name())))?;
    }
    network.declare(&proposed(SUM, 1, "1s"))?;
    network.kill_hub();
    let machine = Machine::start(network.party("bob"))?;
    machine.tells("this is bob")?;
    propose(&network)?.into_iter().try_for_each(completes)?;
    machine.tells("session demo: completed")?;
    drop(machine);
    Ok(network.end()?)
}
