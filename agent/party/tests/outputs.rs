//! Commands whose outputs cannot be written: none panics, a closed pipe ends them quietly, and
//! everything else is an error.

mod common;

use std::fs::File;
use std::io;
use std::process::{Command, Output, Stdio};

use anyhow::{Result, ensure};
use common::{SUM, completes, demo, three};
use mpyc_party_lab::party::Network;

/// What is answered on standard output.
const ANSWERS: [&[&str]; 13] = [
    &["--help"],
    &["--version"],
    &["help", "session"],
    &["status"],
    &["status", "--json"],
    &["session", "list"],
    &["session", "show", "demo"],
    &["session", "logs", "demo"],
    &["session", "export", "demo", "--output", "-"],
    &["config", "show"],
    &["completions", "bash"],
    &["python"],
    &["doctor"],
];

/// What is answered on standard error, and the exit status.
const REMARKS: [(&[&str], i32); 5] = [
    (&["peers"], 0),
    (&["config", "check"], 0),
    (&["session", "show", "nothing"], 2),
    (&["status", "--nonsense"], 2),
    (&["session", "check", "demo", "--wait", "10ms"], 1),
];

/// Three parties who have had a run.
fn network() -> Result<Network> {
    let network = three()?;
    network.declare(&demo(SUM))?;
    network.run("demo")?.into_iter().try_for_each(completes)?;
    Ok(network)
}

fn full() -> Result<Stdio> {
    Ok(File::options().write(true).open("/dev/full")?.into())
}

/// A pipe that nobody reads from any more.
fn closed() -> Result<Stdio> {
    let (_, writer) = io::pipe()?;
    Ok(writer.into())
}

/// What bob is told with these outputs.
fn outcome(network: &Network, words: &[&str], out: Stdio, err: Stdio) -> Result<Output> {
    let mut command = network.party("bob").command();
    let child = command.args(words).stdin(Stdio::null()).stdout(out).stderr(err).spawn()?;
    Ok(child.wait_with_output()?)
}

/// The lines of standard error that complain.
fn complaints(output: &Output) -> Vec<String> {
    let said = String::from_utf8_lossy(&output.stderr);
    let complains =
        |line: &&str| ["error:", "\"error\":", "panicked"].iter().any(|words| line.contains(words));
    said.lines().filter(complains).map(str::to_owned).collect()
}

#[test]
fn an_answer_that_cannot_be_written_is_an_error() -> Result<()> {
    let network = network()?;
    for words in ANSWERS {
        let output = outcome(&network, words, full()?, Stdio::piped())?;
        ensure!(output.status.code() == Some(1), "{words:?}: {output:?}");
        let complaints = complaints(&output);
        let told = "standard output cannot be written: No space left on device";
        ensure!(complaints.len() == 1 && complaints[0].contains(told), "{words:?}: {output:?}");
    }
    Ok(network.end()?)
}

#[test]
fn who_has_read_enough_hears_no_complaint() -> Result<()> {
    let network = network()?;
    for words in ANSWERS {
        let usual = outcome(&network, words, Stdio::null(), Stdio::piped())?;
        let output = outcome(&network, words, closed()?, Stdio::piped())?;
        ensure!(output.status == usual.status, "{words:?}: {output:?}");
        ensure!(complaints(&output).is_empty(), "{words:?}: {output:?}");
    }
    Ok(network.end()?)
}

#[test]
fn a_remark_that_cannot_be_written_is_no_panic() -> Result<()> {
    let network = network()?;
    for (words, status) in REMARKS {
        let output = outcome(&network, words, Stdio::null(), closed()?)?;
        ensure!(output.status.code() == Some(status), "{words:?}: {output:?}");
        let output = outcome(&network, words, Stdio::null(), full()?)?;
        ensure!(output.status.code() == Some(status.max(1)), "{words:?}: {output:?}");
    }
    Ok(network.end()?)
}

#[test]
fn closed_descriptors_are_no_panic() -> Result<()> {
    let network = network()?;
    let plain = network.party("bob").command();
    for words in ANSWERS.into_iter().chain(REMARKS.map(|(words, _)| words)) {
        let mut shell = Command::new("sh");
        shell.args(["-c", "exec \"$@\" <&- >&- 2>&-", "sh"]);
        shell.arg(plain.get_program()).args(plain.get_args()).args(words);
        shell.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let status = shell.status()?;
        ensure!(status.code().is_some_and(|code| code <= 2), "{words:?}: {status}");
    }
    Ok(network.end()?)
}
