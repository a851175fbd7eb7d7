//! Our session as a backend: a hub, three enrolled parties, `mpyc-party session run`.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mpyc_party_lab::{Host, mpyc_party};

use super::process::{Process, pinned};
use super::rounds::{PARTIES, Site};

/// Where the hub serves.
const HUB_PORT: u16 = 4848;
/// How long the hub may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(20);

fn config(site: &Site, host: &Host) -> Result<PathBuf> {
    Ok(site.state.of(host.name())?.join("config.toml"))
}

/// Makes the network, starts the hub, enrols the parties and declares the session.
pub(super) fn prepare(site: &Site) -> Result<Vec<Process>> {
    let (binary, hub_state) = (mpyc_party()?, site.state.of("hub")?);
    let hub_host = &site.hub;
    let hub_address = hub_host.socket(HUB_PORT).to_string();
    let authority = |arguments: &[&str]| {
        let mut command = Command::new(&binary);
        command.arg("--state").arg(&hub_state).arg("ca").args(arguments);
        finish(command)
    };
    authority(&["init", "--network", "bench"])?;
    let mut hub = hub_host.command(&binary);
    hub.arg("--state").arg(&hub_state).args(["hub", "--listen", &hub_address]);
    let hub = Process::start(hub, "the hub")?;
    hub_host.wait_for(HUB_PORT, START_TIMEOUT)?;
    for host in &site.hosts {
        let state = site.state.of(host.name())?;
        let token = authority(&["token", "--name", host.name(), "--hub", &hub_address])?;
        let token_file = state.join("token");
        fs::write(&token_file, token)?;
        let mut command = host.command(&binary);
        command.arg("--state").arg(&state).args(["enroll", "--token-file"]).arg(token_file);
        finish(command)?;
        fs::write(config(site, host)?, declaration(site)?)?;
    }
    Ok(vec![hub])
}

fn declaration(site: &Site) -> Result<String> {
    let parties = PARTIES.map(|name| format!("{name:?}")).join(", ");
    let python = site.python.to_str().context("python's path")?;
    let program = site.program.to_str().context("the program's path")?;
    let (multiplications, batches) = (site.effort.multiplications, site.effort.batches);
    Ok(format!(
        "[python]\ninterpreter = {python:?}\n\
         [sessions.rounds]\nprogram = {program:?}\nparties = [{parties}]\n\
         arguments = [\"{multiplications}\", \"{batches}\"]\n"
    ))
}

/// Runs a command to its end and returns what it printed.
fn finish(mut command: Command) -> Result<Vec<u8>> {
    let ended = command.stdin(Stdio::null()).output()?;
    let complaint = String::from_utf8_lossy(&ended.stderr);
    ensure!(ended.status.success(), "{command:?}: {complaint}");
    Ok(ended.stdout)
}

/// Starts a party's runner.
pub(super) fn party(site: &Site, index: usize) -> Result<Command> {
    let host = &site.hosts[index];
    let mut command = pinned(host, index, mpyc_party()?.to_str().context("the binary's path")?);
    command.arg("--config").arg(config(site, host)?);
    command.arg("--state").arg(site.state.of(host.name())?);
    command.args(["session", "run", "rounds", "--json"]);
    Ok(command)
}
