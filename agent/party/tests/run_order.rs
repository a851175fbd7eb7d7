//! Clocks that jump: a run stays where it was in the order of runs, whatever date it has, and its times
//! are right.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use common::{LIMIT, SUM, demo};
use mpyc_party_lab::party::{Network, Party};
use serde_json::Value;

/// A run that fails, since nobody else is there, or, with a file that is none, before that.
fn run(party: &Party, is_ready: bool) -> Result<PathBuf> {
    party.declare(&demo(SUM).deadline(Duration::from_secs(1)))?;
    if !is_ready {
        let program = party.directory().join("programs/demo/program.py");
        fs::remove_file(&program)?;
        fs::create_dir(&program)?;
    }
    let before = party.runs();
    let ended = party.run("demo")?.exit(LIMIT)?;
    ensure!(ended.code() == Some(1), "{ended}");
    if !is_ready {
        fs::remove_dir(party.directory().join("programs/demo/program.py"))?;
    }
    let new = party.runs().into_iter().find(|run| !before.contains(run));
    new.context("there is no new run")
}

/// Dates the run in `directory` as a clock would have done that showed this date; in the form of
/// older versions where `old`.
fn date(directory: &Path, date: &str, old: bool) -> Result<PathBuf> {
    let name = directory.file_name().and_then(|name| name.to_str()).context("no name")?;
    let (_, rest) = name.split_once('-').context("no date")?;
    let ending = rest.rsplit('-').next().unwrap_or_default();
    let rest = if old { format!("demo-{ending}") } else { rest.to_owned() };
    let dated = directory.with_file_name(format!("{date}T000000-{rest}"));
    fs::rename(directory, &dated)?;
    let record = dated.join("record.json");
    let mut value: Value = serde_json::from_slice(&fs::read(&record)?)?;
    let (year, day) = date.split_at(4);
    let (month, day) = day.split_at(2);
    value["started"] = format!("{year}-{month}-{day}T00:00:00Z").into();
    fs::write(record, value.to_string())?;
    Ok(dated)
}

fn json(party: &Party, arguments: &[&str]) -> Result<Value> {
    let output = party.command().args(arguments).arg("--json").output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{arguments:?}: {}: {said}", output.status);
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// All commands say that the run in `last` is the last one, and number the others before it.
fn is_last(party: &Party, last: &Path, count: usize) -> Result<()> {
    let directory = |run: &Value| PathBuf::from(run["directory"].as_str().unwrap_or_default());
    let list = json(party, &["session", "list"])?;
    ensure!(directory(&list[0]["last"]) == last, "{list}");
    let status = json(party, &["status"])?;
    ensure!(directory(&status["sessions"][0]["last"]) == last, "{status}");
    let logs = json(party, &["session", "logs", "demo"])?;
    ensure!(directory(&logs["run"]) == last && logs["run"]["number"] == count, "{logs}");
    let show = json(party, &["session", "show", "demo"])?;
    let runs = show["runs"].as_array().context("no runs")?;
    ensure!(runs.len() == count && runs.last().map(directory).as_deref() == Some(last), "{show}");
    Ok(())
}

#[test]
fn a_run_dated_by_a_wrong_clock_is_the_last_only_until_the_next() -> Result<()> {
    let network = Network::on_loopback(&["alice"])?;
    let alice = network.party("alice");
    // As versions did that knew no sequence, with a clock that was ahead.
    let old = date(&run(alice, false)?, "20991231", true)?;
    is_last(alice, &old, 1)?;
    // With one that is ahead still further, then one that is far behind, then the right one.
    let ahead = date(&run(alice, false)?, "21001231", false)?;
    is_last(alice, &ahead, 2)?;
    let behind = date(&run(alice, true)?, "20000101", false)?;
    is_last(alice, &behind, 3)?;
    let right = run(alice, false)?;
    is_last(alice, &right, 4)?;
    // Which runs these are, and their numbers, stays.
    let shown = json(alice, &["session", "show", "demo"])?;
    let shown: Vec<_> = shown["runs"].as_array().context("no runs")?.iter().collect();
    for (number, (run, directory)) in shown.iter().zip([&old, &ahead, &behind, &right]).enumerate()
    {
        ensure!(
            run["number"] == number + 1 && run["directory"].as_str() == directory.to_str(),
            "{run}"
        );
    }
    // The clock was set by 26 years while that one was made ready.
    let prepare = &shown[2]["times"][0];
    let seconds = prepare["seconds"].as_f64().context("no time")?;
    ensure!(prepare["stage"] == "prepare" && seconds > 0.0 && seconds < 100.0, "{prepare}");
    Ok(network.end()?)
}
