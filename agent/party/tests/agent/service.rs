//! The agent as a service: readiness, watchdog, reload, end, metrics.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};

use anyhow::{Result, ensure};
use mpyc_party_lab::party::Session;
use rustix::process::Signal;

use crate::common::{NAMES, SUM, completes, demo, three};
use crate::machine::{Machine, at, free_port, head};

#[test]
fn it_is_ready_only_when_a_hub_knows_it() -> Result<()> {
    let mut network = three()?;
    network.party("bob").configure(&head(0, ""))?;
    network.kill_hub();
    let machine = Machine::start(network.party("bob"))?;
    machine.tells(&format!("hub {}: ", network.hub_address()))?;
    machine.tells("hubs reached: 0 of 1")?;
    machine.signal(Signal::HUP)?;
    machine.tells("the configuration was read again")?;
    let before = machine.now();
    machine.signal(Signal::HUP)?;
    machine.tells_after(before, "the configuration was read again")?;
    ensure!(!machine.said().contains("READY=1"), "{}", machine.said());
    network.start_hub()?;
    machine.tells("notify: READY=1")?;
    drop(machine);
    Ok(network.end()?)
}

#[test]
fn it_feeds_the_watchdog_and_says_when_it_ends() -> Result<()> {
    let network = three()?;
    network.party("bob").configure(&head(0, ""))?;
    let mut machine = Machine::start_with(network.party("bob"), |command| {
        command.arg("agent").env("WATCHDOG_USEC", "200000");
    })?
    .ready()?;
    let first = machine.tells("notify: WATCHDOG=1")?;
    machine.tells_after(first + 1, "notify: WATCHDOG=1")?;
    machine.signal(Signal::TERM)?;
    machine.tells("notify: STOPPING=1")?;
    ensure!(machine.wait()?.success());
    Ok(network.end()?)
}

#[test]
fn one_bad_session_is_logged_and_the_others_go_on() -> Result<()> {
    let (network, port) = (three()?, free_port()?);
    let bob = network.party("bob");
    let head = head(port, "");
    bob.configure(&format!("{head}[sessions.bad]\nprogram = 3\n"))?;
    network.declare(&demo(SUM).set("start", "\"on-proposal\""))?;
    let machine = Machine::start(bob)?.ready()?;
    machine.tells("session bad is left out: [sessions.bad] in ")?;
    let before = machine.now();
    machine.signal(Signal::HUP)?;
    machine.tells_after(before, "session bad is left out: [sessions.bad] in ")?;
    machine.tells_after(before, "the configuration was read again")?;
    let runs = [network.party("alice").run("demo")?, network.party("carol").run("demo")?];
    runs.into_iter().try_for_each(completes)?;
    machine.tells("session demo: completed")?;
    drop(machine);
    Ok(network.end()?)
}

#[test]
fn a_bad_configuration_changes_nothing_and_a_good_one_is_taken_up() -> Result<()> {
    let (network, port) = (three()?, free_port()?);
    let bob = network.party("bob");
    bob.configure(&head(port, ""))?;
    let machine = Machine::start(bob)?.ready()?;
    bob.configure("[listen]\nprot = 1\n")?;
    let before = machine.now();
    machine.signal(Signal::HUP)?;
    machine.tells_after(before, "notify: RELOADING=1")?;
    machine.tells_after(before, "the old configuration stays")?;
    let ready = machine.tells_after(before, "notify: READY=1")?;
    bob.configure(&head(port, ""))?;
    network.declare(&demo(SUM).set("start", "\"on-proposal\""))?;
    machine.signal(Signal::HUP)?;
    machine.tells_after(ready + 1, "notify: READY=1")?;
    let runs = [network.party("alice").run("demo")?, network.party("carol").run("demo")?];
    runs.into_iter().try_for_each(completes)?;
    machine.tells("session demo: completed")?;
    drop(machine);
    Ok(network.end()?)
}

#[test]
fn a_second_agent_on_the_same_port_says_so_and_ends() -> Result<()> {
    let (network, port) = (three()?, free_port()?);
    for name in ["alice", "bob"] {
        network.party(name).configure(&head(port, ""))?;
    }
    let first = Machine::start(network.party("alice"))?.ready()?;
    let mut second = Machine::start(network.party("bob"))?;
    second.tells(&format!("the agent cannot listen on port {port}"))?;
    ensure!(!second.wait()?.success());
    drop(first);
    Ok(network.end()?)
}

/// What whoever is connected by `stream` answers to a request for metrics.
pub(crate) fn metrics(mut stream: impl Read + Write) -> Result<String> {
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

#[test]
fn metrics_that_cannot_be_served_keep_the_agent_from_nothing() -> Result<()> {
    let (network, taken) = (three()?, TcpListener::bind("127.0.0.1:0")?);
    let (alice, bob) = (network.party("alice"), network.party("bob"));
    let port = taken.local_addr()?.port();
    bob.configure(&head(0, &format!("metrics = \"127.0.0.1:{port}\"")))?;
    let machine = Machine::start(bob)?.ready()?;
    machine.tells(&format!("no metrics, and a reload tries again: 127.0.0.1:{port}"))?;
    machine.tells("notify: STATUS=bob in example, port")?;
    ensure!(machine.said().contains(", no metrics: 127.0.0.1"), "{}", machine.said());
    drop(taken);
    let before = machine.now();
    machine.signal(Signal::HUP)?;
    machine.tells_after(before, "metrics are served")?;
    ensure!(metrics(TcpStream::connect(at(port))?)?.ends_with("# EOF\n"));
    // What is there may be somebody's: only a socket without an owner is replaced.
    let path = alice.directory().join("metrics");
    fs::write(&path, "precious")?;
    alice.configure(&head(0, &format!("metrics = {path:?}")))?;
    let other = Machine::start(alice)?.ready()?;
    other.tells("no metrics, and a reload tries again")?;
    ensure!(fs::read(&path)? == b"precious");
    fs::remove_file(&path)?;
    drop(UnixListener::bind(&path)?);
    let before = other.now();
    other.signal(Signal::HUP)?;
    other.tells_after(before, "metrics are served")?;
    ensure!(metrics(UnixStream::connect(&path)?)?.ends_with("# EOF\n"));
    drop((machine, other));
    Ok(network.end()?)
}

#[test]
fn metrics_tell_of_runs_hubs_and_the_certificate() -> Result<()> {
    let (network, port) = (three()?, free_port()?);
    let (alice, bob) = (network.party("alice"), network.party("bob"));
    bob.configure(&head(0, &format!("metrics = \"127.0.0.1:{port}\"")))?;
    let socket = alice.directory().join("metrics.sock");
    alice.configure(&head(0, &format!("metrics = {socket:?}")))?;
    let machines = [Machine::start(alice)?.ready()?, Machine::start(bob)?.ready()?];
    network.declare(&Session::new("demo", SUM).parties(&NAMES))?;
    network.run("demo")?.into_iter().try_for_each(completes)?;
    for machine in &machines {
        machine.tells("session demo: completed")?;
    }
    let told = [metrics(UnixStream::connect(&socket)?)?, metrics(TcpStream::connect(at(port))?)?];
    for text in told {
        ensure!(text.starts_with("HTTP/1.0 200 OK\r\nContent-Type: application/openmetrics-text"));
        for line in [
            "mpyc_party_runs_total{verdict=\"completed\"} 1",
            "mpyc_party_hubs 1",
            "mpyc_party_hubs_up 1",
            "mpyc_party_sessions_running 0",
            "mpyc_party_links{path=\"tcp\"} 0",
        ] {
            ensure!(text.lines().any(|found| found == line), "no «{line}» in:\n{text}");
        }
        let expiry = text.lines().find(|l| l.starts_with("mpyc_party_certificate_expiry"));
        ensure!(expiry.is_some_and(|line| !line.ends_with(" 0")), "{text}");
        ensure!(
            text.contains("mpyc_party_sent_bytes_total") && text.ends_with("# EOF\n"),
            "{text}"
        );
    }
    drop(machines);
    Ok(network.end()?)
}
