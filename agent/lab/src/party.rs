//! Networks of parties for end-to-end tests: a real authority, a real hub and real runners, each a
//! process of the real binary, on loopback, on hosts of their own, or in a topology.

mod ground;
mod member;
mod processes;
mod run;
mod session;

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use ground::Ground;
pub use member::Party;
pub use processes::Process;
pub use run::{Outcome, Run};
pub use session::Session;

use crate::{Host, Lab, LabError, Router, TempState, Topology, mpyc_party};

/// Far longer than a hub needs to start, or a killed process to be gone.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// How often a file or process is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// A network: an authority with a hub beside it, and parties. Everything it started is killed when
/// it is dropped; [`Network::end`] also checks that nothing is left.
pub struct Network {
    hub: Option<Child>,
    hub_host: Option<Host>,
    hub_address: SocketAddr,
    parties: Vec<Party>,
    mark: String,
    state: TempState,
    ground: Ground,
}

impl Network {
    /// A network on this machine's loopback interface whose `names` are enrolled.
    ///
    /// # Errors
    /// If something cannot be made; the message says what.
    pub fn on_loopback(names: &[&str]) -> Result<Self, LabError> {
        Self::new(names, Ground::Loopback)
    }

    /// A network whose hub and parties have a host each.
    ///
    /// # Errors
    /// If something cannot be made; the message says what.
    pub fn on_hosts(names: &[&str]) -> Result<Self, LabError> {
        Self::new(names, Ground::Neighbours(Lab::new()?))
    }

    /// A network whose hub and parties are on the hosts of these names in a topology; the hub's is
    /// called «hub». All serve on port 443.
    ///
    /// # Errors
    /// If something cannot be made; the message says what.
    pub fn in_topology(topology: &Topology, names: &[&str]) -> Result<Self, LabError> {
        Self::new(names, Ground::topology(topology)?)
    }

    fn new(names: &[&str], ground: Ground) -> Result<Self, LabError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        processes::keep_orphans().map_err(LabError::io("cannot keep orphans"))?;
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let mark = format!("{}={}-{count}", processes::MARK, std::process::id());
        let hub_host = ground.host("hub")?;
        let hub_ip = hub_host.as_ref().map_or(Ipv4Addr::LOCALHOST, Host::ip);
        let hub_address = (hub_ip, ground.hub_port()).into();
        let state = TempState::new()?;
        for directory in ["tmp", "hub"] {
            state.of(directory)?;
        }
        let (hub, parties) = (None, Vec::new());
        let mut network = Self { hub, hub_host, hub_address, parties, mark, state, ground };
        network.authority(&["ca", "init", "--network", "example"])?;
        network.start_hub()?;
        for name in names {
            let party = network.newcomer(name)?;
            let token = network.token_by(network.hub_for(&party), &["--name", name])?;
            done(party.name(), party.enroll(&token)?)?;
            network.parties.push(party);
        }
        Ok(network)
    }

    /// The lab, for networks on hosts.
    #[must_use]
    pub fn lab(&self) -> Option<&Lab> {
        self.ground.lab()
    }

    /// The router of this name, for networks in a topology.
    #[must_use]
    pub fn router(&self, name: &str) -> Option<&Router> {
        self.ground.router(name)
    }

    /// Where the hub is reached.
    #[must_use]
    pub fn hub_address(&self) -> SocketAddr {
        self.hub_address
    }

    /// The hub's host, where it has one.
    #[must_use]
    pub fn hub_host(&self) -> Option<&Host> {
        self.hub_host.as_ref()
    }

    /// Where `party` reaches the hub: over IPv6 if it has no IPv4 address.
    fn hub_for(&self, party: &Party) -> SocketAddr {
        let lonely = party.host().filter(|host| host.ip().is_unspecified()).is_some();
        let v6 = self.hub_host.as_ref().filter(|_| lonely).map(Host::ipv6);
        v6.map_or(self.hub_address, |ip| (ip, self.hub_address.port()).into())
    }

    /// The state directory of hub and authority.
    #[must_use]
    pub fn hub_state(&self) -> PathBuf {
        self.state.path().join("hub")
    }

    /// Starts the hub, where it was before, and waits until it serves.
    ///
    /// # Errors
    /// If it does not serve soon.
    pub fn start_hub(&mut self) -> Result<(), LabError> {
        let port_file = self.hub_state().join("port");
        // There is none the first time.
        let _ = fs::remove_file(&port_file);
        let mut command = self.hub_command();
        let everywhere = SocketAddr::from((Ipv6Addr::UNSPECIFIED, self.hub_address.port()));
        let listen = if self.hub_host.is_some() { everywhere } else { self.hub_address };
        command.args(["hub", "--listen", &listen.to_string(), "--port-file"]);
        command.arg(&port_file).stdin(Stdio::null()).stdout(Stdio::null());
        let log = fs::File::options().create(true).append(true).open(self.hub_log());
        command.stderr(log.map_err(LabError::io("cannot open the hub's log"))?);
        self.hub = Some(command.spawn().map_err(LabError::io("cannot start the hub"))?);
        let begun = Instant::now();
        loop {
            if let Some(port) = fs::read_to_string(&port_file).ok().and_then(|p| p.parse().ok()) {
                self.hub_address.set_port(port);
                return Ok(());
            }
            if begun.elapsed() > START_TIMEOUT {
                let said = fs::read_to_string(self.hub_log()).unwrap_or_default();
                let problem = "does not serve".to_owned();
                return Err(LabError::Run { party: "hub".into(), problem, said });
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// What hubs wrote to standard error so far.
    #[must_use]
    pub fn hub_log(&self) -> PathBuf {
        self.hub_state().join("log")
    }

    /// The hub's process, while there is one.
    #[must_use]
    pub fn hub(&self) -> Option<Process> {
        self.hub.as_ref().and_then(|hub| Process::of(hub.id()))
    }

    /// Kills the hub.
    pub fn kill_hub(&mut self) {
        if let Some(mut hub) = self.hub.take() {
            // It may have ended, which is as good.
            let _ = hub.kill();
            let _ = hub.wait();
        }
    }

    fn hub_command(&self) -> Command {
        let state = self.hub_state();
        command(self.hub_host.as_ref(), &self.mark, &state, &state.join("config.toml"))
    }

    /// Runs an authority's command, as in `["ca", "list"]`, and returns what it printed.
    ///
    /// # Errors
    /// If it fails; with what it said.
    pub fn authority(&self, arguments: &[&str]) -> Result<String, LabError> {
        let config = self.hub_state().join("config.toml");
        fs::write(&config, "").map_err(LabError::io("cannot write the hub's configuration"))?;
        let output = self.hub_command().args(arguments).output();
        done("authority", output.map_err(LabError::io("cannot run mpyc-party"))?)
    }

    /// A token that names this network's hub.
    ///
    /// # Errors
    /// If the authority makes none.
    pub fn token(&self, arguments: &[&str]) -> Result<String, LabError> {
        self.token_by(self.hub_address, arguments)
    }

    /// A token that names `hub` as the place to enrol.
    ///
    /// # Errors
    /// If the authority makes none.
    pub fn token_by(&self, hub: SocketAddr, arguments: &[&str]) -> Result<String, LabError> {
        let hub = hub.to_string();
        let token = [&["ca", "token", "--hub", &hub], arguments].concat();
        Ok(self.authority(&token)?.trim().to_owned())
    }

    /// One who is not enrolled yet.
    ///
    /// # Errors
    /// If its directory or host cannot be made.
    pub fn newcomer(&self, name: &str) -> Result<Party, LabError> {
        let host = self.ground.host(name)?;
        let state = self.state.of(name)?;
        Party::new(name, state, self.mark.clone(), host, self.ground.party_port())
    }

    /// Counts `party`, which has enrolled, among the parties.
    pub fn add(&mut self, party: Party) {
        self.parties.push(party);
    }

    /// The directory that holds the state of all.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.state.path()
    }

    /// All parties, in the order in which they enrolled.
    #[must_use]
    pub fn parties(&self) -> &[Party] {
        &self.parties
    }

    /// The party of this name.
    ///
    /// # Panics
    /// If there is none: a mistake in the test.
    #[must_use]
    #[expect(clippy::panic, reason = "a mistake in the test, not an outcome of it")]
    pub fn party(&self, name: &str) -> &Party {
        let party = self.parties.iter().find(|party| party.name() == name);
        party.unwrap_or_else(|| panic!("the test enrolled no {name}"))
    }

    /// Declares `session` at all parties.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn declare(&self, session: &Session) -> Result<(), LabError> {
        self.parties.iter().try_for_each(|party| party.declare(session))
    }

    /// Starts the session `name` at all parties.
    ///
    /// # Errors
    /// If a process cannot be started.
    pub fn run(&self, name: &str) -> Result<Vec<Run>, LabError> {
        self.parties.iter().map(|party| party.run(name)).collect()
    }

    /// Ends the hub as a service manager would, and checks that nothing is left of this network:
    /// no process, no temporary file. Runs must have ended or be dropped before.
    ///
    /// # Errors
    /// Names what is left.
    pub fn end(mut self) -> Result<(), LabError> {
        if let Some(mut hub) = self.hub.take() {
            let asked = self::Process::of(hub.id()).map(|process| process.signal(Signal::TERM));
            asked.unwrap_or(Ok(())).map_err(LabError::io("the hub has ended before"))?;
            let status = hub.wait().map_err(LabError::io("cannot wait for the hub"))?;
            if !status.success() {
                return Err(LabError::Left(format!("a hub that ended with {status}")));
            }
        }
        let begun = Instant::now();
        loop {
            let left = self.left();
            if left.is_empty() {
                return Ok(());
            }
            if begun.elapsed() > START_TIMEOUT {
                return Err(LabError::Left(left));
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// What is left, a line each.
    fn left(&self) -> String {
        let mut left = String::new();
        for process in processes::left(&self.mark) {
            let _ = writeln!(left, "process {}: {}", process.id(), process.read("cmdline"));
        }
        for entry in fs::read_dir(self.state.path().join("tmp")).into_iter().flatten().flatten() {
            let _ = writeln!(left, "temporary file {}", entry.path().display());
        }
        left
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.kill_hub();
        for process in processes::left(&self.mark) {
            let _ = process.signal(Signal::KILL);
        }
    }
}

/// `mpyc-party` on `host`; temporary files go beside the state.
fn command(host: Option<&Host>, mark: &str, state: &Path, config: &Path) -> Command {
    // Without a built binary the name itself makes the error.
    let program = mpyc_party().unwrap_or_else(|_| "mpyc-party".into());
    let mut command = host.map_or_else(|| Command::new(&program), |host| host.command(&program));
    let root = state.ancestors().find(|path| path.join("tmp").is_dir());
    command.env("TMPDIR", root.unwrap_or(state).join("tmp"));
    command.arg("--config").arg(config).arg("--state").arg(state);
    if let Some((name, value)) = mark.split_once('=') {
        command.env(name, value);
    }
    command
}

/// What a program printed that had to succeed.
fn done(party: &str, output: Output) -> Result<String, LabError> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(LabError::Run { party: party.into(), problem: format!("{}", output.status), said })
}
