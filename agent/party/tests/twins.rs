//! Two machines with one party's key, from a cloned disk or a copy that was put back: the others say so
//! at once, and accuse nobody else.

mod common;

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use common::{BOUND, ENDLESS, LIMIT, all_blame, blames, demo, running, three};
use mpyc_party_lab::party::{Network, Party, Run, Session};
use rustix::process::Signal;

/// A second machine with the identity of `name` and `session`.
fn twin(network: &Network, name: &str, session: &Session) -> Result<Party> {
    let twin = network.newcomer(&format!("copy-of-{name}"))?;
    let copied = Command::new("cp")
        .args(["--recursive", "--no-target-directory"])
        .args([network.party(name).state(), twin.state()])
        .status()?;
    ensure!(copied.success(), "the state is not copied");
    twin.declare(session)?;
    Ok(twin)
}

/// Everybody names the party that is `doubled` in time, its `second` instance included.
fn all_are_told(runs: &mut [Run], mut second: Run, begun: Instant, doubled: &str) -> Result<()> {
    all_blame(runs, begun + BOUND, &[doubled], "twice")?;
    ensure!(second.verdict(LIMIT)?.who() == [doubled], "{}", second.said());
    second.exit(LIMIT)?;
    Ok(())
}

#[test]
fn two_of_one_party_at_the_start_are_told_so() -> Result<()> {
    let (network, session) = (three()?, demo(ENDLESS));
    network.declare(&session)?;
    let twin = twin(&network, "alice", &session)?;
    let mut twins = [network.party("alice").run("demo")?, twin.run("demo")?];
    for run in &twins {
        run.wait_for("waiting", LIMIT)?;
    }
    let begun = Instant::now();
    let mut others = [network.party("bob").run("demo")?, network.party("carol").run("demo")?];
    for outcome in all_blame(&mut others, begun + BOUND, &["alice"], "twice")? {
        ensure!(outcome.text.contains("two machines have its key"), "{}", outcome.text);
    }
    for run in &others {
        let last = run.events().pop().context("no events")?.1;
        ensure!(last["event"] == "ended", "{last} follows the verdict");
    }
    for run in &mut twins {
        ensure!(run.verdict(LIMIT)?.who() == ["alice"], "{}", run.said());
        run.exit(LIMIT)?;
    }
    Ok(network.end()?)
}

#[test]
fn two_of_one_party_are_told_so_while_a_third_is_missing() -> Result<()> {
    // The link is chosen by the end whose name sorts first, at which a second instance has to be heard.
    for (doubled, other) in [("alice", "bob"), ("bob", "alice"), ("carol", "alice")] {
        let (network, session) = (three()?, demo(ENDLESS));
        network.declare(&session)?;
        let twin = twin(&network, doubled, &session)?;
        let mut runs = [network.party(other).run("demo")?, network.party(doubled).run("demo")?];
        for run in &runs {
            run.wait_for("link", LIMIT)?;
        }
        let begun = Instant::now();
        let second = twin.run("demo")?;
        all_are_told(&mut runs, second, begun, doubled)?;
        drop(runs);
        network.end()?;
    }
    Ok(())
}

#[test]
fn a_second_one_during_a_run_is_told_apart_from_one_that_was_started_anew() -> Result<()> {
    for doubled in ["alice", "bob", "carol"] {
        let (network, session) = (three()?, demo(ENDLESS));
        let mut runs = running(&network, &session)?;
        let twin = twin(&network, doubled, &session)?;
        let second = twin.run("demo")?;
        second.wait_for("waiting", LIMIT)?;
        let begun = Instant::now();
        all_are_told(&mut runs, second, begun, doubled)?;
        drop(runs);
        network.end()?;
    }
    Ok(())
}

#[test]
fn one_that_is_killed_and_started_anew_is_told_so_at_once_as_the_others_are() -> Result<()> {
    let network = three()?;
    let mut runs = running(&network, &demo(ENDLESS))?;
    let mut first = runs.remove(1);
    first.runner()?.signal(Signal::KILL)?;
    first.exit(LIMIT)?;
    let mut second = network.party("bob").run("demo")?;
    second.wait_for("waiting", LIMIT)?;
    let due = Instant::now() + BOUND;
    for run in runs.iter_mut().chain([&mut second]) {
        let outcome = blames(run, due, &["bob"], "lost")?;
        ensure!(outcome.text.contains("it was started anew"), "{}", outcome.text);
    }
    for run in &runs {
        let count = |name: &str, of: &str| {
            run.events().iter().filter(|(_, e)| e["event"] == name && e["party"] == of).count()
        };
        ensure!(count("back", "bob") == 0, "another is not back: {}", run.said());
        ensure!(count("link", "bob") <= 4, "again and again: {}", run.said());
    }
    drop(runs);
    Ok(network.end()?)
}
