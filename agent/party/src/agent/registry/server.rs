//! Where runners register: whoever may is entered, and is sent what is for it, as long as its
//! connection lasts.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mpyc_party_core::claims::PublicKey;
use mpyc_party_core::name::SessionName;
use mpyc_party_transport::Identity;
use mpyc_party_transport::task::{Connections, Heartbeat};
use tokio::sync::{mpsc, watch};
use tokio::time::error::Elapsed;
use tokio::time::{sleep, timeout};

use super::{MAX_RUNNERS, Purpose, Registered, RunnerCommand, RunnerEvent, RunnerRegistry};
use crate::config::files::{self, FileError, at};
use crate::runner::handover::{FromAgent, FromRunner};
use crate::runner::seqpacket::{PacketError, PacketListener, PacketSocket};

/// How long a runner may take to say what it wants, and to take what it is sent.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause after a failure to accept.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Why the connection of a runner has ended.
#[derive(Debug, thiserror::Error)]
enum RegistrationError {
    /// It cannot be read or written.
    #[error(transparent)]
    Packet(#[from] PacketError),
    /// A descriptor cannot be handed over.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It takes too long.
    #[error("it takes too long")]
    Timeout(#[from] Elapsed),
    /// Whoever is there says something else first.
    #[error("it does not register")]
    Unregistered,
    /// Nobody is told any more who is there.
    #[error("the agent ends")]
    Ending,
}

/// Why a process may not register.
#[derive(Debug, thiserror::Error)]
enum NotAdmitted {
    /// Nobody knows whose it is.
    #[error(transparent)]
    Peer(#[from] io::Error),
    /// Of another user.
    #[error("user {0} is not the user of this agent")]
    User(u32),
    /// Of another party.
    #[error("it is of another party than this agent")]
    Party,
}

/// What every registration is compared with, and answered by.
#[derive(Clone, Debug)]
pub(in crate::agent) struct RegistrationServer {
    /// Who is registered.
    pub(in crate::agent) registry: RunnerRegistry,
    /// This party.
    pub(in crate::agent) identity: watch::Receiver<Identity>,
    /// The public port.
    pub(in crate::agent) port: u16,
    /// Where it is told what happens.
    pub(in crate::agent) events: mpsc::Sender<RunnerEvent>,
}

/// Takes the socket `held` by the service manager, else opens one at `path`, for this user alone (and
/// root, whom nothing stops). Where it is, comes with it.
///
/// # Errors
/// What the system says.
pub(in crate::agent) fn listen(
    held: Option<OwnedFd>,
    path: &Path,
) -> Result<(PacketListener, PathBuf), FileError> {
    if let Some(held) = held {
        let listener = at(path, PacketListener::from_held(held))?;
        let bound = at(path, listener.path())?;
        return Ok((listener, bound.unwrap_or_else(|| path.to_owned())));
    }
    if let Some(directory) = path.parent() {
        files::private_dir(directory)?;
    }
    let listener = at(path, PacketListener::bind(path))?;
    at(path, std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)))?;
    Ok((listener, path.to_owned()))
}

impl RegistrationServer {
    /// Registers whoever may, at `listener`, for ever.
    pub(in crate::agent) async fn run(self, listener: PacketListener, mut heartbeat: Heartbeat) {
        let mut connections = Connections::new("a runner's connection");
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = connections.next_ended() => continue,
                () = heartbeat.tick() => continue,
            };
            match accepted {
                Ok(_) if connections.len() >= MAX_RUNNERS => {
                    log::warn!("too many runners: one is turned away");
                }
                Ok(packets) => {
                    let server = self.clone();
                    connections.spawn(async move {
                        if let Err(error) = server.serve(&packets).await {
                            log::debug!("a runner's connection ended: {error}");
                        }
                    });
                }
                Err(error) => {
                    log::warn!("a runner cannot be accepted: {error}");
                    sleep(ACCEPT_RETRY_DELAY).await;
                }
            }
        }
    }

    /// Enters whoever is at the other end, if it may be, for as long as its connection lasts.
    async fn serve(&self, packets: &PacketSocket) -> Result<(), RegistrationError> {
        let first = timeout(MESSAGE_TIMEOUT, packets.next::<FromRunner>()).await??;
        let (key, tags, purpose) = match first {
            Some((FromRunner::Register(own), _)) => (own.key, own.tags, Purpose::Run(own.session)),
            Some((FromRunner::Expose { key, tag }, _)) => (key, vec![tag], Purpose::Expose),
            _ => return Err(RegistrationError::Unregistered),
        };
        if let Err(why) = self.check(packets, &key) {
            log::warn!("{purpose} is not registered: {why}");
            return Ok(packets.send(&FromAgent::Refused(why.to_string()), None).await?);
        }
        let (number, commands) = self.registry.enter(tags.into_iter().collect(), purpose.clone());
        let (registry, gone) = (&self.registry, None);
        let mut registered = Registered { registry, purpose: purpose.clone(), number, gone };
        packets.send(&FromAgent::Registered(self.port), None).await?;
        let Purpose::Run(session) = purpose else {
            return self.serve_runner(packets, None, commands).await;
        };
        let room = self.events.clone().reserve_owned().await;
        let room = room.map_err(|_| RegistrationError::Ending)?;
        registered.gone = Some((session.clone(), room));
        self.notify(RunnerEvent::Registered(session.clone())).await;
        self.serve_runner(packets, Some(&session), commands).await
    }

    /// Whether the process at the other end is one of this party's own.
    fn check(&self, packets: &PacketSocket, key: &PublicKey) -> Result<(), NotAdmitted> {
        let uid = packets.peer()?.uid;
        if !uid.is_root() && uid != rustix::process::geteuid() {
            return Err(NotAdmitted::User(uid.as_raw()));
        }
        if *key != self.identity.borrow().claims().key {
            return Err(NotAdmitted::Party);
        }
        Ok(())
    }

    async fn notify(&self, event: RunnerEvent) {
        // Nobody listens any more only when the agent ends.
        let _ = self.events.send(event).await;
    }

    /// Takes in how the run goes, and passes on what the runner is sent.
    async fn serve_runner(
        &self,
        packets: &PacketSocket,
        session: Option<&SessionName>,
        mut commands: mpsc::Receiver<RunnerCommand>,
    ) -> Result<(), RegistrationError> {
        loop {
            tokio::select! {
                message = packets.next::<FromRunner>() => match message? {
                    Some((FromRunner::Progress(progress), _)) => {
                        if let Some(session) = session {
                            self.notify(RunnerEvent::Progress(session.clone(), progress)).await;
                        }
                    }
                    Some(_) => {}
                    None => return Ok(()),
                },
                command = commands.recv() => match command {
                    Some(command) => timeout(MESSAGE_TIMEOUT, send(packets, command)).await??,
                    // Another for the same has come.
                    None => return Ok(()),
                },
            }
        }
    }
}

async fn send(packets: &PacketSocket, command: RunnerCommand) -> Result<(), PacketError> {
    match command {
        RunnerCommand::Stop => packets.send(&FromAgent::Stop, None).await,
        RunnerCommand::Connection(tcp) => {
            // Taken off this process's reactor first: the descriptor is shared from here on.
            let tcp = tcp.into_std()?;
            packets.send(&FromAgent::Connection, Some(tcp.as_fd())).await
        }
    }
}
