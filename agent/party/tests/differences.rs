//! Guarantee 2, same computation: whatever differs at one party, no program starts, and the verdict
//! names that party and what differs.

mod common;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use common::{LIMIT, SUM, demo, fails, three};
use mpyc_party_lab::party::Session;

/// Shows whether it was started; each party's part of the sum is in a file.
const PROGRAM: &str = "
print('started')
from helper import number
from mpyc.runtime import mpc
secint = mpc.SecInt()
mpc.run(mpc.start())
print('sum', mpc.run(mpc.output(mpc.sum(mpc.input(secint(number))))))
mpc.run(mpc.shutdown())
";

fn usual() -> Session {
    demo(PROGRAM).file("helper.py", "number = 1\n").deadline(Duration::from_secs(20))
}

/// Carol declares something else: all three name her, and `label`.
fn differs(changed: &Session, label: &str) -> Result<()> {
    let network = three()?;
    network.declare(&usual())?;
    network.party("carol").declare(changed)?;
    let mut runs = network.run("demo")?;
    let due = Instant::now() + Duration::from_secs(10);
    for run in &mut runs {
        let outcome = fails(run, due)?;
        ensure!(outcome.who() == ["carol"], "{}", outcome.text);
        let labels = &outcome.failure()["reason"]["differs"];
        ensure!(labels == &serde_json::json!([label]), "{}", outcome.text);
        ensure!(!run.said().contains("\"started\""), "a program was started: {}", run.said());
    }
    Ok(network.end()?)
}

#[test]
fn the_program_by_one_byte() -> Result<()> {
    differs(&usual().program(&format!("{PROGRAM}\n")), "program")
}

#[test]
fn a_declared_file() -> Result<()> {
    differs(&usual().file("helper.py", "number = 2\n"), "files")
}

#[test]
fn one_more_file() -> Result<()> {
    differs(&usual().file("spare.py", ""), "files")
}

#[test]
fn the_arguments() -> Result<()> {
    differs(&usual().set("arguments", r#"["3"]"#), "arguments")
}

#[test]
fn the_threshold() -> Result<()> {
    differs(&usual().set("threshold", "0").set("allow-no-privacy", "true"), "threshold")
}

#[test]
fn an_option_of_mpyc() -> Result<()> {
    differs(&usual().set("options", r#"["--no-numpy", "--no-prss"]"#), "engine-options")
}

#[test]
fn a_demanded_python() -> Result<()> {
    differs(&usual().set("python", "\"3.2\""), "runtime")
}

#[test]
fn a_python_that_nobody_has_is_refused_by_all() -> Result<()> {
    let network = three()?;
    network.declare(&demo(SUM).set("python", "\"3.2\""))?;
    let mut runs = network.run("demo")?;
    let due = Instant::now() + Duration::from_secs(10);
    for run in &mut runs {
        let outcome = fails(run, due)?;
        ensure!(outcome.text.contains("demands Python 3.2"), "{}", outcome.text);
    }
    Ok(network.end()?)
}

#[test]
fn what_changes_after_the_start_is_not_run() -> Result<()> {
    let network = three()?;
    network.declare(&usual())?;
    let mut runs = vec![network.party("alice").run("demo")?, network.party("bob").run("demo")?];
    for run in &runs {
        run.wait_for("linked", LIMIT)?;
    }
    // Declared anew while the runner waits: its private copy counts.
    network.party("alice").declare(&usual().program("print('another')"))?;
    runs.push(network.party("carol").run("demo")?);
    for run in runs {
        run.wait_for_line("sum 3", LIMIT)?;
        common::completes(run)?;
    }
    Ok(network.end()?)
}
