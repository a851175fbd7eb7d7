//! The daemon of a machine that takes part in sessions by itself: it enrols at first boot, holds the
//! one public port, starts sessions that other parties propose, and answers on D-Bus.
//!
//! It is never in the data path. Runners are processes of their own; they get sockets from it and
//! tell it how their runs go, and go on without it.

mod acceptor;
mod bus;
mod clock;
mod commands;
mod daemon;
mod declared;
mod disk;
mod enrol;
mod hub_watcher;
mod metrics;
pub(crate) mod notify;
mod registry;
mod running;
mod session_state;
mod start;
mod status;
mod token;
mod userdata;

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mpyc_party_net::Stack;
use mpyc_party_transport::Identity;
use mpyc_party_transport::task::{Supervisor, TaskFailure, blocking};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::config::files::FileError;
use crate::config::{Bus, Config, Directories, runtime};
use crate::identity::{IdentityError, Store};
use crate::session::SessionError;
use commands::{Command, CommandError};

pub use bus::{PartyProxy, connect};
pub use token::pick as token_in;
pub use userdata::{UserDataError, content as user_data_in};

/// How long a bus may take to let the agent in before it begins without.
const BUS_ENTRY_TIMEOUT: Duration = Duration::from_secs(2);

/// Why the agent cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// There is no identity to work with.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The public port cannot be had.
    #[error(
        "the agent cannot listen on port {port}: {source}. Set another one in [listen], or end what listens there"
    )]
    Listen {
        /// The port.
        port: u16,
        /// What the system says.
        source: io::Error,
    },
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The sessions cannot be listed.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// A part of the agent has failed. Whoever started it starts it anew; runs go on meanwhile.
    #[error("the agent ends: {0}")]
    Task(#[from] TaskFailure),
}

/// What the agent is started with.
#[derive(Debug)]
pub struct Setup {
    /// Its files.
    pub dirs: Directories,
    /// Its configuration.
    pub config: Config,
    /// Where a token may be, beside the usual places.
    pub token_file: Option<PathBuf>,
    /// The public port, where the service manager holds it.
    pub listener: Option<std::net::TcpListener>,
    /// Where runners register, where the service manager holds that.
    pub registration: Option<OwnedFd>,
    /// The arguments with which runners of this party are started.
    pub party: Vec<OsString>,
    /// What this process can reach by, and find by.
    pub stack: Arc<Stack>,
}

/// What the one who runs the agent wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceRequest {
    /// The configuration read again.
    Reload,
    /// The end.
    Stop,
}

/// Works until it is told to stop.
///
/// # Errors
/// Where it cannot do its work at all, or a part of it has failed. What may come right is waited for.
pub async fn run(
    setup: Setup,
    service_requests: mpsc::Receiver<ServiceRequest>,
) -> Result<(), AgentError> {
    let worked = work(setup, service_requests).await;
    if let Err(error @ AgentError::Task(_)) = &worked {
        notify::status(&error.to_string());
    }
    worked
}

async fn work(
    setup: Setup,
    mut service_requests: mpsc::Receiver<ServiceRequest>,
) -> Result<(), AgentError> {
    let Setup { dirs, config, token_file, listener, registration, party, stack } = setup;
    notify::status("starting");
    let listener = listen(listener, config.listen.port).await?;
    let port =
        listener.local_addr().map_err(|source| AgentError::Listen { port: 0, source })?.port();
    let status = watch::Sender::new(status::Status { port, ..Default::default() });
    let counts = metrics::Counts::default();
    let page = metrics::Page {
        dirs: dirs.clone(),
        status: status.subscribe(),
        counts,
        stack: Arc::clone(&stack),
    };
    let mut supervisor = Supervisor::new(notify::watchdog());
    let mut metrics = metrics::Metrics::new(config.agent.metrics.clone(), page);
    let lacking = metrics.serve(&mut supervisor);
    status.send_modify(|status| status.metrics = lacking);
    let (sender, mut commands) = mpsc::channel(16);
    let (signals, emitted) = mpsc::channel(64);
    let connection = watch::Sender::new(None);
    let (registration, agent) = registry::listen(registration, &runtime::agent_socket(&dirs))?;
    let starter =
        start::Starter { bus: connection.subscribe(), party, agent, children: Default::default() };
    let mut on_bus = None;
    if config.agent.bus != Bus::None {
        let (tried, first) = oneshot::channel();
        on_bus = Some(first);
        let (bus, tried) = (config.agent.bus, Some(tried));
        let (status, commands, signals) = (status.subscribe(), sender.clone(), emitted);
        let dirs = dirs.clone();
        let service = bus::BusService { bus, dirs, status, commands, signals, connection, tried };
        supervisor.spawn("D-Bus", |heartbeat| service.run(heartbeat));
    }
    let store = Store::new(&dirs.state);
    let (state, places) = (dirs.state.clone(), config.agent.clone());
    let enrolling = async {
        let look = move || token::sources(token_file.as_deref(), &state, &places);
        enrol::identity(&store, &blocking(look).await).await
    };
    let waiting = Waiting {
        service_requests: &mut service_requests,
        commands: &mut commands,
        supervisor: &mut supervisor,
    };
    let Some(identity) = waiting.until(enrolling).await? else {
        notify::stopping();
        return Ok(());
    };
    if let Some(first) = on_bus {
        // Who was told that the agent is ready finds it on the bus; it works without one, too.
        let _ = timeout(BUS_ENTRY_TIMEOUT, first).await;
    }
    let inputs = daemon::Inputs { service_requests, commands, listener, registration };
    let outputs = daemon::Outputs { status, metrics, signals, stack };
    let parts = daemon::Parts { dirs, config, identity, starter, supervisor, outputs };
    daemon::Daemon::begin(parts).await?.work(inputs).await
}

/// The socket that the service manager holds, else one of one's own on `port`.
async fn listen(
    given: Option<std::net::TcpListener>,
    port: u16,
) -> Result<TcpListener, AgentError> {
    let listener = match given {
        Some(given) => given.set_nonblocking(true).and_then(|()| TcpListener::from_std(given)),
        None => mpyc_party_net::accept::bind_exactly(port).await,
    };
    listener.map_err(|source| AgentError::Listen { port, source })
}

/// What goes on while the agent waits for its identity.
struct Waiting<'a> {
    service_requests: &'a mut mpsc::Receiver<ServiceRequest>,
    commands: &'a mut mpsc::Receiver<Command>,
    supervisor: &'a mut Supervisor,
}

impl Waiting<'_> {
    /// Waits for the identity; none where the agent is told to stop before.
    async fn until(
        self,
        enrolling: impl Future<Output = Result<Identity, IdentityError>>,
    ) -> Result<Option<Identity>, AgentError> {
        tokio::pin!(enrolling);
        loop {
            tokio::select! {
                identity = &mut enrolling => return Ok(Some(identity?)),
                request = self.service_requests.recv() => {
                    if request != Some(ServiceRequest::Reload) {
                        return Ok(None);
                    }
                }
                Some(command) = self.commands.recv() => {
                    // Who does not wait for the answer misses nothing.
                    let _ = command.reply.send(Err(CommandError::NotEnrolled));
                }
                failure = self.supervisor.failure() => return Err(failure.into()),
            }
        }
    }
}

/// Moves a token that was left for this machine into the new file `target`, for the owner of its
/// directory; nothing where there is none, or this party is enrolled. Says where it was.
///
/// It was left in a file of the configuration's. Where another is `told`, it was left there or in the
/// credential `mpyc-party.token`, replaces a token that nobody has used, and that file is removed
/// whatever it holds.
///
/// # Errors
/// Where the file cannot be written.
pub async fn take_token(
    dirs: &Directories,
    config: &Config,
    (told, target): (Option<&Path>, &Path),
) -> Result<Option<String>, FileError> {
    let configured = config.agent.token_files.iter().cloned().map(token::Source::File);
    let sources = told.map_or_else(|| configured.collect(), token::handed_over);
    let waits = target.symlink_metadata().is_ok_and(|found| found.is_file());
    let taken = if Store::new(&dirs.state).is_there() || (told.is_none() && waits) {
        None
    } else {
        token::take(&sources, target).await?
    };
    let left = told.map(|told| token::Source::File(told.to_owned()));
    let left = left.filter(token::Source::is_left);
    for source in taken.iter().chain(left.iter().filter(|left| taken.as_ref() != Some(left))) {
        if let Err(why) = source.clear() {
            log::warn!("the token stays in {source}: {why}");
        }
    }
    Ok(taken.map(|source| source.to_string()))
}
