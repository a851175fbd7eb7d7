//! Whoever waits is told for what: for a party that is missing, for one that prepares, or for a person at
//! a program's prompt. Nobody is ever accused for it.

mod common;

use std::fs::File;
use std::io::Read;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use common::{LIMIT, SUM, completes, demo, terminal, three};
use mpyc_party_lab::party::{Party, Run};
use serde_json::{Value, json};

const GRACE: Duration = Duration::from_secs(3);
/// How long the person at bob's program takes.
const THOUGHT: Duration = Duration::from_secs(10);
/// Far longer than it takes until the others are shown what somebody waits for.
const SHOWN_AFTER: Duration = Duration::from_secs(10);

/// Bob's program reads a line, and then all compute for a while.
const ASKING: &str = "
import time
from mpyc.runtime import mpc
secint = mpc.SecInt()
mpc.run(mpc.start())
print('running')
number = int(input('number? ')) if mpc.pid == 1 else 1
for _ in range(60):
    total = mpc.run(mpc.output(mpc.sum(mpc.input(secint(number)))))
    time.sleep(0.1)
print('sum', total)
mpc.run(mpc.shutdown())
";

/// What `mpyc-party` with these arguments says.
fn asks(party: &Party, arguments: &[&str]) -> Result<String> {
    let output = party.command().args(arguments).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// What the run of `party` shows of itself in `status`.
fn status(party: &Party) -> Result<Value> {
    let status: Value = serde_json::from_str(&asks(party, &["status", "--json"])?)?;
    Ok(status["running"][0]["now"].clone())
}

/// What `peer` waits for, as `status` shows it at `party`.
fn waits_of(party: &Party, peer: &str) -> Result<Value> {
    let now = status(party)?;
    let peers = now["peers"].as_array().with_context(|| format!("no peers: {now}"))?;
    let found = peers.iter().find(|one| one["party"] == peer);
    Ok(found.with_context(|| format!("no {peer}: {now}"))?["waits"].clone())
}

/// Waits for the event that `party` waits for this.
fn told(run: &Run, party: &str, waits: &Value) -> Result<(Instant, Value)> {
    let what = format!("{party} waits for {waits}");
    Ok(run.wait_until(&what, SHOWN_AFTER, |event| {
        event["event"] == "waits" && event["party"] == party && event["waits"] == *waits
    })?)
}

/// What is waited for where these parties are.
fn parties(names: &[&str]) -> Value {
    json!({"parties": {"names": names, "more": 0}})
}

#[test]
fn a_program_at_its_prompt_is_shown_to_all_and_accused_by_nobody() -> Result<()> {
    let network = three()?;
    let mut runs = common::running(&network, &demo(ASKING).grace(GRACE))?;
    let begun = Instant::now();
    for run in &runs {
        let (_, event) = told(run, "bob", &json!("answer"))?;
        ensure!(event["text"] == "bob's program waits for an answer at its prompt", "{event}");
    }
    let carol = network.party("carol");
    ensure!(waits_of(carol, "bob")? == "answer", "{}", status(carol)?);
    ensure!(waits_of(carol, "alice")? == "nothing", "{}", status(carol)?);
    ensure!(status(network.party("bob"))?["waits"] == "answer", "bob's own");
    for command in [&["status"][..], &["peers"], &["peers", "--json"]] {
        let shown = asks(carol, command)?;
        let words = shown.contains("bob's program waits for an answer at its prompt");
        ensure!(words || shown.contains("\"waits\": \"answer\""), "{command:?}:\n{shown}");
    }
    // Longer than any rule about silence waits.
    sleep(THOUGHT.saturating_sub(begun.elapsed()));
    ensure!(waits_of(carol, "bob")? == "answer", "{}", status(carol)?);
    runs[1].feed("5\n")?;
    for run in &runs {
        let (_, event) = told(run, "bob", &json!("nothing"))?;
        ensure!(event["text"] == "bob's program has its answer", "{event}");
    }
    ensure!(waits_of(carol, "bob")? == "nothing", "{}", status(carol)?);
    for run in runs {
        let away = run.events().iter().any(|(_, event)| event["event"] == "away");
        ensure!(!away, "{}: {}", run.party(), run.said());
        // Bob's stands behind the prompt.
        let sum =
            |event: &Value| event["line"].as_str().is_some_and(|line| line.ends_with("sum 7"));
        run.wait_until("sum 7", LIMIT, sum)?;
        completes(run)?;
    }
    Ok(network.end()?)
}

#[test]
fn a_program_whose_input_is_closed_asks_nobody() -> Result<()> {
    let network = three()?;
    let program = ASKING.replace("input('number? ')", "(sys.stdin.read() or 5)");
    let program = format!("import sys\n{program}");
    network.declare(&demo(&program).grace(GRACE))?;
    let mut runs = network.run("demo")?;
    runs.iter_mut().try_for_each(|run| run.feed(""))?;
    for run in runs {
        run.verdict(LIMIT)?;
        ensure!(!run.said().contains("answer"), "{}", run.said());
        completes(run)?;
    }
    Ok(network.end()?)
}

#[test]
fn who_waits_for_whom_is_told_by_each_to_each() -> Result<()> {
    let network = three()?;
    network.declare(&demo(SUM))?;
    let (alice, bob) = (network.party("alice"), network.party("bob"));
    let runs = [alice.run("demo")?, bob.run("demo")?];
    for (run, peer) in runs.iter().zip(["bob", "alice"]) {
        let (_, event) = told(run, peer, &parties(&["carol"]))?;
        ensure!(event["text"] == format!("{peer} waits for carol"), "{event}");
    }
    ensure!(waits_of(alice, "bob")? == parties(&["carol"]), "{}", status(alice)?);
    ensure!(waits_of(alice, "carol")? == "nothing", "she is not there");
    ensure!(status(alice)?["waits"] == parties(&["carol"]), "{}", status(alice)?);
    let shown = asks(alice, &["status"])?;
    ensure!(shown.contains("no link to carol; bob waits for carol"), "{shown}");
    let carol = network.party("carol").run("demo")?;
    runs.into_iter().chain([carol]).try_for_each(completes)?;
    Ok(network.end()?)
}

/// `session run demo` as a person starts it; killed when dropped.
struct Shown {
    runner: Child,
    text: Arc<Mutex<String>>,
}

impl Shown {
    /// On a terminal, or with standard error in a pipe.
    fn of(party: &Party, on_terminal: bool) -> Result<Self> {
        let mut command = party.command();
        command.args(["session", "run", "demo"]).env("TERM", "xterm").stdin(Stdio::null());
        let mut shown: File = if on_terminal {
            let (master, terminal) = terminal()?;
            command.stdout(terminal.try_clone()?).stderr(terminal);
            master.into()
        } else {
            let (reader, writer) = std::io::pipe()?;
            command.stdout(Stdio::null()).stderr(writer);
            std::os::fd::OwnedFd::from(reader).into()
        };
        let (runner, text) = (command.spawn()?, Arc::<Mutex<String>>::default());
        let kept = Arc::clone(&text);
        spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = shown.read(&mut piece) {
                let text = String::from_utf8_lossy(&piece[..length]);
                kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push_str(&text);
            }
        });
        Ok(Self { runner, text })
    }

    fn text(&self) -> String {
        self.text.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    fn wait_for(&self, what: &str, found: impl Fn(&str) -> bool) -> Result<()> {
        let begun = Instant::now();
        while !found(&self.text()) {
            ensure!(begun.elapsed() < LIMIT, "no {what}: {:?}", self.text());
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        // It may have ended, which is as good.
        let _ = self.runner.kill();
        let _ = self.runner.wait();
    }
}

/// The lines that a terminal shows which was written this.
fn screen(text: &str) -> Vec<String> {
    let (mut lines, mut line, mut column, mut styled) = (Vec::new(), Vec::new(), 0_usize, false);
    for c in text.chars() {
        match c {
            _ if styled => styled = c != 'm',
            '\u{1b}' => styled = true,
            '\n' => lines.push(std::mem::take(&mut line)),
            '\r' => column = 0,
            '\u{8}' => column = column.saturating_sub(1),
            c => {
                line.resize(line.len().max(column + 1), ' ');
                line[column] = c;
                column += 1;
            }
        }
    }
    lines.push(line);
    lines.iter().map(|line| line.iter().collect::<String>().trim_end().to_owned()).collect()
}

#[test]
fn a_terminal_counts_down_on_one_line_and_says_who_is_waited_for() -> Result<()> {
    let network = three()?;
    network.declare(&demo(SUM).deadline(Duration::from_secs(100)))?;
    let mut alice = Shown::of(network.party("alice"), true)?;
    // The same line again and again, about once a second.
    let counts = |waits: &'static str| {
        move |text: &str| {
            let shown = |left: &u64| {
                text.contains(&format!("\r· waiting, {}:{:02} left; {waits}", left / 60, left % 60))
            };
            let times: Vec<u64> = (0..100).filter(shown).collect();
            times.windows(4).any(|four| four[3] - four[0] < 6)
        }
    };
    // Nobody is there who would say anything.
    alice.wait_for("countdown", counts("missing: bob, carol"))?;
    let bob = network.party("bob").run("demo")?;
    alice.wait_for("another", counts("missing: carol; bob waits for carol"))?;
    let carol = network.party("carol").run("demo")?;
    alice.wait_for("end", |text| text.contains("completed"))?;
    ensure!(alice.runner.wait()?.success(), "{:?}", alice.text());
    [bob, carol].into_iter().try_for_each(completes)?;
    // What was on the line gave way to all others, and is gone now. Nothing else told the same.
    let lines = screen(&alice.text());
    for once in ["· linked to bob (direct, TCP), still missing: carol", "│ sum 3", "✓ completed"]
    {
        ensure!(lines.iter().filter(|line| *line == once).count() == 1, "{once}: {lines:#?}");
    }
    ensure!(!alice.text().contains("alice"), "by her own name: {:?}", alice.text());
    for never in ["waiting", "waits", "prepares"] {
        ensure!(!lines.iter().any(|line| line.contains(never)), "{never}: {lines:#?}");
    }
    let shown = alice.text();
    let running = shown.split_once("running after").context("it does not run")?.1;
    ensure!(!running.contains("waiting"), "{running:?}");
    Ok(network.end()?)
}

#[test]
fn a_log_has_a_line_for_each_change_and_no_countdown() -> Result<()> {
    let network = three()?;
    network.declare(&demo(SUM))?;
    let mut alice = Shown::of(network.party("alice"), false)?;
    let bob = network.party("bob").run("demo")?;
    alice.wait_for("bob", |text| text.contains("bob waits for carol"))?;
    sleep(Duration::from_secs(3));
    let carol = network.party("carol").run("demo")?;
    [bob, carol].into_iter().try_for_each(completes)?;
    ensure!(alice.runner.wait()?.success(), "{}", alice.text());
    alice.wait_for("end", |text| text.contains("completed"))?;
    let shown = alice.text();
    ensure!(shown.matches("bob waits for carol\n").count() == 1, "{shown}");
    ensure!(shown.matches("linked to bob (direct, TCP)").count() == 1, "{shown}");
    ensure!(!shown.contains("the link to bob is"), "said twice: {shown}");
    ensure!(!shown.contains("waiting,") && !shown.contains('\r'), "{shown}");
    Ok(network.end()?)
}
