//! What the end-to-end tests have in common: programs, and what every verdict must be like.

#![allow(dead_code, reason = "each test file uses its part of it")]

use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mpyc_party_lab::party::{Network, Outcome, Party, Run, Session};
use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// Far longer than anything here takes.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
/// The bound of guarantee 4: a verdict within this time after its cause, or after the time that
/// the cause itself may take (deadline, grace).
pub(crate) const BOUND: Duration = Duration::from_secs(5);
/// How long a process that is done waits for a reader that does not read.
pub(crate) const READER_TIMEOUT: Duration = Duration::from_secs(5);

/// The usual roster.
pub(crate) const NAMES: [&str; 3] = ["alice", "bob", "carol"];

/// Each party's index is its input; all learn the sum.
pub(crate) const SUM: &str = "
from mpyc.runtime import mpc
secint = mpc.SecInt()
mpc.run(mpc.start())
print('sum', mpc.run(mpc.output(mpc.sum(mpc.input(secint(mpc.pid))))))
mpc.run(mpc.shutdown())
";

/// Computes for ever, a round every so often.
pub(crate) const ENDLESS: &str = "
import time
from mpyc.runtime import mpc
secint = mpc.SecInt()
mpc.run(mpc.start())
print('running')
while True:
    mpc.run(mpc.output(mpc.sum(mpc.input(secint(mpc.pid)))))
    time.sleep(0.05)
";

/// Connected already, it waits for a line on standard input before it computes.
pub(crate) const PATIENT: &str = "
from mpyc.runtime import mpc
secint = mpc.SecInt()
mpc.run(mpc.start())
print('running')
number = int(input())
print('sum', mpc.run(mpc.output(mpc.sum(mpc.input(secint(number))))))
mpc.run(mpc.shutdown())
";

/// The usual three, on loopback.
pub(crate) fn three() -> Result<Network> {
    Ok(Network::on_loopback(&NAMES)?)
}

/// A session of the usual three called «demo».
pub(crate) fn demo(program: &str) -> Session {
    Session::new("demo", program).parties(&NAMES)
}

/// Starts `session` everywhere and waits until every program has written «running».
pub(crate) fn running(network: &Network, session: &Session) -> Result<Vec<Run>> {
    network.declare(session)?;
    let runs = network.run("demo")?;
    for run in &runs {
        // Why one does not get so far, another may know.
        run.wait_for_line("running", LIMIT).with_context(|| {
            let said = runs.iter().map(|run| format!("{}:\n{}", run.party(), run.said()));
            said.collect::<String>()
        })?;
    }
    Ok(runs)
}

/// Runs a program with a mount at a directory that never answers: whatever is looked up there hangs.
/// It is one of FUSE, in a mount namespace of its own, whose server says nothing. Needs `/dev/fuse`.
pub(crate) fn hanging(at: &Path) -> Command {
    const SCRIPT: &str = "exec 3<>/dev/fuse && mount -i -t fuse -o \
        fd=3,rootmode=40000,user_id=$(id -u),group_id=$(id -g) hanging \"$0\" && exec \"$@\"";
    let mut way = Command::new("unshare");
    // Who is not root may mount it where it is root of a user namespace.
    let namespaces = if rustix::process::geteuid().is_root() { "-m" } else { "-rm" };
    way.args([namespaces, "sh", "-c", SCRIPT]).arg(at);
    way
}

/// Starts the session «demo» of `party` by a program that takes what to run as its arguments.
pub(crate) fn run_by_way_of(mut way: Command, party: &Party) -> Result<Run> {
    let mut program = party.command();
    program.args(["session", "run", "demo", "--json", "-vv"]);
    way.arg(program.get_program()).args(program.get_args());
    way.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Ok(party.run_by(way)?)
}

/// A terminal: whoever is on the other side, and the end for programs.
pub(crate) fn terminal() -> Result<(OwnedFd, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok((master, open(name, flags, Mode::empty())?))
}

/// The run completes.
pub(crate) fn completes(mut run: Run) -> Result<()> {
    let outcome = run.verdict(LIMIT)?;
    ensure!(outcome.completed(), "{}: {}\n{}", run.party(), outcome.text, run.said());
    ensure!(run.exit(LIMIT)?.success(), "{} has another exit status", run.party());
    Ok(())
}

/// The run fails, not later than [`BOUND`] after `due`, and its runner ends with status 1.
pub(crate) fn fails(run: &mut Run, due: Instant) -> Result<Outcome> {
    let outcome = run.verdict(LIMIT)?;
    let late = outcome.at.saturating_duration_since(due);
    ensure!(late <= BOUND, "{}: {late:?} late: {}", run.party(), outcome.text);
    ensure!(outcome.failure().is_object(), "{}: {}\n{}", run.party(), outcome.text, run.said());
    let status = run.exit(LIMIT)?;
    ensure!(status.code() == Some(1), "{} ended with {status}", run.party());
    Ok(outcome)
}

/// The run fails in time, names `who` and gives a reason of this kind.
pub(crate) fn blames(run: &mut Run, due: Instant, who: &[&str], reason: &str) -> Result<Outcome> {
    let outcome = fails(run, due)?;
    ensure!(
        outcome.who() == who && outcome.reason() == reason,
        "{}: expected {who:?} {reason}, and found {}\n{}",
        run.party(),
        outcome.text,
        run.said()
    );
    Ok(outcome)
}

/// All of these runs fail in time with the same blame.
pub(crate) fn all_blame(
    runs: &mut [Run],
    due: Instant,
    who: &[&str],
    reason: &str,
) -> Result<Vec<Outcome>> {
    runs.iter_mut().map(|run| blames(run, due, who, reason)).collect()
}
