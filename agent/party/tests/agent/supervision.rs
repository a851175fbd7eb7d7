//! Supervision: a part of a daemon that fails is missed at once, and runs go on meanwhile.
//!
//! The faults are injected into the real binary, see `transport/src/task/fault.rs`.
#![cfg(debug_assertions)]

use std::fs;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use mpyc_party_lab::party::Run;
use rustix::process::Signal;

use crate::bus::Bus;
use crate::common::{BOUND, LIMIT, PATIENT, completes, demo, running, three};
use crate::machine::{Machine, at, free_port, head};
use crate::port::registration_socket;
use crate::service::metrics;

/// Within this time a failure is noticed; a process that is loaded may take longer now and then.
const NOTICE: Duration = Duration::from_secs(1);

/// Lets the task `name` of a daemon break down like this, as soon as it is told to.
fn fault(command: &mut Command, kind: &str, name: &str) {
    command.env("MPYC_PARTY_FAULT", format!("{kind} {name}"));
}

/// Lets the injected fault happen: the daemon says so and ends. How long that took.
fn breaks_down(machine: &mut Machine, said: &str) -> Result<Duration> {
    let (before, begun) = (machine.now(), Instant::now());
    machine.signal(Signal::USR1)?;
    machine.tells_after(before, said)?;
    let (status, took) = (machine.wait()?, begun.elapsed());
    ensure!(status.code() == Some(1) && took < BOUND, "{status} after {took:?}");
    Ok(took)
}

#[test]
fn each_part_of_the_agent_that_fails_is_missed_and_no_run_is_disturbed() -> Result<()> {
    let (bus, network, port, metrics) = (Bus::start()?, three()?, free_port()?, free_port()?);
    let bob = network.party("bob");
    let more = format!("bus = \"system\"\nmetrics = \"127.0.0.1:{metrics}\"");
    bob.configure(&head(port, &more))?;
    // These sockets outlive the agent, as systemd's do.
    let (listener, registration) =
        (TcpListener::bind(at(port))?, registration_socket(&bob.state().join("run"))?);
    let start = |kind: &str, task: &str| {
        let machine = Machine::start_on_with(bob, (&listener, &registration), |command| {
            fault(command.env("DBUS_SYSTEM_BUS_ADDRESS", &bus.address), kind, task);
        })?;
        machine.ready()
    };
    let machine = start("none", "")?;
    let mut runs = running(&network, &demo(PATIENT))?;
    machine.kill()?;
    let mut took = Vec::new();
    for task in [
        "D-Bus",
        "metrics",
        "acceptor",
        "runner registry",
        "certificate renewal",
        "hub watcher",
        "hub watcher of session demo",
        // The watchers cannot do without it, and name it before they end.
        &format!("presence at hub {}", network.hub_address()),
    ] {
        let mut machine = start("panic", task)?;
        machine.tells("the runner of session demo is here")?;
        took.push(breaks_down(&mut machine, &format!("the task «{task}» panicked: injected"))?);
        machine.tells("notify: STATUS=the agent ends: the task «")?;
    }
    // One that only returns is missed just as much.
    let mut machine = start("end", "acceptor")?;
    took.push(breaks_down(&mut machine, "the task «acceptor» has ended")?);
    took.sort();
    ensure!(took[took.len() / 2] < NOTICE, "{took:?}");
    let machine = start("none", "")?;
    machine.tells("the runner of session demo is here")?;
    runs.iter_mut().try_for_each(|run: &mut Run| run.feed("1\n"))?;
    runs.into_iter().try_for_each(completes)?;
    machine.tells("session demo: completed")?;
    drop(machine);
    Ok(network.end()?)
}

#[test]
fn a_part_that_hangs_starves_the_watchdog() -> Result<()> {
    let network = three()?;
    let bob = network.party("bob");
    bob.configure(&head(0, ""))?;
    for task in ["acceptor", "runner registry", "hub watcher", "certificate renewal"] {
        let machine = Machine::start_with(bob, |command| {
            fault(command.arg("agent").env("WATCHDOG_USEC", "2000000"), "hang", task);
        })?
        .ready()?;
        machine.tells("notify: WATCHDOG=1")?;
        machine.signal(Signal::USR1)?;
        let told = machine.tells(&format!("the watchdog is not fed: the task «{task}»"))?;
        // Here systemd would end it: WATCHDOG_USEC after it was fed for the last time.
        std::thread::sleep(Duration::from_secs(1));
        let fed = machine.said().lines().skip(told).any(|line| line == "notify: WATCHDOG=1");
        ensure!(!fed, "{task}: {}", machine.said());
    }
    Ok(network.end()?)
}

#[test]
fn a_connection_whose_task_fails_ends_alone_and_is_counted() -> Result<()> {
    let (network, port, served) = (three()?, free_port()?, free_port()?);
    let bob = network.party("bob");
    bob.configure(&head(port, &format!("metrics = \"127.0.0.1:{served}\"")))?;
    network.declare(&demo(crate::common::SUM))?;
    let machine = Machine::start_with(bob, |command| {
        fault(command.args(["agent", "-vv"]), "panic", "a connection at the public port");
    })?
    .ready()?;
    let mut stranger = TcpStream::connect(at(port))?;
    stranger.set_read_timeout(Some(LIMIT))?;
    // It says nothing, and so its task is there for a while; how soon, nobody can see.
    std::thread::sleep(Duration::from_millis(500));
    machine.signal(Signal::USR1)?;
    machine.tells("the task of a connection at the public port panicked, and that ended")?;
    ensure!(stranger.read(&mut [0])? == 0, "the connection is still there");
    let text = metrics(TcpStream::connect(at(served))?)?;
    ensure!(text.lines().any(|line| line == "mpyc_party_task_panics_total 1"), "{text}");
    network.run("demo")?.into_iter().try_for_each(completes)?;
    machine.tells("session demo: completed")?;
    drop(machine);
    Ok(network.end()?)
}

#[test]
fn a_start_whose_task_fails_is_one_that_failed() -> Result<()> {
    let (network, port) = (three()?, free_port()?);
    let bob = network.party("bob");
    // It makes the runner wait, which has not registered then.
    let (python, go_on) = (bob.directory().join("python"), bob.directory().join("go-on"));
    fs::write(&python, format!("#!/bin/sh\nuntil [ -e {go_on:?} ]; do sleep 0.1; done; exit 1\n"))?;
    fs::set_permissions(&python, fs::Permissions::from_mode(0o700))?;
    bob.configure(&format!(
        "network.local-discovery = false\nlisten.port = {port}\nagent.bus = \"none\"\npython.interpreter = {python:?}\n"
    ))?;
    network.declare(&demo(PATIENT).set("start", "\"on-proposal\""))?;
    let machine = Machine::start_with(bob, |command| {
        fault(command.args(["agent", "-vv"]), "panic", "a start of a session");
    })?
    .ready()?;
    let mut runs = [network.party("alice").run("demo")?, network.party("carol").run("demo")?];
    machine.tells("sessions: demo starting")?;
    machine.signal(Signal::USR1)?;
    machine.tells("session demo was not run: the task that started it panicked")?;
    // Its runner is at work still, and is no second time started.
    std::thread::sleep(Duration::from_secs(6));
    ensure!(bob.runs().len() == 1, "it is started twice");
    fs::write(&go_on, "")?;
    let begun = Instant::now();
    while bob.record()["ended"].is_null() {
        ensure!(begun.elapsed() < LIMIT, "its runner does not end: {}", machine.said());
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(machine);
    for run in &mut runs {
        run.runner()?.signal(Signal::TERM)?;
        run.exit(LIMIT)?;
    }
    Ok(network.end()?)
}

#[test]
fn a_hub_without_one_of_its_parts_ends() -> Result<()> {
    let network = three()?;
    let hub = network.newcomer("second")?;
    let enrolled = hub.enroll(&network.token(&["--for-hub", "2"])?)?;
    ensure!(enrolled.status.success(), "{}", String::from_utf8_lossy(&enrolled.stderr));
    for task in ["relay scheduler", "load monitor", "revocation watcher", "certificate renewal"] {
        let mut machine = Machine::start_with(&hub, |command| {
            let hub = command.args(["hub", "--listen", "127.0.0.1:0"]);
            fault(hub.env("WATCHDOG_USEC", "2000000"), "panic", task);
        })?
        .ready()?;
        machine.tells("notify: WATCHDOG=1")?;
        breaks_down(&mut machine, &format!("the task «{task}» panicked: injected"))?;
    }
    Ok(network.end()?)
}

#[test]
fn what_exposes_ports_ends_without_one_of_its_parts_and_registers_anew() -> Result<()> {
    let (network, port) = (three()?, free_port()?);
    let bob = network.party("bob");
    let exposed = format!("[expose.echo]\nport = {}\nparties = [\"alice\"]\n", free_port()?);
    bob.configure(&(head(port, "") + &exposed))?;
    let agent = Machine::start(bob)?.ready()?;
    for task in ["registration", "certificate renewal"] {
        let mut machine = Machine::start_with(bob, |command| {
            fault(command.args(["expose", "-vv"]), "panic", task);
        })?
        .ready()?;
        breaks_down(&mut machine, &format!("the task «{task}» panicked: injected"))?;
    }
    drop(agent);
    Ok(network.end()?)
}
