//! Guarantee 4 between machines: packets vanish between two of three hosts, and all three have a
//! verdict in time.

mod common;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use common::{ENDLESS, LIMIT, NAMES, PATIENT, SUM, completes, demo, fails, running};
use mpyc_party_lab::hosts_for_tests;
use mpyc_party_lab::party::{Network, Run};

const GRACE: Duration = Duration::from_secs(3);

/// The usual three on a host each; none where the one who tests says that there cannot be hosts.
fn hosts() -> Result<Option<Network>> {
    Ok(if hosts_for_tests()? { Some(Network::on_hosts(&NAMES)?) } else { None })
}

/// Everybody has a verdict in time that names one or both of those who do not hear each other.
fn all_notice(mut runs: Vec<Run>, since: Instant, apart: [&str; 2]) -> Result<()> {
    for run in &mut runs {
        let outcome = fails(run, since + GRACE)?;
        let who = outcome.who();
        ensure!(!who.is_empty() && who.iter().all(|name| apart.contains(name)), "{}", outcome.text);
        ensure!(["silent", "lost"].contains(&outcome.reason()), "{}", outcome.text);
        ensure!(outcome.failure()["observer"].is_string(), "{}", outcome.text);
    }
    Ok(())
}

#[test]
fn hosts_of_their_own_meet() -> Result<()> {
    let Some(network) = hosts()? else { return Ok(()) };
    network.declare(&demo(SUM))?;
    network.run("demo")?.into_iter().try_for_each(completes)?;
    Ok(network.end()?)
}

#[test]
fn packets_dropped_in_both_directions() -> Result<()> {
    let Some(mut network) = hosts()? else { return Ok(()) };
    let runs = running(&network, &demo(ENDLESS).grace(GRACE))?;
    // Its relay would be a way around.
    network.kill_hub();
    let hosts = [network.party("alice").host(), network.party("bob").host()];
    let ([Some(alice), Some(bob)], Some(lab)) = (hosts, network.lab()) else { return Ok(()) };
    let since = Instant::now();
    lab.cut(alice, bob)?;
    all_notice(runs, since, ["alice", "bob"])?;
    Ok(network.end()?)
}

#[test]
fn a_relay_takes_over_where_two_do_not_reach_each_other_any_more() -> Result<()> {
    let Some(network) = hosts()? else { return Ok(()) };
    let mut runs = running(&network, &demo(PATIENT))?;
    let hosts = [network.party("alice").host(), network.party("bob").host()];
    let ([Some(alice), Some(bob)], Some(lab)) = (hosts, network.lab()) else { return Ok(()) };
    lab.cut(alice, bob)?;
    for (run, peer) in [(&runs[0], "bob"), (&runs[1], "alice")] {
        run.wait_until("a relayed link", LIMIT, |event| {
            event["event"] == "link" && event["party"] == peer && event["path"] == "relay"
        })?;
    }
    for (index, run) in runs.iter_mut().enumerate() {
        run.feed(&format!("{index}\n"))?;
    }
    for run in &runs {
        run.wait_for_line("sum 3", LIMIT)?;
    }
    runs.into_iter().try_for_each(completes)?;
    let outages = &network.party("alice").record()["outages"];
    ensure!(outages[0]["party"] == "bob" && outages[0]["count"] == 1, "{outages}");
    Ok(network.end()?)
}

#[test]
fn packets_dropped_in_one_direction() -> Result<()> {
    let Some(mut network) = hosts()? else { return Ok(()) };
    let runs = running(&network, &demo(ENDLESS).grace(GRACE))?;
    // Its relay would be a way around.
    network.kill_hub();
    let hosts = [network.party("carol").host(), network.party("bob").host()];
    let [Some(carol), Some(bob)] = hosts else { return Ok(()) };
    let since = Instant::now();
    carol.drop_to(bob)?;
    all_notice(runs, since, ["bob", "carol"])?;
    Ok(network.end()?)
}

#[test]
fn a_host_whose_plug_is_pulled() -> Result<()> {
    let Some(network) = hosts()? else { return Ok(()) };
    let mut runs = running(&network, &demo(ENDLESS).grace(GRACE))?;
    let Some(carol) = network.party("carol").host() else { return Ok(()) };
    let since = Instant::now();
    carol.down()?;
    // Carol herself hears nobody; the others name her.
    let mut lonely = runs.remove(2);
    for run in &mut runs {
        let outcome = fails(run, since + GRACE)?;
        ensure!(outcome.who() == ["carol"], "{}", outcome.text);
    }
    fails(&mut lonely, since + GRACE)?;
    Ok(network.end()?)
}
