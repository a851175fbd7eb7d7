//! How a runner shares the one public port of its machine: the agent accepts there, looks at whom
//! each connection asks for, and hands the socket itself over.
//!
//! A runner registers the tags of its session and gets the sockets that ask for one of them. It tells how its run
//! goes, and ends it when it is told to. When the agent ends, the run goes on without it; the runner
//! registers again as soon as there is an agent. The process that exposes ports does the same, but
//! has no run to tell of.

use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mpyc_party_core::claims::PublicKey;
use mpyc_party_core::name::SessionName;
use mpyc_party_core::sni::Tag;
use mpyc_party_core::verdict::Verdict;
use mpyc_party_net::accept::Entrance;
use mpyc_party_transport::task::{Heartbeat, Supervisor};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};

use super::seqpacket::{PacketError, PacketSocket};

/// How long an agent may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Backoff between two attempts to reach an agent that has gone: the first pause, and the longest.
const RETRY_BACKOFF: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];
/// How long the agent may take to be told the last of a run's progress.
const LAST_PROGRESS_TIMEOUT: Duration = Duration::from_secs(1);
/// Sockets that may wait to be taken.
const MAX_QUEUED_SOCKETS: usize = 64;

/// Who registers: a runner of the agent's own party, for one session.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Registration {
    /// This party's key.
    pub key: PublicKey,
    /// The session.
    pub session: SessionName,
    /// What peers ask for who come for it.
    pub tags: Vec<Tag>,
}

/// How a run goes, as its runner tells.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The run's id, once all have agreed.
    pub run: Option<String>,
    /// How it ended.
    pub verdict: Option<Verdict>,
}

/// What a runner says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum FromRunner {
    /// First of all.
    Register(Registration),
    /// Replaces what was told before.
    Progress(Progress),
    /// First of all, from the process that exposes ports instead of running a session.
    Expose {
        /// This party's key.
        key: PublicKey,
        /// What whoever comes to it asks for.
        tag: Tag,
    },
}

/// What the agent says.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromAgent {
    /// The runner is registered, and this is the public port.
    Registered(u16),
    /// It is not.
    Refused(String),
    /// The descriptor that comes along is a connection that asks for this session.
    Connection,
    /// Somebody wants the run to end.
    Stop,
}

/// Why a runner is not registered.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// There is nobody.
    #[error("no agent answers at {}: {source}", path.display())]
    Unreachable {
        /// The agent's socket.
        path: PathBuf,
        /// What the system said.
        source: PacketError,
    },
    /// It takes too long.
    #[error("the agent at {} does not answer", path.display())]
    Silent {
        /// The agent's socket.
        path: PathBuf,
    },
    /// It ended the connection without a word.
    #[error("the agent at {} hung up", path.display())]
    HungUp {
        /// The agent's socket.
        path: PathBuf,
    },
    /// It belongs to somebody else.
    #[error("what listens at {} is run by another user (uid {uid})", path.display())]
    Foreign {
        /// The socket.
        path: PathBuf,
        /// Whose it is.
        uid: u32,
    },
    /// It says no.
    #[error("the agent at {} refuses: {why}", path.display())]
    Refused {
        /// The agent's socket.
        path: PathBuf,
        /// Its reason.
        why: String,
    },
}

/// A registration with the agent: what the run tells it, and is told by it.
#[derive(Debug)]
pub struct RegistrationHandle {
    progress: watch::Sender<Progress>,
    stop_requests: Option<mpsc::Receiver<()>>,
    /// Completes when the agent has been told everything.
    told: oneshot::Receiver<Infallible>,
}

/// Registers with the agent whose socket is at `path`: from then on connections come in there, as
/// long as the task lives that `supervisor` is given.
///
/// # Errors
/// Where nobody answers there, or the agent refuses.
pub async fn register(
    path: &Path,
    own: Registration,
    supervisor: &mut Supervisor,
) -> Result<(Entrance, RegistrationHandle), HandoverError> {
    begin(path, FromRunner::Register(own), supervisor).await
}

/// Registers the process that exposes ports of this party, reached by `tag`; the handle only
/// keeps it registered.
///
/// # Errors
/// As for [`register`].
pub async fn register_exposed(
    path: &Path,
    key: PublicKey,
    tag: Tag,
    supervisor: &mut Supervisor,
) -> Result<(Entrance, RegistrationHandle), HandoverError> {
    begin(path, FromRunner::Expose { key, tag }, supervisor).await
}

async fn begin(
    path: &Path,
    own: FromRunner,
    supervisor: &mut Supervisor,
) -> Result<(Entrance, RegistrationHandle), HandoverError> {
    let (packets, port) = enter(path, &own).await?;
    let (sockets, handed) = mpsc::channel(MAX_QUEUED_SOCKETS);
    let (stop_sender, stop_requests) = mpsc::channel(1);
    let progress = watch::Sender::new(Progress::default());
    let (end, told) = oneshot::channel();
    let task = RegistrationTask {
        path: path.to_owned(),
        own,
        port,
        sockets,
        stop_requests: stop_sender,
        progress: progress.subscribe(),
        end,
    };
    supervisor.spawn("registration", |heartbeat| task.run(packets, heartbeat));
    let handle = RegistrationHandle { progress, stop_requests: Some(stop_requests), told };
    Ok((Entrance::Agent { port, handed }, handle))
}

impl RegistrationHandle {
    /// Where the run's progress is to be told.
    #[must_use]
    pub fn progress(&self) -> watch::Sender<Progress> {
        self.progress.clone()
    }

    /// Brings the requests to end the run; the first who asks gets them.
    pub fn stop_requests(&mut self) -> Option<mpsc::Receiver<()>> {
        self.stop_requests.take()
    }

    /// Waits, for a bounded time, until the agent has been told everything. All other holders of
    /// [`RegistrationHandle::progress`] have to be gone.
    pub async fn leave(self) {
        let Self { progress, told, .. } = self;
        drop(progress);
        // An agent that is not there is not told.
        let _ = timeout(LAST_PROGRESS_TIMEOUT, told).await;
    }
}

async fn enter(path: &Path, own: &FromRunner) -> Result<(PacketSocket, u16), HandoverError> {
    let path = || path.to_owned();
    let unreachable = |source| HandoverError::Unreachable { path: path(), source };
    let packets = PacketSocket::connect(&path()).map_err(|error| unreachable(error.into()))?;
    let uid = packets.peer().map_err(|error| unreachable(error.into()))?.uid;
    if !uid.is_root() && uid != rustix::process::geteuid() {
        return Err(HandoverError::Foreign { path: path(), uid: uid.as_raw() });
    }
    let conversation = async {
        packets.send(own, None).await?;
        packets.next::<FromAgent>().await
    };
    let answer = timeout(ANSWER_TIMEOUT, conversation).await;
    let answer = answer.map_err(|_| HandoverError::Silent { path: path() })?;
    match answer.map_err(unreachable)? {
        Some((FromAgent::Registered(port), _)) => Ok((packets, port)),
        Some((FromAgent::Refused(why), _)) => Err(HandoverError::Refused { path: path(), why }),
        _ => Err(HandoverError::HungUp { path: path() }),
    }
}

/// The task that stays registered.
struct RegistrationTask {
    path: PathBuf,
    own: FromRunner,
    port: u16,
    sockets: mpsc::Sender<TcpStream>,
    stop_requests: mpsc::Sender<()>,
    progress: watch::Receiver<Progress>,
    /// Dropped when there is nothing more to tell.
    end: oneshot::Sender<Infallible>,
}

impl RegistrationTask {
    /// Stays registered for ever; with nothing more to tell, it only lives.
    async fn run(mut self, mut packets: PacketSocket, mut heartbeat: Heartbeat) {
        while self.serve(&packets, &mut heartbeat).await {
            log::info!("the agent has gone: this goes on, and new connections wait for it");
            let mut pause = RETRY_BACKOFF[0];
            packets = loop {
                heartbeat.during(sleep(pause)).await;
                match heartbeat.during(enter(&self.path, &self.own)).await {
                    Ok((packets, port)) => {
                        if port != self.port {
                            log::warn!(
                                "the agent is back on port {port}; peers were told {}",
                                self.port
                            );
                        }
                        break packets;
                    }
                    Err(error) => log::debug!("{error}"),
                }
                pause = (pause * 2).min(RETRY_BACKOFF[1]);
            };
            log::info!("registered with the agent again");
        }
        drop((self.end, packets));
        heartbeat.during(std::future::pending()).await
    }

    /// One registration, until it ends. False where there is nothing more to tell.
    async fn serve(&mut self, packets: &PacketSocket, heartbeat: &mut Heartbeat) -> bool {
        self.progress.mark_changed();
        loop {
            let message = tokio::select! {
                message = packets.next::<FromAgent>() => message,
                () = heartbeat.tick() => continue,
                changed = self.progress.changed() => {
                    if changed.is_err() {
                        return false;
                    }
                    let progress = self.progress.borrow_and_update().clone();
                    match packets.send(&FromRunner::Progress(progress), None).await {
                        Ok(()) => continue,
                        Err(_) => return true,
                    }
                }
            };
            match message {
                Ok(Some((FromAgent::Connection, Some(socket)))) => self.take(socket),
                // Somebody has asked already where this is full.
                Ok(Some((FromAgent::Stop, _))) => drop(self.stop_requests.try_send(())),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return true,
            }
        }
    }

    fn take(&self, socket: OwnedFd) {
        let tcp = std::net::TcpStream::from(socket);
        let taken = tcp.set_nonblocking(true).and_then(|()| TcpStream::from_std(tcp));
        match taken.map(|tcp| self.sockets.try_send(tcp)) {
            // Where it is closed the run is over, and nobody comes in any more.
            Ok(Ok(()) | Err(TrySendError::Closed(_))) => {}
            Ok(Err(TrySendError::Full(_))) => {
                log::warn!("a connection that the agent handed over is dropped: too many wait");
            }
            Err(error) => {
                log::warn!("a connection that the agent handed over is dropped: {error}");
            }
        }
    }
}
