//! A lighthouse that means ill, and parties that believe it as far as they have to: nobody who is
//! not of the roster gets into a session, and nothing is sent where nothing may be sent.

mod common;
mod false_hub;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use common::{NAMES, SUM, all_blame, demo};
use false_hub::{Behaviours, FalseHub};
use mpyc_party::identity::Store;
use mpyc_party_core::addr::Address;
use mpyc_party_core::lighthouse::Answer;
use mpyc_party_core::name::PartyName;
use mpyc_party_lab::party::{Network, Party};
use mpyc_party_lab::{Topology, hosts_for_tests};

/// Where no lighthouse may lead anybody.
const FORBIDDEN: [&str; 13] = [
    "127.0.0.1:22",
    "127.9.9.9:443",
    "[::1]:22",
    "[::ffff:127.0.0.1]:23",
    "[64:ff9b::7f00:1]:24",
    "0.0.0.0:25",
    "169.254.169.254:80",
    "[::ffff:169.254.169.254]:81",
    "100.100.100.200:80",
    "[fd00:ec2::254]:80",
    "224.0.0.251:5353",
    "[ff02::fb]:5353",
    "255.255.255.255:9",
];
/// Where nobody is.
const NOWHERE: [u8; 2] = [10, 78];

fn topology() -> Topology {
    ["hub", "alice", "bob", "carol", "dave"].into_iter().fold(Topology::default(), Topology::public)
}

/// The usual three and dave, who is of the network, and of no session.
fn four() -> Result<Network> {
    Ok(Network::in_topology(&topology(), &["alice", "bob", "carol", "dave"])?)
}

fn address(party: &Party) -> Result<SocketAddr> {
    Ok(party.host().context("a host")?.socket(443))
}

/// Both ways to try each of these.
fn both(addresses: &[SocketAddr]) -> Vec<Address> {
    addresses.iter().flat_map(|at| ["tcp", "quic"].map(|kind| Address::new(kind, at))).collect()
}

/// In place of where a party is, what `lie` makes up.
fn instead(
    lie: impl Fn() -> Vec<Vec<Address>> + Send + Sync + 'static,
) -> impl Fn(&PartyName, Answer) -> Vec<Answer> + Send + Sync + 'static {
    move |_, answer| match answer {
        Answer::Present { party, tag, .. } => {
            let present = |addresses| Answer::Present { party: party.clone(), tag, addresses };
            lie().into_iter().map(present).collect()
        }
        honest => vec![honest],
    }
}

fn watch(network: &Network) -> Result<()> {
    for name in NAMES {
        network.party(name).host().context("a host")?.watch_destinations()?;
    }
    Ok(())
}

fn destinations(network: &Network, name: &str) -> Result<BTreeSet<SocketAddr>> {
    Ok(network.party(name).host().context("a host")?.destinations()?)
}

#[test]
fn wrong_addresses_lead_nobody_astray() -> Result<()> {
    if !hosts_for_tests()? {
        return Ok(());
    }
    let mut network = four()?;
    watch(&network)?;
    let forbidden: Vec<SocketAddr> =
        FORBIDDEN.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
    let mut lies = forbidden.clone();
    // A stranger, another live party, and whoever hears this itself.
    for name in ["dave", "carol", "alice"] {
        lies.push(address(network.party(name))?);
    }
    let dave = Store::new(&network.party("dave").state()).load()?;
    let listener = network.party("dave").host().context("a host")?.tcp_listener(443)?;
    let addresses = both(&lies);
    let hub = FalseHub::instead(
        &mut network,
        instead(move || vec![addresses.clone()]),
        Behaviours::none(),
    )?;
    hub.stranger(listener, dave);
    network.declare(&demo(SUM))?;
    // Over the relay, which the same hub does properly, the right ones meet.
    let runs = NAMES.map(|name| network.party(name).run("demo"));
    let runs: Vec<_> = runs.into_iter().collect::<Result<_, _>>()?;
    runs.into_iter().try_for_each(common::completes)?;
    ensure!(hub.visits() > 0, "nobody has tried the stranger");
    ensure!(hub.let_in() == 0, "a stranger was let in");
    let forbidden: BTreeSet<IpAddr> = forbidden.iter().map(|at| at.ip().to_canonical()).collect();
    for name in NAMES {
        let reached = destinations(&network, name)?;
        let astray: Vec<_> = reached.iter().filter(|at| forbidden.contains(&at.ip())).collect();
        ensure!(astray.is_empty(), "{name} has sent to {astray:?}");
        let tried = address(network.party("dave"))?;
        ensure!(reached.contains(&tried), "{name} has not even tried {tried}: {reached:?}");
    }
    drop(hub);
    Ok(network.end()?)
}

#[test]
fn a_stranger_who_is_introduced_stays_outside() -> Result<()> {
    if !hosts_for_tests()? {
        return Ok(());
    }
    let mut network = four()?;
    let dave = Store::new(&network.party("dave").state()).load()?;
    let listener = network.party("dave").host().context("a host")?.tcp_listener(443)?;
    let addresses = both(&[address(network.party("dave"))?]);
    let hub = FalseHub::instead(
        &mut network,
        instead(move || vec![addresses.clone()]),
        Behaviours::none(),
    )?;
    hub.stranger(listener, dave.clone());
    hub.stranger_on_the_relay(dave);
    let deadline = Duration::from_secs(6);
    network.declare(&demo(SUM).deadline(deadline))?;
    let begun = Instant::now();
    let mut runs = vec![network.party("alice").run("demo")?, network.party("bob").run("demo")?];
    let due = begun + deadline + Duration::from_secs(2);
    for (run, missing) in runs.iter_mut().zip([["bob", "carol"], ["alice", "carol"]]) {
        all_blame(std::slice::from_mut(run), due, &missing, "missing")?;
    }
    // At its address, called over the relay, and calling over it.
    ensure!(hub.visits() > 2 && hub.calls() > 2, "{} {}", hub.visits(), hub.calls());
    ensure!(hub.let_in() == 0, "a stranger was let in");
    drop((runs, hub));
    Ok(network.end()?)
}

#[test]
fn a_lighthouse_cannot_have_a_network_searched() -> Result<()> {
    if !hosts_for_tests()? {
        return Ok(());
    }
    const ANSWERS: u16 = 60;
    let mut network = four()?;
    watch(&network)?;
    // Thousands of addresses, as many at once as a message holds.
    let lie = || {
        let [a, b] = NOWHERE;
        let at = |n: u16| {
            let [c, d] = n.to_be_bytes();
            SocketAddr::from((Ipv4Addr::new(a, b, c, d), 443))
        };
        let many = |n: u16| (0..500).map(|m| Address::new("tcp", at(n * 500 + m))).collect();
        (0..ANSWERS).map(many).collect()
    };
    let hub = FalseHub::instead(&mut network, instead(lie), Behaviours::none())?;
    let deadline = Duration::from_secs(6);
    network.declare(&demo(SUM).deadline(deadline))?;
    let begun = Instant::now();
    let mut runs = vec![network.party("alice").run("demo")?, network.party("bob").run("demo")?];
    // It does not keep them from each other, who can be called over the relay.
    runs[0].wait_for("linked", common::LIMIT)?;
    let due = begun + deadline + Duration::from_secs(2);
    all_blame(&mut runs, due, &["carol"], "missing")?;
    let reached = destinations(&network, "alice")?;
    let nowhere =
        |at: &&SocketAddr| matches!(at.ip(), IpAddr::V4(ip) if ip.octets()[..2] == NOWHERE);
    let searched = reached.iter().filter(nowhere).count();
    // A burst, and forty a second at most.
    ensure!((32..=100 + 40 * 10).contains(&searched), "{searched} addresses were tried");
    drop((runs, hub));
    Ok(network.end()?)
}
