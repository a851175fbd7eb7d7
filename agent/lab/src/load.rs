//! Load on a hub: thousands of parties with certificates of their own, from one process.
//!
//! The hub is the real program. The parties speak the real protocol over real connections, from as
//! many loopback addresses as keeps each below the hub's limits. They are rosters of five that
//! announce themselves and watch each other. Both ends share this machine: the figures of the hub
//! are its own processor time and memory, the times are those of both together.

mod client;
mod clients;
mod phases;
mod report;

use std::io::{self, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use mpyc_party_authority::Authority;
use mpyc_party_lab::{TempState, mpyc_party};
use mpyc_party_transport::now;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Runtime;

use crate::bench::process::Process;
use clients::Clients;

/// What to load a hub with.
#[derive(Args)]
pub(crate) struct HubLoad {
    /// How many parties announce themselves.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(600..=1_000_000))]
    parties: u32,
    /// What they reach the hub over.
    #[arg(long, value_enum, default_value_t = Transport::Udp)]
    transport: Transport,
    /// How long the phases of rest and of work are, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    phase: u64,
    /// Print JSON instead of a list.
    #[arg(long)]
    json: bool,
}

/// What a connection to the hub runs over.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Transport {
    /// QUIC.
    Udp,
    /// TLS.
    Tcp,
}

/// The hub's process and where it serves.
struct Hub {
    process: Process,
    port: u16,
}

impl Hub {
    /// Starts it with the authority in `state`, on `port` or on any free one for 0.
    fn start(state: &TempState, port: u16) -> Result<Self> {
        let port_file = state.path().join("port");
        // One that is left from before would be read too early.
        let _ = std::fs::remove_file(&port_file);
        let mut command = std::process::Command::new(mpyc_party()?);
        command.arg("--state").arg(state.of("hub")?).arg("hub");
        command.args(["--listen", &format!("127.0.0.1:{port}"), "--port-file"]).arg(&port_file);
        command.stdin(Stdio::null());
        let mut process = Process::start(command, "the hub")?;
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Ok(port) = std::fs::read_to_string(&port_file)
                && let Ok(port) = port.parse()
            {
                return Ok(Self { process, port });
            }
            if Instant::now() > deadline {
                bail!("the hub does not start: {}", process.complaint());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Says what is going on to whoever watches.
fn progress(what: &str) {
    // Nobody watches where standard error is closed.
    let _ = writeln!(io::stderr(), "{what} …");
}

/// Loads a hub and prints what was measured.
pub(crate) fn run(wanted: &HubLoad) -> Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    let state = TempState::new()?;
    let directory = state.of("hub")?.join("ca");
    let authority = Authority::init(&directory, &"load".parse()?, None, now())?;
    let began = Instant::now();
    progress("certificates are made");
    let clients = Clients::enrol(&authority, wanted.parties as usize, wanted.transport)?;
    let enrolling = began.elapsed();
    drop(authority);
    let hub = Hub::start(&state, 0)?;
    let phase = Duration::from_secs(wanted.phase);
    let mut report = Runtime::new()?
        .block_on(phases::all(&state, hub, clients, phase))
        .context("the load came to nothing")?;
    report.certificates_per_second = f64::from(wanted.parties) / enrolling.as_secs_f64();
    let mut out = io::stdout().lock();
    if wanted.json {
        serde_json::to_writer_pretty(&mut out, &report)?;
        return Ok(writeln!(out)?);
    }
    Ok(write!(out, "{report}")?)
}
