//! What this program reads: regular files, in bounded time and size, and pipes where a person names
//! one on the command line. Nothing of it keeps a process from its verdict or from its end.

mod common;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use common::{BOUND, LIMIT, SUM, demo, hanging, run_by_way_of};
use mpyc_party_lab::party::{Network, Party, Session};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long a process may take from the request to end to its end.
const END: Duration = BOUND;

fn network() -> Result<Network> {
    Ok(Network::on_loopback(&["alice"])?)
}

/// Puts a FIFO, to which nobody writes, in the place of what is at `path`.
fn fifo(path: &Path) -> Result<()> {
    // There may be nothing.
    let _ = fs::remove_file(path);
    Ok(mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?)
}

/// `mpyc-party` as `party` has it, but for its state directory.
fn with_state(party: &Party, state: &Path) -> Command {
    let known = party.command();
    let mut command = Command::new(known.get_program());
    command.envs(known.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.arg("--config").arg(party.config()).arg("--state").arg(state);
    command
}

/// The files of the session «demo».
fn files(party: &Party) -> PathBuf {
    party.directory().join("programs/demo")
}

fn session() -> Session {
    demo(SUM).file("table", "1").input("2")
}

/// What comes of `command`, which ends by itself within [`BOUND`].
fn ends(command: &mut Command) -> Result<(i32, String)> {
    let begun = Instant::now();
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = output(child.spawn()?, BOUND).with_context(|| format!("{command:?}"))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    ensure!(begun.elapsed() < BOUND, "it took {:?}: {said}", begun.elapsed());
    Ok((output.status.code().unwrap_or(-1), said))
}

/// The output of `child`, which is killed where it takes longer than `limit`.
fn output(mut child: Child, limit: Duration) -> Result<Output> {
    let begun = Instant::now();
    while child.try_wait()?.is_none() {
        if begun.elapsed() > limit {
            child.kill()?;
            let said = child.wait_with_output()?;
            anyhow::bail!("no end within {limit:?}: {}", String::from_utf8_lossy(&said.stderr));
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(child.wait_with_output()?)
}

/// The failed verdict of the newest run, which is on record and names this party.
fn verdict(party: &Party) -> Result<Value> {
    let record = party.record();
    let failed = record["verdict"]["failed"].clone();
    ensure!(failed["who"][0] == party.name() && record["ended"].is_string(), "{record}");
    ensure!(failed["stage"] == "prepare", "{record}");
    Ok(failed)
}

/// `command` by this way.
fn by(mut way: Command, command: &Command) -> Command {
    way.arg(command.get_program()).args(command.get_args());
    way.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    way
}

#[test]
fn a_session_whose_files_are_none_fails_at_once_with_a_verdict_on_record() -> Result<()> {
    let network = network()?;
    let alice = network.party("alice");
    for (role, name) in [("program", "program.py"), ("file", "table"), ("input", "private-input")] {
        alice.declare(&session())?;
        let path = files(alice).join(name);
        fifo(&path)?;
        let link = files(alice).join("fifo");
        fs::rename(&path, &link)?;
        symlink(&link, &path)?;
        let told = format!("the {role} {}: is a FIFO: name a regular file", path.display());
        let (status, said) = ends(alice.command().args(["session", "run", "demo"]))?;
        ensure!(status == 1 && said.matches(&told).count() == 1, "{status}: {said}");
        let (status, said) = ends(alice.command().args(["session", "run", "demo", "--json"]))?;
        let last: Value = serde_json::from_str(said.lines().last().unwrap_or_default())?;
        ensure!(status == 1 && last["event"] == "ended", "{status}: {said}");
        ensure!(last["text"].to_string().contains(&told), "{last}");
        let failed = verdict(alice)?;
        ensure!(failed["reason"]["local"].to_string().contains(&told), "{failed}");
        let doctor = ["doctor", "--session", "demo", "--wait", "100ms"];
        let (status, said) = ends(alice.command().args(doctor))?;
        ensure!(status == 1 && said.contains("is a FIFO"), "{status}: {said}");
        ensure!(said.contains("put a regular file there"), "{said}");
        let check = ["session", "check", "demo", "--wait", "100ms"];
        // With the input left out, the rest is checked, and takes its time.
        let checked = alice.command().args(check).stdin(Stdio::null()).output()?;
        let said = String::from_utf8([checked.stdout, checked.stderr].concat())?;
        let found =
            if role == "input" { format!("input: {told}") } else { format!("files: {told}") };
        ensure!(checked.status.code() == Some(1) && said.contains(&found), "{said}");
        ensure!(role != "input" || said.contains("✓ Python in its sandbox: "), "{said}");
        fs::remove_file(&path)?;
        fs::remove_file(&link)?;
    }
    for (device, told) in
        [("/dev/zero", "a device"), ("/dev/tty", "a device"), ("/", "a directory")]
    {
        alice.declare(&session())?;
        let path = files(alice).join("table");
        fs::remove_file(&path)?;
        symlink(device, &path)?;
        let (status, said) = ends(alice.command().args(["session", "run", "demo"]))?;
        let refused = said.contains(&format!("is {told}: name a regular file"));
        // Without a terminal that one cannot be opened at all.
        ensure!(status == 1 && (refused || device == "/dev/tty"), "{device}: {status}: {said}");
        verdict(alice)?;
        fs::remove_file(&path)?;
    }
    Ok(network.end()?)
}

#[test]
fn a_mount_that_hangs_delays_no_verdict_beyond_the_deadline() -> Result<()> {
    let (network, deadline) = (network()?, Duration::from_secs(2));
    let alice = network.party("alice");
    alice.declare(&session().deadline(deadline))?;
    let (input, elsewhere) = (files(alice).join("private-input"), alice.directory().join("away"));
    fs::create_dir(&elsewhere)?;
    fs::remove_file(&input)?;
    symlink(elsewhere.join("private-input"), &input)?;
    for (role, hangs) in [("input", &elsewhere), ("program", &files(alice))] {
        let begun = Instant::now();
        let mut run = run_by_way_of(hanging(hangs), alice)?;
        let status = run.exit(LIMIT)?;
        ensure!(begun.elapsed() < deadline + BOUND, "{:?}: {}", begun.elapsed(), run.said());
        ensure!(status.code() == Some(1), "{status}: {}", run.said());
        let outcome = run.verdict(LIMIT)?;
        ensure!(outcome.text.contains(&format!("the {role} ")), "{}", outcome.text);
        let why = verdict(alice)?["reason"]["local"].to_string();
        ensure!(why.contains("on a mount that hangs"), "{why}");
    }
    Ok(network.end()?)
}

#[test]
fn whoever_waits_for_a_mount_that_hangs_can_be_stopped() -> Result<()> {
    let network = network()?;
    let alice = network.party("alice");
    alice.declare(&session().deadline(LIMIT))?;
    for signal in [Signal::TERM, Signal::INT] {
        let mut run = run_by_way_of(hanging(&files(alice)), alice)?;
        let before = alice.runs().len();
        let begun = Instant::now();
        while alice.runs().len() == before && begun.elapsed() < BOUND {
            thread::sleep(Duration::from_millis(10));
        }
        thread::sleep(Duration::from_millis(300));
        let asked = Instant::now();
        run.runner()?.signal(signal)?;
        let outcome = run.verdict(LIMIT)?;
        ensure!(outcome.who() == ["alice"] && outcome.reason() == "stopped", "{}", outcome.text);
        ensure!(run.exit(LIMIT)?.code() == Some(1), "{}", run.said());
        ensure!(asked.elapsed() < END, "{:?}", asked.elapsed());
        ensure!(verdict(alice)?["reason"] == "stopped");
    }
    Ok(network.end()?)
}

/// Asks `child` to end as soon as it has begun; how long that takes.
fn stopped(child: Child) -> Result<(Output, Duration)> {
    thread::sleep(Duration::from_secs(1));
    let asked = Instant::now();
    kill_process(Pid::from_raw(child.id().cast_signed()).context("no process")?, Signal::TERM)?;
    let output = output(child, LIMIT)?;
    Ok((output, asked.elapsed()))
}

#[test]
fn daemons_that_wait_for_a_mount_that_hangs_can_be_stopped() -> Result<()> {
    let network = network()?;
    let alice = network.party("alice");
    let (state, hub) = (alice.state(), network.hub_state());
    for (hangs, arguments) in [
        (state.join("identity"), &["agent"][..]),
        (state.join("identity"), &["expose"]),
        (hub.join("ca"), &["hub", "--listen", "127.0.0.1:0"]),
    ] {
        let of = if arguments[0] == "hub" { &hub } else { &state };
        alice.configure("[agent]\nbus = \"none\"\n[listen]\nport = 0\n[expose.x]\nport = 22\nparties = [\"bob\"]\n")?;
        let mut command = with_state(alice, of);
        command.args(arguments);
        let mut command = by(hanging(&hangs), &command);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let (output, took) = stopped(command.spawn()?)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(took < END, "{arguments:?} took {took:?}: {said}");
        ensure!(output.status.code().is_some(), "{arguments:?}: {}: {said}", output.status);
    }
    Ok(network.end()?)
}

#[test]
fn a_python_that_hangs_or_is_none_is_told() -> Result<()> {
    let network = network()?;
    let alice = network.party("alice");
    let directory = alice.directory().join("python");
    fs::create_dir(&directory)?;
    let python = directory.join("python3");
    fifo(&python)?;
    alice.use_python(&python)?;
    alice.declare(&session())?;
    let (status, said) = ends(alice.command().args(["session", "run", "demo"]))?;
    ensure!(status == 1 && said.contains("python3 does not work"), "{status}: {said}");
    verdict(alice)?;
    let mut run = run_by_way_of(hanging(&directory), alice)?;
    run.wait_for("preparing", LIMIT)?;
    thread::sleep(Duration::from_millis(300));
    let asked = Instant::now();
    run.runner()?.signal(Signal::TERM)?;
    ensure!(run.verdict(LIMIT)?.reason() == "stopped", "{}", run.said());
    ensure!(run.exit(LIMIT)?.code() == Some(1) && asked.elapsed() < END, "{:?}", asked.elapsed());
    drop(run);
    Ok(network.end()?)
}

#[test]
fn what_belongs_to_a_party_is_read_only_where_it_is_a_file() -> Result<()> {
    let network = network()?;
    let alice = network.party("alice");
    alice.declare(&session())?;
    // A run's directory is no trap for whoever looks for runs that go on.
    let trap = alice.state().join("runs/20260101T000000-demo-aaaaaa");
    fs::create_dir_all(&trap)?;
    for name in ["alive", "record.json"] {
        fifo(&trap.join(name))?;
    }
    let (status, said) = ends(alice.command().arg("status"))?;
    ensure!(status == 0 && said.contains("demo: never run"), "{status}: {said}");
    fs::remove_dir_all(trap)?;
    let locks = alice.state().join("locks");
    fs::create_dir_all(&locks)?;
    fifo(&locks.join("demo"))?;
    let identity = alice.state().join("identity");
    let (key, certificate) = (identity.join("key.pem"), identity.join("certificate.pem"));
    fs::copy(&certificate, identity.join("kept"))?;
    let commands = [&["status"][..], &["session", "run", "demo"], &["agent"], &["expose"]];
    let (_, said) = ends(alice.command().args(["session", "run", "demo"]))?;
    ensure!(said.contains("locks/demo: is a FIFO"), "{said}");
    fs::remove_file(locks.join("demo"))?;
    alice.configure(
        "[agent]\nbus = \"none\"\n[listen]\nport = 0\n[expose.x]\nport = 22\nparties = [\"bob\"]\n",
    )?;
    for path in [&certificate, &key] {
        fifo(path)?;
        for command in commands.iter().skip(usize::from(path == &key)) {
            let (status, said) = ends(alice.command().args(*command))?;
            ensure!(status == 1 && said.contains("is a FIFO"), "{command:?}: {status}: {said}");
        }
        fs::remove_file(path)?;
        fs::copy(identity.join("kept"), &certificate)?;
    }
    fifo(&network.hub_state().join("ca/root.key"))?;
    for arguments in [&["hub", "--listen", "127.0.0.1:0"][..], &["ca", "list"]] {
        let mut command = with_state(alice, &network.hub_state());
        let (status, said) = ends(command.args(arguments))?;
        ensure!(status == 1 && said.contains("root.key: is no regular file"), "{status}: {said}");
    }
    Ok(network.end()?)
}

/// What comes of `command` with what `writer` writes on its standard input.
fn fed(command: &mut Command, writer: impl FnOnce(&mut dyn Write)) -> Result<(i32, String)> {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    writer(&mut stdin);
    drop(stdin);
    let output = output(child, LIMIT)?;
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.code().unwrap_or(-1), String::from_utf8_lossy(&said).into_owned()))
}

#[test]
fn a_pipe_on_the_command_line_is_read_to_its_end_and_no_further_than_its_limit() -> Result<()> {
    let network = network()?;
    for (number, name) in ["bob", "carol", "dave"].into_iter().enumerate() {
        let (party, token) = (network.newcomer(name)?, network.token(&["--name", name])?);
        let endless = |pipe: &mut dyn Write| while pipe.write_all(&[b'x'; 4096]).is_ok() {};
        let enroll = |arguments: &[&str]| {
            let mut command = party.command();
            command.arg("enroll").args(arguments);
            command
        };
        for arguments in [&[][..], &["--token-file", "/dev/stdin"]] {
            let (status, said) = fed(&mut enroll(arguments), endless)?;
            ensure!(status == 1 && said.contains("is larger than 16384 bytes"), "{status}: {said}");
        }
        let (status, said) = ends(&mut enroll(&["--token-file", "/dev/zero"]))?;
        ensure!(status == 1 && said.contains("is larger than 16384 bytes"), "{status}: {said}");
        let slowly = |pipe: &mut dyn Write| {
            for piece in token.as_bytes().chunks(100) {
                // One that ends early says why.
                let _ = pipe.write_all(piece);
                thread::sleep(Duration::from_millis(100));
            }
        };
        let (status, said) = match number {
            0 => fed(&mut enroll(&[]), slowly)?,
            1 => fed(&mut enroll(&["--token-file", "/dev/stdin"]), slowly)?,
            _ => {
                let mut shell = Command::new("bash");
                let script = "\"$@\" --token-file <(sleep 0.3; printf %s \"$TOKEN\")";
                shell.args(["-c", script, "bash"]).env("TOKEN", &token);
                fed(&mut by(shell, &enroll(&[])), |_| {})?
            }
        };
        ensure!(status == 0 && said.contains("enrolled as"), "{status}: {said}");
    }
    Ok(network.end()?)
}

#[test]
fn a_bundle_comes_from_a_pipe_and_an_input_does_not() -> Result<()> {
    let network = Network::on_loopback(&["alice", "bob"])?;
    let (alice, bob) = (network.party("alice"), network.party("bob"));
    alice.declare(&demo(SUM))?;
    let output = alice.command().args(["session", "export", "demo", "--output", "-"]).output()?;
    let bundle = output.stdout;
    let import = |arguments: &[&str]| {
        let mut command = bob.command();
        command.args(["session", "import", "--yes"]).args(arguments);
        command
    };
    let (status, said) = ends(&mut import(&["/dev/zero"]))?;
    ensure!(status == 1 && said.contains("the bundle is larger than 16 MiB"), "{status}: {said}");
    let path = bob.directory().join("fifo");
    fifo(&path)?;
    let input = path.to_str().context("no text")?;
    let write = |pipe: &mut dyn Write| drop(pipe.write_all(&bundle));
    let (status, said) = fed(&mut import(&["/dev/stdin", "--input", input]), write)?;
    ensure!(status == 1 && said.contains("is a FIFO: name a regular file"), "{status}: {said}");
    let (status, said) = fed(&mut import(&["/dev/stdin"]), write)?;
    ensure!(status == 0 && said.contains("session demo is added"), "{status}: {said}");
    fs::remove_file(path)?;
    Ok(network.end()?)
}

#[test]
fn a_configuration_is_a_file_unless_the_command_line_names_a_pipe() -> Result<()> {
    let network = network()?;
    let alice = network.party("alice");
    let home = alice.directory().join("home/mpyc-party");
    fs::create_dir_all(&home)?;
    fifo(&home.join("config.toml"))?;
    let mut command = Command::new(alice.command().get_program());
    command.args(["config", "show"]).env("XDG_CONFIG_HOME", alice.directory().join("home"));
    let (status, said) = ends(&mut command)?;
    ensure!(status == 2 && said.contains("config.toml cannot be read: is a FIFO"), "{said}");
    let text = fs::read(alice.config())?;
    fifo(&alice.config())?;
    for arguments in [&["session", "run", "demo"][..], &["agent"], &["config", "show"]] {
        let mut command = alice.command();
        command.args(arguments).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let (output, took) = stopped(command.spawn()?)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(took < END && !output.status.success(), "{arguments:?}: {took:?}: {said}");
    }
    let path = alice.config();
    let writer = thread::spawn(move || File::options().write(true).open(path)?.write_all(&text));
    let (status, said) = ends(alice.command().args(["config", "show"]))?;
    ensure!(status == 0 && said.contains("local-discovery = false"), "{status}: {said}");
    writer.join().ok().context("no writer")??;
    Ok(network.end()?)
}
