//! Guarantee 5: what happens to the network while MPyC runs, MPyC does not notice. Every byte that
//! was sent arrives, once and in order.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use mpyc_party_lab::exchange::Exchange;
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
