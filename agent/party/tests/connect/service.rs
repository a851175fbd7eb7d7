//! What is exposed in tests, and those who connect to it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use mpyc_party_lab::party::{Network, Party};

use crate::common::LIMIT;
use crate::machine::Machine;

/// A service on loopback that answers with what it is sent, until that ends. Ends with the test.
pub(crate) fn echo() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || serve(&stream));
        }
    });
    Ok(port)
}

fn serve(mut stream: &TcpStream) {
    // Whoever breaks off misses the rest.
    let _ = std::io::copy(&mut &*stream, &mut stream);
}

/// A section of the configuration that exposes `port` to those of `who`, as in `parties = ["bob"]`.
pub(crate) fn exposing(port: u16, who: &str) -> String {
    format!(
        "network.local-discovery = false\nlisten.port = 0\n[expose.echo]\nport = {port}\n{who}\n"
    )
}

/// Enrols one more party, in this group.
pub(crate) fn member(network: &mut Network, name: &str, group: &str) -> Result<()> {
    let token = network.token(&["--name", name, "--group", group])?;
    let party = network.newcomer(name)?;
    let enrolled = party.enroll(&token)?;
    ensure!(enrolled.status.success(), "{}", String::from_utf8_lossy(&enrolled.stderr));
    network.add(party);
    Ok(())
}

/// Starts the exposing process of `party`, without an agent, and waits until it can be found.
pub(crate) fn expose(party: &Party) -> Result<Machine> {
    let machine = Machine::start_with(party, |command| {
        command.args(["expose", "-vv", "--agent", "none"]);
    })?;
    machine.tells("sees this party at")?;
    machine.ready()
}

/// A `connect` with `party`'s identity.
pub(crate) fn connect(party: &Party, arguments: &[&str]) -> Command {
    let mut command = party.command();
    command.arg("connect").args(arguments).arg("--verbose");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What was said, and how it ended.
pub(crate) struct Said {
    pub(crate) status: ExitStatus,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

/// Sends `input` to port `port` of `to`, ends, and waits for the answer.
pub(crate) fn ask(party: &Party, to: &str, port: u16, input: &[u8]) -> Result<Said> {
    let mut child = connect(party, &[to, &port.to_string(), "--wait", "4s"]).spawn()?;
    let mut stdin = child.stdin.take().context("standard input")?;
    let input = input.to_vec();
    // One that is refused does not read.
    let feeder = thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output()?;
    let _ = feeder.join();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok(Said { status: output.status, out: output.stdout, err })
}

/// A connection that is open: one word has gone to the service and back.
pub(crate) fn opened(party: &Party, to: &str, port: u16) -> Result<Child> {
    let mut child = connect(party, &[to, &port.to_string()]).spawn()?;
    child.stdin.as_mut().context("standard input")?.write_all(b"hello")?;
    let mut word = [0; 5];
    child.stdout.as_mut().context("standard output")?.read_exact(&mut word)?;
    ensure!(&word == b"hello", "{word:?}");
    Ok(child)
}

/// The end of `child`, and what it said on standard error.
pub(crate) fn end(mut child: Child) -> Result<(ExitStatus, String)> {
    let begun = Instant::now();
    while child.try_wait()?.is_none() {
        if begun.elapsed() > LIMIT {
            child.kill()?;
            bail!("it does not end");
        }
        thread::sleep(std::time::Duration::from_millis(20));
    }
    let mut said = String::new();
    child.stderr.take().context("standard error")?.read_to_string(&mut said)?;
    Ok((child.wait()?, said))
}
