//! `ping`: a party that is there answers, one that is not is told of in plain words, and a run that
//! is asked goes on undisturbed.

mod certify;
mod common;

use std::process::Output;

use anyhow::{Result, ensure};
use certify::certify;
use common::{LIMIT, PATIENT, SUM, completes, demo, running, three};
use mpyc_party_lab::party::{Party, Session};
use serde_json::Value;
use time::Duration;

fn ping(party: &Party, arguments: &[&str]) -> Result<Output> {
    Ok(party.command().arg("ping").args(arguments).output()?)
}

/// Both outputs in one text.
fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned()).concat()
}

#[test]
fn a_party_in_a_run_answers_and_the_run_goes_on() -> Result<()> {
    let network = three()?;
    let mut runs = running(&network, &demo(PATIENT))?;
    let (alice, bob) = (network.party("alice"), network.party("bob"));
    let answer = ping(alice, &["bob", "--count", "3", "--json"])?;
    ensure!(answer.status.success(), "{}", said(&answer));
    let answer: Value = serde_json::from_slice(&answer.stdout)?;
    let times = answer["round_trips_s"].as_array().map_or(0, Vec::len);
    ensure!(answer["there"] == true && answer["session"] == "demo" && times == 3, "{answer}");
    let shown = ping(bob, &["carol", "--count", "1"])?;
    ensure!(shown.status.success(), "{}", said(&shown));
    ensure!(said(&shown).contains("carol answers in session demo at"), "{}", said(&shown));
    runs.iter_mut().try_for_each(|run| run.feed("1\n"))?;
    runs.into_iter().try_for_each(completes)?;
    Ok(network.end()?)
}

#[test]
fn a_party_that_waits_answers_too() -> Result<()> {
    let network = three()?;
    network.declare(&demo(SUM))?;
    let bob = network.party("bob").run("demo")?;
    bob.wait_for("waiting", LIMIT)?;
    let answer = ping(network.party("alice"), &["bob", "--count", "1"])?;
    ensure!(answer.status.success(), "{}", said(&answer));
    ensure!(!bob.said().contains("\"linked\""), "the ping was taken for alice: {}", bob.said());
    drop(bob);
    Ok(network.end()?)
}

#[test]
fn whoever_is_not_there_is_told_of_in_words() -> Result<()> {
    let mut network = three()?;
    network.declare(&demo(SUM))?;
    network.declare(&Session::new("other", SUM).parties(&["carol", "alice", "dave"]))?;
    let alice = network.party("alice");
    let absent = ping(alice, &["bob", "--wait", "1s"])?;
    ensure!(absent.status.code() == Some(1), "{}", said(&absent));
    for text in [
        "bob does not answer",
        "session demo: nothing says where it is (configuration, local network, hub): it has not",
        "ask it to start",
    ] {
        ensure!(said(&absent).contains(text), "no «{text}»: {}", said(&absent));
    }
    ensure!(!said(&absent).contains("other"), "it is not in that session: {}", said(&absent));
    let absent = ping(alice, &["carol", "--wait", "1s", "--json"])?;
    ensure!(absent.status.code() == Some(1));
    let absent: Value = serde_json::from_slice(&absent.stdout)?;
    let sessions = absent["sessions"].as_array().map_or(0, Vec::len);
    ensure!(absent["there"] == false && sessions == 2, "{absent}");

    let unknown = ping(alice, &["eve"])?;
    ensure!(unknown.status.code() == Some(1));
    ensure!(said(&unknown).contains("no session that is declared here"), "{}", said(&unknown));
    let own = ping(alice, &["alice"])?;
    ensure!(own.status.code() == Some(1) && said(&own).contains("this party itself"));
    ensure!(ping(alice, &["Bob"])?.status.code() == Some(2), "that is no name");
    ensure!(ping(alice, &["bob", "--count", "0"])?.status.code() == Some(2));

    network.kill_hub();
    let alice = network.party("alice");
    let deaf = said(&ping(alice, &["bob", "--wait", "1s"])?);
    ensure!(deaf.contains("no hub can be asked"), "{deaf}");
    ensure!(deaf.contains(&network.hub_address().to_string()), "which hub: {deaf}");
    Ok(network.end()?)
}

#[test]
fn a_party_that_slept_for_days_renews_its_certificate_first() -> Result<()> {
    let mut network = three()?;
    network.declare(&demo(SUM))?;
    let bob = network.party("bob").run("demo")?;
    bob.wait_for("waiting", LIMIT)?;
    let alice = network.party("alice");
    certify(&network, alice, Duration::days(3))?;
    let answer = ping(alice, &["bob", "--count", "1"])?;
    ensure!(answer.status.success(), "{}", said(&answer));
    drop(bob);
    certify(&network, alice, Duration::days(3))?;
    network.kill_hub();
    let told = said(&ping(network.party("alice"), &["bob", "--wait", "1s"])?);
    ensure!(told.contains("has expired, and cannot be renewed"), "{told}");
    Ok(network.end()?)
}
