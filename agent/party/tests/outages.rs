//! Guarantee 5: what happens to the network while MPyC runs, MPyC does not notice. Every byte that
//! was sent arrives, once and in order.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mpyc_party_lab::exchange::Exchange;
use mpyc_party_lab::party::{Network, Run, Session};
use mpyc_party_lab::topology::{HostPlace, Kind};
use mpyc_party_lab::{Topology, Wan, hosts_for_tests};

/// Far longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(60);
/// The usual grace time.
const GRACE: Duration = Duration::from_secs(30);
/// The bound of guarantee 4: a verdict within this time after the grace time is over.
const BOUND: Duration = Duration::from_secs(5);
/// Far more often than this, parties let each other hear of them.
const BEAT: Duration = Duration::from_secs(2);

/// All of them public.
fn public() -> Topology {
    Topology::default().public("hub").public("alice").public("bob").public("carol")
}

/// Alice and Bob in networks of these kinds, the others public.
fn between(alice: Kind, bob: Kind) -> Topology {
    bob.place(alice.place(Topology::default().public("hub").public("carol"), "alice"), "bob")
}

/// All complete with the right bytes.
fn completes(exchange: Exchange) -> Result<()> {
    exchange.complete()?;
    Ok(())
}

/// Some hosts hear and are heard by nobody for so long.
fn silent(names: &[&str], time: Duration) -> Result<()> {
    if !hosts_for_tests()? {
        return Ok(());
    }
    let exchange = Exchange::start(&public(), GRACE)?;
    for name in names {
        exchange.host(name)?.silence(true)?;
    }
    thread::sleep(time);
    for name in names {
        exchange.host(name)?.silence(false)?;
    }
    exchange.moves()?;
    completes(exchange)
}

#[test]
fn a_party_cut_off_for_a_second() -> Result<()> {
    silent(&["alice"], Duration::from_secs(1))
}

#[test]
fn a_party_cut_off_for_ten_seconds() -> Result<()> {
    silent(&["bob"], Duration::from_secs(10))
}

#[test]
fn a_party_cut_off_for_twenty_five_seconds() -> Result<()> {
    silent(&["carol"], Duration::from_secs(25))
}

#[test]
fn both_parties_of_a_pair_cut_off_at_once() -> Result<()> {
    silent(&["alice", "bob"], Duration::from_secs(5))
}

#[test]
fn two_that_cannot_reach_each_other_go_by_the_relay_and_back() -> Result<()> {
    if !hosts_for_tests()? {
        return Ok(());
    }
    let exchange = Exchange::start(&public(), GRACE)?;
    let Some(lab) = exchange.network.lab() else { return Ok(()) };
    let cut = Instant::now();
    lab.cut(exchange.host("alice")?, exchange.host("bob")?)?;
    exchange.links("alice", "bob", "relay", cut)?;
    exchange.moves()?;
    let healed = Instant::now();
    lab.heal(exchange.host("alice")?, exchange.host("bob")?)?;
    exchange.links("alice", "bob", "tcp", healed)?;
    exchange.moves()?;
    completes(exchange)
}

#[test]
fn twenty_flaps_in_a_row() -> Result<()> {
    if !hosts_for_tests()? {
        return Ok(());
    }
    let exchange = Exchange::start(&public(), GRACE)?;
    let alice = exchange.host("alice")?;
    for flap in 0..20 {
        alice.down()?;
        thread::sleep(Duration::from_millis(50 * (flap % 5)));
        alice.up()?;
        thread::sleep(Duration::from_millis(100 * (flap % 4)));
    }
    exchange.moves()?;
    completes(exchange)
}

#[test]
fn one_packet_in_twenty_is_lost() -> Result<()> {
    if !hosts_for_tests()? {
        return Ok(());
    }
    let place = HostPlace { link: Some(Wan::default()), ..HostPlace::default() };
    let exchange = Exchange::start(&public().host("alice", place), GRACE)?;
    exchange.host("alice")?.set_link(&Wan { seed: 1, ..Wan::lossy(5.0) })?;
    for _ in 0..3 {
        exchange.moves()?;
    }
    completes(exchange)
}

#[test]
fn a_party_gets_another_address() -> Result<()> {
    if !hosts_for_tests()? {
        return Ok(());
    }
    let exchange = Exchange::start(&public(), GRACE)?;
    for name in ["alice", "bob"] {
        exchange.host(name)?.renumber()?;
        exchange.moves()?;
    }
    completes(exchange)
}

/// Something happens to the router of a party, over whose NAT all its links go.
fn rebound(renumbered: bool) -> Result<()> {
    if !hosts_for_tests()? {
        return Ok(());
    }
    let begun = Instant::now();
    let exchange = Exchange::start(&between(Kind::Easy, Kind::Easy), GRACE)?;
    exchange.links("alice", "bob", "quic", begun)?;
    let router = exchange.router("alice")?;
    if renumbered {
        router.renumber()?
    } else {
        router.rebind()?
    }
    exchange.moves()?;
    completes(exchange)
}

#[test]
fn a_nat_maps_to_other_ports() -> Result<()> {
    rebound(false)
}

#[test]
fn a_nat_gets_another_address() -> Result<()> {
    rebound(true)
}

#[test]
fn the_relay_is_killed_and_restarted() -> Result<()> {
    if !hosts_for_tests()? {
        return Ok(());
    }
    let mut exchange = Exchange::start(&between(Kind::UdpBlocked, Kind::UdpBlocked), GRACE)?;
    exchange.network.kill_hub();
    thread::sleep(Duration::from_secs(2));
    let restarted = Instant::now();
    exchange.network.start_hub()?;
    exchange.links("alice", "bob", "relay", restarted)?;
    exchange.moves()?;
    completes(exchange)
}

#[test]
fn direct_links_outlive_the_hub() -> Result<()> {
    if !hosts_for_tests()? {
        return Ok(());
    }
    let mut exchange = Exchange::start(&between(Kind::Public, Kind::Easy), GRACE)?;
    exchange.network.kill_hub();
    exchange.moves()?;
    completes(exchange)
}

#[test]
fn who_stays_away_beyond_the_grace_time_is_named() -> Result<()> {
    if !hosts_for_tests()? {
        return Ok(());
    }
    let grace = Duration::from_secs(4);
    let mut exchange = Exchange::start(&public(), grace)?;
    let since = Instant::now();
    exchange.host("carol")?.silence(true)?;
    for run in &mut exchange.runs {
        let outcome = run.verdict(LIMIT)?;
        let late = outcome.at.saturating_duration_since(since + grace);
        ensure!(late <= BOUND, "{}: {late:?} late: {}", run.party(), outcome.text);
        // The time begins when a party was last heard of, which may be a beat before it is cut off.
        let early = (since + grace).saturating_duration_since(outcome.at);
        ensure!(early < BEAT, "{}: {early:?} before its time: {}", run.party(), outcome.text);
        ensure!(["silent", "lost"].contains(&outcome.reason()), "{}", outcome.text);
        // Carol herself hears nobody; the others name her.
        let who = outcome.who();
        let right = if run.party() == "carol" { !who.is_empty() } else { who == ["carol"] };
        ensure!(right, "{}: {}", run.party(), outcome.text);
        ensure!(run.exit(LIMIT)?.code() == Some(1), "{} has another exit status", run.party());
    }
    exchange.host("carol")?.silence(false)?;
    drop(exchange.runs);
    Ok(exchange.network.end()?)
}

/// Once told to, each sends each other far more than is kept for a peer that is away, as fast as it
/// can.
const FLOOD: &str = "
import hashlib
from mpyc.runtime import mpc
mpc.run(mpc.start())
print('running')
input()
piece = bytes([mpc.pid]) * 1_000_000
sent = [mpc.transfer(piece) for _ in range(64)]
print('written')
came = mpc.run(mpc.gather(sent))
print('right', all(c == [bytes([i]) * 1_000_000 for i in range(len(c))] for c in came))
mpc.run(mpc.shutdown())
";

/// Memory of the runner itself in bytes.
fn resident(run: &Run) -> Result<u64> {
    let status = run.runner()?.read("status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Ok(kib.context("no VmRSS")? << 10)
}

#[test]
fn what_is_kept_for_a_party_that_is_away_is_bounded() -> Result<()> {
    if !hosts_for_tests()? {
        return Ok(());
    }
    let names = ["alice", "bob", "carol"];
    // Connections through the hub break with it; silent ones would take nothing any more.
    let topology = between(Kind::UdpBlocked, Kind::UdpBlocked);
    let mut network = Network::in_topology(&topology, &names)?;
    let session = Session::new("flood", FLOOD).parties(&names).grace(GRACE);
    network.declare(&session)?;
    let mut runs = network.run("flood")?;
    for run in &runs {
        run.wait_for_line("running", LIMIT)?;
    }
    let before = resident(&runs[0])?;
    network.kill_hub();
    runs[0].wait_until("an outage", LIMIT, |event| {
        event["event"] == "away" && event["party"] == "bob"
    })?;
    runs.iter_mut().try_for_each(|run| run.feed("go\n"))?;
    runs[0].wait_for_line("written", LIMIT)?;
    let (begun, mut most) = (Instant::now(), 0);
    while begun.elapsed() < Duration::from_secs(5) {
        most = most.max(resident(&runs[0])?.saturating_sub(before));
        thread::sleep(Duration::from_millis(50));
    }
    // For each of the two streams a window each way, buffers of a carrier, and what TLS holds.
    ensure!(most < 32 << 20, "the runner has grown by {} MiB", most >> 20);
    ensure!(most > 4 << 20, "nothing was kept: {most} bytes");
    network.start_hub()?;
    for run in &mut runs {
        run.wait_for_line("right True", LIMIT)?;
        ensure!(run.verdict(LIMIT)?.completed(), "{}", run.said());
        ensure!(run.exit(LIMIT)?.success(), "{} has another exit status", run.party());
    }
    drop(runs);
    Ok(network.end()?)
}
