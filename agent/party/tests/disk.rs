//! A state directory that is full or cannot be written: the message says so, the others learn it,
//! and nothing is left.

mod common;

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use common::{ENDLESS, LIMIT, SUM, all_blame, blames, demo, hanging, run_by_way_of, three};
use mpyc_party_lab::party::{Party, Run};

/// How long it takes until a disk is known to hang.
const DISK_TIMEOUT: Duration = Duration::from_secs(30);

/// Puts a small file system in place of a directory, holding a copy of it.
const ON_DISK: &str = r#"
set -e
size=$1 options=$2 state=$3; shift 3
cp -a "$state" "$state.saved"
mount -t tmpfs -o "size=$size" none "$state"
cp -a "$state.saved/." "$state"
mount -o "remount,bind,$options" "$state"
"#;

/// Runs a program there.
const RUN: &str = r#"exec "$@""#;

/// The same; afterwards the runs can be looked at outside.
const RUN_AND_KEEP: &str = r#"
status=0; "$@" || status=$?
cp -a "$state/runs" "$state.saved/"
exit "$status"
"#;

/// Starts the session «demo» of `party` on a disk of `size` that is mounted with `options`.
fn run_on_disk(party: &Party, size: &str, options: &str) -> Result<Run> {
    run_with(RUN, party, size, options)
}

fn run_with(run: &str, party: &Party, size: &str, options: &str) -> Result<Run> {
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    let script = format!("{ON_DISK}{run}");
    command.args(["--mount", "sh", "-c", &script, "sh", size, options]).arg(party.state());
    run_by_way_of(command, party)
}

#[test]
fn a_full_disk_refuses_the_run() -> Result<()> {
    let network = three()?;
    network.declare(&demo(SUM))?;
    let mut run = run_on_disk(network.party("alice"), "32k", "rw")?;
    ensure!(run.exit(LIMIT)?.code() == Some(1));
    ensure!(run.said().contains("No space left"), "{}", run.said());
    ensure!(run.said().contains("make room there"), "{}", run.said());
    Ok(network.end()?)
}

#[test]
fn a_state_directory_that_cannot_be_written_refuses_the_run() -> Result<()> {
    let network = three()?;
    network.declare(&demo(SUM))?;
    let mut run = run_on_disk(network.party("alice"), "10m", "ro")?;
    ensure!(run.exit(LIMIT)?.code() == Some(1));
    ensure!(run.said().contains("Read-only file system"), "{}", run.said());
    ensure!(run.said().contains("--state DIR"), "{}", run.said());
    Ok(network.end()?)
}

#[test]
fn a_disk_that_fills_up_during_the_run_ends_it_everywhere() -> Result<()> {
    let network = three()?;
    let talkative = ENDLESS.replace(
        "while True:\n",
        "while True:\n    if mpc.pid == 1: print('\\n'.join(['x' * 1000] * 300)); print('nearly')\n",
    );
    network.declare(&demo(&talkative))?;
    let mut others = vec![network.party("alice").run("demo")?, network.party("carol").run("demo")?];
    let mut bob = run_with(RUN_AND_KEEP, network.party("bob"), "420k", "rw")?;
    for run in others.iter().chain([&bob]) {
        run.wait_for_line("running", LIMIT)?;
    }
    bob.wait_for_line("nearly", LIMIT)?;
    let due = Instant::now();
    for outcome in all_blame(&mut others, due, &["bob"], "local")? {
        ensure!(outcome.text.contains("No space left"), "{}", outcome.text);
    }
    blames(&mut bob, due, &["bob"], "local")?;
    // The copies of the program made room for the record.
    let runs = network.party("bob").directory().join("state.saved/runs");
    let run = fs::read_dir(runs)?.next().context("no run")??.path();
    let record: serde_json::Value = serde_json::from_slice(&fs::read(run.join("record.json"))?)?;
    ensure!(record["verdict"]["failed"]["who"] == serde_json::json!(["bob"]), "{record}");
    Ok(network.end()?)
}

#[test]
fn a_disk_that_hangs_silences_nobody() -> Result<()> {
    let network = three()?;
    let grace = Duration::from_secs(3);
    network.declare(&demo(SUM).grace(grace).set("start", "\"on-proposal\""))?;
    let (bob, tallies) = (network.party("bob"), network.party("bob").state().join("tallies"));
    fs::create_dir_all(&tallies)?;
    let mut runs = vec![network.party("alice").run("demo")?, network.party("carol").run("demo")?];
    runs.push(run_by_way_of(hanging(&tallies), bob)?);
    for run in &runs {
        run.wait_for("running", LIMIT)?;
    }
    let begun = Instant::now();
    // Its run cannot be counted, which takes a while to be sure; until then it is there.
    for outcome in all_blame(&mut runs, begun + DISK_TIMEOUT, &["bob"], "local")? {
        ensure!(outcome.text.contains("on a mount that hangs"), "{}", outcome.text);
        ensure!(outcome.at - begun > 3 * grace, "{:?}", outcome.at - begun);
    }
    drop(runs);
    Ok(network.end()?)
}
