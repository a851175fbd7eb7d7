//! What a process inherits from whoever starts it, and did not choose: signals that are ignored, and low
//! limits. What starts the binary is a shell or `env`, as elsewhere; the limits are those of the shell.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};
use common::{ENDLESS, LIMIT, SUM, completes, demo, run_by_way_of, running, three};
use rustix::process::Signal;

/// Runs what is added to it with signals ignored, or with other limits.
fn way(words: &[&str]) -> Command {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    command
}

/// Runs what is added to it after `limit`.
fn limited(limit: &str) -> Command {
    way(&["sh", "-c", &format!("{limit}; exec \"$0\" \"$@\"")])
}

#[test]
fn ignored_signals_are_no_hindrance() -> Result<()> {
    let network = three()?;
    network.declare(&demo(SUM))?;
    for signals in ["--ignore-signal=CHLD", "--ignore-signal=CHLD,HUP,PIPE,XFSZ"] {
        let runs = network.parties().iter().map(|it| run_by_way_of(way(&["env", signals]), it));
        for run in runs.collect::<Result<Vec<_>>>()? {
            run.wait_for_line("sum 3", LIMIT)?;
            completes(run)?;
        }
    }
    // Python is asked anew where nothing is remembered.
    let alice = network.party("alice");
    let cache = alice.directory().join("other-cache");
    let mut python = way(&["env", "--ignore-signal=CHLD"]);
    let command = alice.command();
    python.arg(command.get_program()).args(command.get_args()).arg("python");
    python.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = python.env("XDG_CACHE_HOME", cache).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(network.end()?)
}

#[test]
fn under_nohup_a_run_outlives_its_terminal() -> Result<()> {
    let network = three()?;
    network.declare(&demo(ENDLESS))?;
    let run = run_by_way_of(way(&["nohup"]), network.party("alice"))?;
    let others = ["bob", "carol"].map(|name| network.party(name).run("demo"));
    run.wait_for_line("running", LIMIT)?;
    let runner = run.runner()?;
    runner.signal(Signal::HUP)?;
    sleep(Duration::from_secs(1));
    ensure!(
        runner.runs() && run.events().iter().all(|(_, it)| it["event"] != "ended"),
        "{}",
        run.said()
    );
    runner.signal(Signal::TERM)?;
    for run in [Ok(run)]
        .into_iter()
        .chain(others.into_iter().map(|it| it.map_err(Into::into)))
        .collect::<Result<Vec<_>>>()?
    {
        ensure!(run.verdict(LIMIT)?.reason() == "stopped", "{}", run.said());
    }
    Ok(network.end()?)
}

#[test]
fn without_nohup_a_closed_terminal_ends_a_run() -> Result<()> {
    let network = three()?;
    let mut runs = running(&network, &demo(ENDLESS))?;
    runs[0].runner()?.signal(Signal::HUP)?;
    for run in &mut runs {
        ensure!(run.verdict(LIMIT)?.reason() == "stopped", "{}", run.said());
    }
    Ok(network.end()?)
}

/// Writes more than the limit of the shell, in blocks of 512 bytes, lets a file have.
const WRITES: &str = "
from mpyc.runtime import mpc
mpc.run(mpc.start())
for number in range(4000):
    print('line', number)
print('written', flush=True)
mpc.run(mpc.shutdown())
";

#[test]
fn a_limit_on_files_ends_in_a_verdict() -> Result<()> {
    let network = three()?;
    network.declare(&demo(WRITES))?;
    for blocks in [0, 2, 16, 64] {
        let limit = limited(&format!("ulimit -f {blocks}"));
        let mut run = run_by_way_of(limit, network.party("alice"))?;
        let others: Vec<_> =
            ["bob", "carol"].iter().map(|name| network.party(name).run("demo")).collect();
        let status = run.exit(LIMIT)?;
        ensure!(status.code() == Some(1), "{blocks}: {status}: {}", run.said());
        for word in ["File too large", "ulimit -f"] {
            ensure!(run.said().contains(word), "{blocks}: no «{word}»: {}", run.said());
        }
        for run in others {
            let run = run?;
            run.runner()?.signal(Signal::TERM)?;
        }
    }
    Ok(network.end()?)
}

#[test]
fn other_low_limits_are_named() -> Result<()> {
    let network = three()?;
    network.declare(&demo(SUM).deadline(Duration::from_secs(3)))?;
    let alice = network.party("alice");
    for limit in ["ulimit -v 100000", "ulimit -v 300000"] {
        let mut run = run_by_way_of(limited(limit), alice)?;
        let status = run.exit(LIMIT)?;
        ensure!(status.code() == Some(1), "{limit}: {status}: {}", run.said());
        for word in ["ulimit -v", "MiB of address space"] {
            ensure!(run.said().contains(word), "{limit}: no «{word}»: {}", run.said());
        }
    }
    network.declare(&demo(SUM))?;
    let runs = network.parties().iter().map(|it| run_by_way_of(limited("ulimit -n 64"), it));
    for run in runs.collect::<Result<Vec<_>>>()? {
        completes(run)?;
    }
    Ok(network.end()?)
}

/// The kernel limits the processes of root by nothing: this needs root to become somebody else.
#[test]
fn a_limit_on_processes_is_named() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED, nothing is tested: root alone can become a user without processes");
        return Ok(());
    }
    let directory = tempfile::tempdir()?;
    let place = |name: &str| directory.path().join(name);
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755))?;
    std::fs::create_dir(place("home"))?;
    std::os::unix::fs::chown(place("home"), Some(UNUSED_USER), Some(UNUSED_USER))?;
    std::fs::copy(mpyc_party_lab::mpyc_party()?, place("mpyc-party"))?;
    for processes in 0..4 {
        let user = UNUSED_USER.to_string();
        let mut command = way(&["setpriv", "--reuid", &user, "--regid", &user, "--clear-groups"]);
        let script = format!("ulimit -u {processes}; exec \"$0\" \"$@\"");
        command.args(["bash", "-c", &script]).arg(place("mpyc-party"));
        command.arg("--state").arg(place("home/state")).arg("python");
        let output = command.env("HOME", place("home")).current_dir("/").output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            matches!(output.status.code(), Some(1 | 2)),
            "{processes}: {}: {said}",
            output.status
        );
        ensure!(said.contains("ulimit -u"), "{processes}: {said}");
    }
    Ok(())
}

/// A user that is nobody here.
const UNUSED_USER: u32 = 64123;

/// The hub, the parties and what the demo does with them, each of which inherits it.
#[test]
fn ignored_signals_are_no_hindrance_to_hub_and_parties() -> Result<()> {
    let home = tempfile::tempdir()?;
    let config = home.path().join("config.toml");
    let interpreter = mpyc_party_lab::python();
    std::fs::write(&config, format!("[python]\ninterpreter = {interpreter:?}\n"))?;
    let mut command = way(&["env", "--ignore-signal=CHLD,HUP"]);
    command.arg(mpyc_party_lab::mpyc_party()?).arg("--config").arg(config);
    command.args(["demo", "--program"]);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../../programs/secret_santa.py"));
    let output = command.env("HOME", home.path()).output()?;
    let said = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
    ensure!(output.status.success() && said.contains("all parties completed"), "{said}");
    Ok(())
}
