//! `mpyc-party hub`.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use mpyc_party_authority::Authority;
use mpyc_party_core::relay;
use mpyc_party_hub::{HubConfig, Limits, serve};
use mpyc_party_transport::Identity;
use mpyc_party_transport::quic::Endpoint;
use mpyc_party_transport::task::Supervisor;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::stop::{self, StopSignals};
use super::{Common, Outcome, no_dumps, output, terminal};
use crate::agent::notify;
use crate::config::{Config, Directories, files};
use crate::identity::{Renewal, Store, keep_fresh};

/// How long threads that wait for a disk may take to end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
#[command(after_help = "\
A hub that finds the authority's directory (made by mpyc-party ca init) also enrols parties and
renews their certificates. Any other hub needs an identity of its own: enrol it with
mpyc-party enroll and a token of mpyc-party ca token --for-hub 2 --hub HOST:PORT.

Examples:
  mpyc-party hub
  mpyc-party hub --listen 203.0.113.7:443")]
pub(super) struct Hub {
    /// Address and port to serve on, over TCP and UDP [default: that of the configuration, else [::]:4747]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Write the port to this file once the hub listens
    #[arg(long, value_name = "FILE")]
    port_file: Option<PathBuf>,
}

impl Hub {
    pub(super) fn run(self, common: &Common) -> Outcome {
        stop::watch(StopSignals::WithHangup)?;
        terminal::start();
        let (dirs, config) = common.load()?;
        no_dumps()?;
        let address = self.listen.unwrap_or(config.hub.listen);
        let kept = Kept::open(&dirs, &config)?;
        // Handshakes and relayed bytes are work for every processor.
        let runtime = Runtime::new().context("cannot begin to wait for anything")?;
        let served = runtime.block_on(stop::in_time(self.serve(kept, &config, address)));
        // What is being signed is still written down, unless its disk does not answer.
        runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
        served??;
        output::step("the hub has stopped");
        Ok(ExitCode::SUCCESS)
    }

    async fn serve(self, kept: Kept, config: &Config, address: SocketAddr) -> anyhow::Result<()> {
        let mut supervisor = Supervisor::new(notify::watchdog());
        let (served, role) = match kept {
            Kept::Authority(authority) => {
                (HubConfig::WithAuthority(authority, 1), "with the authority")
            }
            Kept::Identity(store, hubs, identity) => {
                let (identity, renewal) = keep_fresh(store, hubs, identity);
                supervisor.spawn(Renewal::TASK, |heartbeat| renewal.run(heartbeat));
                (HubConfig::Alone(identity), "alone")
            }
        };
        let (listener, endpoint) =
            bind(address).await.with_context(|| format!("the hub cannot serve on {address}"))?;
        let address = listener.local_addr()?;
        raise_limit();
        if let Some(path) = &self.port_file {
            files::replace_private(path, address.port().to_string().as_bytes())?;
        }
        output::good(format!("the hub serves on {address}"));
        notify::ready(&format!("serves on {address}, {role}"));
        let defaults = relay::Limits::default();
        let limits = Limits {
            relay: relay::Limits { per_party: config.hub.relay_pairs, ..defaults },
            relay_rate: config.hub.relay_rate,
            ..Limits::default()
        };
        let stop = async {
            stop::heard().await;
            notify::stopping();
        };
        Ok(serve(listener, endpoint, served, limits, supervisor, stop).await?)
    }
}

/// What a hub finds in its state directory.
enum Kept {
    /// The authority.
    Authority(Arc<Authority>),
    /// An identity of its own, where it is kept, and where it is renewed.
    Identity(Store, Vec<String>, Identity),
}

impl Kept {
    /// Reads it.
    fn open(dirs: &Directories, config: &Config) -> anyhow::Result<Self> {
        let authority = dirs.state.join("ca");
        if files::is_dir(&authority)? {
            return Ok(Self::Authority(Arc::new(super::authority::open(&authority)?)));
        }
        let store = Store::new(&dirs.state);
        let hubs = config.hubs(store.hubs()?);
        let identity = store.load().with_context(|| {
            format!(
                "there is no authority in {} to serve (mpyc-party ca init --network NAME makes one)",
                authority.display()
            )
        })?;
        Ok(Self::Identity(store, hubs, identity))
    }
}

/// Takes the same port for TCP and UDP; where any will do, one that is free for both.
async fn bind(address: SocketAddr) -> anyhow::Result<(TcpListener, Endpoint)> {
    const ATTEMPTS: usize = 16;
    for _ in 1..ATTEMPTS {
        let listener = TcpListener::bind(address).await.context("over TCP")?;
        match UdpSocket::bind(listener.local_addr()?) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && address.port() == 0 => {}
            bound => return Ok((listener, Endpoint::on(bound.context("over UDP")?)?)),
        }
    }
    bail!("no port is free for both TCP and UDP")
}

/// Lets this process have as many connections as the system allows it: a soft limit is for programs
/// that could not cope with more.
fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        log::warn!("there will be no more than {current:?} connections: {error}");
    }
}
