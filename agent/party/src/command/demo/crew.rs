//! The processes of a demo: started, watched, and all ended in the end.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use mpyc_party_authority::Authority;
use mpyc_party_core::name::PartyName;
use mpyc_party_core::role::Role;
use mpyc_party_transport::now;
use mpyc_party_transport::task::Connections;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::site::Site;
use crate::config::{Directories, files};

/// How long the processes may take to end when they are asked to.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the hub may take to serve.
const HUB_START: Duration = Duration::from_secs(20);
/// Largest file that names a port, in bytes.
const MAX_PORT_BYTES: u64 = 16;
/// How long a token of the demo can be used, in seconds.
const TOKEN_LIFETIME: u64 = 600;

/// All processes of one demo.
#[derive(Debug)]
pub(super) struct Crew {
    cache: PathBuf,
    hub: Option<Child>,
    hub_address: String,
    parties: Vec<Child>,
    /// Read what each party reports.
    readers: Connections,
}

impl Crew {
    /// Nobody yet; the Python environment is that of `dirs`.
    pub(super) fn new(dirs: &Directories) -> Self {
        let cache = dirs.cache.clone();
        let readers = Connections::new("what a party reports");
        Self { cache, hub: None, hub_address: String::new(), parties: Vec::new(), readers }
    }

    fn command(&self, site: &Site, name: &str) -> anyhow::Result<Command> {
        let mut command = Command::new(
            std::env::current_exe().context("cannot find the program of this process")?,
        );
        command
            .arg("--state")
            .arg(site.of(name))
            .args(["--die-with", &std::process::id().to_string()])
            .env("CACHE_DIRECTORY", &self.cache)
            .kill_on_drop(true)
            .stdin(Stdio::null());
        Ok(command)
    }

    /// Starts the hub and waits until it serves.
    pub(super) async fn start_hub(&mut self, site: &Site) -> anyhow::Result<()> {
        let port_file = site.of("hub").join("port");
        let mut command = self.command(site, "hub")?;
        command.args(["hub", "--listen", "127.0.0.1:0", "--port-file"]).arg(&port_file);
        let log = std::fs::File::create(site.of("hub").join("log.txt"))?;
        let hub = self.hub.insert(command.stderr(log).spawn()?);
        let began = Instant::now();
        loop {
            if let Ok(port) = files::read(&port_file, MAX_PORT_BYTES) {
                self.hub_address = format!("127.0.0.1:{}", String::from_utf8_lossy(&port));
                return Ok(());
            }
            if hub.try_wait()?.is_some() || began.elapsed() > HUB_START {
                bail!("the hub did not start: see {}", site.of("hub").join("log.txt").display());
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Lets `party` enrol with a token of its own.
    pub(super) async fn enrol(&self, site: &Site, party: &PartyName) -> anyhow::Result<()> {
        let authority = Authority::open(&site.of("hub").join("ca"))?;
        let (role, hubs) = (Role::party(party.clone())?, vec![self.hub_address.clone()]);
        let token = authority.new_token(&role, &[], TOKEN_LIFETIME, hubs, now())?;
        let mut command = self.command(site, party.as_str())?;
        command.arg("enroll").stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn()?;
        let mut input = process.stdin.take().context("no pipe to the new party")?;
        input.write_all(token.to_text()?.as_bytes()).await?;
        drop(input);
        let ended = process.wait_with_output().await?;
        if !ended.status.success() {
            bail!("{party} could not enrol: {}", String::from_utf8_lossy(&ended.stderr).trim());
        }
        Ok(())
    }

    /// Starts `party`; what it reports goes to `events` with its name.
    pub(super) fn start_party(
        &mut self,
        site: &Site,
        party: &PartyName,
        events: mpsc::Sender<(PartyName, Value)>,
    ) -> anyhow::Result<()> {
        let mut command = self.command(site, party.as_str())?;
        let log = std::fs::File::create(site.of(party.as_str()).join("errors.txt"))?;
        command.arg("--config").arg(site.config_of(party)).arg("--json");
        command.args(["session", "run", site.session().as_str()]);
        let mut process = command.stdout(Stdio::piped()).stderr(log).spawn()?;
        let output = process.stdout.take().context("no pipe from a party")?;
        self.readers.spawn(read_events(output, party.clone(), events));
        self.parties.push(process);
        Ok(())
    }

    /// Waits for the parties' ends; whether all completed.
    pub(super) async fn all_completed(&mut self) -> anyhow::Result<bool> {
        let mut completed = true;
        for party in &mut self.parties {
            completed &= party.wait().await?.success();
        }
        Ok(completed)
    }

    /// Ends whatever still runs: asks first, kills what does not listen.
    pub(super) async fn dismiss(mut self) -> anyhow::Result<()> {
        let mut left: Vec<Child> = self.parties.drain(..).chain(self.hub.take()).collect();
        for process in &left {
            let id = process.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
            // Fails where it has just ended.
            let _ = id.map(|id| kill_process(id, Signal::TERM));
        }
        for process in &mut left {
            if timeout(SHUTDOWN_TIMEOUT, process.wait()).await.is_err() {
                process.kill().await?;
            }
        }
        Ok(())
    }
}

/// Reads a party's events, one JSON value a line.
async fn read_events(
    output: ChildStdout,
    party: PartyName,
    events: mpsc::Sender<(PartyName, Value)>,
) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(event) = serde_json::from_str(&line) else { continue };
        if events.send((party.clone(), event)).await.is_err() {
            return;
        }
    }
}
