//! A machine becomes a party at its first boot, from wherever its token was left.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::thread;

use anyhow::{Context, Result, ensure};
use mpyc_party_lab::party::{Network, Party};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;

use crate::machine::{Machine, head};

/// A network, one who is not enrolled yet, and its token.
fn newcomer(agent: &str) -> Result<(Network, Party, String)> {
    let network = Network::on_loopback(&[])?;
    let (party, token) = (network.newcomer("dave")?, network.token(&["--name", "dave"])?);
    party.configure(&head(0, agent))?;
    Ok((network, party, token))
}

/// The agent is ready as dave, and the token is nowhere in what it said.
fn is_enrolled(machine: &Machine, party: &Party, token: &str) -> Result<()> {
    machine.tells("notify: READY=1")?;
    ensure!(party.state().join("identity/certificate.pem").is_file());
    ensure!(!machine.said().contains(&token[8..]), "the token is in the log");
    Ok(())
}

#[test]
fn from_a_file_that_is_then_gone() -> Result<()> {
    let (network, party, token) = newcomer("")?;
    let file = party.directory().join("token");
    fs::write(&file, &token)?;
    let machine = Machine::start_with(&party, |command| {
        command.args(["agent", "--token-file"]).arg(&file);
    })?;
    is_enrolled(&machine, &party, &token)?;
    ensure!(!file.exists(), "the token is still there");
    drop(machine);
    Ok(network.end()?)
}

#[test]
fn from_a_pipe_that_the_command_line_names_and_nothing_else_is_one() -> Result<()> {
    let places = tempfile::tempdir()?;
    let (named, configured) = (places.path().join("named"), places.path().join("configured"));
    let (network, party, token) = newcomer(&format!("token-files = [{configured:?}]"))?;
    for path in [&named, &configured] {
        mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
    }
    let mut machine = Machine::start(&party)?;
    machine.tells("configured: is a FIFO: name a regular file")?;
    machine.signal(Signal::TERM)?;
    ensure!(machine.wait()?.success());
    let pipe = named.clone();
    let machine = Machine::start_with(&party, |command| {
        command.args(["agent", "--token-file"]).arg(&pipe);
    })?;
    let (pipe, text) = (named.clone(), token.clone());
    let writer =
        thread::spawn(move || File::options().write(true).open(pipe)?.write_all(text.as_bytes()));
    is_enrolled(&machine, &party, &token)?;
    writer.join().ok().context("no writer")??;
    ensure!(named.exists(), "a pipe keeps nothing, and was removed");
    drop(machine);
    Ok(network.end()?)
}

#[test]
fn from_a_configured_place_that_is_filled_later() -> Result<()> {
    let file = tempfile::tempdir()?;
    let path = file.path().join("mpyc-party.token");
    let (network, party, token) = newcomer(&format!("token-files = [{path:?}]"))?;
    let machine = Machine::start(&party)?;
    machine.tells("notify: STATUS=waiting for an enrolment token")?;
    ensure!(!machine.said().contains("READY=1"), "ready without an identity");
    fs::write(&path, &token)?;
    is_enrolled(&machine, &party, &token)?;
    ensure!(!path.exists(), "the token is still there");
    drop(machine);
    Ok(network.end()?)
}

#[test]
fn from_a_credential_which_only_its_source_can_remove() -> Result<()> {
    let (network, party, token) = newcomer("")?;
    fs::write(party.directory().join("token"), &token)?;
    let directory: PathBuf = party.directory().into();
    let machine = Machine::start_with(&party, |command| {
        command.arg("agent").env("CREDENTIALS_DIRECTORY", directory);
    })?;
    is_enrolled(&machine, &party, &token)?;
    machine.tells("its source can be removed")?;
    drop(machine);
    Ok(network.end()?)
}

/// A stand-in for a cloud's metadata service: whoever asks gets these user data.
fn metadata(user_data: String) -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 1024];
            let length = stream.read(&mut request).unwrap_or_default();
            let asked = request[..length].starts_with(b"GET /metadata/v1/user-data HTTP/1.0\r\n");
            let status = if asked { "200 OK" } else { "400 Bad Request" };
            let _ = write!(stream, "HTTP/1.0 {status}\r\nServer: stand-in\r\n\r\n{user_data}");
        }
    });
    Ok(port)
}

#[test]
fn from_user_data_among_other_things() -> Result<()> {
    let (network, party, token) = newcomer("")?;
    let port = metadata(format!("#cloud-config\nfinal_message: hi\nmpyc: \"{token}\"\n"))?;
    let place = format!("metadata = \"http://127.0.0.1:{port}/metadata/v1/user-data\"");
    party.configure(&head(0, &place))?;
    let machine = Machine::start(&party)?;
    is_enrolled(&machine, &party, &token)?;
    machine.tells("user data cannot be removed from within")?;
    drop(machine);
    Ok(network.end()?)
}

#[test]
fn a_token_that_outlived_its_use_is_removed_at_the_next_start() -> Result<()> {
    let (network, party, token) = newcomer("")?;
    let done = party.enroll(&token)?;
    ensure!(done.status.success());
    // Where it is looked for without being told.
    let file = party.state().join("token");
    fs::write(&file, &token)?;
    let machine = Machine::start(&party)?.ready()?;
    ensure!(!file.exists(), "the token is still there");
    drop(machine);
    Ok(network.end()?)
}

#[test]
fn a_used_token_is_refused_and_asked_for_again() -> Result<()> {
    let (network, party, token) = newcomer("")?;
    let other = network.newcomer("erin")?;
    ensure!(other.enroll(&token)?.status.success());
    let file = party.directory().join("token");
    fs::write(&file, &token)?;
    let machine = Machine::start_with(&party, |command| {
        command.args(["agent", "--token-file"]).arg(&file);
    })?;
    let first = machine.tells("not enrolled yet")?;
    machine.tells_after(first + 1, "not enrolled yet")?;
    ensure!(file.exists() && !machine.said().contains("READY=1"));
    drop(machine);
    Ok(network.end()?)
}

#[test]
fn a_token_in_a_place_of_somebody_else_is_moved() -> Result<()> {
    let left = tempfile::tempdir()?;
    let source = left.path().join("mpyc-party.token");
    let (network, party, token) = newcomer(&format!("token-files = [{source:?}]"))?;
    fs::write(&source, &token)?;
    let target = party.directory().join("token");
    let take = || party.command().args(["agent", "--take-token"]).arg(&target).output();
    ensure!(take()?.status.success() && !source.exists());
    ensure!(fs::read_to_string(&target)? == token);
    // Without a token, and with one there already, nothing happens.
    ensure!(take()?.status.success() && fs::read_to_string(&target)? == token);
    Ok(network.end()?)
}
