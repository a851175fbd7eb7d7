//! Nothing that a reader of the output does holds up a run: one who sleeps, a terminal that is
//! stopped or hangs up, a disk that is full, an output that is closed. And all of the output reaches
//! one who is only slow.

mod common;

use std::fs::File;
use std::io::{self, BufRead, BufReader, PipeReader, PipeWriter, Read, Write};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use common::{BOUND, LIMIT, NAMES, READER_TIMEOUT, SUM, completes, demo, terminal, three};
use mpyc_party_lab::party::{Network, Party};
use rustix::fs::{FlockOperation, OFlags, fcntl_getfl, fcntl_setfl, flock};
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use serde_json::Value;

/// Outlasts what a machine under load takes for a beat; what holds up a runner for longer ends the run.
const GRACE: Duration = Duration::from_secs(5);
/// Lines that bob's program prints, of [`LINE`] bytes: 50 MiB.
const LINES: usize = 52_429;
/// Bytes of a line.
const LINE: usize = 1000;

/// Bob prints 50 MiB, then all compute.
const TALKATIVE: &str = "
import time
from mpyc.runtime import mpc
secint = mpc.SecInt()
mpc.run(mpc.start())
if mpc.pid == 1:
    for number in range(LINES):
        print(f'{number:08} '.ljust(LINE - 1, 'x'))
for _ in range(ROUNDS):
    total = mpc.run(mpc.output(mpc.sum(mpc.input(secint(mpc.pid)))))
    time.sleep(0.1)
print('sum', total)
mpc.run(mpc.shutdown())
";

/// Rounds, of a tenth of a second each, that take longer than the grace time.
const LONG: usize = 65;
/// Some rounds after the output.
const SHORT: usize = 5;

/// Three parties, and the session in which bob talks and all compute so many rounds.
fn talkative(rounds: usize) -> Result<Network> {
    let network = three()?;
    let program = TALKATIVE.replace("ROUNDS", &rounds.to_string());
    let program = program.replace("LINES", &LINES.to_string()).replace("LINE", &LINE.to_string());
    network.declare(&demo(&program).grace(GRACE).set("output", "60"))?;
    Ok(network)
}

/// `session run demo` as a person starts it, with these outputs; killed when dropped.
struct Runner(Child);

impl Runner {
    fn start(mut command: Command, out: impl Into<Stdio>, err: impl Into<Stdio>) -> Result<Self> {
        Ok(Self(command.stdin(Stdio::null()).stdout(out).stderr(err).spawn()?))
    }

    fn of(party: &Party, out: impl Into<Stdio>, err: impl Into<Stdio>) -> Result<Self> {
        let mut command = party.command();
        command.args(["session", "run", "demo"]);
        Self::start(command, out, err)
    }

    /// It never held what it has to show in memory.
    fn is_small(&self) -> Result<()> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        // One that has ended has none.
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB"));
        let peak: usize = peak.unwrap_or("0").trim().parse()?;
        ensure!(peak * 1024 < LINES * LINE, "it took {peak} kB");
        Ok(())
    }

    fn exit(&mut self, limit: Duration) -> Result<ExitStatus> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(status);
            }
            ensure!(begun.elapsed() < limit, "does not end within {limit:?}");
            sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        // It may have ended, which is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The run that `bob` takes part in completes everywhere, and his runner does not stay for a reader
/// that does not read.
fn completes_with(network: &Network, bob: &mut Runner) -> Result<()> {
    let others = [network.party("alice").run("demo")?, network.party("carol").run("demo")?];
    others.into_iter().try_for_each(completes)?;
    bob.is_small()?;
    let status = bob.exit(READER_TIMEOUT + BOUND)?;
    ensure!(status.success(), "bob's runner ended with {status}");
    let record = network.party("bob").record();
    ensure!(record["verdict"] == "completed", "{record}");
    Ok(())
}

/// The same, and all that bob's program wrote is on record.
fn completes_talkative(network: &Network, mut bob: Runner) -> Result<()> {
    completes_with(network, &mut bob)?;
    let run = network.party("bob").runs().pop().context("no run on record")?;
    is_whole(BufReader::new(File::open(run.join("output.txt"))?).lines())
}

/// All lines of bob's program are there, in order, and after them the sum. MPyC tells of itself
/// between them.
fn is_whole(lines: impl Iterator<Item = io::Result<String>>) -> Result<()> {
    let is_own = |line: &String| line.len() == LINE - 1 || line.starts_with("sum");
    let mut lines = lines.filter(|line| line.as_ref().is_ok_and(is_own));
    for number in 0..LINES {
        let line = lines.next().context("a line is missing")??;
        ensure!(line.starts_with(&format!("{number:08} ")), "{number}: {line}");
    }
    ensure!(lines.next().context("no sum")?? == "sum 3");
    ensure!(lines.next().is_none(), "there is more");
    Ok(())
}

/// A pipe that takes no more bytes, with the end of its reader.
fn asleep() -> Result<(PipeReader, PipeWriter)> {
    let (reader, mut writer) = io::pipe()?;
    let flags = fcntl_getfl(&writer)?;
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK)?;
    while writer.write(&[b'z'; 4096]).is_ok() {}
    fcntl_setfl(&writer, flags)?;
    Ok((reader, writer))
}

/// A shell that does `script` with the command of `party` as its arguments.
fn by_shell(party: &Party, script: &str) -> Command {
    let plain = party.command();
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(plain.get_program()).args(plain.get_args());
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

/// Reads less than 8 MiB a second.
struct Slow(PipeReader);

impl Read for Slow {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        sleep(Duration::from_millis(1));
        let most = buffer.len().min(8 * 1024);
        self.0.read(&mut buffer[..most])
    }
}

/// A device that is always full.
fn full() -> Result<File> {
    Ok(File::options().write(true).open("/dev/full")?)
}

#[test]
fn a_reader_that_sleeps_holds_nobody_up() -> Result<()> {
    let network = talkative(LONG)?;
    let (_asleep, out) = io::pipe()?;
    let (mut told, err) = io::pipe()?;
    completes_talkative(&network, Runner::of(network.party("bob"), out, err)?)?;
    // The terminal is another reader: it was told of the end, and of what it did not see.
    let mut said = String::new();
    told.read_to_string(&mut said)?;
    ensure!(said.contains("✓ completed"), "{said}");
    ensure!(said.contains("mpyc-party session logs demo"), "{said}");
    Ok(network.end()?)
}

#[test]
fn a_stopped_terminal_holds_nobody_up() -> Result<()> {
    let network = talkative(LONG)?;
    let (_stopped, terminal) = terminal()?;
    let bob = Runner::of(network.party("bob"), terminal.try_clone()?, terminal)?;
    completes_talkative(&network, bob)?;
    Ok(network.end()?)
}

#[test]
fn a_terminal_that_hangs_up_ends_nothing() -> Result<()> {
    let network = talkative(SHORT)?;
    let (master, terminal) = terminal()?;
    let bob = Runner::of(network.party("bob"), terminal.try_clone()?, terminal)?;
    let mut master = BufReader::new(File::from(master));
    master.read_line(&mut String::new())?;
    drop(master);
    completes_talkative(&network, bob)?;
    Ok(network.end()?)
}

#[test]
fn a_run_in_the_background_of_a_terminal_goes_on() -> Result<()> {
    let network = three()?;
    for stops_writers in [false, true] {
        network.declare(&demo(SUM).grace(GRACE))?;
        let (master, terminal) = terminal()?;
        let mut modes = tcgetattr(&terminal)?;
        modes.local_modes.set(LocalModes::TOSTOP, stops_writers);
        tcsetattr(&terminal, OptionalActions::Now, &modes)?;
        // Whoever types meanwhile types for the foreground.
        File::from(master.try_clone()?).write_all(b"typed\n")?;
        let shell = by_shell(network.party("bob"), "\"$@\" session run demo & wait $!");
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(shell.get_program()).arg("-m").args(shell.get_args());
        command.envs(shell.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.stdin(terminal.try_clone()?).stdout(terminal.try_clone()?).stderr(terminal);
        completes_with(&network, &mut Runner(command.spawn()?))?;
        drop(master);
    }
    Ok(network.end()?)
}

#[test]
fn full_outputs_end_nothing() -> Result<()> {
    let network = talkative(LONG)?;
    let (mut told, err) = io::pipe()?;
    completes_talkative(&network, Runner::of(network.party("bob"), full()?, err)?)?;
    let mut said = String::new();
    told.read_to_string(&mut said)?;
    let complaints = said.lines().filter(|line| line.contains("No space left"));
    ensure!(complaints.count() == 1, "{said}");
    network.declare(&demo(SUM))?;
    completes_with(&network, &mut Runner::of(network.party("bob"), full()?, full()?)?)?;
    Ok(network.end()?)
}

#[test]
fn closed_outputs_end_nothing() -> Result<()> {
    let network = talkative(LONG)?;
    let ((_, out), (_, err)) = (io::pipe()?, io::pipe()?);
    completes_talkative(&network, Runner::of(network.party("bob"), out, err)?)?;
    network.declare(&demo(SUM))?;
    for closed in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
        let script = format!("exec \"$@\" session run demo {closed}");
        let bob = by_shell(network.party("bob"), &script);
        completes_with(&network, &mut Runner::start(bob, Stdio::null(), Stdio::null())?)?;
    }
    Ok(network.end()?)
}

#[test]
fn a_reader_that_never_wakes_up_holds_nobody_up_from_the_start() -> Result<()> {
    let network = three()?;
    network.declare(&demo(SUM))?;
    let (_asleep, pipe) = asleep()?;
    let mut command = network.party("bob").command();
    command.args(["session", "run", "demo", "-vv"]);
    completes_with(&network, &mut Runner::start(command, pipe.try_clone()?, pipe)?)?;
    Ok(network.end()?)
}

#[test]
fn who_interrupts_need_not_wait_for_the_reader() -> Result<()> {
    let network = three()?;
    network.declare(&demo(SUM))?;
    let ((_asleep, pipe), bob) = (asleep()?, network.party("bob"));
    let mut runner = Runner::of(bob, pipe.try_clone()?, pipe)?;
    let others = [network.party("alice").run("demo")?, network.party("carol").run("demo")?];
    others.into_iter().try_for_each(completes)?;
    // It is done when it lets another run of the session begin.
    let lock = File::open(bob.runs().pop().context("no run")?.join("alive"))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    sleep(READER_TIMEOUT / 10);
    kill_process(Pid::from_child(&runner.0), Signal::INT)?;
    ensure!(runner.exit(READER_TIMEOUT / 2)?.success());
    Ok(network.end()?)
}

#[test]
fn a_slow_reader_gets_everything_in_order() -> Result<()> {
    let network = talkative(SHORT)?;
    let (slow, pipe) = io::pipe()?;
    let mut bob = Runner::of(network.party("bob"), pipe.try_clone()?, pipe)?;
    let others = [network.party("alice").run("demo")?, network.party("carol").run("demo")?];
    others.into_iter().try_for_each(completes)?;
    // Only now it begins to read, and takes longer than a runner stays for one that does not.
    let begun = Instant::now();
    let lines: Result<Vec<String>, _> = BufReader::new(Slow(slow)).lines().collect();
    let lines = lines?;
    ensure!(begun.elapsed() > READER_TIMEOUT, "the reader was not slow");
    ensure!(bob.exit(LIMIT)?.success());
    let running = lines.iter().position(|line| line.starts_with("· running after"));
    ensure!(running.is_some_and(|at| at < lines.len() - LINES), "{running:?}");
    ensure!(lines.last().is_some_and(|line| line == "✓ completed"), "{:?}", lines.last());
    // Where the runner's lines are beside them, those of the program have a mark.
    let printed = lines.into_iter().filter(|line| !line.starts_with(['·', '✓']));
    let printed = printed.map(|line| Ok(line.strip_prefix("│ ").unwrap_or("no mark").to_owned()));
    is_whole(printed)?;
    Ok(network.end()?)
}

#[test]
fn a_hub_serves_though_nobody_reads_its_log() -> Result<()> {
    let mut network = three()?;
    network.declare(&demo(SUM))?;
    network.kill_hub();
    let (_asleep, log) = asleep()?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_mpyc-party"));
    command.arg("--state").arg(network.hub_state()).args(["hub", "-vv", "--listen"]);
    command.arg(network.hub_address().to_string());
    let mut hub = Runner::start(command, Stdio::null(), log)?;
    network.run("demo")?.into_iter().try_for_each(completes)?;
    kill_process(Pid::from_child(&hub.0), Signal::TERM)?;
    ensure!(hub.exit(READER_TIMEOUT + BOUND)?.success());
    Ok(network.end()?)
}

#[test]
fn an_agent_serves_though_nobody_reads_its_log() -> Result<()> {
    let network = three()?;
    let alice = network.party("alice");
    alice.configure(
        "network.local-discovery = false\n[agent]\nbus = \"none\"\n[listen]\nport = 0\n",
    )?;
    let path = alice.directory().join("notify");
    let notified = UnixDatagram::bind(&path)?;
    notified.set_read_timeout(Some(LIMIT))?;
    let (_asleep, log) = asleep()?;
    let mut command = alice.command();
    command.args(["agent", "-vv"]).env("NOTIFY_SOCKET", &path);
    let mut agent = Runner::start(command, Stdio::null(), log)?;
    let (mut told, mut message) = (String::new(), [0; 4096]);
    while !told.contains("READY=1") {
        let length = notified.recv(&mut message).context("the agent is never ready")?;
        told += &String::from_utf8_lossy(&message[..length]);
    }
    kill_process(Pid::from_child(&agent.0), Signal::TERM)?;
    ensure!(agent.exit(READER_TIMEOUT + BOUND)?.success());
    Ok(network.end()?)
}

/// A demo whose parties print 1 MiB each.
fn talkative_demo(state: &Path) -> Result<Command> {
    let program = state.join("program.py");
    let lines = "for _ in range(16 * 1024): print('x' * 63)\n";
    std::fs::write(&program, format!("{SUM}{lines}"))?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_mpyc-party"));
    command.arg("--state").arg(state).args(["demo", "--program"]).arg(program);
    Ok(command)
}

/// The parties of a demo have all of their output on record, and that they completed.
fn demo_completed(state: &Path) -> Result<()> {
    for party in NAMES {
        let runs = std::fs::read_dir(state.join("demo").join(party).join("runs"))?;
        let run = runs.flatten().next().context("no run on record")?.path();
        let record: Value = serde_json::from_slice(&std::fs::read(run.join("record.json"))?)?;
        ensure!(record["verdict"] == "completed", "{record}");
        ensure!(std::fs::metadata(run.join("output.txt"))?.len() > 1 << 20, "not all is kept");
    }
    Ok(())
}

#[test]
fn a_demo_ends_though_nobody_reads() -> Result<()> {
    let state = tempfile::tempdir()?;
    let (_asleep, pipe) = asleep()?;
    let mut demo = Runner::start(talkative_demo(state.path())?, pipe.try_clone()?, pipe)?;
    ensure!(demo.exit(LIMIT)?.success());
    demo_completed(state.path())
}

#[test]
fn a_demo_on_a_full_device_says_so_when_all_is_done() -> Result<()> {
    let state = tempfile::tempdir()?;
    let (mut told, err) = io::pipe()?;
    let mut demo = Runner::start(talkative_demo(state.path())?, full()?, err)?;
    let mut said = String::new();
    told.read_to_string(&mut said)?;
    ensure!(demo.exit(LIMIT)?.code() == Some(1), "{said}");
    ensure!(said.lines().filter(|line| line.contains("No space left")).count() == 1, "{said}");
    demo_completed(state.path())
}
