//! `doctor` in networks that keep something out: it tells which, and what still works.

mod common;

use std::net::{IpAddr, SocketAddr};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use common::{LIMIT, NAMES, SUM, demo};
use mpyc_party_lab::party::{Network, Party};
use mpyc_party_lab::topology::RouterPlace;
use mpyc_party_lab::{Firewall, Nat, Topology, hosts_for_tests};
use serde_json::Value;

/// What `make` makes; none where the one who tests says that there cannot be hosts.
fn with_hosts(make: impl FnOnce() -> Result<Network>) -> Result<Option<Network>> {
    if hosts_for_tests()? { make().map(Some) } else { Ok(None) }
}

/// A hub, and alice behind a router of this kind.
fn behind(nat: Nat, firewall: Firewall) -> Result<Option<Network>> {
    let place = RouterPlace { nat, firewall, ..RouterPlace::default() };
    let topology = Topology::default().public("hub").public("second").behind("alice", place);
    with_hosts(|| Ok(Network::in_topology(&topology, &["alice"])?))
}

/// What the doctor finds at `party`, a line «check: state: text remedy» each.
fn finds(party: &Party) -> Result<String> {
    let output = party.command().args(["doctor", "--wait", "2s", "--json"]).output()?;
    let answer: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    let line = |f: &Value| ["check", "state", "text", "remedy"].map(|key| text(f, key)).join(": ");
    let findings = answer["findings"].as_array().context("no findings")?;
    Ok(findings.iter().map(line).collect::<Vec<_>>().join("\n"))
}

fn says(findings: &str, expected: &[&str]) -> Result<()> {
    for text in expected {
        ensure!(findings.contains(text), "no «{text}»:\n{findings}");
    }
    Ok(())
}

#[test]
fn udp_that_is_blocked_is_told_from_a_hub_that_is_down() -> Result<()> {
    let Some(network) = behind(Nat::Easy, Firewall::UdpBlocked)? else { return Ok(()) };
    let findings = finds(network.party("alice"))?;
    let expected = ["hub over TCP: good", "hub over UDP: doubtful", "UDP seems to be blocked"];
    says(&findings, &expected)?;
    Ok(network.end()?)
}

/// Starts a second hub at the host that is there for it, and tells alice of both.
fn second_hub(network: &Network) -> Result<(Party, Child)> {
    let second = network.newcomer("second")?;
    let token = network.token(&["--for-hub", "2"])?;
    let enrolled = second.enroll(&token)?;
    ensure!(enrolled.status.success(), "{}", String::from_utf8_lossy(&enrolled.stderr));
    let host = second.host().context("no host")?;
    let mut hub = second.command();
    let hub = hub.args(["hub", "--listen", "[::]:443"]).stderr(Stdio::null()).spawn()?;
    host.wait_for(443, LIMIT)?;
    let hubs =
        format!("network.hubs = [\"{}\", \"{}\"]\n", network.hub_address(), host.socket(443));
    let python = std::env::var("MPYC_PARTY_TEST_PYTHON");
    let python =
        python.map(|path| format!("[python]\ninterpreter = {path:?}\n")).unwrap_or_default();
    network.party("alice").configure(&format!("{hubs}{python}"))?;
    Ok((second, hub))
}

#[test]
fn one_hub_cannot_tell_the_kind_of_a_nat_and_two_can() -> Result<()> {
    for (nat, port, expected) in [
        (Nat::Easy, "it keeps this machine's port", "NAT: good: all hubs see the same address"),
        (
            Nat::Symmetric,
            "it changes this machine's port",
            "NAT: doubtful: every hub sees another address (symmetric NAT)",
        ),
    ] {
        let Some(network) = behind(nat, Firewall::Open)? else { return Ok(()) };
        let findings = finds(network.party("alice"))?;
        says(&findings, &["hub over UDP: good", "cannot be told with one hub", port])?;
        let (_host, mut hub) = second_hub(&network)?;
        let findings = finds(network.party("alice"));
        hub.kill()?;
        hub.wait()?;
        says(&findings?, &[expected])?;
        network.end()?;
    }
    Ok(())
}

#[test]
fn a_party_that_is_there_and_cannot_be_reached_is_told_from_one_that_is_not() -> Result<()> {
    let network = with_hosts(|| Ok(Network::on_hosts(&NAMES)?))?;
    let Some(network) = network else { return Ok(()) };
    network.declare(&demo(SUM))?;
    let bob = network.party("bob").run("demo")?;
    bob.wait_for("waiting", LIMIT)?;
    let hosts = [network.party("alice").host(), network.party("bob").host()];
    let ([Some(alice), Some(at)], Some(lab)) = (hosts, network.lab()) else { return Ok(()) };
    lab.cut(alice, at)?;
    let findings = finds(network.party("alice"))?;
    says(&findings, &["party: good: bob (demo) answers", "relayed by", "not there (demo): carol"])?;
    let python = std::env::var("MPYC_PARTY_TEST_PYTHON");
    let python =
        python.map(|path| format!("[python]\ninterpreter = {path:?}\n")).unwrap_or_default();
    let nobody = alice.socket(9);
    let known = format!("{python}[peers.carol]\naddress = \"{nobody}\"\n");
    network.party("alice").configure(&format!("network.local-discovery = false\n{known}"))?;
    let findings = finds(network.party("alice"))?;
    let there = format!("party: doubtful: carol (demo): it should be at tcp {nobody}, but: ");
    says(&findings, &[&there, "look at the firewall on its side"])?;
    drop(bob);
    Ok(network.end()?)
}

/// `command` of a party that is told by its resolver that a hub is at these addresses.
fn resolving(party: &Party, addresses: &[IpAddr], command: &Command) -> Result<Command> {
    let hosts = party.directory().join("hosts");
    let lines: Vec<String> = addresses.iter().map(|ip| format!("{ip} hub.example\n")).collect();
    std::fs::write(&hosts, lines.concat())?;
    let mut wrapped = party.host().context("a host")?.command("unshare");
    if !rustix::process::geteuid().is_root() {
        wrapped.arg("--map-root-user");
    }
    let script = "mount --bind \"$1\" /etc/hosts; shift; exec \"$@\"";
    wrapped.args(["--mount", "sh", "-ec", script, "sh"]).arg(hosts);
    wrapped.arg(command.get_program()).args(command.get_args());
    wrapped.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Ok(wrapped)
}

#[test]
fn a_hub_of_which_one_address_is_dead_is_used_at_the_other() -> Result<()> {
    let topology = Topology::default().public("hub").public("silent");
    let topology = NAMES.iter().fold(topology, |all, name| all.public(name));
    let network = with_hosts(|| Ok(Network::in_topology(&topology, &NAMES)?))?;
    let Some(network) = network else { return Ok(()) };
    let hub = network.hub_host().context("a host")?;
    // What goes to those is dropped silently.
    let silent = network.newcomer("silent")?;
    let silent = silent.host().context("a host")?;
    silent.silence(true)?;
    let dead = [IpAddr::from(silent.ip()), IpAddr::from(silent.ipv6())];
    let alice = network.party("alice");
    let python = std::env::var("MPYC_PARTY_TEST_PYTHON");
    let python =
        python.map(|path| format!("[python]\ninterpreter = {path:?}\n")).unwrap_or_default();
    alice.configure(&format!("[network]\nhubs = [\"hub.example:443\"]\nlocal-discovery = false\n[listen]\nport = 443\n{python}"))?;
    network.declare(&demo(SUM))?;
    for alive in [IpAddr::from(hub.ip()), IpAddr::from(hub.ipv6())] {
        let addresses: Vec<IpAddr> =
            dead.into_iter().filter(|ip| ip.is_ipv4() != alive.is_ipv4()).chain([alive]).collect();
        let mut doctor = alice.command();
        doctor.args(["doctor", "--wait", "1s", "--json"]);
        let output = resolving(alice, &addresses, &doctor)?.output()?;
        let answer: Value = serde_json::from_slice(&output.stdout)
            .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
        for check in ["hub over TCP", "hub over UDP"] {
            let findings = answer["findings"].as_array().into_iter().flatten();
            let found = findings.clone().find(|finding| finding["check"] == check);
            let text = found.and_then(|found| found["text"].as_str()).context(check)?;
            let at = SocketAddr::new(alive, 443);
            ensure!(text.contains(&format!("answers at {at} in ")), "{text}");
            let took = text.split(" in ").nth(1).and_then(|rest| rest.split(' ').next());
            // One after the other it would be the five seconds that the dead one is given.
            ensure!(took.context("no time")?.parse::<u64>()? < 4000, "{text}");
        }
        let mut run = alice.command();
        run.args(["session", "run", "demo", "--json", "-vv"]);
        let run = alice.run_by(resolving(alice, &addresses, &run)?)?;
        let others = ["bob", "carol"].map(|name| network.party(name).run("demo"));
        let others = others.into_iter().collect::<Result<Vec<_>, _>>()?;
        others.into_iter().chain([run]).try_for_each(common::completes)?;
    }
    Ok(network.end()?)
}
