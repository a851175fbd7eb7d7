//! Guarantee 4 for those who leave: a program that ends with success before the others are done, or in
//! any other way, at any stage and from any index, is named at all others, and nobody else is.

mod common;

use std::fmt::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use common::{LIMIT, NAMES, blames, completes, demo, three};
use mpyc_party_lab::hosts_for_tests;
use mpyc_party_lab::party::{Network, Session};
use rustix::process::Signal;

const GRACE: Duration = Duration::from_secs(3);

/// Party WHO leaves in the way HOW when it has come to STAGE and is told to.
const PROGRAM: &str = "
import os, signal, sys, time
from mpyc.runtime import mpc

secint = mpc.SecInt()

def compute():
    return mpc.run(mpc.output(mpc.sum(mpc.input(secint(mpc.pid)))))

def at(stage):
    if (mpc.pid, stage) != (WHO, STAGE):
        return
    print('leaving')
    input()
    if HOW == 'status 0':
        os._exit(0)
    if HOW == 'no shutdown':
        sys.exit()
    if HOW == 'error':
        sys.exit(3)
    if HOW == 'signal':
        os.kill(os.getpid(), signal.SIGSEGV)
    if HOW == 'one stream closed':
        mpc.parties[(WHO + 1) % len(mpc.parties)].protocol.close_connection()
    if HOW.startswith('transport.'):
        transport = mpc.parties[(WHO + 1) % len(mpc.parties)].protocol.transport
        getattr(transport, HOW.partition('.')[2])()
    if HOW in ('runner killed', 'machine gone'):
        time.sleep(600)

at('before it connects')
mpc.run(mpc.start())
compute()
at('between rounds')
compute()
at('before the end')
mpc.run(mpc.shutdown())
";

/// What comes after that where a program computes twice.
const SECOND_CYCLE: &str = "
at('before it connects again')
mpc.run(mpc.start())
compute()
mpc.run(mpc.shutdown())
";

const STAGES: [&str; 3] = ["before it connects", "between rounds", "before the end"];
const AGAIN: &str = "before it connects again";

/// The same where the leaver's machine is unplugged, which needs hosts.
const MACHINE_GONE: (&str, &str, bool) = ("machine gone", "silent", true);

/// How somebody leaves: what the others say of it, and whether it could have been an outage, so that
/// they wait for the grace time.
const WAYS: [(&str, &str, bool); 6] = [
    ("status 0", "left", true),
    ("no shutdown", "left", true),
    ("error", "ended", false),
    ("signal", "ended", false),
    ("one stream closed", "left", true),
    ("runner killed", "lost", true),
];

fn session(names: &[&str], program: &str) -> Session {
    let session = Session::new("demo", program).parties(names).grace(GRACE);
    // Two parties have no threshold that hides anything.
    if names.len() == 2 { session.set("allow-no-privacy", "true") } else { session }
}

/// One of `names` leaves; how long after that the last of the others had its verdict.
fn leaves(
    network: &Network,
    names: &[&str],
    who: usize,
    stage: &str,
    (how, reason, waits): (&str, &str, bool),
) -> Result<Duration> {
    let settings = format!("WHO, STAGE, HOW = {who}, {stage:?}, {how:?}\n");
    let more = if stage == AGAIN { SECOND_CYCLE } else { "" };
    network.declare(&session(names, &(settings + PROGRAM + more)))?;
    let mut runs = network.run("demo")?;
    let mut leaver = runs.remove(who);
    leaver.wait_for_line("leaving", LIMIT)?;
    let cause = Instant::now();
    match how {
        "runner killed" => leaver.runner()?.signal(Signal::KILL)?,
        "machine gone" => network.party(names[who]).host().context("a host")?.down()?,
        _ => leaver.feed("\n")?,
    }
    let due = if waits { cause + GRACE } else { cause };
    let mut last = cause;
    for run in &mut runs {
        let outcome = blames(run, due, &[names[who]], reason)
            .with_context(|| format!("{} of {}, {stage}, {how}", names[who], names.len()))?;
        last = last.max(outcome.at);
    }
    leaver.exit(LIMIT)?;
    Ok(last - cause)
}

/// Every way to leave at `stage`, each from another index.
fn all_ways(stage: &str) -> Result<()> {
    let network = three()?;
    for (at, way) in WAYS.into_iter().enumerate() {
        if !(way.0 == "one stream closed" && stage == STAGES[0]) {
            leaves(&network, &NAMES, at % 3, stage, way)?;
        }
    }
    Ok(network.end()?)
}

#[test]
fn who_leaves_before_it_connects_is_named() -> Result<()> {
    all_ways(STAGES[0])
}

#[test]
fn who_leaves_between_rounds_is_named() -> Result<()> {
    all_ways(STAGES[1])
}

#[test]
fn who_leaves_before_the_end_is_named() -> Result<()> {
    all_ways(STAGES[2])
}

/// The one to whom it was closed blames it, and it blames nobody itself.
#[test]
fn who_closes_a_transport_is_named() -> Result<()> {
    let network = three()?;
    for (who, how) in
        ["transport.close", "transport.abort", "transport.write_eof"].iter().enumerate()
    {
        leaves(&network, &NAMES, who, STAGES[1], (how, "left", true))?;
    }
    Ok(network.end()?)
}

/// Alice and bob wait a second for carol, who leaves before or after they give that up.
const GIVEN_UP: &str = "
import asyncio, os, time
from mpyc.runtime import mpc

async def for_a_second(awaitable):
    await asyncio.wait_for(awaitable, 1)

mpc.run(mpc.start())
if mpc.pid == 2:
    time.sleep(AFTER)
    os._exit(0)
try:
    mpc.run(for_a_second(mpc.transfer('never', senders=[2], receivers=[0, 1])))
except asyncio.TimeoutError:
    print('gave up')
time.sleep(GRACE + 1)
ended = time.monotonic() + 2 * GRACE
while mpc.run(mpc.transfer(time.monotonic() < ended, senders=[0], receivers=[0, 1]))[0]:
    time.sleep(0.1)
";

#[test]
fn who_gave_up_waiting_goes_on() -> Result<()> {
    let network = three()?;
    for after in [0, 2] {
        let settings = format!("AFTER, GRACE = {after}, {}\n", GRACE.as_secs());
        network.declare(&demo(&(settings + GIVEN_UP)).grace(GRACE))?;
        network.run("demo")?.into_iter().try_for_each(completes)?;
    }
    Ok(network.end()?)
}

/// The last party opens no connections: it only accepts them, and here never does.
#[test]
fn who_leaves_before_it_accepts_is_named() -> Result<()> {
    for size in [2, 3] {
        let names = &NAMES[..size];
        let network = Network::on_loopback(names)?;
        for (stage, way) in [(STAGES[0], WAYS[0]), (AGAIN, WAYS[1])] {
            leaves(&network, names, size - 1, stage, way)?;
        }
        network.end()?;
    }
    Ok(())
}

/// A party in the middle accepts from one and opens to another.
#[test]
fn who_leaves_before_it_connects_again_is_named() -> Result<()> {
    let network = three()?;
    leaves(&network, &NAMES, 1, AGAIN, WAYS[0])?;
    Ok(network.end()?)
}

#[test]
fn nobody_has_to_shut_down_and_one_may_compute_on_alone() -> Result<()> {
    let network = three()?;
    let alone = format!("if mpc.pid == 1:\n    time.sleep({})\n", 3 * GRACE.as_secs());
    let program = common::SUM.replace("mpc.run(mpc.shutdown())\n", &alone);
    network.declare(&demo(&format!("import time\n{program}")).grace(GRACE))?;
    network.run("demo")?.into_iter().try_for_each(completes)?;
    Ok(network.end()?)
}

/// Every way to leave at every stage, from every index, of two, three and five: a table, in seconds
/// after the cause until the last of the others has its verdict. The grace time is 3 s.
#[test]
#[ignore = "takes a quarter of an hour: `cargo nextest run --test leaving --run-ignored only --no-capture`"]
fn the_whole_table() -> Result<()> {
    let names = ["alice", "bob", "carol", "dave", "erin"];
    let mut table = "| way | stage | of 2 | of 3 | of 5 |\n|---|---|---|---|---|\n".to_owned();
    let networks = [2, 3, 5].map(|size| (size, Network::on_loopback(&names[..size])));
    for way in WAYS {
        for stage in STAGES {
            if way.0 == "one stream closed" && stage == STAGES[0] {
                continue;
            }
            write!(table, "| {} | {stage} |", way.0)?;
            for (size, network) in &networks {
                let network = network.as_ref().map_err(|error| anyhow::anyhow!("{error}"))?;
                let took = (0..*size).map(|who| leaves(network, &names[..*size], who, stage, way));
                let took: Vec<Duration> = took.collect::<Result<_>>()?;
                let took = took.iter().map(|time| format!("{:.1}", time.as_secs_f64()));
                write!(table, " {} |", took.collect::<Vec<_>>().join(" "))?;
            }
            table.push('\n');
        }
    }
    println!("{table}{}", rows_of_machines(&names)?);
    networks.into_iter().try_for_each(|(_, network)| Ok(network?.end()?))
}

/// The rows of [`the_whole_table`] where a machine is gone: each time in a network of its own.
fn rows_of_machines(names: &[&str]) -> Result<String> {
    let mut rows = String::new();
    if !hosts_for_tests()? {
        return Ok(rows);
    }
    for stage in STAGES {
        write!(rows, "| {} | {stage} |", MACHINE_GONE.0)?;
        for size in [2, 3, 5] {
            for who in 0..size {
                let network = Network::on_hosts(&names[..size])?;
                let took = leaves(&network, &names[..size], who, stage, MACHINE_GONE)?;
                write!(rows, " {:.1}", took.as_secs_f64())?;
                network.end()?;
            }
            rows += " |";
        }
        rows.push('\n');
    }
    Ok(rows)
}

#[test]
#[ignore = "takes some minutes, as a part of the_whole_table"]
fn who_is_gone_with_the_machine_is_named() -> Result<()> {
    println!("{}", rows_of_machines(&["alice", "bob", "carol", "dave", "erin"])?);
    Ok(())
}
