//! Who gets to which port, on one machine.

use std::time::Instant;

use anyhow::{Result, ensure};
use mpyc_party_lab::party::Network;
use rustix::fs::{CWD, FileType, Mode};
use rustix::process::Signal;

use crate::machine::{Machine, free_port};
use crate::service::{ask, connect, echo, end, expose, exposing, member, opened};

/// Far more than all buffers on the way hold.
const MUCH: usize = 20 << 20;

#[test]
fn a_group_gets_what_is_exposed_to_it_and_a_party_what_to_that() -> Result<()> {
    let mut network = Network::on_loopback(&["bob", "alice"])?;
    member(&mut network, "operator", "admins")?;
    let port = echo()?;
    let bob = network.party("bob");
    bob.configure(&exposing(port, "groups = [\"admins\"]\nparties = [\"alice\"]"))?;
    let machine = expose(bob)?;
    let much: Vec<u8> = (0..251).cycle().take(MUCH).collect();
    let said = ask(network.party("operator"), "bob", port, &much)?;
    ensure!(said.status.success() && said.out == much, "{}: {}", said.status, said.err);
    ensure!(said.err.contains("direct"), "{}", said.err);
    let said = ask(network.party("alice"), "bob", port, b"word")?;
    ensure!(said.status.success() && said.out == b"word", "{}", said.err);
    machine.tells("operator disconnected from echo after")?;
    machine.tells(&format!("{MUCH} bytes in, {MUCH} out; both have ended"))?;
    machine.tells("alice, from ")?;
    drop(machine);
    Ok(network.end()?)
}

#[test]
fn who_is_not_allowed_gets_nowhere() -> Result<()> {
    let mut network = Network::on_loopback(&["bob"])?;
    member(&mut network, "eve", "lab")?;
    let (port, public) = (echo()?, free_port()?);
    let exposing = exposing(port, "groups = [\"admins\"]");
    let bob = network.party("bob");
    bob.configure(&exposing.replace("listen.port = 0", &format!("listen.port = {public}")))?;
    let machine = expose(bob)?;
    let eve = network.party("eve");
    let said = ask(eve, "bob", port, b"word")?;
    ensure!(said.status.code() == Some(1) && said.out.is_empty(), "{}", said.err);
    ensure!(said.err.contains("no hub says where it is. It exposes nothing"), "{}", said.err);
    // She knows where it is.
    let quiet = "network.local-discovery = false\n";
    eve.configure(&format!("{quiet}[peers.bob]\naddress = \"127.0.0.1:{public}\"\n"))?;
    let said = ask(eve, "bob", port, b"word")?;
    ensure!(said.status.code() == Some(1) && said.out.is_empty(), "{}", said.err);
    ensure!(said.err.contains("does not expect this member there"), "{}", said.err);
    machine.tells("! a connection is refused: ")?;
    machine.tells("eve, expected a party to whom something is exposed")?;
    ensure!(!machine.said().contains("is connected with"), "{}", machine.said());
    drop(machine);
    Ok(network.end()?)
}

#[test]
fn a_port_that_is_not_exposed_is_not_told_from_one_that_is_for_others() -> Result<()> {
    let network = Network::on_loopback(&["bob", "alice", "carol"])?;
    let (port, other, nobody) = (echo()?, echo()?, free_port()?);
    let exposing = exposing(port, "parties = [\"alice\"]");
    let more = format!("[expose.other]\nport = {other}\nparties = [\"carol\"]\n");
    let gone = format!("[expose.gone]\nport = {nobody}\nparties = [\"alice\"]\n");
    let bob = network.party("bob");
    bob.configure(&[exposing, more, gone].concat())?;
    let machine = expose(bob)?;
    let alice = network.party("alice");
    for (wanted, text) in [
        (other, "it exposes no such port to this party".to_owned()),
        (1, "it exposes no such port to this party".to_owned()),
        (nobody, format!("nothing answers at 127.0.0.1:{nobody} there")),
    ] {
        let said = ask(alice, "bob", wanted, b"word")?;
        ensure!(said.status.code() == Some(1) && said.out.is_empty(), "{}", said.err);
        ensure!(said.err.contains(&text), "{}", said.err);
    }
    machine.tells("alice, from ")?;
    let said = ask(alice, "alice", port, b"")?;
    ensure!(said.err.contains("this party itself"), "{}", said.err);
    let wrong = connect(alice, &["bob", "0"]).output()?;
    ensure!(wrong.status.code() == Some(2));
    drop(machine);
    Ok(network.end()?)
}

#[test]
fn a_configuration_that_cannot_be_read_any_more_holds_nobody_up() -> Result<()> {
    let network = Network::on_loopback(&["bob", "alice"])?;
    let (port, bob) = (echo()?, network.party("bob"));
    bob.configure(&exposing(port, "parties = [\"alice\"]"))?;
    let machine = expose(bob)?;
    std::fs::remove_file(bob.config())?;
    rustix::fs::mknodat(CWD, bob.config(), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
    machine.signal(Signal::HUP)?;
    machine.tells("notify: RELOADING=1")?;
    let said = ask(network.party("alice"), "bob", port, b"word")?;
    ensure!(said.status.success() && said.out == b"word", "{}", said.err);
    drop(machine);
    Ok(network.end()?)
}

#[test]
fn nothing_is_exposed_without_configuration() -> Result<()> {
    let network = Network::on_loopback(&["bob", "alice"])?;
    let bob = network.party("bob");
    let refused = bob.command().arg("expose").output()?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(refused.status.code() == Some(2) && said.contains("nothing is exposed"), "{said}");
    let said = ask(network.party("alice"), "bob", 22, b"")?;
    ensure!(said.err.contains("no hub says where it is"), "{}", said.err);
    Ok(network.end()?)
}

#[test]
fn the_key_that_is_pinned_counts_at_both_ends() -> Result<()> {
    let network = Network::on_loopback(&["bob", "alice"])?;
    let (port, bob, alice) = (echo()?, network.party("bob"), network.party("alice"));
    let other = "key = \"ed25519:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"\n";
    let exposing = exposing(port, "parties = [\"alice\"]");
    bob.configure(&format!("{exposing}[peers.alice]\n{other}"))?;
    let machine = expose(bob)?;
    let said = ask(alice, "bob", port, b"word")?;
    ensure!(!said.status.success() && said.err.contains("pins another key"), "{}", said.err);
    drop(machine);
    bob.configure(&exposing)?;
    let machine = expose(bob)?;
    alice.configure(&format!("network.local-discovery = false\n[peers.bob]\n{other}"))?;
    let said = ask(alice, "bob", port, b"word")?;
    ensure!(!said.status.success() && said.err.contains("is pinned here"), "{}", said.err);
    drop(machine);
    Ok(network.end()?)
}

#[test]
fn a_killed_target_ends_the_connection_with_an_error() -> Result<()> {
    let network = Network::on_loopback(&["bob", "alice"])?;
    let (port, bob) = (echo()?, network.party("bob"));
    bob.configure(&exposing(port, "parties = [\"alice\"]"))?;
    let machine = expose(bob)?;
    let child = opened(network.party("alice"), "bob", port)?;
    machine.kill()?;
    let begun = Instant::now();
    let (status, said) = end(child)?;
    ensure!(status.code() == Some(1) && said.contains("with bob has ended"), "{status}: {said}");
    // Over QUIC, silence has to tell.
    ensure!(begun.elapsed().as_secs() < 20, "only after {:?}", begun.elapsed());
    Ok(network.end()?)
}

#[test]
fn what_is_exposed_no_longer_ends_and_the_rest_goes_on() -> Result<()> {
    let network = Network::on_loopback(&["bob", "alice", "carol"])?;
    let (port, bob) = (echo()?, network.party("bob"));
    bob.configure(&exposing(port, "parties = [\"alice\", \"carol\"]"))?;
    let mut machine = expose(bob)?;
    let [alice, mut carol] = [
        opened(network.party("alice"), "bob", port)?,
        opened(network.party("carol"), "bob", port)?,
    ];
    // A configuration with a mistake changes nothing.
    bob.configure("expose = 1\n")?;
    machine.signal(Signal::HUP)?;
    machine.tells("the old configuration stays")?;
    bob.configure(&exposing(port, "parties = [\"carol\"]"))?;
    machine.signal(Signal::HUP)?;
    machine.tells("alice disconnected from echo")?;
    let (status, _) = end(alice)?;
    ensure!(status.code() == Some(1), "{status}");
    drop(carol.stdin.take());
    let (status, said) = end(carol)?;
    ensure!(status.success(), "{said}");
    machine.tells("notify: RELOADING=1")?;
    machine.signal(Signal::TERM)?;
    ensure!(machine.wait()?.success());
    Ok(network.end()?)
}

#[test]
fn the_agents_port_serves_for_it_as_well() -> Result<()> {
    let network = Network::on_loopback(&["bob", "alice"])?;
    let (port, public, bob) = (echo()?, free_port()?, network.party("bob"));
    let exposing = exposing(port, "parties = [\"alice\"]");
    let exposing = exposing.replace("listen.port = 0", &format!("listen.port = {public}"));
    bob.configure(&format!("{exposing}[agent]\nbus = \"none\"\n"))?;
    let agent = Machine::start(bob)?.ready()?;
    let machine = Machine::start_with(bob, |command| {
        command.args(["expose", "-vv"]);
    })?;
    machine.tells("sees this party at")?;
    let said = ask(network.party("alice"), "bob", port, b"word")?;
    ensure!(said.status.success() && said.out == b"word", "{}", said.err);
    agent.tells("a connection goes to the process that exposes ports")?;
    // The agent is not in the way of what is connected, and is found again.
    let mut child = opened(network.party("alice"), "bob", port)?;
    agent.kill()?;
    let agent = Machine::start(bob)?.ready()?;
    machine.tells("registered with the agent again")?;
    drop(child.stdin.take());
    let (status, said) = end(child)?;
    ensure!(status.success(), "{said}");
    let said = ask(network.party("alice"), "bob", port, b"word")?;
    ensure!(said.status.success(), "{}", said.err);
    drop((agent, machine));
    Ok(network.end()?)
}
