//! Paths on which small packets pass and larger ones vanish, while no ICMP message says so: PPPoE, a
//! VPN, a firewall that filters too much. Nothing on them is segmented by an interface.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use mpyc_party_lab::exchange::{Exchange, NAMES};
use mpyc_party_lab::party::{Network, Outcome, Party, Run, Session};
use mpyc_party_lab::topology::{HostPlace, RouterPlace};
use mpyc_party_lab::{Firewall, Topology, Wan, hosts_for_tests};
use serde_json::Value;

/// The usual grace time.
const GRACE: Duration = Duration::from_secs(30);
/// The longest time that MPyC may wait for a round.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// The bound of guarantee 4: a verdict within this time after the deadline.
const BOUND: Duration = Duration::from_secs(5);
/// Far longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(60);

/// The three and the hub in public, alice on this line.
fn direct(line: Wan) -> Topology {
    let narrow = HostPlace { link: Some(line), ..HostPlace::default() };
    Topology::default().public("hub").host("alice", narrow).public("bob").public("carol")
}

/// The same, each behind a router that lets no UDP out: all goes through the hub.
fn relayed(line: Wan) -> Topology {
    let firewall = Firewall::UdpBlocked;
    let router = |link| RouterPlace { firewall, link, ..RouterPlace::default() };
    let topology = Topology::default().public("hub").behind("alice", router(Some(line)));
    topology.behind("bob", router(None)).behind("carol", router(None))
}

/// The three enrol, and exchange messages of all sizes.
fn completes(topology: &Topology) -> Result<()> {
    if !hosts_for_tests()? {
        return Ok(());
    }
    let exchange = Exchange::start(topology, GRACE)?;
    exchange.moves()?;
    waits_for_no_round(exchange)
}

/// All complete, and no round took long.
fn waits_for_no_round(exchange: Exchange) -> Result<()> {
    let pause = exchange.complete()?;
    ensure!(pause <= MAX_PAUSE, "MPyC waited {pause:?} for a round");
    Ok(())
}

#[test]
fn direct_over_pppoe() -> Result<()> {
    completes(&direct(Wan::narrow(1492)))
}

#[test]
fn direct_over_a_vpn() -> Result<()> {
    completes(&direct(Wan::narrow(1400)))
}

#[test]
fn direct_over_a_tunnel_in_a_vpn() -> Result<()> {
    completes(&direct(Wan::narrow(1300)))
}

#[test]
fn direct_over_the_least_for_ipv6() -> Result<()> {
    completes(&direct(Wan::narrow(1280)))
}

#[test]
fn relayed_over_pppoe() -> Result<()> {
    completes(&relayed(Wan::narrow(1492)))
}

#[test]
fn relayed_over_a_vpn() -> Result<()> {
    completes(&relayed(Wan::narrow(1400)))
}

#[test]
fn relayed_over_a_tunnel_in_a_vpn() -> Result<()> {
    completes(&relayed(Wan::narrow(1300)))
}

#[test]
fn relayed_over_the_least_for_ipv6() -> Result<()> {
    completes(&relayed(Wan::narrow(1280)))
}

#[test]
fn where_quic_finds_no_room_small_segments_of_tcp_do() -> Result<()> {
    completes(&direct(Wan::narrow(1000)))
}

#[test]
fn a_path_that_grows_narrow_during_a_run() -> Result<()> {
    if !hosts_for_tests()? {
        return Ok(());
    }
    let exchange = Exchange::start(&direct(Wan::default()), GRACE)?;
    exchange.host("alice")?.set_link(&Wan::narrow(1300))?;
    exchange.moves()?;
    waits_for_no_round(exchange)
}

#[test]
fn a_path_through_two_nats_that_grows_narrow_during_a_run() -> Result<()> {
    if !hosts_for_tests()? {
        return Ok(());
    }
    let router = || RouterPlace { link: Some(Wan::default()), ..RouterPlace::default() };
    let topology = Topology::default().public("hub").public("carol");
    let topology = topology.behind("alice", router()).behind("bob", router());
    let begun = Instant::now();
    let exchange = Exchange::start(&topology, GRACE)?;
    exchange.links("alice", "bob", "quic", begun)?;
    exchange.moves()?;
    exchange.router("alice")?.set_link(&Wan::narrow(1300))?;
    exchange.moves()?;
    exchange.moves()?;
    waits_for_no_round(exchange)
}

/// The three, enrolled before alice's line is narrow.
fn narrow_later(mtu: u16) -> Result<Network> {
    let network = Network::in_topology(&direct(Wan::default()), &NAMES)?;
    let alice = network.party("alice").host().context("no host")?;
    alice.set_link(&Wan::narrow(mtu))?;
    Ok(network)
}

/// Ends with verdicts, on a line of 400 bytes, about what keeps alice from the others.
fn fails(know_each_other: bool) -> Result<Option<Vec<(String, Outcome)>>> {
    const DEADLINE: Duration = Duration::from_secs(9);
    if !hosts_for_tests()? {
        return Ok(None);
    }
    let network = narrow_later(400)?;
    if know_each_other {
        let python = std::env::var("MPYC_PARTY_TEST_PYTHON");
        let python = python.map(|path| format!("[python]\ninterpreter = {path:?}\n"));
        let python = python.unwrap_or_default();
        for party in network.parties() {
            let mut text =
                format!("network.local-discovery = false\n[listen]\nport = 443\n{python}");
            for peer in network.parties().iter().filter(|peer| peer.name() != party.name()) {
                let at = peer.host().context("no host")?.socket(443);
                text += &format!("[peers.{}]\naddress = \"{at}\"\n", peer.name());
            }
            party.configure(&text)?;
        }
    }
    let session = Session::new("demo", "print('never')").parties(&NAMES).deadline(DEADLINE);
    network.declare(&session)?;
    let begun = Instant::now();
    let mut runs = network.run("demo")?;
    let outcome = |run: &mut Run| Ok((run.party().to_owned(), run.verdict(LIMIT)?));
    let outcomes = runs.iter_mut().map(outcome).collect::<Result<Vec<_>>>()?;
    for (party, outcome) in &outcomes {
        let late = outcome.at.saturating_duration_since(begun + DEADLINE);
        ensure!(late < BOUND, "{party}: {late:?} late: {}", outcome.text);
    }
    drop(runs);
    network.end()?;
    Ok(Some(outcomes))
}

#[test]
fn who_reaches_no_hub_says_so_and_calls_nobody_missing() -> Result<()> {
    let Some(outcomes) = fails(false)? else { return Ok(()) };
    let (party, outcome) = &outcomes[0];
    ensure!(party == "alice" && outcome.reason() == "lost", "{}", outcome.text);
    for said in [
        "the link to it was lost: hub ",
        " open, and then nothing gets through, not even in packets of 552 bytes",
    ] {
        ensure!(outcome.text.contains(said), "no «{said}»: {}", outcome.text);
    }
    Ok(())
}

#[test]
fn where_nothing_gets_through_the_link_is_named() -> Result<()> {
    let Some(outcomes) = fails(true)? else { return Ok(()) };
    for (party, outcome) in outcomes {
        let text = &outcome.text;
        let who = if party == "alice" { &["bob", "carol"][..] } else { &["alice"] };
        ensure!(outcome.reason() == "lost" && outcome.who() == who, "{party}: {text}");
        ensure!(
            text.contains("nothing gets through, not even in packets of 552"),
            "{party}: {text}"
        );
    }
    Ok(())
}

/// What the doctor finds at `party` about path MTUs: the finding, and the values for scripts.
fn doctor(party: &Party) -> Result<(Vec<String>, Value)> {
    let output = party.command().args(["doctor", "--wait", "2s", "--json"]).output()?;
    let answer: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let findings = answer["findings"].as_array().context("no findings")?;
    let about = findings.iter().filter(|finding| finding["check"] == "path MTU");
    let lines = about.map(|f| format!("{}: {} {}", f["state"], f["text"], f["remedy"])).collect();
    Ok((lines, answer["path_mtus"].clone()))
}

#[test]
fn the_doctor_measures_which_packets_pass() -> Result<()> {
    if !hosts_for_tests()? {
        return Ok(());
    }
    for (mtu, least, state) in [(1500, 1500, "good"), (1492, 1488, "doubtful")] {
        let network = narrow_later(mtu)?;
        let (lines, values) = doctor(network.party("alice"))?;
        let [line] = &lines[..] else { bail!("{lines:?}") };
        let bytes = values[0]["bytes"].as_u64().context("no size")?;
        ensure!((least..=u64::from(mtu)).contains(&bytes), "{mtu}: {values:#}");
        ensure!(line.starts_with(&format!("\"{state}\"")), "{mtu}: {line}");
        ensure!(line.contains(&format!("packets of up to {bytes} bytes get through")), "{line}");
        if state == "doubtful" {
            ensure!(values[0]["lost"] == 1500, "{mtu}: {values:#}");
            ensure!(line.contains(&format!("ip link set dev INTERFACE mtu {bytes}")), "{line}");
        } else {
            ensure!(values[0]["lost"].is_null(), "{mtu}: {values:#}");
        }
        network.end()?;
    }
    Ok(())
}

#[test]
fn the_doctor_measures_the_way_to_a_party() -> Result<()> {
    if !hosts_for_tests()? {
        return Ok(());
    }
    let network = narrow_later(1400)?;
    network.declare(&Session::new("demo", "print('never')").parties(&NAMES))?;
    let bob = network.party("bob").run("demo")?;
    bob.wait_for("waiting", LIMIT)?;
    let (lines, values) = doctor(network.party("alice"))?;
    let of_bob = |value: &&Value| value["to"] == "bob (demo)";
    let found = values.as_array().and_then(|all| all.iter().find(of_bob)).context("no bob")?;
    ensure!(found["lost"] == 1500 && found["bytes"] == 1064, "{lines:?} {values:#}");
    drop(bob);
    Ok(network.end()?)
}

#[test]
fn a_ping_and_an_enrolment_need_no_large_packets() -> Result<()> {
    if !hosts_for_tests()? {
        return Ok(());
    }
    let network = Network::in_topology(&direct(Wan::narrow(700)), &NAMES)?;
    network.declare(&Session::new("demo", "print('never')").parties(&NAMES))?;
    let bob = network.party("bob").run("demo")?;
    bob.wait_for("waiting", LIMIT)?;
    let ping = network.party("alice").command().args(["ping", "bob", "--wait", "15s"]).output()?;
    let said = String::from_utf8_lossy(&ping.stderr);
    ensure!(ping.status.success() && said.contains("bob answers"), "{said}");
    drop(bob);
    Ok(network.end()?)
}
