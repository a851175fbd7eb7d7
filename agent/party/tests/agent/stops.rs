//! `systemctl stop` in the first moments: whatever is told to end does so in order, however early.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use mpyc_party_lab::party::{Network, Party};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process};

use crate::common::{LIMIT, SUM, demo, three};
use crate::machine::{Machine, head};

/// What comes of `command` of `party` where it is told to end while it still waits for its
/// configuration.
fn stopped_at_once(party: &Party, command: &mut Command) -> Result<Output> {
    let (path, text) = (party.config(), fs::read(party.config())?);
    fs::remove_file(&path)?;
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
    let piped = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = piped.spawn()?;
    // Opens when the other end does.
    let mut config = File::options().write(true).open(&path)?;
    let process = Pid::from_raw(child.id().cast_signed()).context("no such process")?;
    kill_process(process, Signal::TERM)?;
    config.write_all(&text)?;
    drop(config);
    Ok(child.wait_with_output()?)
}

/// A program that is no Python: it never answers.
fn silent_python(party: &Party) -> Result<()> {
    let path = party.directory().join("silent-python");
    fs::write(&path, "#!/bin/sh\nexec sleep 1000\n")?;
    fs::set_permissions(&path, Permissions::from_mode(0o700))?;
    Ok(party.use_python(&path)?)
}

/// The newest run of `party` is on record as stopped here, before anybody was looked for.
fn is_on_record(party: &Party) -> Result<()> {
    let record = party.record();
    let failed = &record["verdict"]["failed"];
    ensure!(failed["reason"] == "stopped" && failed["stage"] == "prepare", "{record}");
    ensure!(failed["who"][0] == party.name() && record["ended"].is_string(), "{record}");
    Ok(())
}

#[test]
fn a_runner_that_has_hardly_begun_has_a_verdict() -> Result<()> {
    let network = three()?;
    network.declare(&demo(SUM))?;
    let bob = network.party("bob");
    let ended = stopped_at_once(bob, bob.command().args(["session", "run", "demo"]))?;
    let said = String::from_utf8_lossy(&ended.stderr);
    ensure!(ended.status.code() == Some(1), "{}: {said}", ended.status);
    ensure!(said.contains("failed: bob: the session was stopped there"), "{said}");
    is_on_record(bob)?;
    Ok(network.end()?)
}

#[test]
fn a_runner_that_waits_for_its_python_has_a_verdict() -> Result<()> {
    let network = three()?;
    let bob = network.party("bob");
    silent_python(bob)?;
    network.declare(&demo(SUM))?;
    let mut run = bob.run("demo")?;
    run.wait_for("preparing", LIMIT)?;
    run.runner()?.signal(Signal::TERM)?;
    let outcome = run.verdict(LIMIT)?;
    ensure!(outcome.who() == ["bob"] && outcome.reason() == "stopped", "{}", outcome.text);
    ensure!(run.exit(LIMIT)?.code() == Some(1));
    is_on_record(bob)?;
    Ok(network.end()?)
}

#[test]
fn a_run_that_cannot_be_made_ready_is_on_record_with_why() -> Result<()> {
    let network = three()?;
    let bob = network.party("bob");
    bob.use_python("/bin/false".as_ref())?;
    network.declare(&demo(SUM))?;
    let mut run = bob.run("demo")?;
    ensure!(run.exit(LIMIT)?.code() == Some(1));
    let why = bob.record()["verdict"]["failed"]["reason"]["local"].to_string();
    ensure!(why.contains("/bin/false does not work"), "{why}");
    Ok(network.end()?)
}

#[test]
fn an_agent_and_what_exposes_ports_end_in_order_however_early() -> Result<()> {
    let network = three()?;
    let bob = network.party("bob");
    for (command, more) in
        [("agent", ""), ("expose", "[expose.ssh]\nport = 22\nparties = [\"alice\"]\n")]
    {
        fs::remove_file(bob.config())?;
        bob.configure(&(head(0, "") + more))?;
        let ended = stopped_at_once(bob, bob.command().arg(command))?;
        let said = String::from_utf8_lossy(&ended.stderr);
        ensure!(ended.status.success(), "{command}: {}: {said}", ended.status);
    }
    Ok(network.end()?)
}

#[test]
fn a_hub_ends_in_order_however_early() -> Result<()> {
    let network = Network::on_loopback(&[])?;
    let party = network.newcomer("dave")?;
    ensure!(party.command().args(["ca", "init", "--network", "other"]).status()?.success());
    let arguments = ["hub", "--listen", "127.0.0.1:0"];
    let ended = stopped_at_once(&party, party.command().args(arguments))?;
    let said = String::from_utf8_lossy(&ended.stderr);
    ensure!(ended.status.success() && said.contains("the hub has stopped"), "{said}");
    Ok(network.end()?)
}

#[test]
fn an_agent_that_waits_for_a_token_says_that_it_ends() -> Result<()> {
    let network = Network::on_loopback(&[])?;
    let party = network.newcomer("dave")?;
    party.configure(&head(0, ""))?;
    let mut machine = Machine::start(&party)?;
    machine.tells("waiting for an enrolment token")?;
    machine.signal(Signal::TERM)?;
    machine.tells("notify: STOPPING=1")?;
    ensure!(machine.wait()?.success());
    Ok(network.end()?)
}
