//! Guarantee 4, bounded waiting: whatever happens to one party, every other has a verdict that
//! names it in time, and nothing is left running.

mod common;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use common::{
    ENDLESS, LIMIT, NAMES, SUM, all_blame, blames, completes, demo, fails, run_by_way_of, running,
    three,
};
use mpyc_party_lab::party::Network;
use rustix::process::Signal;
use serde_json::json;

const GRACE: Duration = Duration::from_secs(3);

#[test]
fn a_missing_party_is_named_at_the_deadline() -> Result<()> {
    let (network, deadline) = (three()?, Duration::from_secs(5));
    network.declare(&demo(SUM).deadline(deadline))?;
    let mut runs = vec![network.party("alice").run("demo")?, network.party("bob").run("demo")?];
    for run in &runs {
        run.wait_for("waiting", LIMIT)?;
    }
    let due = Instant::now() + deadline;
    let outcomes = all_blame(&mut runs, due, &["carol"], "missing")?;
    ensure!(outcomes[0].failure()["stage"] == "find");
    drop(runs);
    Ok(network.end()?)
}

/// The fault is injected into the real binary, see `transport/src/task/fault.rs`.
#[cfg(debug_assertions)]
#[test]
fn a_presence_at_a_hub_that_fails_begins_anew() -> Result<()> {
    let network = three()?;
    network.declare(&demo(SUM))?;
    let mut with_fault = Command::new("env");
    let fault = format!("MPYC_PARTY_FAULT=panic presence at hub {}", network.hub_address());
    with_fault.arg(fault);
    let bob = run_by_way_of(with_fault, network.party("bob"))?;
    let says = |text: &str| -> Result<()> {
        let begun = Instant::now();
        while !bob.said().contains(text) {
            ensure!(begun.elapsed() < LIMIT, "bob does not say «{text}»: {}", bob.said());
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    };
    says("sees this party at")?;
    bob.runner()?.signal(Signal::USR1)?;
    says("panicked: injected")?;
    let others = [network.party("alice").run("demo")?, network.party("carol").run("demo")?];
    says("the discovery «hub» failed, and begins anew")?;
    others.into_iter().try_for_each(completes)?;
    completes(bob)?;
    Ok(network.end()?)
}

#[test]
fn a_runner_that_was_stopped_and_goes_on_names_nobody_else() -> Result<()> {
    let network = three()?;
    let mut runs = running(&network, &demo(ENDLESS).grace(GRACE))?;
    let mut bob = runs.remove(1);
    bob.runner()?.signal(Signal::STOP)?;
    all_blame(&mut runs, Instant::now() + GRACE, &["bob"], "silent")?;
    bob.runner()?.signal(Signal::CONT)?;
    blames(&mut bob, Instant::now() + GRACE, &["bob"], "silent")?;
    Ok(network.end()?)
}

#[test]
fn a_runner_that_stood_still_for_about_the_grace_time_names_nobody_else() -> Result<()> {
    let little = Duration::from_millis(100);
    for still in [GRACE - little * 3, GRACE + little * 2, GRACE + little * 6] {
        let network = three()?;
        let runs = running(&network, &demo(ENDLESS).grace(GRACE))?;
        runs[0].runner()?.signal(Signal::STOP)?;
        std::thread::sleep(still);
        runs[0].runner()?.signal(Signal::CONT)?;
        // It may be in time, and the run goes on.
        std::thread::sleep(GRACE + common::BOUND);
        for run in &runs {
            let events = run.events().into_iter().map(|(_, event)| event);
            let verdicts: Vec<_> = events.filter(|event| event["event"] == "ended").collect();
            let fair =
                verdicts.iter().all(|event| event["verdict"]["failed"]["who"] == json!(["alice"]));
            ensure!(fair, "{still:?}: {}: {verdicts:?}\n{}", run.party(), run.said());
        }
        drop(runs);
        network.end()?;
    }
    Ok(())
}

#[test]
fn a_runner_that_stands_still_again_and_again_names_who_is_gone() -> Result<()> {
    let network = Network::on_loopback(&NAMES[..2])?;
    let two = demo(ENDLESS).parties(&NAMES[..2]).set("allow-no-privacy", "true");
    let mut runs = running(&network, &two.grace(GRACE))?;
    runs[1].runner()?.signal(Signal::KILL)?;
    let (still, awake) = (Duration::from_millis(1300), Duration::from_millis(700));
    let alice = &mut runs[0];
    let mut listened = Duration::ZERO;
    while !alice.events().iter().any(|(_, event)| event["event"] == "ended") {
        ensure!(listened <= GRACE + common::BOUND, "no verdict: {}", alice.said());
        alice.runner()?.signal(Signal::STOP)?;
        std::thread::sleep(still);
        alice.runner()?.signal(Signal::CONT)?;
        std::thread::sleep(awake);
        listened += awake;
    }
    blames(alice, Instant::now(), &["bob"], "lost")?;
    drop(runs);
    Ok(network.end()?)
}

#[test]
fn a_runner_that_stood_still_at_its_deadline_calls_nobody_missing() -> Result<()> {
    let (network, deadline) = (three()?, Duration::from_secs(15));
    network.declare(&demo(SUM).deadline(deadline))?;
    let alice = network.party("alice").run("demo")?;
    alice.wait_for("waiting", LIMIT)?;
    alice.runner()?.signal(Signal::STOP)?;
    std::thread::sleep(deadline - Duration::from_secs(4));
    let others = [network.party("bob").run("demo")?, network.party("carol").run("demo")?];
    std::thread::sleep(Duration::from_secs(5));
    alice.runner()?.signal(Signal::CONT)?;
    completes(alice)?;
    others.into_iter().try_for_each(completes)?;
    Ok(network.end()?)
}

#[test]
fn who_has_finished_names_only_the_party_that_fell_silent() -> Result<()> {
    let network = three()?;
    let alone = ENDLESS.replace("while True:", "while mpc.pid > 0:");
    let alone = alone.replace("    mpc.run(mpc.output(mpc.sum(mpc.input(secint(mpc.pid)))))\n", "");
    let runs = running(&network, &demo(&alone).grace(GRACE))?;
    // Long enough for all to know that alice is done.
    std::thread::sleep(Duration::from_secs(1));
    runs[1].runner()?.signal(Signal::STOP)?;
    let due = Instant::now() + GRACE;
    for at in [0, 2] {
        let outcome = runs[at].verdict(LIMIT)?;
        ensure!(outcome.at <= due + common::BOUND, "late: {}", outcome.text);
        ensure!(outcome.who() == ["bob"], "{}: {}", runs[at].party(), outcome.text);
    }
    drop(runs);
    Ok(network.end()?)
}

#[test]
fn a_late_party_is_waited_for() -> Result<()> {
    let network = three()?;
    network.declare(&demo(SUM))?;
    let early = [network.party("bob").run("demo")?, network.party("carol").run("demo")?];
    for run in &early {
        run.wait_for("linked", LIMIT)?;
    }
    completes(network.party("alice").run("demo")?)?;
    early.into_iter().try_for_each(completes)?;
    Ok(network.end()?)
}

#[test]
fn a_killed_mpyc_is_reported_by_its_runner() -> Result<()> {
    let network = three()?;
    let mut runs = running(&network, &demo(ENDLESS))?;
    runs[1].payload()?.signal(Signal::KILL)?;
    let outcomes = all_blame(&mut runs, Instant::now(), &["bob"], "ended")?;
    for outcome in outcomes {
        ensure!(outcome.failure()["reason"]["ended"]["signal"] == 9, "{}", outcome.text);
        ensure!(outcome.failure()["observer"] == "bob", "{}", outcome.text);
    }
    ensure!(network.party("bob").record()["exit"]["signal"] == 9);
    Ok(network.end()?)
}

#[test]
fn a_killed_runner_takes_its_sandbox_along_and_is_named_by_the_others() -> Result<()> {
    let network = three()?;
    // Asleep, it does not notice by itself that its runner is gone.
    let asleep =
        ENDLESS.replace("while True:\n", "while True:\n    if mpc.pid == 1: time.sleep(600)\n");
    let mut runs = running(&network, &demo(&asleep).grace(GRACE))?;
    let mut bob = runs.remove(1);
    let payload = bob.payload()?;
    let killed = Instant::now();
    bob.runner()?.signal(Signal::KILL)?;
    // It could have been an outage: the others wait for it to come back.
    for outcome in all_blame(&mut runs, killed + GRACE, &["bob"], "lost")? {
        ensure!(outcome.at - killed >= GRACE - Duration::from_secs(1), "{}", outcome.text);
    }
    bob.exit(LIMIT)?;
    let begun = Instant::now();
    while payload.runs() {
        ensure!(begun.elapsed() < LIMIT, "the MPyC of a killed runner still runs");
        std::thread::yield_now();
    }
    Ok(network.end()?)
}

#[test]
fn a_frozen_mpyc_is_reported_by_its_runner() -> Result<()> {
    let network = three()?;
    let mut runs = running(&network, &demo(ENDLESS))?;
    runs[1].payload()?.signal(Signal::STOP)?;
    all_blame(&mut runs, Instant::now(), &["bob"], "frozen")?;
    Ok(network.end()?)
}

#[test]
fn a_frozen_runner_is_named_after_the_grace_time() -> Result<()> {
    let network = three()?;
    let mut runs = running(&network, &demo(ENDLESS).grace(GRACE))?;
    let mut bob = runs.remove(1);
    let (since, runner) = (Instant::now(), bob.runner()?);
    runner.signal(Signal::STOP)?;
    for outcome in all_blame(&mut runs, since + GRACE, &["bob"], "silent")? {
        ensure!(outcome.at - since >= GRACE - Duration::from_secs(1), "{}", outcome.text);
    }
    // Awake again, it finds itself alone, and knows why.
    runner.signal(Signal::CONT)?;
    let outcome = fails(&mut bob, Instant::now() + GRACE)?;
    ensure!(outcome.who() == ["bob"], "{}\n{}", outcome.text, bob.said());
    Ok(network.end()?)
}

#[test]
fn a_program_that_ends_with_an_error_ends_the_run() -> Result<()> {
    let network = three()?;
    let failing = format!("import sys\n{ENDLESS}")
        .replace("while True:\n", "while True:\n    if mpc.pid == 1: print('now'); sys.exit(3)\n");
    let mut runs = running(&network, &demo(&failing))?;
    runs[1].wait_for_line("now", LIMIT)?;
    for outcome in all_blame(&mut runs, Instant::now(), &["bob"], "ended")? {
        ensure!(outcome.failure()["reason"]["ended"]["status"] == 3, "{}", outcome.text);
    }
    ensure!(network.party("bob").record()["exit"]["status"] == 3);
    Ok(network.end()?)
}

#[test]
fn a_program_that_raises_ends_the_run_and_its_log_says_why() -> Result<()> {
    let network = three()?;
    let failing = ENDLESS.replace(
        "while True:\n",
        "while True:\n    if mpc.pid == 2: print('now'); raise ValueError('the reason why')\n",
    );
    let mut runs = running(&network, &demo(&failing))?;
    runs[2].wait_for_line("now", LIMIT)?;
    for outcome in all_blame(&mut runs, Instant::now(), &["carol"], "ended")? {
        ensure!(outcome.failure()["reason"]["ended"]["status"] == 1, "{}", outcome.text);
    }
    let log = network.party("carol").runs().pop().map(|run| run.join("log.txt"));
    let log = fs::read_to_string(log.unwrap_or_default())?;
    ensure!(log.contains("ValueError: the reason why"), "{log}");
    Ok(network.end()?)
}

#[test]
fn a_stopped_runner_says_so_to_all() -> Result<()> {
    for signal in [Signal::TERM, Signal::INT] {
        let network = three()?;
        let mut runs = running(&network, &demo(ENDLESS))?;
        runs[2].runner()?.signal(signal)?;
        all_blame(&mut runs, Instant::now(), &["carol"], "stopped")?;
        drop(runs);
        network.end()?;
    }
    Ok(())
}

#[test]
fn a_runner_stopped_while_it_waits_says_so_too() -> Result<()> {
    let network = three()?;
    network.declare(&demo(SUM))?;
    let mut runs = vec![network.party("alice").run("demo")?, network.party("bob").run("demo")?];
    for run in &runs {
        run.wait_for("linked", LIMIT)?;
    }
    runs[0].runner()?.signal(Signal::TERM)?;
    all_blame(&mut runs, Instant::now(), &["alice"], "stopped")?;
    Ok(network.end()?)
}

#[test]
fn a_program_that_writes_without_end_is_stopped() -> Result<()> {
    let network = three()?;
    let talkative = ENDLESS.replace(
        "while True:\n",
        "while True:\n    if mpc.pid == 1: print('x' * 1000 * 1000); print('nearly')\n",
    );
    let mut runs = running(&network, &demo(&talkative).set("output", "1"))?;
    runs[1].wait_for_line("nearly", LIMIT)?;
    all_blame(&mut runs, Instant::now(), &["bob"], "output-limit")?;
    let kept = network.party("bob").runs().pop().map(|run| run.join("output.txt"));
    ensure!(fs::metadata(kept.unwrap_or_default())?.len() <= 1 << 20, "more was kept");
    Ok(network.end()?)
}

#[test]
fn a_threshold_without_privacy_must_be_meant() -> Result<()> {
    let network = Network::on_loopback(&["alice", "bob"])?;
    let two = demo(SUM).parties(&["alice", "bob"]);
    network.declare(&two)?;
    for mut run in network.run("demo")? {
        ensure!(run.exit(LIMIT)?.code() == Some(2), "{}", run.said());
        ensure!(run.said().contains("allow-no-privacy = true"), "{}", run.said());
    }
    network.declare(&two.set("allow-no-privacy", "true"))?;
    network.run("demo")?.into_iter().try_for_each(completes)?;
    Ok(network.end()?)
}

#[test]
fn one_party_alone_is_not_believed_to_be_all() -> Result<()> {
    let (network, deadline) = (three()?, Duration::from_secs(2));
    network.declare(&demo(SUM).deadline(deadline))?;
    let mut run = network.party("bob").run("demo")?;
    run.wait_for("waiting", LIMIT)?;
    blames(&mut run, Instant::now() + deadline, &["alice", "carol"], "missing")?;
    Ok(network.end()?)
}

#[test]
fn a_party_outside_the_roster_is_told_so() -> Result<()> {
    let network = three()?;
    let session = demo(SUM).parties(&["alice", "bob", "dave"]);
    network.declare(&session)?;
    let mut run = network.party("carol").run("demo")?;
    ensure!(run.exit(LIMIT)?.code() == Some(1), "{}", run.said());
    ensure!(
        run.said().contains("this party is «carol», who is not among the parties"),
        "{}",
        run.said()
    );
    Ok(network.end()?)
}

#[test]
fn a_runner_without_descriptors_says_so_and_leaves_a_verdict() -> Result<()> {
    let network = three()?;
    network.declare(&demo(SUM))?;
    let alice = network.party("alice");
    for limit in [5, 9, 12, 16, 20, 24, 32] {
        let mut limited = Command::new("sh");
        limited.args(["-c", "ulimit -n $0; exec \"$@\"", &limit.to_string()]);
        let mut run = run_by_way_of(limited, alice)?;
        ensure!(run.exit(LIMIT)?.code() == Some(1), "{limit}: {}", run.said());
        for told in ["Too many open files", "Let it open more files"] {
            ensure!(run.said().contains(told), "{limit}: {}", run.said());
        }
        // A sandbox is not to be done without for that.
        ensure!(!run.said().contains("best-effort"), "{limit}: {}", run.said());
    }
    let records = alice.runs().into_iter().map(|run| run.join("record.json"));
    let records: Vec<PathBuf> = records.filter(|record| record.exists()).collect();
    ensure!(records.len() > 2, "hardly a run began");
    for record in records {
        let text = fs::read_to_string(record)?;
        let told: serde_json::Value = serde_json::from_str(&text)?;
        ensure!(told["verdict"]["failed"]["stage"] == "prepare", "{text}");
    }
    Ok(network.end()?)
}
